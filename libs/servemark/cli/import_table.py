"""Records as a table, before they are sent."""

from collections.abc import Iterable

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from servemark.cli.metrics import figure
from servemark.client.records import ResultRecord

_FIGURES = (
    ("ttft_p50_ms", "TTFT\np50 ms"),
    ("ttft_p90_ms", "TTFT\np90 ms"),
    ("ttft_p99_ms", "TTFT\np99 ms"),
    ("tpot_p50_ms", "TPOT\np50 ms"),
    ("throughput_tokens_sec", "tokens/s"),
)


MAX_ROWS = 50
"""Records that are shown; more are no table that anybody reads."""


def print_records(console: Console, records: Iterable[ResultRecord]) -> None:
    """Prints one row for each record: what was measured, when, and the main figures."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column("measured", no_wrap=True)
    table.add_column("configuration", min_width=30, overflow="fold")
    for _, label in _FIGURES:
        table.add_column(label, justify="right")
    for record in records:
        values = [getattr(record, name) for name, _ in _FIGURES]
        table.add_row(
            f"{record.benchmarked_at:%Y-%m-%d\n%H:%M}",
            _configuration(record),
            *("–" if value is None else figure(value) for value in values),
        )
    console.print(table)


def _configuration(record: ResultRecord) -> Text:
    load = [record.workload_type]
    if record.input_tokens is not None and record.output_tokens is not None:
        load.append(f"{record.input_tokens}/{record.output_tokens} tokens")
    if record.concurrency is not None:
        load.append(f"{record.concurrency} in flight")
    if record.request_rate is not None:
        load.append(f"{figure(record.request_rate)} req/s sent")
    return Text.assemble(
        (f"{record.model} {record.quantization}", "bold"),
        f"\n{record.hardware}, {record.gpu_count} GPUs, "
        f"{record.framework} {record.framework_version}",
        (f"\n{', '.join(load)}", "dim"),
    )
