"""The six things that can be done with any kind of resource: read, ask the store, answer.

CatalogServicer's methods name the kind and pick the request's fields; what they share is here.
"""

from collections.abc import Sequence
from typing import Any, Protocol
from uuid import UUID

from google.protobuf.field_mask_pb2 import FieldMask

from servemark.runtime.cache.cache import Cache
from servemark.runtime.paging import decode_token, encode_token, filter_digest, page_size
from servemark.runtime.validation import Violations
from services.catalog.events import row_tag, table_tag
from services.catalog.resource import M, Resource
from services.catalog.store import CatalogStore, ListQuery
from services.catalog.store_collections import R
from services.catalog.store_paging import Page

MAX_BATCH = 1000
MAX_PAGE_BYTES = 3 * 1024 * 1024


class Identified(Protocol):
    """A message that names a resource, and perhaps its state."""

    id: str
    etag: str


class ListRequest(Protocol):
    """What every list request has besides its filters."""

    page_size: int
    page_token: str
    descending: bool
    include_archived: bool

    @property
    def order_by(self) -> int: ...


class ResourceMethods:
    """Create, get, batch get, list, update and archive, for any kind of resource."""

    def __init__(self, store: CatalogStore, cache: Cache) -> None:
        self._store = store
        self._cache = cache

    async def create(self, resource: Resource[M, R], message: M) -> M:
        """The new resource."""
        violations = Violations(f"{resource.field}.")
        fields = (*resource.at_creation, *resource.mutable)
        values = resource.from_proto(message, fields, violations)
        violations.raise_if_any()
        return self._changed(resource, await self._store.create(resource.collection, values))

    async def get(self, resource: Resource[M, R], identifier: str) -> M:
        """The resource with this id."""
        row = await self._store.get(resource.collection, id_from_proto("id", identifier))
        return resource.to_proto(row)

    async def batch_get(
        self, resource: Resource[M, R], ids: Sequence[str]
    ) -> tuple[list[M], list[str]]:
        """The resources found, in the order of the ids, each once; and the ids not found."""
        violations = Violations()
        violations.uuids("ids", ids, most=MAX_BATCH)
        violations.raise_if_any()
        asked = {UUID(text): text for text in ids}
        rows = await self._store.batch_get(resource.collection, list(asked))
        found = [resource.to_proto(rows[uuid]) for uuid in asked if uuid in rows]
        return found, [text for uuid, text in asked.items() if uuid not in rows]

    async def list_page(
        self, resource: Resource[M, R], request: ListRequest
    ) -> tuple[list[M], str]:
        """One page and the token of the next, empty where there is none."""
        violations = Violations()
        size = page_size(violations, request.page_size)
        violations.enum("order_by", request.order_by, list(resource.orders), required=False)
        filters = resource.filters_from_proto(request, violations)
        violations.raise_if_any()
        order = resource.orders[request.order_by]
        keys = len(resource.collection.orders[order].keys)
        digest = list_digest(request)
        query = ListQuery(
            filters=filters,
            order=order,
            descending=request.descending,
            include_archived=request.include_archived,
            after=decode_token(digest, request.page_token, keys),
            size=size,
        )
        page = await self._store.list_page(resource.collection, query)
        return fit_page([resource.to_proto(row) for row in page.rows], page, digest)

    async def update(self, resource: Resource[M, R], message: M, mask: FieldMask) -> M:
        """The resource with its masked fields changed."""
        sent: Identified = message  # type: ignore[assignment]
        violations = Violations(f"{resource.field}.")
        identifier = violations.uuid("id", sent.id)
        wrong_mask = Violations()
        fields = masked_fields(mask, resource.mutable, wrong_mask)
        values = resource.from_proto(message, fields, violations)
        violations.include(wrong_mask)
        violations.raise_if_any()
        assert identifier is not None  # noqa: S101  (a wrong one has raised)

        def check(row: R) -> None:
            whole = Violations(f"{resource.field}.")
            resource.check(row, whole)
            whole.raise_if_any()

        row = await self._store.update(
            resource.collection, identifier, values, etag=sent.etag, check=check
        )
        return self._changed(resource, row)

    async def archive(self, resource: Resource[M, R], request: Identified) -> M:
        """The archived resource."""
        identifier = id_from_proto("id", request.id)
        row = await self._store.archive(resource.collection, identifier, etag=request.etag)
        return self._changed(resource, row)

    def _changed(self, resource: Resource[M, R], row: R) -> M:
        table = resource.collection.table.name
        self._cache.changed([row_tag(table, row.id), table_tag(table)])
        return resource.to_proto(row)


def masked_fields(
    mask: FieldMask, mutable: Sequence[str], violations: Violations
) -> tuple[str, ...]:
    """The fields an update is about: the masked ones, or all for an empty mask or `*`."""
    for index, path in enumerate(mask.paths):
        if path != "*" and path not in mutable:
            violations.add(
                f"update_mask.paths[{index}]",
                f"is {path!r}; it must be one of {', '.join(mutable)}, or *",
            )
    if not mask.paths or "*" in mask.paths:
        return tuple(mutable)
    return tuple(field for field in mutable if field in mask.paths)


def list_digest(request: Any) -> str:
    """What binds a page token to its method, filters and order: everything but the page itself."""
    filters = type(request)()
    filters.CopyFrom(request)
    filters.ClearField("page_size")
    filters.ClearField("page_token")
    return filter_digest(
        request.DESCRIPTOR.full_name, filters.SerializeToString(deterministic=True)
    )


def fit_page(messages: list[M], page: Page[Any], digest: str) -> tuple[list[M], str]:
    """The messages that fit into an answer, and the token that continues after them.

    A client takes 4 MiB unless told otherwise, and one entry may have tens of KiB of free JSON.
    """
    size = 0
    for index, message in enumerate(messages):
        size += message.ByteSize()
        if index and size > MAX_PAGE_BYTES:
            return messages[:index], encode_token(digest, page.keys[index - 1])
    return messages, encode_token(digest, page.keys[-1]) if page.has_more else ""


def id_from_proto(field: str, value: str) -> UUID:
    """The id in a field. Raises INVALID_FIELD."""
    violations = Violations()
    identifier = violations.uuid(field, value)
    violations.raise_if_any()
    assert identifier is not None  # noqa: S101  (a wrong one has raised)
    return identifier
