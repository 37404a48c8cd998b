"""`servemark results`: what was measured, the latest first."""

from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from servemark.cli.connection import Key, Target, open_client
from servemark.cli.load import load_text
from servemark.cli.metrics import MetricValue, figure, metric_head, metric_name, parse_limits
from servemark.cli.names import Names, framework_ids, hardware_ids, model_ids
from servemark.cli.options import (
    Frameworks,
    Json,
    Limits,
    Models,
    Provenances,
    Workloads,
    parse_provenances,
)
from servemark.cli.output import out, print_message
from servemark.cli.times import Since, Until, parse_time
from servemark.client.channel import Client
from servemark.ingest.v1 import result_query_pb2 as query
from servemark.type.v1 import metric_pb2 as metrics

_COLUMNS: tuple[MetricValue, ...] = (
    metrics.METRIC_TTFT_P50_MS,
    metrics.METRIC_TTFT_P90_MS,
    metrics.METRIC_TTFT_P99_MS,
    metrics.METRIC_TPOT_P50_MS,
    metrics.METRIC_THROUGHPUT_TOKENS_SEC,
)
_PAGE = 1_000


def results(
    ctx: typer.Context,
    model: Models = None,
    hardware: Annotated[
        list[str] | None,
        typer.Option(
            "--hardware", "--gpu", metavar="NAME", help="Keep this hardware, by name or GPU type."
        ),
    ] = None,
    framework: Frameworks = None,
    workload: Workloads = None,
    provenance: Provenances = None,
    limit: Limits = None,
    since: Since = "",
    until: Until = "",
    top: Annotated[int, typer.Option("--top", min=1, help="How many to show.")] = 20,
    json: Json = False,
    target: Target = None,
    key: Key = None,
) -> None:
    """List stored results, the latest first."""
    chosen = query.ResultFilter(
        workload_types=[name.lower() for name in workload or []],
        provenances=parse_provenances(provenance),
        limits=parse_limits(limit or []),
    )
    if since:
        chosen.benchmark_time.start_time.CopyFrom(parse_time("--since", since))
    if until:
        chosen.benchmark_time.end_time.CopyFrom(parse_time("--until", until))
    with open_client(ctx, target, key) as client:
        chosen.model_ids.extend(model_ids(client, model or []))
        chosen.hardware_config_ids.extend(hardware_ids(client, hardware or []))
        chosen.framework_ids.extend(framework_ids(client, framework or []))
        response = _list(client, chosen, top)
        if json:
            print_message(response)
            return
        names = Names(client, (item.config for item in response.benchmark_results))
    _print_results(response, names)


def _list(
    client: Client, chosen: query.ResultFilter, top: int
) -> query.ListBenchmarkResultsResponse:
    """The first `top` results, as one answer."""
    answer = query.ListBenchmarkResultsResponse()
    while True:
        wanted = min(top - len(answer.benchmark_results), _PAGE)
        page = client.ingest.ListBenchmarkResults(
            query.ListBenchmarkResultsRequest(
                filter=chosen, page_size=wanted, page_token=answer.next_page_token
            )
        )
        answer.benchmark_results.extend(page.benchmark_results)
        answer.next_page_token = page.next_page_token
        if not page.next_page_token or len(answer.benchmark_results) >= top:
            return answer


def _print_results(response: query.ListBenchmarkResultsResponse, names: Names) -> None:
    console = out()
    if not response.benchmark_results:
        console.print("No result fits.")
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column("measured", no_wrap=True)
    table.add_column("configuration", min_width=30, overflow="fold")
    for metric in _COLUMNS:
        table.add_column(metric_head(metric), justify="right")
    for item in response.benchmark_results:
        measured = item.benchmark_time.ToDatetime()
        table.add_row(
            f"{measured:%Y-%m-%d\n%H:%M}",
            _configuration(item, names),
            *(_figure(item.metrics, metric) for metric in _COLUMNS),
        )
    console.print(table)
    if response.next_page_token:
        console.print(f"The latest {len(response.benchmark_results)}; --top shows more.")


def _figure(measured: Any, metric: MetricValue) -> str:
    name = metric_name(metric)
    return figure(getattr(measured, name)) if measured.HasField(name) else "–"


def _configuration(item: Any, names: Names) -> Text:
    return Text.assemble(
        (names.version(item.config), "bold"),
        f"\n{names.hardware(item.config)}, {names.framework(item.config)}",
        (f"\n{load_text(item.config)} · {item.tool}", "dim"),
    )
