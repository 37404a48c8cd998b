"""Turns of the roll-ups when a test wants them, and what runs condense to, calculated apart."""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from statistics import fmean, median
from typing import Any

from servemark.ingest.v1.benchmark_result_pb2 import ResultRow
from servemark.ingest.v1.result_query_pb2 import ConfigSummary, ListConfigSummariesRequest
from servemark.runtime.database import Database
from services.ingest.metrics import SUMMARY_COLUMNS
from services.ingest.store_daily import DailyStore
from services.ingest.store_summaries_roll_up import SummaryRollUp

DAY = 86_400_000

Statistics = tuple[float, float, float, float, int]


def today() -> date:
    """The current UTC day."""
    return datetime.now(UTC).date()


def midnight(days_ago: int = 0) -> int:
    """Unix milliseconds of the beginning of a UTC day."""
    day = today() - timedelta(days=days_ago)
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1000


@asynccontextmanager
async def service_database(dsn: str) -> AsyncIterator[Database]:
    """A pool of the service's own connections."""
    database = Database(dsn, "ingest")
    try:
        yield database
    finally:
        await database.close()


async def roll_up_all(dsn: str, day: Callable[[], date] = today) -> int:
    """Takes turns until nothing is left; how many did something."""
    async with service_database(dsn) as database:
        summaries, daily, done = SummaryRollUp(database, day), DailyStore(database), 0
        while (await daily.roll_up()).done or (await summaries.roll_up()).done:
            done += 1
    return done


async def read_summaries(stub: Any, **request: Any) -> list[ConfigSummary]:
    """Every summary that the request asks for, read page by page."""
    asked = ListConfigSummariesRequest(**request)
    found: list[ConfigSummary] = []
    while True:
        page = await stub.ListConfigSummaries(asked)
        found += page.config_summaries
        asked.page_token = page.next_page_token
        if not asked.page_token:
            return found


def condensed(rows: Iterable[ResultRow]) -> dict[int, tuple[int, dict[str, Statistics]]]:
    """Runs and statistics (median, mean, lowest, highest, runs) of each configuration's rows."""
    groups: dict[int, list[ResultRow]] = {}
    for one in rows:
        groups.setdefault(one.config_index, []).append(one)
    return {index: (len(group), _statistics(group)) for index, group in groups.items()}


def _statistics(rows: Sequence[ResultRow]) -> dict[str, Statistics]:
    found = {}
    for name in SUMMARY_COLUMNS:
        values = [getattr(one.metrics, name) for one in rows if one.metrics.HasField(name)]  # type: ignore[arg-type]
        if values:
            found[name] = (median(values), fmean(values), min(values), max(values), len(values))
    return found
