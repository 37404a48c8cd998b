"""Loads millions of simulated results and tells what changes with size.

`python -m tests.bench.scale [--rows N]` prints a table and writes build/bench-scale.json: the rate
of the first and of the last million rows, the times of reads at the small and at the full size, and
the bytes a row takes. Everything runs on this machine, in a folder that is removed at the end: the
client, the services, and a PostgreSQL with fsync and the settings of `servemark up`.

Exit codes: 0 done, 1 there is not enough room on the disk, 143 ended from outside.
"""

import argparse
import asyncio
import json
import logging
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import psutil
import structlog

from servemark.stack.servers import POSTGRES_SETTINGS
from tests.bench.scale.compression import hypertable_bytes_per_row
from tests.bench.scale.disk import bytes_per_row
from tests.bench.scale.laps import lap
from tests.bench.scale.load import MILLION, Plan, loading
from tests.bench.scale.place import place
from tests.bench.scale.reads import read_times
from tests.support.simulation.fleet import models

OUTPUT: Final = Path(__file__).resolve().parents[3] / "build" / "bench-scale.json"
# Of the first rate, what has to be left of it at the end.
MARK: Final = 0.9
# A row with its indexes, its share of the log, and room to spare.
_BYTES_A_ROW: Final = 1000
_BYTES_BESIDES: Final = 4 * 1024**3


def main() -> int:
    """The exit code."""
    options = _options()
    need = options.rows * _BYTES_A_ROW + _BYTES_BESIDES
    folder = tempfile.gettempdir()
    if shutil.disk_usage(folder).free < need:
        print(
            f"{options.rows:,} rows need about {need / 1e9:.0f} GB in {folder}; make room there, "
            "name another place in TMPDIR, or take fewer --rows.",
            file=sys.stderr,
        )
        return 1
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    try:
        figures = asyncio.run(_measure(options))
    except asyncio.CancelledError:
        print("ended from outside; everything is removed", file=sys.stderr)
        return 143
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(json.dumps(figures, indent=1) + "\n")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.scale")
    rows = int(os.environ.get("SCALE_ROWS", 20 * MILLION))
    parser.add_argument("--rows", type=int, default=rows, help="also SCALE_ROWS (20 million)")
    parser.add_argument("--rows-a-day", type=int, default=270_000, help="rows a day (270,000)")
    parser.add_argument("--models", type=int, default=100, help="of 960 configurations each (100)")
    parser.add_argument("--streams", type=int, default=4, help="streams that send at once (4)")
    parser.add_argument("--batch-rows", type=int, default=10_000, help="rows a batch (10,000)")
    parser.add_argument("--timescale-dsn", help="a TimescaleDB to measure compressed rows on")
    parser.add_argument("--reads", type=int, default=200, help="reads of each kind (200)")
    parser.add_argument(
        "--set",
        metavar="NAME=VALUE",
        dest="settings",
        action="append",
        default=[],
        help="a setting of PostgreSQL other than that of `servemark up`",
    )
    return parser.parse_args()


async def _measure(options: argparse.Namespace) -> dict[str, Any]:
    _clean_up_at_the_end_from_outside()
    settings = POSTGRES_SETTINGS | dict(text.split("=", 1) for text in options.settings)
    fleet = models(options.models)
    plan = Plan(fleet, options.rows, options.batch_rows, options.rows_a_day)
    measured = min(MILLION, options.rows // 4)
    warm_up = min(MILLION, options.rows) // 10
    figures: dict[str, Any] = {"machine": _machine(), "settings": settings, "rows": options.rows}
    async with place(fleet, settings) as there:
        began = time.perf_counter()
        async with loading(there.target, plan, options.streams) as load:
            seconds = time.perf_counter() - began
            print(f"{len(fleet)} streams of 960 configurations opened in {seconds:.1f} s")
            figures["seconds_to_open"] = round(seconds, 1)
            figures["warm_up"] = await lap(there, load, "warm up", warm_up)
            figures["first"] = first = await lap(there, load, "first", measured)
            figures["reads_of_few"] = await read_times(there.target, there.dsn, options.reads)
            left = options.rows - warm_up - 2 * measured
            figures["between"] = await lap(there, load, "between", left)
            figures["last"] = last = await lap(there, load, "last", measured)
        figures["reads_of_all"] = await read_times(there.target, there.dsn, options.reads)
        figures["bytes_per_row"] = await bytes_per_row(there.dsn)
        if options.timescale_dsn:
            figures["hypertable_bytes_per_row"] = await hypertable_bytes_per_row(
                there.dsn, options.timescale_dsn
            )
    ratio = last["rows_per_second"] / first["rows_per_second"]
    figures["last_to_first"] = round(ratio, 3)
    print(f"last to first {ratio:.2f} (mark: {MARK})")
    return figures


def _clean_up_at_the_end_from_outside() -> None:
    """Makes SIGTERM end the task in order, as an error does: what was started is stopped then."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def end() -> None:
        # Once: a second signal must not break off the cleaning up.
        if task is not None and not task.cancelling():
            task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)


def _machine() -> dict[str, Any]:
    memory = psutil.virtual_memory().total
    return {
        "processors": os.cpu_count(),
        "memory_gb": round(memory / 1e9, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


if __name__ == "__main__":
    sys.exit(main())
