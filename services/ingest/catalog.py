"""Asks the catalog what the configurations of a header are, and what their hardware is called."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

import grpc

from servemark.catalog.v1.config_reference_pb2 import (
    ConfigReference,
    ConfigResolution,
    ResolveConfigsRequest,
)
from servemark.catalog.v1.hardware_config_pb2 import BatchGetHardwareConfigsRequest
from servemark.runtime.errors import ServemarkError, unavailable
from servemark.type.v1.error_reason_pb2 import ErrorReason
from services.ingest.records import Failure, Parts

if TYPE_CHECKING:
    from servemark.catalog.v1.catalog_service_pb2_grpc import CatalogServiceAsyncStub

T = TypeVar("T")

_AWAY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


class CatalogClient:
    """The catalog as ingest sees it.

    `options` gives each call its timeout and metadata.
    """

    def __init__(
        self, stub: "CatalogServiceAsyncStub", options: Callable[[], dict[str, Any]]
    ) -> None:
        self._stub = stub
        self._options = options

    async def resolve(
        self, references: Sequence[ConfigReference]
    ) -> list[Parts | tuple[Failure, ...]]:
        """For each reference its ids, or the reasons why it has none.

        Raises DEPENDENCY_UNAVAILABLE while the catalog does not answer.
        """
        # A header names the same few over and over, at other loads.
        keys = [reference.SerializeToString(deterministic=True) for reference in references]
        different = dict(zip(keys, references, strict=True))
        request = ResolveConfigsRequest(references=different.values())
        try:
            answer = await self._answer(self._stub.ResolveConfigs, request)
        except grpc.aio.AioRpcError as error:
            if error.code() == grpc.StatusCode.INVALID_ARGUMENT:
                raise ServemarkError(
                    ErrorReason.ERROR_REASON_INVALID_FIELD,
                    f"The catalog refused the header's references: {error.details()}",
                ) from error
            raise
        if len(answer.resolutions) != len(different):
            raise LookupError("the catalog answered another number of references than asked")
        found = dict(zip(different, map(_parts, answer.resolutions), strict=True))
        return [found[key] for key in keys]

    async def hardware_names(self, ids: Iterable[UUID]) -> list[str]:
        """The names of hardware configurations, archived ones included.

        Raises DEPENDENCY_UNAVAILABLE while the catalog does not answer.
        """
        request = BatchGetHardwareConfigsRequest(ids=map(str, ids))
        answer = await self._answer(self._stub.BatchGetHardwareConfigs, request)
        if answer.missing_ids:
            raise LookupError(f"the catalog does not know the hardware {answer.missing_ids[0]}")
        return [hardware.name for hardware in answer.hardware_configs]

    async def _answer(self, method: Callable[..., Awaitable[T]], request: Any) -> T:
        try:
            return await method(request, **self._options())
        except grpc.aio.AioRpcError as error:
            if error.code() in _AWAY:
                raise unavailable("The catalog") from error
            raise


def _parts(resolution: ConfigResolution) -> Parts | tuple[Failure, ...]:
    if resolution.failures:
        return tuple(
            # JSON in the database takes no NUL, and a detail may quote what a client sent.
            Failure(failure.field, failure.reason, failure.detail.replace("\x00", "\ufffd"))
            for failure in resolution.failures
        )
    return Parts(
        model_id=UUID(resolution.model_id),
        model_version_id=UUID(resolution.model_version_id),
        hardware_config_id=UUID(resolution.hardware_config_id),
        framework_id=UUID(resolution.framework_id),
    )
