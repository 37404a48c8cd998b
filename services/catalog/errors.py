"""The catalog's ways to refuse a call, each made in one place."""

from uuid import UUID

from servemark.runtime.errors import ServemarkError
from servemark.type.v1.error_reason_pb2 import ErrorReason


def already_exists(noun: str, existing_id: UUID) -> ServemarkError:
    """The error for a name or natural key that another resource has."""
    return ServemarkError(
        ErrorReason.ERROR_REASON_RESOURCE_EXISTS,
        f"A {noun} with this name already exists: {existing_id}.",
        metadata={"resource": noun, "existing_id": str(existing_id)},
    )


def etag_mismatch(noun: str, identifier: UUID) -> ServemarkError:
    """The error for a resource that changed since the caller read it."""
    return ServemarkError(
        ErrorReason.ERROR_REASON_ETAG_MISMATCH,
        f"The {noun} {identifier} changed since its etag was read. Read it again and repeat.",
        metadata={"resource": noun, "ref": str(identifier)},
    )


def archived(noun: str, identifier: UUID) -> ServemarkError:
    """The error for a change of, or a new reference to, an archived resource."""
    return ServemarkError(
        ErrorReason.ERROR_REASON_RESOURCE_ARCHIVED,
        f"The {noun} {identifier} is archived: it takes no changes and no new references.",
        metadata={"resource": noun, "ref": str(identifier)},
    )


def page_token_invalid() -> ServemarkError:
    """The error for a page token whose sort key cannot be one of this list's."""
    return ServemarkError(
        ErrorReason.ERROR_REASON_PAGE_TOKEN_INVALID,
        "The page token was not made by this method. Start again without one.",
    )
