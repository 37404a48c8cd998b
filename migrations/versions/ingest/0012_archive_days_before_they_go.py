"""Note which days lie in the archive, and let a day go only once it does.

`archived_days` has a row for each day that was written to the archive: which file, what is in it,
and whether the day's rows are still here. `archive_uploads` names the files that are being written,
so that what a crash leaves half-way is found by its name and never guessed from a listing.

The service's role may not drop tables, so a day goes through a function with its owner's rights.
It has the last word: it keeps writers out of the day, counts, and drops only what `archived_days`
says is in the archive. A row that arrived after the service compared makes the counts differ, and
the day stays. It marks what the day's rows were condensed to, as everyone does who takes rows away.
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

RESULT_DAYS = """
CREATE FUNCTION ingest.result_days() RETURNS TABLE (day date, bytes bigint, is_compressed boolean)
LANGUAGE sql STABLE SET search_path = ingest, pg_temp AS $$
    SELECT to_date(right(part.relname, 8), 'YYYYMMDD'), pg_total_relation_size(part.oid), false
    FROM pg_inherits
    JOIN pg_class AS part ON part.oid = pg_inherits.inhrelid
    WHERE pg_inherits.inhparent = 'ingest.benchmark_results'::regclass
        AND part.relname ~ '^benchmark_results_[0-9]{8}$'
    ORDER BY 1
$$
"""

# Short waits, because whoever asks for the table behind a waiting drop waits, too. The partition is
# locked before its parent: counting under the parent's lock would stop all reading and writing.
DROP_RESULT_DAY = """
CREATE FUNCTION ingest.drop_result_day(day date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ingest, pg_temp SET lock_timeout = '500ms' AS $$
DECLARE
    part text := 'benchmark_results_' || to_char(day, 'YYYYMMDD');
    present bigint;
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_class WHERE relnamespace = 'ingest'::regnamespace AND relname = part
    ) THEN
        RETURN false;
    END IF;
    EXECUTE format('LOCK TABLE ingest.%I IN SHARE MODE', part);
    EXECUTE format('SELECT count(*) FROM ingest.%I', part) INTO present;
    IF present > 0 AND NOT EXISTS (
        SELECT FROM ingest.archived_days AS archived
        WHERE archived.day = drop_result_day.day AND archived.row_count = present
            AND archived.dropped_at IS NULL
    ) THEN
        RETURN false;
    END IF;
    PERFORM ingest.mark_day(day);
    EXECUTE format('ALTER TABLE ingest.benchmark_results DETACH PARTITION ingest.%I', part);
    EXECUTE format('DROP TABLE ingest.%I', part);
    RETURN true;
END
$$
"""


def upgrade() -> None:
    op.create_table(
        "archived_days",
        sa.Column("day", sa.Date(), nullable=False),
        # Below the archive's address, so that an archive can move.
        sa.Column("object_name", sa.Text(), nullable=False),
        sa.Column("row_count", sa.BigInteger(), nullable=False),
        sa.Column("byte_size", sa.BigInteger(), nullable=False),
        # Of the file.
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        # Of the rows: the XOR of each row's SHA-256, whatever their order.
        sa.Column("content_checksum", sa.LargeBinary(), nullable=False),
        sa.Column("archived_at", sa.DateTime(timezone=True), nullable=False),
        # When the file was last read back and found right.
        sa.Column("verified_at", sa.DateTime(timezone=True), nullable=False),
        # NULL: the day's rows are here.
        sa.Column("dropped_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("restored_at", sa.DateTime(timezone=True), nullable=True),
        # A restored day is not dropped again before.
        sa.Column("keep_until", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("day", name="pk_archived_days"),
        schema="ingest",
    )
    op.create_table(
        "archive_uploads",
        sa.Column("object_name", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("object_name", name="pk_archive_uploads"),
        schema="ingest",
    )
    op.execute(RESULT_DAYS)
    op.execute(DROP_RESULT_DAY)
    for function in ("result_days()", "drop_result_day(date)"):
        op.execute(f"REVOKE ALL ON FUNCTION ingest.{function} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION ingest.{function} TO servemark_ingest")


def downgrade() -> None:
    op.execute("DROP FUNCTION ingest.drop_result_day(date)")
    op.execute("DROP FUNCTION ingest.result_days()")
    op.drop_table("archive_uploads", schema="ingest")
    op.drop_table("archived_days", schema="ingest")
