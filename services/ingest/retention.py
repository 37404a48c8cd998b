"""Which days are old enough to go: the rule, and why nothing is lost by it.

The write path refuses rows that are older than the retention (validation.TimeWindow). A day is let
go only a whole day after the last moment at which a row of it could have been accepted. In that day
batches that were checked at the last moment have long been stored or given up, and a process whose
clock goes wrong by hours still refuses before another drops. Should a row arrive in spite of it
(another process with a longer retention, a restore), the day no longer has what was archived, and
is archived again before it goes.
"""

from datetime import date, datetime, timedelta
from typing import Final

MARGIN: Final = timedelta(days=1)


def first_day_kept(now: datetime, retention_days: int) -> date:
    """The first UTC day that may not be dropped; all before it may. `now` is in UTC."""
    earliest_accepted = now - timedelta(days=retention_days)
    return (earliest_accepted - MARGIN).date()
