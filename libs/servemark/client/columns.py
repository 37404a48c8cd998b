"""Results gathered column by column, so that a batch costs no message for each row."""

from array import array
from collections.abc import Mapping

from servemark.client.column import Figures, Numbers, Sketches, Texts
from servemark.ingest.v1.latency_sketch_pb2 import LatencySketch
from servemark.ingest.v1.result_columns_pb2 import ResultColumns

_ID_BYTES = 16
# Most bytes that a row takes without its texts and sketches: id 16, configuration 2, time 10,
# 13 figures at 8, 3 counts at 10, source 1, and 2 to 4 each for what it has not.
_ROW_BYTES = 192
# What comes before each of some 30 arrays.
_BATCH_BYTES = 512


class ColumnBuffer:
    """The rows of one batch, in order, as the columns that they are sent in."""

    def __init__(self) -> None:
        self._ids = bytearray()
        self._config_indexes = array("i")
        self._times_us = array("q")
        self._figures = Figures()
        self._batch_sizes = Numbers("q")
        self._request_counts = Numbers("q")
        self._failed_request_counts = Numbers("q")
        self._sources = Numbers("i")
        self._details = Texts("")
        self._digests = Texts(b"")
        self._ttft_sketches = Sketches()
        self._tpot_sketches = Sketches()
        self._extra_bytes = 0

    def __len__(self) -> int:
        return len(self._times_us)

    @property
    def byte_size(self) -> int:
        """Bytes that the rows take at most when they are sent."""
        return _BATCH_BYTES + _ROW_BYTES * len(self) + self._extra_bytes

    def add(
        self,
        id_bytes: bytes,
        config_index: int,
        time_us: int,
        figures: Mapping[str, float | None],
        *,
        batch_size: int | None = None,
        request_count: int | None = None,
        failed_request_count: int | None = None,
        percentile_source: int = 0,
        detailed_metrics_json: str = "",
        source_sha256: bytes = b"",
        ttft_sketch: LatencySketch | None = None,
        tpot_sketch: LatencySketch | None = None,
    ) -> None:
        """Adds a row: what is None, empty or not given is absent, and so is a sketch of nothing.

        Raises TypeError for what is no number or has a name that no figure has, OverflowError or
        ValueError for what the wire cannot carry; the row is then not added.
        """
        row = len(self._times_us)
        try:
            self._figures.put(row, figures)
            if batch_size is not None:
                self._batch_sizes.put(row, batch_size)
            if request_count is not None:
                self._request_counts.put(row, request_count)
            if failed_request_count is not None:
                self._failed_request_counts.put(row, failed_request_count)
            if percentile_source:
                self._sources.put(row, percentile_source)
            if detailed_metrics_json:
                self._extra_bytes += self._details.put(row, detailed_metrics_json)
            if source_sha256:
                self._extra_bytes += self._digests.put(row, source_sha256)
            if ttft_sketch is not None:
                self._extra_bytes += self._ttft_sketches.put(row, ttft_sketch)
            if tpot_sketch is not None:
                self._extra_bytes += self._tpot_sketches.put(row, tpot_sketch)
            self._config_indexes.append(config_index)
            self._ids += id_bytes
            self._times_us.append(time_us)
        except BaseException:
            # Ctrl-C too: a runner may still close its stream.
            self._cut(row)
            raise

    def fill(self, message: ResultColumns) -> None:
        """Writes the rows into an empty message. The buffer is of no use afterwards."""
        count = len(self)
        message.ids = bytes(self._ids)
        message.config_indexes.extend(self._config_indexes)
        message.benchmark_times_us.extend(self._times_us)
        self._figures.fill(message.metrics, count)
        self._batch_sizes.fill(message, "batch_sizes", count)
        self._request_counts.fill(message, "request_counts", count)
        self._failed_request_counts.fill(message, "failed_request_counts", count)
        message.percentile_sources.extend(self._sources.of(count))
        message.detailed_metrics_json.extend(self._details.of(count))
        message.source_sha256.extend(self._digests.of(count))
        self._ttft_sketches.fill(message, "ttft_sketches", count)
        self._tpot_sketches.fill(message, "tpot_sketches", count)

    def _cut(self, row: int) -> None:
        """Forgets what was written of a row that turned out wrong."""
        columns: tuple[Figures | Numbers | Texts | Sketches, ...] = (
            self._figures,
            self._batch_sizes,
            self._request_counts,
            self._failed_request_counts,
            self._sources,
            self._details,
            self._digests,
            self._ttft_sketches,
            self._tpot_sketches,
        )
        for column in columns:
            column.cut(row)
        del self._config_indexes[row:]
        del self._ids[_ID_BYTES * row :]
        del self._times_us[row:]
