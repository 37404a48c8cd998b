"""The database itself keeps organizations apart, also where a statement forgets to."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID, uuid4

import asyncpg
import pytest

from servemark.runtime import tenancy
from servemark.runtime.database import Database
from servemark.runtime.ids import uuid7
from servemark.runtime.tenancy import PLATFORM, PUBLIC, Tenant
from services.ingest import store_results
from services.ingest.records import NewConfig, Parts, ResultFilter, Shape, Source
from services.ingest.store_results import ResultStore
from services.ingest.store_streams import StreamStore
from tests.support import servers

pytestmark = pytest.mark.every_profile

ACME, BORG = uuid4(), uuid4()
MODEL = uuid4()
GUARDED = (
    "benchmark_configs",
    "streams",
    "result_rejections",
    "config_summaries",
    "organization_daily_stats",
)
_SUMMARY = """
    INSERT INTO ingest.config_summaries (
        config_id, model_id, model_version_id, hardware_config_id, framework_id, run_count,
        request_count, failed_request_count, counted_from, updated_at, recent_days, medians, means,
        lowest, highest, counts, workload_type, provenance, tools
    )
    SELECT id, model_id, model_version_id, hardware_config_id, framework_id, 1, 1, 0, now(), now(),
        0, '{}', '{}', '{}', '{}', '{}', workload_type, provenance, '{}'
    FROM ingest.benchmark_configs
"""


def _of(organization_id: UUID | None) -> Tenant:
    return PLATFORM if organization_id is None else Tenant(organization_id, publishes=False)


@pytest.fixture
async def database(migrated_database: str) -> AsyncIterator[Database]:
    """A row of each table that is everybody's, one of ACME's and one of BORG's."""
    pool = Database(migrated_database, "ingest")
    parts = Parts(MODEL, uuid4(), uuid4(), uuid4())
    shape = Shape("chatbot", None, None, 8, None, 1, 1, 1, 1)
    for owner in (None, ACME, BORG):
        tenancy.act_for(_of(owner))
        stream_id = uuid7()
        key = NewConfig(parts, shape, "measured", owner)
        opened = await StreamStore(pool).open(
            Source(stream_id, "vllm", "1", "measured"), b"digest", {0: key}
        )
        assert opened is not None
        assert opened.entries[0].config is not None
        config_id = opened.entries[0].config.id
        moment = datetime.now(UTC)
        moment = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
        async with pool.driver_transaction() as driver:
            await driver.execute(
                "INSERT INTO result_rejections (org_id, stream_id, sequence, row_index, result_id,"
                " reason, detail, payload_sha256) VALUES ($1, $2, 0, 0, '', 'NO_METRICS', '', '')",
                owner,
                stream_id,
            )
        servers.execute(
            migrated_database,
            "SELECT ingest.create_result_partition((now() AT TIME ZONE 'UTC')::date)"
            " WHERE to_regclass('ingest.benchmark_results_' || to_char(now(), 'YYYYMMDD')) IS NULL",
            "INSERT INTO ingest.benchmark_results (id, benchmarked_at, config_id, model_id,"
            " model_version_id, hardware_config_id, framework_id, stream_id, workload_type,"
            f" percentile_source, tool, tool_version) VALUES ('{uuid7()}', '{moment}',"
            f" '{config_id}', '{MODEL}', '{parts.model_version_id}', '{parts.hardware_config_id}',"
            f" '{parts.framework_id}', '{stream_id}', 'chatbot', 'absent', 'vllm', '1')",
            *(
                [
                    "INSERT INTO ingest.organization_daily_stats (org_id, model_id, stats_date,"
                    f" total_benchmarks, updated_at) VALUES ('{owner}', '{MODEL}', now(), 1, now())"
                ]
                if owner
                else []
            ),
        )
    servers.execute(migrated_database, _SUMMARY)
    tenancy.act_for(PLATFORM)
    yield pool
    tenancy.act_for(PLATFORM)
    await pool.close()


async def _count(database: Database, table: str) -> int:
    return int((await database.fetch(f"SELECT count(*) FROM {table}"))[0][0])


@pytest.mark.parametrize("table", GUARDED)
async def test_a_statement_without_conditions_reads_what_is_public_and_its_own(
    database: Database, table: str
) -> None:
    public = 0 if table == "organization_daily_stats" else 1
    for tenant, count in (
        (PLATFORM, public + 2),
        (_of(ACME), public + 1),
        (Tenant(uuid4()), public),
        (PUBLIC, public),
    ):
        tenancy.act_for(tenant)
        assert await _count(database, table) == count


@pytest.mark.parametrize("table", GUARDED)
async def test_a_connection_that_says_nothing_reads_nothing_of_any_organization(
    database: Database, migrated_database: str, table: str
) -> None:
    connection = await asyncpg.connect(
        migrated_database, server_settings={"role": "servemark_ingest", "search_path": "ingest"}
    )
    try:
        public = 0 if table == "organization_daily_stats" else 1
        assert await connection.fetchval(f"SELECT count(*) FROM {table}") == public
        # What one transaction says ends with it.
        async with connection.transaction():
            await connection.execute("SET LOCAL servemark.organization = 'all'")
            assert await connection.fetchval(f"SELECT count(*) FROM {table}") == public + 2
        assert await connection.fetchval(f"SELECT count(*) FROM {table}") == public
    finally:
        await connection.close()


async def test_nobody_reads_past_the_policy_through_a_partition(database: Database) -> None:
    for number in range(4):
        assert await _count(database, f"benchmark_configs_p{number}") == 0


async def test_nobody_writes_for_another_organization(database: Database) -> None:
    tenancy.act_for(_of(ACME))
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with database.driver_transaction() as driver:
            await driver.execute("UPDATE streams SET org_id = $1", BORG)
    async with database.driver_transaction() as driver:
        assert await driver.execute("UPDATE streams SET tool = 'x'") == "UPDATE 2"


async def test_results_stay_hidden_where_the_condition_on_them_is_lost(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ResultStore(database, lambda: datetime.now(UTC).date())
    tenancy.act_for(_of(ACME))
    expected = {None, ACME}
    for _ in range(2):
        found = await store.page(ResultFilter(), None, 10)
        assert {result.config.key.organization_id for result in found} == expected
        assert len(found) == 2
        monkeypatch.setattr(store_results, "seen", list)
