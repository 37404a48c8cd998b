"""How many statements a call costs does not grow with what it is asked."""

from uuid import uuid4

import pytest

from servemark.runtime.database import Database
from services.catalog.records import ModelRow
from services.catalog.resolve import FRAMEWORK, HARDWARE, MODEL_VERSION, Kind, Reference, wanted
from services.catalog.store import CatalogStore, ListQuery
from services.catalog.store_collections import MODELS
from services.catalog.store_resolve import ResolveStore
from tests.store.catalog.statements import counted

KINDS = (MODEL_VERSION, HARDWARE, FRAMEWORK)


def _references(kind: Kind, count: int) -> list[Reference]:
    """Half by id, half by name; none of them is there, which is the costly case."""
    labels = ("",) * len(kind.labels)
    by_id = [Reference(kind, id=uuid4(), labels=labels) for _ in range(count)]
    return by_id + [Reference(kind, name=f"none-{n}", labels=labels) for n in range(count)]


async def _model(store: CatalogStore, n: int) -> ModelRow:
    values = {"name": f"m{n}", "architecture": "llama", "parameters": 1}
    return await store.create(MODELS, values)


@pytest.mark.parametrize("count", [1, 10, 500])
async def test_any_number_of_references_is_looked_up_in_six_statements(
    database: Database, count: int
) -> None:
    references = [one for kind in KINDS for one in _references(kind, count)]
    store = ResolveStore(database)
    with counted(database) as sent:
        await store.find(wanted(references))
    assert len(sent) == 6


@pytest.mark.parametrize("count", [1, 20])
async def test_a_page_and_a_batch_are_one_statement_each(database: Database, count: int) -> None:
    store = CatalogStore(database)
    made = [await _model(store, n) for n in range(count)]
    query = ListQuery(
        filters={}, order="name", descending=False, include_archived=False, after=None, size=10
    )
    with counted(database) as sent:
        page = await store.list_page(MODELS, query)
        assert len(page.rows) == min(count, 10)
        assert len(await store.batch_get(MODELS, [row.id for row in made])) == count
    assert len(sent) == 2
