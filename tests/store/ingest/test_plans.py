"""The planner finds our indexes: EXPLAIN of what the stores send, with realistic statistics."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from servemark.runtime import tenancy
from servemark.runtime.database import Database
from servemark.runtime.ids import uuid7
from servemark.runtime.tenancy import Tenant
from services.ingest.metrics import Limit
from services.ingest.records import (
    NewConfig,
    Parts,
    RegressionQuery,
    ResultFilter,
    RunSelection,
    SeriesQuery,
    Source,
    Stream,
)
from services.ingest.records import Shape as ConfigShape
from services.ingest.store_condense import RUN_COUNT, statistic
from services.ingest.store_daily import DailyStore
from services.ingest.store_regressions import RegressionStore
from services.ingest.store_results import ResultStore
from services.ingest.store_series import SeriesStore
from services.ingest.store_streams import StreamStore
from services.ingest.store_summaries import SummaryStore
from services.ingest.store_summaries_roll_up import SummaryRollUp
from tests.support import servers
from tests.support.plans import Plan, plans_of
from tests.support.synthetic import Shape, fill, identifier, mark_everything

GROUP = "idx_benchmark_results_model_hardware_framework"
LATENCY = "idx_benchmark_results_latency_sla"
WORKLOAD = "idx_benchmark_results_date_workload"
VERSION = "idx_benchmark_results_version_latest"
DAILY = "idx_daily_stats_model_date"
SHAPE = Shape(rows=40_000, configs=1200, days=12)
RARE = "needle"


def today() -> date:
    """The current UTC day."""
    return datetime.now(UTC).date()


async def _made(dsn: str) -> None:
    await fill(dsn, SHAPE)
    await mark_everything(dsn)
    database = Database(dsn, "ingest")
    try:
        daily, summaries = DailyStore(database), SummaryRollUp(database, today)
        while (await daily.roll_up()).done or (await summaries.roll_up()).done:
            pass
    finally:
        await database.close()


@pytest.fixture(scope="module")
def filled(new_database: Callable[..., str], migrated_template: str) -> str:
    """The DSN of a database with some thousand results of several days, rolled up and analyzed."""
    dsn = new_database(migrated_template)
    servers.run_apart(_made(dsn))
    # A workload that hardly any result has.
    servers.execute(
        dsn,
        f"UPDATE ingest.benchmark_results SET workload_type = '{RARE}' WHERE id IN "
        "(SELECT id FROM ingest.benchmark_results ORDER BY id DESC LIMIT 30)",
        "VACUUM ANALYZE",
    )
    return dsn


@pytest.fixture
async def database(filled: str) -> AsyncIterator[Database]:
    """The service's own connections."""
    pool = Database(filled, "ingest")
    yield pool
    await pool.close()


def days_of(plan: Plan) -> set[str]:
    """The days of results that a plan opened."""
    return {name for name in plan.tables if name.startswith("benchmark_results_")}


async def results_plans(
    database: Database, dsn: str, wanted: ResultFilter, after: Any = None
) -> list[Plan]:
    """Plans of the statements of a page of results that read results."""
    store = ResultStore(database, today)
    plans = await plans_of(database, dsn, lambda: store.page(wanted, after, 100))
    return [plan for plan in plans if days_of(plan)]


async def test_the_latest_of_a_version_open_the_newest_days_alone(
    database: Database, filled: str
) -> None:
    wanted = ResultFilter(model_version_ids=(identifier("version", 3),))
    (plan,) = await results_plans(database, filled, wanted)
    assert plan.indexes == {VERSION}
    # No more than one value's ties are sorted.
    assert "Sort" not in plan.nodes
    assert len(days_of(plan)) <= 2


async def test_an_organization_reads_the_newest_days_alone_and_no_more_than_a_page(
    database: Database, filled: str
) -> None:
    tenancy.act_for(Tenant(identifier("organization", 1)))
    try:
        wanted = ResultFilter(model_ids=(identifier("model", 3),))
        (plan,) = await results_plans(database, filled, wanted)
    finally:
        tenancy.act_for(tenancy.PLATFORM)
    assert VERSION in plan.indexes
    assert not {"Sort", "Seq Scan"} & set(plan.nodes)
    assert len(days_of(plan)) <= 2


