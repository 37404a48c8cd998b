"""The gateway's ways to refuse a change, each made in one place."""

from uuid import UUID

from servemark.runtime.errors import ServemarkError
from servemark.type.v1.error_reason_pb2 import ErrorReason
from services.gateway.grants import PLATFORM


def scope_missing(scope: str) -> ServemarkError:
    """The error for a caller without the scope a method needs, or without one it would give."""
    needed = "ADMIN of the default organization" if scope == PLATFORM else scope
    return ServemarkError(
        ErrorReason.ERROR_REASON_SCOPE_MISSING,
        f"The caller lacks the scope {needed}, which the call needs.",
        metadata={"required_scope": scope},
    )


def already_exists(noun: str, what: str, existing_id: UUID | None) -> ServemarkError:
    """The error for a name or email that another has; its id only if the caller may know it."""
    metadata = {"resource": noun}
    if existing_id is not None:
        metadata["existing_id"] = str(existing_id)
    return ServemarkError(
        ErrorReason.ERROR_REASON_RESOURCE_EXISTS,
        f"There is another {noun} with this {what}. Choose another one.",
        metadata=metadata,
    )
