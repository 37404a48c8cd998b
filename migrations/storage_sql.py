"""The SQL of storage.py: what a move of results to a hypertable notes, and what it asks."""

from typing import Final

WITHIN: Final = "benchmarked_at >= :starts AND benchmarked_at < :ends"
OLD: Final = "ingest.benchmark_results"
NEW: Final = "ingest_hypertable.benchmark_results"

NOTE_CHANGED_DAYS: Final = (
    "CREATE TABLE ingest_hypertable.moved_days "
    "(day date PRIMARY KEY, part oid NOT NULL, row_count bigint NOT NULL)",
    "CREATE TABLE ingest_hypertable.changed_days (day date NOT NULL)",
    # Noted once a transaction, or nearly: the setting ends with it, as the note does if it fails.
    """
    CREATE FUNCTION ingest_hypertable.note_changed_day() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
        changed date := coalesce(NEW.benchmark_date, OLD.benchmark_date);
    BEGIN
        IF current_setting('servemark.changed_day', true) IS DISTINCT FROM changed::text THEN
            INSERT INTO ingest_hypertable.changed_days VALUES (changed);
            PERFORM set_config('servemark.changed_day', changed::text, true);
        END IF;
        RETURN NULL;
    END
    $$
    """,
    """
    CREATE TRIGGER note_changed_day AFTER INSERT OR UPDATE OR DELETE ON ingest.benchmark_results
    FOR EACH ROW EXECUTE FUNCTION ingest_hypertable.note_changed_day()
    """,
)

# An earlier run is gone on with where the table still is what it was then.
CAN_GO_ON: Final = """
    SELECT count(DISTINCT shape) = 1
    FROM (
        SELECT array_agg(format('%s %s %s', attname, atttypid, attgenerated) ORDER BY attnum)
            || ARRAY(
                SELECT relname::text FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
                WHERE indrelid = attrelid ORDER BY relname
            ) AS shape
        FROM pg_attribute
        WHERE attrelid IN (
            'ingest.benchmark_results'::regclass, 'ingest_hypertable.benchmark_results'::regclass
        ) AND attnum > 0 AND NOT attisdropped
        GROUP BY attrelid
    ) AS tables
"""
COLUMNS: Final = """
    SELECT quote_ident(attname) AS name, attgenerated = '' AS is_written
    FROM pg_attribute
    WHERE attrelid = 'ingest.benchmark_results'::regclass AND attnum > 0 AND NOT attisdropped
    ORDER BY attnum
"""
PARTS: Final = """
    SELECT to_date(right(relname, 8), 'YYYYMMDD') AS day, pg_class.oid AS part
    FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
    WHERE inhparent = 'ingest.benchmark_results'::regclass
"""
TO_COPY: Final = f"""
    SELECT parts.day, parts.part FROM ({PARTS}) AS parts
    LEFT JOIN ingest_hypertable.moved_days AS moved USING (day)
    WHERE moved.part IS DISTINCT FROM parts.part
        OR parts.day IN (SELECT changed.day FROM ingest_hypertable.changed_days AS changed)
    ORDER BY parts.day
"""  # noqa: S608  (texts of this module)
GONE: Final = f"""
    SELECT moved.day FROM ingest_hypertable.moved_days AS moved
    WHERE moved.day NOT IN (SELECT parts.day FROM ({PARTS}) AS parts)
"""  # noqa: S608
MOVED: Final = """
    SELECT count(*) AS days, coalesce(sum(row_count), 0) AS rows
    FROM ingest_hypertable.moved_days WHERE row_count > 0
"""
RECORDED: Final = "SELECT value FROM ingest.settings WHERE name = 'storage_profile'"
KEPT_BYTES: Final = """
    SELECT coalesce(sum(pg_total_relation_size(pg_class.oid)), 0)::bigint
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE nspname = 'ingest_native' AND relkind = 'r'
"""
