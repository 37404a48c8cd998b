"""Messages about the log to the gateway's own words, and back."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from servemark.gateway.v1 import audit_pb2
from servemark.runtime import paging
from servemark.runtime.validation import Violations
from services.gateway.convert import (
    page_start_from_token_key,
    time_from_proto,
)
from services.gateway.store_audit import AuditEntry, AuditFilter

_MAX_FILTER_LENGTH = 128
_MAX_ENTRY_ID = 2**63 - 1


def audit_filter_from_proto(
    request: audit_pb2.ListAuditLogRequest, organization_id: UUID | None
) -> AuditFilter:
    """The lines a request asks for. Raises INVALID_FIELD with every wrong field."""
    violations = Violations()
    texts = {
        field: violations.text(
            field, getattr(request, field), max_len=_MAX_FILTER_LENGTH, required=False
        )
        for field in ("actor", "action", "target")
    }
    times = {
        field: time_from_proto(violations, field, getattr(request, field))
        for field in ("start_time", "end_time")
        if request.HasField(field)
    }
    violations.raise_if_any()
    return AuditFilter(
        organization_id=organization_id,
        since=times.get("start_time"),
        until=times.get("end_time"),
        **texts,
    )


def audit_digest(request: audit_pb2.ListAuditLogRequest, organization_id: UUID | None) -> str:
    """What binds a page token to the filters of its request."""
    return paging.filter_digest(
        "ListAuditLog",
        str(organization_id),
        request.actor,
        request.action,
        request.target,
        request.start_time.SerializeToString(),
        request.end_time.SerializeToString(),
    )


def audit_entry_to_proto(entry: AuditEntry) -> audit_pb2.AuditEntry:
    """A line of the log as it is shown."""
    message = audit_pb2.AuditEntry(
        id=entry.id,
        organization_id=str(entry.organization_id),
        actor=entry.actor,
        action=entry.action,
        target=entry.target,
    )
    message.log_time.FromDatetime(entry.logged_at)
    message.detail.update(dict(entry.detail))
    return message


def page_start_from_token(key: Sequence[Any] | None) -> tuple[datetime, int] | None:
    """Where a page begins. Raises PAGE_TOKEN_INVALID: anyone can write a token."""
    start = page_start_from_token_key(key)
    if start is None:
        return None
    at, entry_id = start
    if not entry_id.isdecimal() or int(entry_id) > _MAX_ENTRY_ID:
        raise paging.token_invalid()
    return at, int(entry_id)