async def test_the_latest_of_a_model_are_those_of_its_versions(
    database: Database, filled: str
) -> None:
    wanted = ResultFilter(model_ids=(identifier("model", 3),))
    (plan,) = await results_plans(database, filled, wanted)
    assert plan.indexes == {VERSION}
    several = ResultFilter(model_ids=(identifier("model", 3), identifier("model", 4)))
    (plan,) = await results_plans(database, filled, several)
    assert VERSION in plan.indexes
    assert len(days_of(plan)) <= 2


async def test_the_latest_of_all_come_through_the_keys_of_the_newest_days(
    database: Database, filled: str
) -> None:
    (plan,) = await results_plans(database, filled, ResultFilter())
    assert plan.indexes == {"pk_benchmark_results"}
    assert len(days_of(plan)) <= 2
    # A later page begins at its own day.
    moment = datetime.now(UTC) - timedelta(days=5)
    after = uuid7(int(moment.timestamp() * 1000)), moment
    (plan,) = await results_plans(database, filled, ResultFilter(), after)
    assert len(days_of(plan)) <= 2
    assert f"benchmark_results_{moment:%Y%m%d}" in days_of(plan)


async def test_results_that_keep_a_tight_limit_come_through_the_index_on_latency(
    database: Database, filled: str
) -> None:
    wanted = ResultFilter(limits=(Limit("ttft_p90_ms", 40.0),))
    plans = await results_plans(database, filled, wanted)
    assert any(LATENCY in plan.indexes for plan in plans)


async def test_results_of_a_rare_workload_come_through_the_index_on_workloads(
    database: Database, filled: str
) -> None:
    plans = await results_plans(database, filled, ResultFilter(workload_types=(RARE,)))
    assert any(WORKLOAD in plan.indexes for plan in plans)


async def test_a_configurations_runs_come_through_its_version_hardware_and_framework(
    database: Database, filled: str
) -> None:
    summaries = SummaryStore(database, today)
    wanted = ResultFilter(config_ids=(identifier("config", 7), identifier("config", 8)))
    fields = [RUN_COUNT, statistic("ttft_p90_ms", "medians")]
    # Three days are not kept ready.
    plans = await plans_of(
        database, filled, lambda: summaries.figures(wanted, 3, fields, None, 100)
    )
    (plan,) = [plan for plan in plans if days_of(plan)]
    assert plan.indexes & {GROUP, VERSION} == {GROUP}
    assert len(days_of(plan)) == 3
    # A configuration that is marked is read in the same way, and so is a time series.
    servers.execute(
        filled,
        "INSERT INTO ingest.dirty_configs (config_ids) "
        f"VALUES (ARRAY['{identifier('config', 7)}'::uuid])",
    )
    roll_up = SummaryRollUp(database, today)
    reading = await plans_of(
        database, filled, lambda: summaries.figures(wanted, 7, fields, None, 100)
    )
    rolling = await plans_of(database, filled, roll_up.roll_up)
    second = int((datetime.now(UTC) - timedelta(days=2)).timestamp()) // 3600 * 3600
    asked = SeriesQuery(
        wanted=ResultFilter(
            config_ids=wanted.config_ids,
            start_time=datetime.fromtimestamp(second, UTC),
            end_time=datetime.fromtimestamp(second + 24 * 3600, UTC),
        ),
        key="config_id",
        columns=("ttft_p90_ms",),
        seconds=3600,
        first=second,
        count=24,
    )
    series = await plans_of(database, filled, lambda: _all(SeriesStore(database), asked))
    for found in (reading, rolling, series):
        of_results = [plan for plan in found if days_of(plan)]
        assert of_results
        assert all(GROUP in plan.indexes for plan in of_results)


@pytest.mark.parametrize("limit", [1, 200])
async def test_runs_to_compare_come_through_an_index_whatever_the_number_of_configurations(
    database: Database, filled: str, limit: int
) -> None:
    now = datetime.now(UTC)
    asked = RegressionQuery(
        ResultFilter(),
        new=RunSelection(start_time=now - timedelta(days=2)),
        history=RunSelection(start_time=now - timedelta(days=6)),
        columns=("ttft_p50_ms",),
    )
    store = RegressionStore(database)
    plans = await plans_of(database, filled, lambda: store.page(asked, None, limit))
    # Which configurations, the runs of either side, and what the configurations are.
    assert len(plans) == 4
    new, history = (plan for plan in plans if days_of(plan))
    for plan in (new, history):
        # By which of the two it finds the runs of a day is the planner's to say.
        assert plan.indexes & {GROUP, VERSION}
        # Ten times as much would be thrown away if each configuration were read by itself.
        assert plan.removed <= 20 * limit
        assert len(days_of(plan)) <= 5


