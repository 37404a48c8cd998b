"""Choose how results are stored: in a hypertable where TimescaleDB is there, else in partitions.

A table with rows cannot become a hypertable in place, so only a database without results is turned
into one here. Where results are stored already it stays `native`, and `servemark storage migrate`
copies them. Both use the functions made here, which are the database owner's alone:

    offered_profile    what this server could do, and why not more; installs the extension
    build_hypertable   makes an empty hypertable beside the results, in the schema ingest_hypertable
    adopt_hypertable   puts it in the place of the results, and records the profile
    compress_old_days  lets days be compressed, where the licence allows it

Columns, indexes, names and rights are copied from the table as it is, so that a hypertable has what
the history before made of the partitions.

Where TimescaleDB's licence allows it, days are compressed once few late results are to be expected.
Measured with 300,000 simulated rows a day of 6,000 configurations, indexes included: 511 bytes a
row before, 126 in segments of a model version, in order of time. Segments of a configuration: 208
(a batch of 1,000 rows is never full); none, in order of time: 156. Joins find their batches by
segment only, and the history of a version or a configuration is what is asked of old days. With
43,000 rows a day it is 158 bytes.

No retention policy is added: TimescaleDB's would drop a day whether or not it was archived. On
every profile the service's own retention does that work, after it has verified the archive, through
`drop_result_day`.

What code asks of every profile has one name on all of them. The functions of the other kind of
table wait under names of their own: `native_…` and `hypertable_…`.
"""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

# What the server offers. `timescaledb.disable_load` is a setting of the part that is loaded when
# the server starts: without it CREATE EXTENSION would end the connection. Bloom filters over two
# columns that are read as they are written came with 2.27.
OFFERED_PROFILE = """
CREATE FUNCTION ingest.offered_profile(OUT profile text, OUT reason text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    version text;
BEGIN
    profile := 'native';
    IF NOT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb') THEN
        reason := 'TimescaleDB is not on this server';
        RETURN;
    END IF;
    IF current_setting('timescaledb.disable_load', true) IS DISTINCT FROM 'off' THEN
        reason := 'TimescaleDB is not loaded (shared_preload_libraries)';
        RETURN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb') THEN
        BEGIN
            CREATE EXTENSION timescaledb SCHEMA public;
        EXCEPTION WHEN OTHERS THEN
            reason := 'TimescaleDB could not be installed in this database: ' || SQLERRM;
            RETURN;
        END;
    END IF;
    SELECT extversion INTO version FROM pg_extension WHERE extname = 'timescaledb';
    IF string_to_array(split_part(version, '-', 1), '.')::int[] < ARRAY[2, 27] THEN
        reason := format('TimescaleDB %s is too old; 2.27 or newer is needed', version);
        RETURN;
    END IF;
    profile := CASE current_setting('timescaledb.license')
        WHEN 'timescale' THEN 'timescale' ELSE 'timescale-apache'
    END;
END
$$
"""

TIMESCALE_SCHEMA = """
CREATE FUNCTION ingest.timescale_schema() RETURNS name
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT nspname FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace
    WHERE extname = 'timescaledb'
$$
"""

COPY_INDEXES_AND_RIGHTS = """
CREATE FUNCTION ingest.copy_indexes_and_rights(original regclass, copy regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    statement text;
BEGIN
    FOR statement IN
        SELECT format('ALTER TABLE %s ADD CONSTRAINT %I %s', copy, conname,
            pg_get_constraintdef(oid))
        FROM pg_constraint WHERE conrelid = original AND contype = 'p'
        UNION ALL
        SELECT regexp_replace(
            pg_get_indexdef(indexrelid), ' ON (ONLY )?[^ ]+ USING ', format(' ON %s USING ', copy)
        )
        FROM pg_index WHERE indrelid = original AND NOT indisprimary
        UNION ALL
        SELECT format('GRANT %s ON %s TO %s', string_agg(privilege_type, ', '), copy,
            grantee::regrole)
        FROM pg_class, aclexplode(relacl) AS acl
        WHERE pg_class.oid = original AND grantee NOT IN (0, relowner)
        GROUP BY grantee
    LOOP
        EXECUTE statement;
    END LOOP;
END
$$
"""

BUILD_HYPERTABLE = """
CREATE FUNCTION ingest.build_hypertable() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    api name := ingest.timescale_schema();
BEGIN
    CREATE SCHEMA ingest_hypertable;
    CREATE TABLE ingest_hypertable.benchmark_results (
        LIKE ingest.benchmark_results INCLUDING ALL EXCLUDING INDEXES
    );
    EXECUTE format(
        'SELECT %1$I.create_hypertable(''ingest_hypertable.benchmark_results'', '
        '%1$I.by_range(''benchmarked_at'', interval ''1 day''), create_default_indexes => false)',
        api
    );
    PERFORM ingest.copy_indexes_and_rights(
        'ingest.benchmark_results', 'ingest_hypertable.benchmark_results'
    );
END
$$
"""

