"""Rows and headers for tests of streams."""

from google.protobuf.timestamp_pb2 import Timestamp

from servemark.client import ids
from servemark.ingest.v1 import benchmark_result_pb2 as result_pb2
from servemark.ingest.v1 import result_stream_pb2 as stream_pb2
from servemark.type.v1.provenance_pb2 import PROVENANCE_MEASURED


def header(stream_id: str = "") -> stream_pb2.StreamHeader:
    return stream_pb2.StreamHeader(
        stream_id=stream_id,
        tool="vllm",
        provenance=PROVENANCE_MEASURED,
        configs=[stream_pb2.ConfigSpec()],
    )


def rows(count: int, **metrics: float) -> list[result_pb2.ResultRow]:
    return [
        result_pb2.ResultRow(
            id=str(ids.uuid7(1_700_000_000_000, number.to_bytes(10, "big"))),
            benchmark_time=Timestamp(seconds=1_700_000_000),
            metrics=result_pb2.ResultMetrics(ttft_p50_ms=number, **metrics),
        )
        for number in range(count)
    ]
