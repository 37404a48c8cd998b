"""A matrix that grew batch by batch is the one that reading everything makes, byte for byte."""

import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import pytest

from servemark.catalog.v1 import model_pb2
from servemark.catalog.v1.catalog_service_pb2_grpc import CatalogServiceStub
from servemark.ingest.v1.ingest_service_pb2_grpc import IngestServiceStub
from servemark.ingest.v1.result_query_pb2 import ListConfigSummariesRequest
from servemark.runtime.database import Database
from services.ranking import content
from services.ranking.content import Content
from services.ranking.inputs import InputReader
from services.ranking.refresh import Refresher
from services.ranking.settings import RankingSettings
from services.ranking.store_matrix import MatrixStore
from tests.rpc.ranking.world import H100, L4, LARGE, SMALL, World, run, world
from tests.support import servers

NOW_US = time.time_ns() // 1000


def digest(found: Content) -> bytes:
    return content.digest_of(content.entries(found), found.price_boundary_us)


@dataclass
class Asked:
    """The ingest's stub, and the configurations that summaries were asked of; empty: all."""

    stub: Any
    of: list[set[str]]

    async def ListConfigSummaries(self, request: ListConfigSummariesRequest, **given: Any) -> Any:
        self.of.append(set(request.filter.config_ids))
        return await self.stub.ListConfigSummaries(request, **given)


@dataclass
class Growing:
    """A world, and a refresher whose reading can be looked at."""

    world: World
    refresher: Refresher
    reader: InputReader
    asked: Asked
    new_reader: Callable[[], InputReader]

    async def scratch(self) -> Content:
        """Everything, read by one who has read nothing before."""
        return await self.new_reader().read(NOW_US)


@pytest.fixture
async def growing(migrated_database: str) -> AsyncIterator[Growing]:
    """A world with a use case."""
    async with growth(migrated_database) as found:
        yield found


@asynccontextmanager
async def growth(dsn: str) -> AsyncIterator[Growing]:
    """A world with a use case and a refresher of its own."""
    async with (
        world(dsn) as made,
        grpc.aio.insecure_channel(made.addresses["catalog"]) as catalog,
        grpc.aio.insecure_channel(made.addresses["ingest"]) as ingest,
    ):
        await made.add_use_case()
        database = Database(dsn, "ranking")
        settings = RankingSettings(database_url=dsn, port_base=0, metrics_port=0)  # type: ignore[arg-type]
        asked = Asked(IngestServiceStub(ingest), [])

        def new_reader() -> InputReader:
            return InputReader(CatalogServiceStub(catalog), asked, settings)

        reader = new_reader()
        refresher = Refresher(
            MatrixStore(database), reader, now_us=lambda: NOW_US, minimum_candidates=30
        )
        yield Growing(made, refresher, reader, asked, new_reader)
        await refresher.close()
        await database.close()


@asynccontextmanager
async def another(dsn: str, reader: Any) -> AsyncIterator[Refresher]:
    """The refresher of another process, which reads with `reader`."""
    database = Database(dsn, "ranking")
    other = Refresher(MatrixStore(database), reader, now_us=lambda: NOW_US, minimum_candidates=30)
    try:
        yield other
    finally:
        await other.close()
        await database.close()


async def test_batch_by_batch_gives_the_bytes_of_reading_everything(growing: Growing) -> None:
    chance = random.Random(3)
    made, refresher = growing.world, growing.refresher
    await made.store(run(hardware=L4, ttft_p50_ms=9.0), run(ttft_p50_ms=7.0))
    await refresher.refresh()
    for batch in range(1, 6):
        ids = await made.store(
            *(
                run(
                    chance.choice((SMALL, LARGE)),
                    chance.choice((H100, L4)),
                    concurrency=chance.randrange(1, 9),
                    ttft_p50_ms=chance.uniform(1, 90),
                    throughput_tokens_sec=chance.uniform(1, 900),
                    rps_sustained=chance.uniform(1, 9),
                    accuracy_score=chance.random(),
                    requests=chance.randrange(1, 500),
                    ttft_samples=[chance.uniform(1, 90) for _ in range(20)],
                )
                for _ in range(8)
            )
        )
        growing.asked.of.clear()
        matrix = await refresher.refresh(set(ids))
        assert growing.asked.of == [set(ids)]
        assert matrix.version == batch + 1
        whole = await growing.scratch()
        assert matrix.content == whole
        assert matrix.digest == digest(whole)
    # A process that starts later finds it, and nothing new in it.
    assert (await refresher.refresh()).version == matrix.version