# The second filter serves who asks for a result by id and time, and each late row: it has to be
# looked for in every batch of its day. Late rows cost more in a compressed day; most come sooner.
COMPRESS_OLD_DAYS = """
CREATE FUNCTION ingest.compress_old_days() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    ALTER TABLE ingest.benchmark_results SET (
        timescaledb.enable_columnstore = true,
        timescaledb.segmentby = 'model_version_id',
        timescaledb.orderby = 'benchmarked_at DESC',
        timescaledb.sparse_index = 'bloom(id), bloom(id, benchmarked_at), bloom(config_id)'
    );
    EXECUTE format(
        'CALL %I.add_columnstore_policy('
        '''ingest.benchmark_results'', after => interval ''7 days'')',
        ingest.timescale_schema()
    );
    PERFORM ingest.record_profile('timescale', NULL);
END
$$
"""

ADOPT_HYPERTABLE = """
CREATE FUNCTION ingest.adopt_hypertable(profile text, keep_partitions boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    part regclass;
BEGIN
    IF keep_partitions THEN
        -- Out of the service's reach: it may not use this schema.
        CREATE SCHEMA ingest_native;
        FOR part IN
            SELECT inhrelid FROM pg_inherits
            WHERE inhparent = 'ingest.benchmark_results'::regclass
        LOOP
            EXECUTE format('ALTER TABLE %s SET SCHEMA ingest_native', part);
        END LOOP;
        ALTER TABLE ingest.benchmark_results SET SCHEMA ingest_native;
    ELSE
        DROP TABLE ingest.benchmark_results;
    END IF;
    ALTER TABLE ingest_hypertable.benchmark_results SET SCHEMA ingest;
    DROP SCHEMA ingest_hypertable CASCADE;
    PERFORM ingest.rename_day_functions('native_', 'hypertable_');
    IF profile = 'timescale' THEN
        PERFORM ingest.compress_old_days();
    ELSE
        PERFORM ingest.record_profile(profile, NULL);
    END IF;
END
$$
"""

# The names that every profile's code calls, given to the functions that wait as `<taken>…` after
# those that have them now are put aside as `<given up>…`.
RENAME_DAY_FUNCTIONS = """
CREATE FUNCTION ingest.rename_day_functions(given_up text, taken text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    signature text;
    called text;
BEGIN
    FOREACH signature IN ARRAY ARRAY[
        'create_result_partition(date)', 'drop_result_day(date)', 'result_days()'
    ] LOOP
        called := split_part(signature, '(', 1);
        IF to_regprocedure('ingest.' || signature) IS NOT NULL THEN
            EXECUTE format('ALTER FUNCTION ingest.%s RENAME TO %I', signature, given_up || called);
        END IF;
        IF to_regprocedure('ingest.' || taken || signature) IS NOT NULL THEN
            EXECUTE format('ALTER FUNCTION ingest.%s RENAME TO %I', taken || signature, called);
        END IF;
    END LOOP;
END
$$
"""

RECORD_PROFILE = """
CREATE FUNCTION ingest.record_profile(profile text, reason text) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    DELETE FROM ingest.settings WHERE name IN ('storage_profile', 'storage_profile_reason');
    INSERT INTO ingest.settings (name, value)
    SELECT * FROM (
        VALUES ('storage_profile', profile), ('storage_profile_reason', reason)
    ) AS rows (name, value)
    WHERE value IS NOT NULL
$$
"""

HYPERTABLE_CREATE_RESULT_PARTITION = """
CREATE FUNCTION ingest.hypertable_create_result_partition(day date) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    -- The chunk of a day comes with its first result.
    SELECT false
$$
"""

HYPERTABLE_RESULT_DAYS = """
CREATE FUNCTION ingest.hypertable_result_days()
RETURNS TABLE (day date, bytes bigint, is_compressed boolean)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY EXECUTE format(
        'SELECT (chunk.range_start AT TIME ZONE ''UTC'')::date, size.total_bytes, '
        'chunk.is_compressed FROM timescaledb_information.chunks AS chunk '
        'JOIN %I.chunks_detailed_size(''ingest.benchmark_results'') AS size '
        'USING (chunk_schema, chunk_name) '
        'WHERE chunk.hypertable_schema = ''ingest'' '
        'AND chunk.hypertable_name = ''benchmark_results'' ORDER BY chunk.range_start',
        ingest.timescale_schema()
    );
END
$$
"""

# Run with the owner's rights: chunks are his. As its native sister it has the last word: it keeps
# writers out of the day, counts, and drops only what is archived.
HYPERTABLE_DROP_RESULT_DAY = """
CREATE FUNCTION ingest.hypertable_drop_result_day(day date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET lock_timeout = '500ms' AS $$
DECLARE
    starts CONSTANT timestamptz := day::timestamp AT TIME ZONE 'UTC';
    ends CONSTANT timestamptz := (day + 1)::timestamp AT TIME ZONE 'UTC';
    part text;
    present bigint;
BEGIN
    SELECT format('%I.%I', chunk_schema, chunk_name) INTO part
    FROM timescaledb_information.chunks
    WHERE hypertable_schema = 'ingest' AND hypertable_name = 'benchmark_results'
        AND range_start = starts;
    IF part IS NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('LOCK TABLE %s IN SHARE MODE', part);
    SELECT count(*) INTO present FROM ingest.benchmark_results
    WHERE benchmarked_at >= starts AND benchmarked_at < ends;
    IF present > 0 AND NOT EXISTS (
        SELECT FROM ingest.archived_days AS archived
        -- By number: the function's name, which would tell the two apart, is not yet its last.
        WHERE archived.day = $1 AND archived.row_count = present
            AND archived.dropped_at IS NULL
    ) THEN
        RETURN false;
    END IF;
    PERFORM ingest.mark_day(day);
    EXECUTE format(
        'SELECT %I.drop_chunks(''ingest.benchmark_results'', older_than => $2, newer_than => $1)',
        ingest.timescale_schema()
    ) USING starts, ends;
    RETURN true;
END
$$
"""