async def _all(store: SeriesStore, asked: SeriesQuery) -> None:
    assert [series async for series in store.series(asked, None)]


async def test_what_is_kept_ready_is_read_without_the_results(
    database: Database, filled: str
) -> None:
    summaries = SummaryStore(database, today)
    fields = [RUN_COUNT, statistic("ttft_p90_ms", "medians")]
    for wanted, index in (
        (ResultFilter(), "pk_config_summaries"),
        (ResultFilter(workload_types=("code",)), "idx_config_summaries_workload"),
        (ResultFilter(model_ids=(identifier("model", 1),)), "idx_config_summaries_model"),
    ):
        work = partial(summaries.figures, wanted, 7, fields, None, 50)
        plans = await plans_of(database, filled, work)
        assert not any(days_of(plan) for plan in plans)
        assert index in {name for plan in plans for name in plan.indexes}


async def test_the_days_of_a_model_come_through_their_index(
    database: Database, filled: str
) -> None:
    daily = DailyStore(database)
    models = (identifier("model", 3),)
    plans = await plans_of(database, filled, lambda: daily.page(models, None, None, None, 100))
    assert DAILY in {name for plan in plans for name in plan.indexes}
    assert not any(days_of(plan) for plan in plans)


async def test_a_marked_day_is_read_alone_and_by_its_models_versions(
    database: Database, filled: str
) -> None:
    day = today() - timedelta(days=2)
    servers.execute(
        filled,
        "INSERT INTO ingest.dirty_days (model_id, stats_date, configs_marked) "
        f"VALUES ('{identifier('model', 3)}', '{day}', true)",
    )
    daily = DailyStore(database)
    for work in (lambda: daily.page((), None, None, None, 1000), daily.roll_up):
        plans = await plans_of(database, filled, work)
        (plan,) = [plan for plan in plans if days_of(plan)]
        assert days_of(plan) == {f"benchmark_results_{day:%Y%m%d}"}
        assert plan.indexes & {VERSION, GROUP}


async def test_a_models_configurations_lie_in_one_of_four_parts(
    database: Database, filled: str
) -> None:
    """Wherever a model is given, three parts are pruned before the statement runs."""
    summaries = SummaryStore(database, today)
    parts = set()
    for number in range(12):
        wanted = ResultFilter(model_ids=(identifier("model", number),))
        work = partial(summaries.figures, wanted, 3, [RUN_COUNT], None, 1)
        plans = await plans_of(database, filled, work)
        # The first statement looks for the model's configurations.
        (part,) = plans[0].tables
        assert part.startswith("benchmark_configs_p")
        parts.add(part)
    assert len(parts) == 4


async def test_each_configuration_of_a_header_is_found_by_all_of_its_key(
    database: Database, filled: str
) -> None:
    parts = Parts(*(identifier(kind, 0) for kind in ("model", "version", "hardware", "framework")))
    keys = {
        load: NewConfig(
            parts,
            header_shape(concurrency=load + 1, request_rate=(None, 2.5)[load % 2]),
            "measured",
        )
        for load in range(300)
    }
    store = StreamStore(database)

    async def opened() -> Stream:
        stream = await store.open(Source(uuid7(), "runner", "1", "measured"), b"digest", keys)
        assert stream is not None
        return stream

    first = await opened()
    # The statistics do not know of them yet, as with every new benchmark.
    plans = await plans_of(database, filled, opened)
    finds = [plan for plan in plans if "WITH ORDINALITY" in plan.text]
    # One for those with a request rate, one for those without, and nothing to insert.
    assert len(finds) == 2
    # In the index, or in a hash of all: no configuration is looked at for every key.
    assert max(plan.removed for plan in finds) <= SHAPE.configs + len(keys)
    assert not any("INSERT INTO benchmark_configs" in plan.text for plan in plans)
    again = await opened()
    assert [entry.config for entry in again.entries] == [entry.config for entry in first.entries]


def header_shape(*, concurrency: int, request_rate: float | None) -> ConfigShape:
    """The shape of a run under some load."""
    return ConfigShape(
        workload_type="chat",
        input_tokens=128,
        output_tokens=None,
        concurrency=concurrency,
        request_rate=request_rate,
        tensor_parallel=1,
        pipeline_parallel=1,
        data_parallel=1,
        expert_parallel=1,
    )
