"""A result's configuration exists: asked once a batch, and it cannot go away afterwards."""

import asyncpg
import grpc
import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from servemark.runtime.database import Database
from tests.rpc.ingest.builders import as_columns, batch, config, header, rows
from tests.rpc.ingest.serving import AppendCall, Served
from tests.support import servers

pytestmark = pytest.mark.every_profile


async def test_a_batch_of_a_configuration_that_is_not_there_is_not_stored(ingest: Served) -> None:
    call = AppendCall(ingest.stub)
    opened = await call.open(header(config(concurrency=1), config(concurrency=2)))
    gone, _ = (outcome.config_id for outcome in opened.configs)
    remove = f"DELETE FROM ingest.benchmark_configs WHERE id = '{gone}'"
    # Not even the owner of the database can, while a stream's dictionary names it.
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        servers.execute(ingest.dsn, remove)
    servers.execute(
        ingest.dsn, f"DELETE FROM ingest.stream_configs WHERE config_id = '{gone}'", remove
    )
    of_the_other = rows(3)
    for row in of_the_other:
        row.config_index = 1
    await call.append(as_columns(batch(0, of_the_other)))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call.append(batch(1, [*of_the_other, *rows(1)]))
    assert refused.value.code() == grpc.StatusCode.INTERNAL
    assert ingest.stored() == 3


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM benchmark_configs",
        "UPDATE benchmark_configs SET id = uuidv7()",
        "TRUNCATE benchmark_configs",
    ],
)
async def test_the_service_cannot_take_a_configuration_away(
    module_database: str, statement: str
) -> None:
    database = Database(module_database, "ingest")
    try:
        with pytest.raises(ProgrammingError) as refused:
            async with database.transaction() as connection:
                await connection.execute(text(statement))
    finally:
        await database.close()
    cause = refused.value.orig.__cause__  # type: ignore[union-attr]
    assert isinstance(cause, asyncpg.InsufficientPrivilegeError)
