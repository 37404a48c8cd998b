"""Days of results as the owner of the database handles them, on every storage profile."""

from datetime import date

from tests.support import servers


def recorded(dsn: str) -> tuple[str, str | None]:
    """The recorded profile, and why it is not another."""
    value = "(SELECT value FROM ingest.settings WHERE name = '{}')"
    profile, reason = (
        servers.fetch_value(dsn, "SELECT " + value.format(name))
        for name in ("storage_profile", "storage_profile_reason")
    )
    return profile, reason


def is_hypertable(dsn: str) -> bool:
    """Whether results lie in a hypertable."""
    return recorded(dsn)[0] != "native"


def table_of(dsn: str, day: date) -> str:
    """The name of the table that holds the rows of a day that has some."""
    query = (
        "SELECT CAST(tableoid::regclass AS text) FROM ingest.benchmark_results "
        "WHERE benchmark_date = $1 LIMIT 1"
    )
    return str(servers.fetch_value(dsn, query, day))


def drop_day(dsn: str, day: date) -> None:
    """Drops what holds the day, archived or not, as whoever drops a day does."""
    if is_hypertable(dsn):
        statement = (
            "SELECT drop_chunks('ingest.benchmark_results', "
            f"newer_than => '{day} 00:00Z'::timestamptz, "
            f"older_than => '{day} 00:00Z'::timestamptz + interval '24 hours')"
        )
    else:
        statement = f"DROP TABLE ingest.benchmark_results_{day:%Y%m%d}"
    servers.execute(dsn, f"BEGIN; SELECT ingest.mark_day('{day}'); {statement}; COMMIT")
