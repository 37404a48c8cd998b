"""No day may go into which a result could still be accepted."""

from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.retention import MARGIN, first_day_kept
from services.ingest.validation import TimeWindow


@pytest.mark.parametrize(
    ("now", "retention_days", "kept"),
    [
        # A result of the 29th, 00:00, is accepted for the last time; a day later the 28th may go.
        (datetime(2026, 3, 31, 0, 0, tzinfo=UTC), 30, date(2026, 2, 28)),
        (datetime(2026, 3, 30, 23, 59, 59, 999_999, tzinfo=UTC), 30, date(2026, 2, 27)),
        (datetime(2026, 3, 31, 23, 59, 59, 999_999, tzinfo=UTC), 30, date(2026, 2, 28)),
        (datetime(2026, 1, 1, 12, 0, tzinfo=UTC), 1, date(2025, 12, 30)),
    ],
)
def test_the_borders_are_midnights(now: datetime, retention_days: int, kept: date) -> None:
    assert first_day_kept(now, retention_days) == kept


@given(
    now=st.datetimes(
        min_value=datetime(2200, 1, 1),  # noqa: DTZ001
        max_value=datetime(2300, 1, 1),  # noqa: DTZ001
        timezones=st.just(UTC),
    ),
    retention_days=st.integers(1, 36_500),
)
def test_the_last_day_that_may_go_ended_a_day_before_anything_that_is_accepted(
    now: datetime, retention_days: int
) -> None:
    earliest = TimeWindow.around(int(now.timestamp() * 1000), retention_days).earliest_ms / 1000
    end = datetime.combine(first_day_kept(now, retention_days), time(), UTC)
    assert end.timestamp() + MARGIN.total_seconds() <= earliest + 0.001
    next_end = end + timedelta(days=1)
    assert next_end.timestamp() + MARGIN.total_seconds() > earliest