async def test_nothing_new_keeps_the_version(growing: Growing) -> None:
    ids = await growing.world.store(run(ttft_p50_ms=7.0))
    first = await growing.refresher.refresh()
    assert await growing.refresher.refresh(ids) is first
    assert await growing.refresher.refresh(set()) is first


async def test_what_changed_elsewhere_is_seen_when_everything_is_read(growing: Growing) -> None:
    made, refresher = growing.world, growing.refresher
    await made.store(run(ttft_p50_ms=7.0))
    await refresher.refresh()
    [one] = await made.store(run(concurrency=2, ttft_p50_ms=6.0))
    await made.store(run(concurrency=3, ttft_p50_ms=5.0))
    assert len((await refresher.refresh([one])).rows) == 2
    matrix = await refresher.refresh()
    assert (len(matrix.rows), matrix.version) == (3, 3)


async def test_reading_everything_again_makes_only_the_rows_that_changed(
    growing: Growing,
) -> None:
    made, refresher = growing.world, growing.refresher
    await made.store(run(ttft_p50_ms=7.0))
    [changing] = await made.store(run(concurrency=2, ttft_p50_ms=6.0))
    before = {row.config_id: row for row in (await refresher.refresh()).rows}
    await made.store(run(concurrency=2, ttft_p50_ms=9.0))
    matrix = await refresher.refresh()
    assert matrix.content == await growing.scratch()
    anew = {row.config_id for row in matrix.rows if row is not before[row.config_id]}
    assert anew == {changing}


async def test_rows_are_made_anew_when_the_catalog_changes(growing: Growing) -> None:
    made, refresher = growing.world, growing.refresher
    await made.store(run(SMALL, ttft_p50_ms=7.0), run(LARGE, ttft_p50_ms=8.0))
    await refresher.refresh()
    await made.catalog.ArchiveModel(model_pb2.ArchiveModelRequest(id=made.ids[LARGE]))
    assert [row.model for row in (await refresher.refresh()).rows] == [SMALL]


async def test_hardware_that_is_new_brings_its_prices(growing: Growing) -> None:
    made, refresher = growing.world, growing.refresher
    await made.store(run(hardware=H100, ttft_p50_ms=7.0))
    assert {p.usd_per_hour for p in (await refresher.refresh()).content.prices} == {4.0, 1.5}
    ids = await made.store(run(hardware=L4, ttft_p50_ms=8.0))
    matrix = await refresher.refresh(ids)
    assert {p.usd_per_hour for p in matrix.content.prices} == {4.0, 1.5, 0.8}
    assert matrix.content == await growing.scratch()


async def test_results_of_what_was_archived_bring_nothing_back(growing: Growing) -> None:
    made, refresher = growing.world, growing.refresher
    ids = await made.store(run(SMALL, ttft_p50_ms=7.0), run(LARGE, ttft_p50_ms=8.0))
    await refresher.refresh()
    await made.catalog.ArchiveModel(model_pb2.ArchiveModelRequest(id=made.ids[LARGE]))
    matrix = await refresher.refresh(ids[1:])
    assert [row.model for row in matrix.rows] == [SMALL]
    assert matrix.content == await growing.scratch()


async def test_nothing_is_built_upon_a_matrix_that_cannot_be_read(
    growing: Growing, migrated_database: str
) -> None:
    made, refresher = growing.world, growing.refresher
    await made.store(run(ttft_p50_ms=7.0), run(concurrency=2, ttft_p50_ms=6.0))
    await refresher.refresh()
    # As code that writes facts in another way would have published it.
    servers.execute(
        migrated_database,
        "INSERT INTO ranking.matrix_versions SELECT version + 1, 'other', alternative_count, "
        "price_boundary_at, made_at FROM ranking.matrix_versions",
        "DELETE FROM ranking.matrix_rows",
    )
    ids = await made.store(run(concurrency=3, ttft_p50_ms=5.0))
    growing.asked.of.clear()
    matrix = await refresher.refresh(ids)
    assert growing.asked.of == [set()]
    assert (len(matrix.rows), matrix.version) == (3, 3)


async def test_what_another_process_published_is_built_upon(
    growing: Growing, migrated_database: str
) -> None:
    made, refresher = growing.world, growing.refresher
    await made.store(run(ttft_p50_ms=7.0))
    await refresher.refresh()
    async with another(migrated_database, growing.reader) as other:
        theirs = await made.store(run(concurrency=2, ttft_p50_ms=6.0))
        await other.refresh(theirs)
        ours = await made.store(run(concurrency=3, ttft_p50_ms=5.0))
        matrix = await refresher.refresh(ours)
    assert (len(matrix.rows), matrix.version) == (3, 3)
    assert matrix.content == await growing.scratch()
