"""Rows for the ingest measures: new ones each time, every figure there, in both encodings."""

import time
from typing import Any, Final

import numpy as np

from servemark.ingest.v1.benchmark_result_pb2 import ResultMetrics, ResultRow
from servemark.ingest.v1.result_columns_pb2 import ResultColumns
from servemark.ingest.v1.result_stream_pb2 import ResultBatch, StreamHeader
from services.ingest.metrics import METRIC_COLUMNS
from tests.rpc.ingest.builders import HARDWARE, MODEL, OTHER_HARDWARE, OTHER_MODEL, config, header

CONFIGS: Final = 1000

_RANDOM: Final = np.random.default_rng()


class MadeRows:
    """`count` rows a millisecond apart that end now, of all configurations in turn."""

    def __init__(self, count: int, *, ending_ms: int | None = None) -> None:
        last = time.time_ns() // 1_000_000 if ending_ms is None else ending_ms
        self.times_ms = last - count + np.arange(count, dtype=np.int64)
        self.ids = _ids(self.times_ms)
        self.config_indexes = np.arange(count) % CONFIGS
        self.figures = _figures(count)

    def header(self) -> StreamHeader:
        """The header of a new stream of theirs."""
        return header(
            *(
                config(
                    model=(MODEL, OTHER_MODEL)[index % 2],
                    hardware=(HARDWARE, OTHER_HARDWARE)[index // 2 % 2],
                    input_tokens=1024,
                    output_tokens=256,
                    concurrency=index + 1,
                )
                for index in range(CONFIGS)
            )
        )

    def as_columns(self, rows_a_batch: int) -> list[ResultBatch]:
        """The rows in batches of columns."""
        return [
            ResultBatch(sequence=sequence, columns=self._columns(part))
            for sequence, part in self._parts(rows_a_batch)
        ]

    def as_rows(self, rows_a_batch: int) -> list[ResultBatch]:
        """The rows in batches of messages."""
        return [
            ResultBatch(sequence=sequence, rows=self._rows(part))
            for sequence, part in self._parts(rows_a_batch)
        ]

    def _parts(self, rows_a_batch: int) -> Any:
        starts = range(0, len(self.times_ms), rows_a_batch)
        return enumerate(slice(start, start + rows_a_batch) for start in starts)

    def _columns(self, part: slice) -> ResultColumns:
        times = self.times_ms[part]
        columns = ResultColumns(
            ids=self.ids[part].tobytes(),
            config_indexes=self.config_indexes[part].tolist(),
            benchmark_times_us=(times * 1000).tolist(),
        )
        for name, values in self.figures.items():
            getattr(columns.metrics, name).values.extend(values[part].tolist())
        columns.request_counts.values.extend([1000] * len(times))
        columns.failed_request_counts.values.extend([0] * len(times))
        return columns

    def _rows(self, part: slice) -> list[ResultRow]:
        figures = [values[part].tolist() for values in self.figures.values()]
        rows = []
        for identifier, milliseconds, index, *values in zip(
            self.ids[part],
            self.times_ms[part].tolist(),
            self.config_indexes[part].tolist(),
            *figures,
            strict=True,
        ):
            digits = identifier.tobytes().hex()
            row = ResultRow(
                id="-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])),
                config_index=index,
                metrics=ResultMetrics(**dict(zip(self.figures, values, strict=True))),
                request_count=1000,
                failed_request_count=0,
            )
            row.benchmark_time.FromMilliseconds(milliseconds)
            rows.append(row)
        return rows


def _ids(times_ms: Any) -> Any:
    """A UUIDv7 for each time, (n, 16) bytes."""
    ids = _RANDOM.integers(0, 256, (len(times_ms), 16), np.uint8)
    ids[:, :6] = times_ms.astype(">i8").view(np.uint8).reshape(-1, 8)[:, 2:]
    ids[:, 6] = ids[:, 6] & 0x0F | 0x70
    ids[:, 8] = ids[:, 8] & 0x3F | 0x80
    return ids


def _figures(count: int) -> dict[str, Any]:
    """Latencies from a few to a thousand milliseconds, half of the TTFT below the indexed 300."""
    figures = {name: _RANDOM.random(count) for name in METRIC_COLUMNS}
    for metric, typical in (("ttft", 120.0), ("tpot", 20.0)):
        low = typical * _RANDOM.lognormal(0.0, 0.8, count)
        for percentile, times in ((50, 1.0), (90, 2.0), (95, 2.4), (99, 3.5)):
            figures[f"{metric}_p{percentile}_ms"] = low * times
    figures["throughput_tokens_sec"] *= 20_000
    figures["rps_sustained"] *= 100
    figures["gpu_utilization_pct"] *= 100
    figures["memory_used_gb"] *= 640
    return figures
