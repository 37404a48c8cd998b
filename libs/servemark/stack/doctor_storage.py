"""What `servemark doctor` says of TimescaleDB, and of how results are stored."""

from typing import Any, Final

_TIMESCALEDB: Final = """
    SELECT default_version AS available, installed_version AS installed,
        -- A setting of the part that is loaded when the server starts.
        current_setting('timescaledb.disable_load', true) = 'off' AS is_loaded,
        current_setting('timescaledb.license', true) AS licence
    FROM (VALUES ('timescaledb')) AS wanted (name)
    LEFT JOIN pg_available_extensions USING (name)
"""
_PARTITIONS: Final = """
    SELECT count(*) AS days, coalesce(sum(pg_total_relation_size(inhrelid)), 0)::bigint AS bytes
    FROM pg_inherits WHERE inhparent = 'ingest.benchmark_results'::regclass
"""
_CHUNKS: Final = """
    SELECT count(*) AS days, count(*) FILTER (WHERE is_compressed) AS compressed,
        coalesce(sum(bytes), 0)::bigint AS bytes
    FROM ingest.result_days()
"""
_KEPT: Final = """
    SELECT sum(pg_total_relation_size(pg_class.oid))::bigint
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE nspname = 'ingest_native' AND relkind = 'r'
"""


async def timescaledb(connection: Any) -> str:
    """Whether the server and the database have TimescaleDB, and under which licence."""
    found = await connection.fetchrow(_TIMESCALEDB)
    if found["available"] is None:
        return "not on this server"
    if not found["is_loaded"]:
        return f"{found['available']}, not loaded: shared_preload_libraries lacks it"
    if found["installed"] is None:
        return f"{found['available']}, loaded; not used in this database"
    return f"{found['installed']}, licence {found['licence']}"


async def storage(connection: Any) -> tuple[str, str] | None:
    """Whether it is well how results are stored (ok, wrong), and how; None before migration."""
    if await connection.fetchval("SELECT to_regclass('ingest.settings')") is None:
        return None
    known = dict(await connection.fetch("SELECT name, value FROM ingest.settings"))
    server = await connection.fetchrow(_TIMESCALEDB)
    match known.get("storage_profile"):
        case "native":
            reason = known.get("storage_profile_reason")
            return "ok", await _native(connection, reason, bool(server["is_loaded"]))
        case "timescale" | "timescale-apache" as profile:
            text = await _hypertable(connection, profile)
            if profile == "timescale-apache" and server["licence"] == "timescale":
                text += "; `servemark storage migrate` lets old days be compressed"
            if profile == "timescale" and server["licence"] != "timescale":
                return "wrong", f"{text}; no day is compressed without the licence timescale"
            return "ok", text
        case profile:
            return "wrong", f"the profile {profile} is not known to this version"


async def _native(connection: Any, reason: str | None, could_be_moved: bool) -> str:
    found = await connection.fetchrow(_PARTITIONS)
    text = f"native: {found['days']} day partitions, {_size(found['bytes'])}"
    if reason:
        text += f", because {reason}"
    if could_be_moved:
        text += "; `servemark storage migrate` moves them into a hypertable"
    return text


async def _hypertable(connection: Any, profile: str) -> str:
    found = await connection.fetchrow(_CHUNKS)
    text = (
        f"{profile}: a hypertable of {found['days']} days, {found['compressed']} of them "
        f"compressed, {_size(found['bytes'])}"
    )
    kept = await connection.fetchval(_KEPT)
    if kept:
        text += (
            f"; {_size(kept)} of partitions that were moved are kept: "
            "`servemark storage migrate --drop-old` drops them"
        )
    return text


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"