OWNERS = (
    "offered_profile()",
    "copy_indexes_and_rights(regclass, regclass)",
    "build_hypertable()",
    "compress_old_days()",
    "adopt_hypertable(text, boolean)",
    "rename_day_functions(text, text)",
    "record_profile(text, text)",
)
EVERYBODYS = (
    "timescale_schema()",
    "hypertable_create_result_partition(date)",
    "hypertable_result_days()",
    "hypertable_drop_result_day(date)",
)

CHOOSE = """
DO $$
DECLARE
    offered record;
BEGIN
    SELECT * INTO offered FROM ingest.offered_profile();
    IF offered.profile = 'native' THEN
        PERFORM ingest.record_profile('native', offered.reason);
        RETURN;
    END IF;
    -- Nobody stores a result between the look and the exchange.
    LOCK TABLE ingest.benchmark_results IN ACCESS EXCLUSIVE MODE;
    IF EXISTS (SELECT FROM ingest.benchmark_results) THEN
        PERFORM ingest.record_profile('native', 'results were stored before TimescaleDB was there');
        RETURN;
    END IF;
    PERFORM ingest.build_hypertable();
    PERFORM ingest.adopt_hypertable(offered.profile, keep_partitions => false);
END
$$
"""

# A hypertable becomes partitions again with all its rows.
GO_BACK = """
DO $$
DECLARE
    written text;
    day date;
BEGIN
    IF (SELECT value FROM ingest.settings WHERE name = 'storage_profile') = 'native' THEN
        PERFORM ingest.record_profile('native', NULL);
        RETURN;
    END IF;
    LOCK TABLE ingest.benchmark_results IN ACCESS EXCLUSIVE MODE;
    CREATE SCHEMA ingest_hypertable;
    ALTER TABLE ingest.benchmark_results SET SCHEMA ingest_hypertable;
    CREATE TABLE ingest.benchmark_results (
        LIKE ingest_hypertable.benchmark_results INCLUDING ALL EXCLUDING INDEXES
    ) PARTITION BY RANGE (benchmarked_at);
    PERFORM ingest.copy_indexes_and_rights(
        'ingest_hypertable.benchmark_results', 'ingest.benchmark_results'
    );
    PERFORM ingest.rename_day_functions('hypertable_', 'native_');
    SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) INTO written
    FROM pg_attribute
    WHERE attrelid = 'ingest.benchmark_results'::regclass AND attnum > 0
        AND NOT attisdropped AND attgenerated = '';
    FOR day IN
        SELECT DISTINCT benchmark_date FROM ingest_hypertable.benchmark_results
    LOOP
        PERFORM ingest.create_result_partition(day);
    END LOOP;
    EXECUTE format(
        'INSERT INTO ingest.benchmark_results (%1$s) '
        'SELECT %1$s FROM ingest_hypertable.benchmark_results',
        written
    );
    DROP SCHEMA ingest_hypertable CASCADE;
    PERFORM ingest.record_profile('native', NULL);
END
$$
"""


def upgrade() -> None:
    for function in (
        OFFERED_PROFILE,
        TIMESCALE_SCHEMA,
        COPY_INDEXES_AND_RIGHTS,
        BUILD_HYPERTABLE,
        COMPRESS_OLD_DAYS,
        RENAME_DAY_FUNCTIONS,
        RECORD_PROFILE,
        ADOPT_HYPERTABLE,
        HYPERTABLE_CREATE_RESULT_PARTITION,
        HYPERTABLE_RESULT_DAYS,
        HYPERTABLE_DROP_RESULT_DAY,
    ):
        op.execute(function)
    for function in (*OWNERS, *EVERYBODYS):
        op.execute(f"REVOKE ALL ON FUNCTION ingest.{function} FROM PUBLIC, servemark_ingest")
    for function in EVERYBODYS:
        op.execute(f"GRANT EXECUTE ON FUNCTION ingest.{function} TO servemark_ingest")
    op.execute(CHOOSE)


def downgrade() -> None:
    op.execute("DROP SCHEMA IF EXISTS ingest_native CASCADE")
    op.execute("DROP SCHEMA IF EXISTS ingest_hypertable CASCADE")
    op.execute(GO_BACK)
    for function in (*OWNERS, *EVERYBODYS):
        op.execute(f"DROP FUNCTION ingest.{function}")
