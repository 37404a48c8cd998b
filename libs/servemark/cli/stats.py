"""`servemark stats`: how models did day by day, or metrics over time as series."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from google.protobuf.timestamp_pb2 import Timestamp
from rich import box
from rich.table import Table
from rich.text import Text

from servemark.cli.connection import Key, Target, open_client
from servemark.cli.load import load_text
from servemark.cli.metrics import figure, metric_figure, parse_limits, parse_metric
from servemark.cli.names import (
    Names,
    framework_ids,
    framework_names,
    hardware_ids,
    hardware_names,
    model_ids,
    model_names,
    pages,
)
from servemark.cli.options import (
    Frameworks,
    Json,
    Limits,
    Models,
    Provenances,
    Workloads,
    parse_provenances,
)
from servemark.cli.output import CliError, message_to_json, out, print_json
from servemark.cli.series_table import Series, print_series
from servemark.cli.times import Since, Until, parse_span, parse_time
from servemark.client.channel import Client
from servemark.ingest.v1 import result_query_pb2 as query
from servemark.ingest.v1.time_series_pb2 import QueryTimeSeriesRequest, SeriesKey
from servemark.type.v1.metric_pb2 import METRIC_ACCURACY_SCORE

_DAYS = 14
_OF = {query.LATENCY_SOURCE_RUNS: "runs", query.LATENCY_SOURCE_SKETCHES: "requests"}
_ONLY_SERIES = "Only with --series"


def stats(
    ctx: typer.Context,
    model: Models = None,
    since: Since = "",
    until: Until = "",
    series: Annotated[
        str,
        typer.Option(
            "--series", metavar="BY", help="A series for each config, model, hardware, framework."
        ),
    ] = "",
    bucket: Annotated[
        str, typer.Option("--bucket", metavar="SPAN", rich_help_panel=_ONLY_SERIES)
    ] = "1d",
    metric: Annotated[
        list[str] | None,
        typer.Option(
            "--metric",
            metavar="METRIC",
            help="A metric to show (ttft_p90); may be repeated.",
            rich_help_panel=_ONLY_SERIES,
        ),
    ] = None,
    top: Annotated[
        int,
        typer.Option(
            "--top", min=1, max=1000, help="Series to show.", rich_help_panel=_ONLY_SERIES
        ),
    ] = 5,
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
    json: Json = False,
    target: Target = None,
    key: Key = None,
) -> None:
    """Show how models did day by day, or with --series metrics over time; the last 14 days."""
    start, end = _range(since, until)
    if not series:
        if hardware or framework or workload or provenance or limit or metric:
            raise CliError("Days are kept for whole models; with --series, filters can be used.")
        with open_client(ctx, target, key) as client:
            _show_days(client, model or [], start, end, as_json=json)
        return
    request = QueryTimeSeriesRequest(
        filter=query.ResultFilter(
            workload_types=[name.lower() for name in workload or []],
            provenances=parse_provenances(provenance),
            limits=parse_limits(limit or []),
        ),
        bucket=parse_span("--bucket", bucket),
        series_key=_series_key(series),
        metrics=[parse_metric(name) for name in metric or []],
        page_size=top,
    )
    request.filter.benchmark_time.start_time.CopyFrom(start)
    request.filter.benchmark_time.end_time.CopyFrom(end)
    with open_client(ctx, target, key) as client:
        request.filter.model_ids.extend(model_ids(client, model or []))
        request.filter.hardware_config_ids.extend(hardware_ids(client, hardware or []))
        request.filter.framework_ids.extend(framework_ids(client, framework or []))
        _show_series(client, request, as_json=json)


def _range(since: str, until: str) -> tuple[Timestamp, Timestamp]:
    """The range asked for: up to the end of today, from 14 days before its end."""
    if until:
        end = parse_time("--until", until)
    else:
        tomorrow = datetime.now(UTC).date() + timedelta(days=1)
        end = parse_time("--until", tomorrow.isoformat())
    if since:
        return parse_time("--since", since), end
    return Timestamp(seconds=end.seconds - _DAYS * 86_400), end


def _series_key(text: str) -> "SeriesKey.ValueType":
    name = f"SERIES_KEY_{text.strip().upper()}"
    if name not in SeriesKey.DESCRIPTOR.values_by_name or name == "SERIES_KEY_UNSPECIFIED":
        raise CliError(f"--series takes config, model, hardware or framework, not {text!r}.")
    return SeriesKey.Value(name)


def _show_days(
    client: Client, models: list[str], start: Timestamp, end: Timestamp, *, as_json: bool
) -> None:
    # A day that has begun is shown as well.
    last = end.ToDatetime() + timedelta(days=1, microseconds=-1)
    request = query.ListDailyModelStatsRequest(
        model_ids=model_ids(client, models),
        start_date=start.ToDatetime().date().isoformat(),
        end_date=last.date().isoformat(),
    )
    days = pages(client.ingest.ListDailyModelStats, request, "daily_model_stats")
    if as_json:
        print_json({"daily_model_stats": [message_to_json(day) for day in days]})
        return
    console = out()
    if not days:
        console.print("No results on these days.")
        return
    names = model_names(client, {day.model_id for day in days})
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column("day", no_wrap=True)
    table.add_column("model", overflow="fold")
    for head in ("runs", "tokens/s", "accuracy", "TTFT\np95 ms"):
        table.add_column(head, justify="right")
    table.add_column("of")
    table.add_column("requests", justify="right")
    table.add_column("failed", justify="right")
    for day in days:
        table.add_row(*_day(day, names))
    console.print(table)


def _day(day: Any, names: dict[str, str]) -> list[str]:
    known = day.HasField
    return [
        day.stats_date,
        names.get(day.model_id, day.model_id),
        f"{day.total_benchmarks:,}",
        figure(day.avg_throughput) if known("avg_throughput") else "–",
        metric_figure(METRIC_ACCURACY_SCORE, day.avg_accuracy) if known("avg_accuracy") else "–",
        figure(day.p95_latency_ms) if known("p95_latency_ms") else "–",
        _OF.get(day.p95_latency_source, ""),
        f"{day.request_count:,}",
        f"{day.failed_request_count:,}",
    ]


def _show_series(client: Client, request: QueryTimeSeriesRequest, *, as_json: bool) -> None:
    found: list[Series] = []
    token = ""
    for message in client.ingest.QueryTimeSeries(request):
        if not found or found[-1].series_id != message.series_id:
            config = message.config if message.HasField("config") else None
            found.append(Series(message.series_id, config, []))
        found[-1].points.extend(message.points)
        token = message.next_page_token
    if as_json:
        print_json({"series": [_series_json(series) for series in found], "next_page_token": token})
        return
    if not found:
        out().print("No results in this time.")
        return
    names = Names(client, (series.config for series in found if series.config is not None))
    titles = _titles(client, request.series_key, found)
    for series in found:
        print_series(_title(series, names, titles), series, request.metrics)
    if token:
        out().print(f"The first {len(found)} series; --top shows more.")


def _series_json(series: Series) -> dict[str, Any]:
    shown: dict[str, Any] = {"series_id": series.series_id}
    if series.config is not None:
        shown["config"] = message_to_json(series.config)
    shown["points"] = [message_to_json(point) for point in series.points]
    return shown


def _titles(client: Client, key: "SeriesKey.ValueType", found: list[Series]) -> dict[str, str]:
    ids = {series.series_id for series in found}
    if key == SeriesKey.SERIES_KEY_MODEL:
        return model_names(client, ids)
    if key == SeriesKey.SERIES_KEY_HARDWARE:
        return hardware_names(client, ids)
    if key == SeriesKey.SERIES_KEY_FRAMEWORK:
        return framework_names(client, ids)
    return {}


def _title(series: Series, names: Names, titles: dict[str, str]) -> Text:
    if series.config is None:
        return Text(titles.get(series.series_id, series.series_id), style="bold")
    return Text.assemble(
        (names.version(series.config), "bold"),
        f" · {names.hardware(series.config)} · {names.framework(series.config)}",
        (f" · {load_text(series.config)}", "dim"),
    )
