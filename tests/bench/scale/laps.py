"""What a part of the load costs: its rate, and what it took of processors, log and checkpoints."""

from typing import Any, Final

import asyncpg

from tests.bench.scale.load import Load
from tests.bench.scale.place import Place

# What is written on behalf of a lap is counted from the one look to the next.
_COUNTERS: Final = """
    SELECT pg_current_wal_insert_lsn() - '0/0' AS wal_bytes,
        num_timed + num_requested AS checkpoints
    FROM pg_stat_checkpointer
"""


async def lap(place: Place, load: Load, title: str, rows: int) -> dict[str, Any]:
    """Sends the next rows and prints and returns what that cost."""
    used, counted = place.cpu_seconds(), await _counters(place.dsn)
    done = await load.send(rows)
    cpu = {
        title: (seconds - used[title]) / done.rows * 1e6
        for title, seconds in place.cpu_seconds().items()
    }
    wal_bytes, checkpoints = (
        now - before for now, before in zip(await _counters(place.dsn), counted, strict=True)
    )
    print(
        f"{title:<9}{done.rows:>12,} rows  {done.rate:>8,.0f} rows/s   CPU "
        + ", ".join(f"{name} {microseconds:.1f}" for name, microseconds in cpu.items())
        + f" µs/row   log {wal_bytes / done.rows:,.0f} bytes/row, {checkpoints} checkpoints",
        flush=True,
    )
    return {
        "rows": done.rows,
        "rows_per_second": round(done.rate),
        "rows_per_second_of_each_million": [round(rate) for rate in done.rates],
        "cpu_us_per_row": {name: round(each, 2) for name, each in cpu.items()},
        "wal_bytes_per_row": round(wal_bytes / done.rows),
        "checkpoints": checkpoints,
    }


async def _counters(dsn: str) -> tuple[int, int]:
    connection = await asyncpg.connect(dsn)
    try:
        found = await connection.fetchrow(_COUNTERS)
    finally:
        await connection.close()
    return int(found["wal_bytes"]), int(found["checkpoints"])
