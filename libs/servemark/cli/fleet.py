"""How many instances carry a request rate, and what they cost."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from servemark.cli.output import print_bullets
from servemark.ranking.v1.recommend_pb2 import Recommendation
from servemark.ranking.v1.replicas_pb2 import Replicas

_CONVERTED = "The rate of {names} was taken from the throughput and the output length."


def print_fleets(console: Console, recommendations: Sequence[Recommendation]) -> None:
    """Prints the instances of each recommendation, and what is not known of them."""
    with_fleet = [item for item in recommendations if item.HasField("replicas")]
    if not with_fleet:
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    heads = ("#", "instances", "by the\nworst run", "used", "USD/h", "USD/M\ntokens")
    for head in heads:
        table.add_column(head, justify="right")
    for item in with_fleet:
        table.add_row(str(item.rank), *_fleet(item.replicas))
    console.print(Text("\nInstances for the target rate", style="bold"))
    console.print(table)
    converted = [f"#{item.rank}" for item in with_fleet if item.replicas.rate_converted]
    sentences = [_CONVERTED.format(names=", ".join(converted))] if converted else []
    # Gaps are often the same for all: each is said once.
    gaps: dict[str, list[str]] = {}
    for item in with_fleet:
        for gap in item.replicas.gaps:
            gaps.setdefault(gap, []).append(f"#{item.rank}")
    sentences += [f"{', '.join(places)}: {gap}" for gap, places in gaps.items()]
    print_bullets(console, sentences)


def _fleet(replicas: Replicas) -> list[str]:
    if not replicas.HasField("typical"):
        return ["–"] * 5
    typical = replicas.typical
    safe = f"{replicas.safe.replica_count:,}" if replicas.HasField("safe") else "–"
    prices = [
        f"{getattr(typical, name):,.2f}" if typical.HasField(name) else "–"
        for name in ("total_usd_per_hour", "usd_per_million_tokens")
    ]
    return [f"{typical.replica_count:,}", safe, f"{typical.utilization:.0%}", *prices]
