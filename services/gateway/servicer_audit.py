"""AdminService: the log of every change."""

from typing import Any

from servemark.gateway.v1 import audit_pb2
from servemark.runtime import paging
from servemark.runtime.validation import Violations
from services.gateway.admission import current_caller
from services.gateway.convert import page_start_to_token_key
from services.gateway.convert_audit import (
    audit_digest,
    audit_entry_to_proto,
    audit_filter_from_proto,
    page_start_from_token,
)
from services.gateway.errors import scope_missing
from services.gateway.grants import PLATFORM
from services.gateway.servicer_organizations import OrganizationMethods
from services.gateway.store_audit import AuditStore

ALL_ORGANIZATIONS = "-"


class AuditMethods(OrganizationMethods):
    """The methods of AdminService about the log."""

    _audit: AuditStore

    async def ListAuditLog(
        self, request: audit_pb2.ListAuditLogRequest, context: Any
    ) -> audit_pb2.ListAuditLogResponse:
        """One page of changes, the newest first."""
        violations = Violations()
        size = paging.page_size(violations, request.page_size)
        violations.raise_if_any()
        organization_id = None
        if request.organization_id != ALL_ORGANIZATIONS:
            organization_id = await self.organization(request.organization_id)
        elif not current_caller().may(PLATFORM):
            raise scope_missing(PLATFORM)
        wanted = audit_filter_from_proto(request, organization_id)
        digest = audit_digest(request, organization_id)
        token = paging.decode_token(digest, request.page_token, 2)
        found = await self._audit.list(wanted, limit=size + 1, before=page_start_from_token(token))
        return audit_pb2.ListAuditLogResponse(
            entries=[audit_entry_to_proto(entry) for entry in found[:size]],
            next_page_token=paging.next_token(
                digest, found, size, lambda last: page_start_to_token_key(last.logged_at, last.id)
            ),
        )
