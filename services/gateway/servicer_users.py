"""AdminService: users."""

from typing import Any
from uuid import UUID

from servemark.gateway.v1 import user_pb2 as pb
from servemark.runtime import paging
from servemark.runtime.errors import not_found
from servemark.runtime.ids import uuid7
from servemark.runtime.validation import Violations
from services.gateway.admission import current_caller
from services.gateway.convert import page_start_to_token_key
from services.gateway.convert_users import (
    new_user_from_proto,
    page_start_from_token,
    user_to_proto,
)
from services.gateway.errors import scope_missing
from services.gateway.grants import SCOPES_OF_ROLE
from services.gateway.servicer_organizations import OrganizationMethods
from services.gateway.store_users import UserStore


class UserMethods(OrganizationMethods):
    """The methods of AdminService about users."""

    _users: UserStore

    async def CreateUser(
        self, request: pb.CreateUserRequest, context: Any
    ) -> pb.CreateUserResponse:
        """Stores a new user."""
        caller = current_caller()
        user = new_user_from_proto(
            request, uuid7(), await self.organization(request.organization_id), caller.key_id
        )
        for scope in sorted(SCOPES_OF_ROLE[user.role]):
            if not caller.may(scope):
                raise scope_missing(scope)
        return pb.CreateUserResponse(user=user_to_proto(await self._users.create(user)))

    async def ListUsers(self, request: pb.ListUsersRequest, context: Any) -> pb.ListUsersResponse:
        """One page of users, the newest first."""
        violations = Violations()
        size = paging.page_size(violations, request.page_size)
        violations.raise_if_any()
        organization_id = await self.organization(request.organization_id)
        digest = paging.filter_digest(
            "ListUsers", str(organization_id), str(request.include_disabled)
        )
        token = paging.decode_token(digest, request.page_token, 2)
        found = await self._users.list(
            organization_id,
            limit=size + 1,
            before=page_start_from_token(token),
            include_disabled=request.include_disabled,
        )
        return pb.ListUsersResponse(
            users=[user_to_proto(user) for user in found[:size]],
            next_page_token=paging.next_token(
                digest, found, size, lambda last: page_start_to_token_key(last.created_at, last.id)
            ),
        )

    async def DisableUser(
        self, request: pb.DisableUserRequest, context: Any
    ) -> pb.DisableUserResponse:
        """Disables a user for good. Every gateway refuses them within two seconds."""
        violations = Violations()
        user_id = violations.uuid("id", request.id) or UUID(int=0)
        violations.raise_if_any()
        organization_id = await self.organization(request.organization_id)
        user = await self._users.disable(organization_id, user_id, current_caller().key_id)
        if user is None:
            raise not_found("user", request.id)
        return pb.DisableUserResponse(user=user_to_proto(user))
