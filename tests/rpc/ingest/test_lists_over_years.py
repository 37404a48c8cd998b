"""Pages of results are complete and in order, however far apart their days are."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from servemark.ingest.v1.benchmark_result_pb2 import BenchmarkResult, ResultRow
from servemark.type.v1.metric_pb2 import Metric, MetricLimit
from servemark.type.v1.provenance_pb2 import Provenance
from servemark.type.v1.range_pb2 import TimeRange
from tests.rpc.ingest.builders import (
    OTHER_HARDWARE,
    OTHER_MODEL,
    batch,
    config,
    header,
    now_ms,
    row,
)
from tests.rpc.ingest.rolling import DAY, roll_up_all
from tests.rpc.ingest.serving import Served, append, serving
from tests.rpc.ingest.test_lists import pages, stamp

pytestmark = pytest.mark.every_profile

CONFIGS = [
    config(),
    config(concurrency=2),
    config(workload_type="random"),
    config(model=OTHER_MODEL),
    config(model=OTHER_MODEL, hardware=OTHER_HARDWARE),
    config(hardware=OTHER_HARDWARE),
]
# Days back; the newest lie ahead of now, as a clock that is fast would have them.
AGES = (-0.9, 0, 0, 0.5, 1, 2, 2.2, 5, 9, 40, 41, 300, 1000)

Keep = Callable[[BenchmarkResult], bool]


def some_rows(generator: random.Random, count: int) -> list[ResultRow]:
    """Rows of any configuration, from tomorrow back to years ago, many at the same moment."""
    now = now_ms()
    return [
        row(
            now - int(generator.choice(AGES) * DAY) - generator.randrange(3),
            config_index=generator.randrange(len(CONFIGS)),
            figures={"ttft_p90_ms": generator.uniform(1, 500)},
        )
        for _ in range(count)
    ]


async def listed(ingest: Served, size: int, **wanted: Any) -> list[BenchmarkResult]:
    """Everything that matches, read in pages of that size."""
    return [result async for page in pages(ingest.stub, size, **wanted) for result in page]


@pytest.mark.parametrize("rolled_up", [False, True])
async def test_each_filter_finds_the_same_as_looking_at_every_result(
    ingest_dsn: str, rolled_up: bool
) -> None:
    generator = random.Random(5)
    async with serving(ingest_dsn, roll_up_seconds=3600) as ingest:
        simulated = header(*CONFIGS, provenance=Provenance.PROVENANCE_SIMULATED)
        for message in (header(*CONFIGS), simulated):
            await append(ingest.stub, message, batch(0, some_rows(generator, 120)))
        if rolled_up:
            await roll_up_all(ingest_dsn)
        everything = await listed(ingest, 1000)
        assert len(everything) == 240
        assert [one.id for one in everything] == sorted(
            (one.id for one in everything), reverse=True
        )
        middle = everything[100].benchmark_time
        example, other = everything[3].config, everything[-3].config
        filters: list[tuple[dict[str, Any], Keep]] = [
            ({}, lambda one: True),
            ({"model_ids": [other.model_id]}, lambda one: one.config.model_id == other.model_id),
            (
                {"model_version_ids": [example.model_version_id]},
                lambda one: one.config.model_version_id == example.model_version_id,
            ),
            (
                {"model_version_ids": [example.model_version_id, other.model_version_id]},
                lambda one: (
                    one.config.model_version_id
                    in (example.model_version_id, other.model_version_id)
                ),
            ),
            (
                {
                    "model_ids": [example.model_id],
                    "hardware_config_ids": [other.hardware_config_id],
                },
                lambda one: (
                    one.config.model_id == example.model_id
                    and one.config.hardware_config_id == other.hardware_config_id
                ),
            ),
            (
                {"config_ids": [example.id, other.id]},
                lambda one: one.config.id in (example.id, other.id),
            ),
            (
                {"config_ids": [example.id, other.id], "model_ids": [other.model_id]},
                lambda one: (
                    one.config.id in (example.id, other.id)
                    and one.config.model_id == other.model_id
                ),
            ),
            (
                {"workload_types": ["random"]},
                lambda one: one.config.workload.workload_type == "random",
            ),
            (
                {"provenances": [Provenance.PROVENANCE_SIMULATED]},
                lambda one: one.config.provenance == Provenance.PROVENANCE_SIMULATED,
            ),
            (
                {"limits": [MetricLimit(metric=Metric.METRIC_TTFT_P90_MS, limit=50)]},
                lambda one: one.metrics.ttft_p90_ms <= 50,
            ),
            (
                {"benchmark_time": TimeRange(end_time=middle)},
                lambda one: one.benchmark_time.ToMilliseconds() < middle.ToMilliseconds(),
            ),
            (
                {
                    "benchmark_time": TimeRange(start_time=middle),
                    "model_ids": [example.model_id],
                },
                lambda one: (
                    one.benchmark_time.ToMilliseconds() >= middle.ToMilliseconds()
                    and one.config.model_id == example.model_id
                ),
            ),
            ({"benchmark_time": TimeRange(end_time=stamp(1))}, lambda one: False),
        ]
        for wanted, keep in filters:
            expected = [one for one in everything if keep(one)]
            assert expected or "benchmark_time" in wanted
            for size in (7, 1000):
                assert await listed(ingest, size, **wanted) == expected


async def test_results_that_nothing_is_known_of_are_listed_too(ingest_dsn: str) -> None:
    async with serving(ingest_dsn, roll_up_seconds=3600) as ingest:
        content = [row(now_ms() - age * DAY) for age in (0, 30, 2000)]
        await append(ingest.stub, header(), batch(0, content))
        ingest.value("DELETE FROM ingest.dirty_days RETURNING 1")
        found = [one.id for one in await listed(ingest, 2)]
        assert found == [one.id for one in content]
