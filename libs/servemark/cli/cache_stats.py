"""`servemark cache stats`: what Redis holds, and which level answered how often."""

from dataclasses import asdict

from rich import box
from rich.table import Table

from servemark.cli.options import Json
from servemark.cli.output import CliError, out, print_json
from servemark.cli.quantities import size_text
from servemark.cli.up import DataDir
from servemark.stack.cache import FamilyStats, stats
from servemark.stack.errors import StackError
from servemark.stack.files import data_dir_from_environment
from servemark.stack.up import read_settings

_LEVELS = ("L1", "L2", "DB")


def cache_stats(data_dir: DataDir = None, json: Json = False) -> None:
    """Say what Redis holds, and which level answered how often since the services started."""
    try:
        found = stats(data_dir or data_dir_from_environment(), read_settings())
    except StackError as error:
        raise CliError(str(error)) from None
    if json:
        print_json([asdict(one) for one in found])
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("family")
    for heading in ("entries", "size", "memory", "Redis", "database", "hits"):
        table.add_column(heading, justify="right")
    for one in found:
        reads = [one.reads.get(level, 0) for level in _LEVELS]
        size = size_text(one.bytes) if one.entries else "-"
        counts = [f"{count:,}" for count in reads]
        table.add_row(one.family, f"{one.entries:,}", size, *counts, _ratio(one))
    out().print(table)


def _ratio(one: FamilyStats) -> str:
    total = sum(one.reads.values())
    return f"{1 - one.reads.get('DB', 0) / total:.1%}" if total else "-"
