"""AdminService: organizations, and which of them a call is about."""

from typing import Any
from uuid import UUID

from servemark.gateway.v1 import organization_pb2 as pb
from servemark.runtime import paging
from servemark.runtime.errors import not_found
from servemark.runtime.ids import uuid7
from servemark.runtime.validation import Violations
from services.gateway.admission import current_caller
from services.gateway.convert_organizations import (
    name_from_proto,
    organization_ref_from_proto,
    organization_to_proto,
    page_start_from_token,
)
from services.gateway.store_organizations import OrganizationStore


class OrganizationMethods:
    """The methods of AdminService about organizations."""

    _organizations: OrganizationStore

    async def organization(self, requested: str, field: str = "organization_id") -> UUID:
        """The organization a call is about: the one requested, or the caller's own for "".

        Raises RESOURCE_NOT_FOUND for one that is not there, or not for the caller to see.
        """
        violations = Violations()
        wanted = violations.uuid(field, requested, required=False)
        violations.raise_if_any()
        own = current_caller().organization_id
        if wanted is None or wanted == own:
            return own
        if not self._sees(wanted) or await self._organizations.get(wanted) is None:
            raise not_found("organization", requested)
        return wanted

    def _sees(self, organization_id: UUID) -> bool:
        caller = current_caller()
        return caller.of_platform or organization_id == caller.organization_id

    async def CreateOrganization(
        self, request: pb.CreateOrganizationRequest, context: Any
    ) -> pb.CreateOrganizationResponse:
        """Stores a new organization."""
        made = await self._organizations.create(
            uuid7(), name_from_proto(request), current_caller().key_id
        )
        return pb.CreateOrganizationResponse(organization=organization_to_proto(made))

    async def GetOrganization(
        self, request: pb.GetOrganizationRequest, context: Any
    ) -> pb.GetOrganizationResponse:
        """One organization, by id or name."""
        name = organization_ref_from_proto(request)
        if name:
            found = await self._organizations.get_by_name(name)
            if found is not None and not self._sees(found.id):
                found = None
        else:
            found = await self._organizations.get(await self.organization(request.id, "id"))
        if found is None:
            raise not_found("organization", name or request.id)
        return pb.GetOrganizationResponse(organization=organization_to_proto(found))

    async def ListOrganizations(
        self, request: pb.ListOrganizationsRequest, context: Any
    ) -> pb.ListOrganizationsResponse:
        """One page of organizations, in order of names."""
        violations = Violations()
        size = paging.page_size(violations, request.page_size)
        violations.raise_if_any()
        digest = paging.filter_digest("ListOrganizations")
        token = paging.decode_token(digest, request.page_token, 1)
        found = await self._organizations.list(limit=size + 1, after=page_start_from_token(token))
        return pb.ListOrganizationsResponse(
            organizations=[organization_to_proto(item) for item in found[:size]],
            next_page_token=paging.next_token(digest, found, size, lambda last: [last.name]),
        )

    async def RenameOrganization(
        self, request: pb.RenameOrganizationRequest, context: Any
    ) -> pb.RenameOrganizationResponse:
        """Gives an organization another name."""
        name = name_from_proto(request)
        organization_id = await self.organization(request.id, "id")
        renamed = await self._organizations.rename(organization_id, name, current_caller().key_id)
        if renamed is None:
            raise not_found("organization", str(organization_id))
        return pb.RenameOrganizationResponse(organization=organization_to_proto(renamed))
