"""Check a batch's configurations in the batch's own first statement, not in a trigger.

A statement trigger with a transition table on a partitioned table makes COPY insert row by row
(PostgreSQL, commands/copyfrom.c: no multi-insert), which costs a tenth of the ingest; on the leaves
it would copy every row once more. The service asks instead, in the statement that locks the
stream's cursor, whether each of the batch's configurations exists. That holds because a
configuration never goes away again: the service's role may neither delete nor change one.
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

CHECK_CONFIGS = """
CREATE FUNCTION ingest.check_result_configs() RETURNS trigger
LANGUAGE plpgsql SET search_path = ingest, pg_temp AS $$
DECLARE
    unknown uuid;
BEGIN
    SELECT rows.config_id INTO unknown
    FROM (SELECT DISTINCT model_id, config_id FROM new_rows) AS rows
    WHERE NOT EXISTS (
        SELECT FROM ingest.benchmark_configs AS config
        WHERE config.model_id = rows.model_id AND config.id = rows.config_id
    )
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'configuration % of a result is not in benchmark_configs', unknown
            USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN NULL;
END
$$
"""


def upgrade() -> None:
    op.execute("DROP TRIGGER check_result_configs ON ingest.benchmark_results")
    op.execute("DROP FUNCTION ingest.check_result_configs()")
    op.execute("REVOKE UPDATE, DELETE, TRUNCATE ON ingest.benchmark_configs FROM servemark_ingest")


def downgrade() -> None:
    op.execute("GRANT UPDATE, DELETE ON ingest.benchmark_configs TO servemark_ingest")
    op.execute(CHECK_CONFIGS)
    op.execute(
        "CREATE TRIGGER check_result_configs AFTER INSERT ON ingest.benchmark_results "
        "REFERENCING NEW TABLE AS new_rows "
        "FOR EACH STATEMENT EXECUTE FUNCTION ingest.check_result_configs()"
    )
