"""Random results as a buffer of columns takes them, and the row messages that say the same."""

from typing import Any
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import strategies as st

from servemark.client.record_fields import METRICS
from servemark.ingest.v1.benchmark_result_pb2 import ResultMetrics, ResultRow
from servemark.ingest.v1.latency_sketch_pb2 import LatencySketch

INT32 = st.integers(-(2**31), 2**31 - 1)
INT64 = st.integers(-(2**63), 2**63 - 1)
FIGURES = st.dictionaries(
    st.sampled_from(METRICS), st.none() | st.floats() | st.integers(-1, 1).map(float)
)
SKETCHES = st.none() | st.one_of(
    st.builds(
        LatencySketch,
        first_bucket=INT32,
        counts=st.lists(INT64.filter(bool), min_size=1, max_size=4),
        zero_count=INT64,
    ),
    st.builds(LatencySketch, zero_count=INT64.filter(bool)),
)
# However wrong their values are: it is the server that refuses them.
RESULTS = st.fixed_dictionaries(
    {
        "id_bytes": st.binary(min_size=16, max_size=16),
        "config_index": INT32,
        "time_us": st.integers(-(10**15), 10**18),
        "figures": FIGURES,
        "batch_size": st.none() | INT32,
        "request_count": st.none() | INT64,
        "failed_request_count": st.none() | INT64,
        "percentile_source": st.integers(0, 9),
        "detailed_metrics_json": st.text(max_size=5),
        "source_sha256": st.binary(max_size=33),
        "ttft_sketch": SKETCHES,
        "tpot_sketch": SKETCHES,
    }
)


def row_of(result: dict[str, Any]) -> ResultRow:
    """The result as a message."""
    values = dict(result)
    seconds, microseconds = divmod(values.pop("time_us"), 1_000_000)
    return ResultRow(
        id=str(UUID(bytes=values.pop("id_bytes"))),
        benchmark_time=Timestamp(seconds=seconds, nanos=microseconds * 1000),
        metrics=ResultMetrics(**values.pop("figures")),
        **values,
    )
