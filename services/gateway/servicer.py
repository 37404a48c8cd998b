"""AdminService: who may call. A caller manages its own organization; the default one's, all.

The last ADMIN key may be revoked, too: a key that leaked has to go at once. Whoever runs the
database makes another with `python -m services.gateway.bootstrap`.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from servemark.gateway.v1 import admin_service_pb2_grpc
from servemark.gateway.v1 import api_key_pb2 as pb
from servemark.runtime import paging
from servemark.runtime.errors import not_found
from servemark.runtime.validation import Violations
from services.gateway.admission import current_caller
from services.gateway.convert import (
    KeyWish,
    api_key_to_proto,
    key_id_from_proto,
    key_wish_from_proto,
    page_start_from_token_key,
    page_start_to_token_key,
    rotation_wish_from_proto,
)
from services.gateway.convert_limits import LimitChanges, limit_changes_from_proto
from services.gateway.errors import scope_missing
from services.gateway.grants import PLATFORM, SCOPES_OF_ROLE, allowed
from services.gateway.key_limits import KeyLimits
from services.gateway.keys import KeyChecker, create_key_row, key_hmac, new_secret
from services.gateway.servicer_audit import AuditMethods
from services.gateway.servicer_settings import SettingMethods
from services.gateway.servicer_users import UserMethods
from services.gateway.store import KeyStore
from services.gateway.store_audit import AuditStore
from services.gateway.store_organizations import OrganizationStore
from services.gateway.store_settings import SettingStore
from services.gateway.store_users import UserStore
from services.gateway.tables import DEFAULT_ORGANIZATION_ID


def _now() -> datetime:
    return datetime.now(UTC)


class AdminServicer(
    UserMethods, SettingMethods, AuditMethods, admin_service_pb2_grpc.AdminServiceServicer
):
    """Answers from Postgres; every change is in the audit log."""

    def __init__(
        self,
        store: KeyStore,
        organizations: OrganizationStore,
        users: UserStore,
        settings: SettingStore,
        audit: AuditStore,
        keys: KeyChecker,
        pepper: str,
        limits: KeyLimits,
        *,
        now: Callable[[], datetime] = _now,
    ) -> None:
        self._store = store
        self._organizations = organizations
        self._users = users
        self._settings = settings
        self._audit = audit
        self._keys = keys
        self._pepper = pepper
        self._limits = limits
        self._now = now

    async def CreateApiKey(
        self, request: pb.CreateApiKeyRequest, context: Any
    ) -> pb.CreateApiKeyResponse:
        """Stores a new key and shows its secret, this once."""
        wish = key_wish_from_proto(request, self._now())
        caller = current_caller()
        organization_id = await self.organization(request.organization_id)
        for scope in wish.scopes:
            if not caller.may(scope):
                raise scope_missing(scope)
        await self._refuse_more_than_the_users_role(organization_id, wish)
        self._refuse_more_than_every_key_has(wish.limits.given)
        key, secret = await create_key_row(
            self._store,
            self._pepper,
            organization_id=organization_id,
            name=wish.name,
            scopes=wish.scopes,
            expires_at=wish.expires_at,
            created_by=caller.key_id,
            hardware=wish.hardware,
            user_id=wish.user_id,
            publishes=wish.publishes,
            limits=wish.limits,
        )
        return pb.CreateApiKeyResponse(api_key=api_key_to_proto(key), secret=secret)

    async def GetApiKey(self, request: pb.GetApiKeyRequest, context: Any) -> pb.GetApiKeyResponse:
        """One key."""
        key_id = key_id_from_proto(request)
        key = await self._store.get(await self.organization(request.organization_id), key_id)
        if key is None:
            raise not_found("API key", key_id)
        return pb.GetApiKeyResponse(api_key=api_key_to_proto(key))

    async def ListApiKeys(
        self, request: pb.ListApiKeysRequest, context: Any
    ) -> pb.ListApiKeysResponse:
        """One page of keys, the newest first."""
        violations = Violations()
        size = paging.page_size(violations, request.page_size)
        violations.raise_if_any()
        organization_id = await self.organization(request.organization_id)
        digest = paging.filter_digest(
            "ListApiKeys", str(organization_id), str(request.include_inactive)
        )
        token = paging.decode_token(digest, request.page_token, 2)
        keys = await self._store.list(
            organization_id,
            limit=size + 1,
            before=page_start_from_token_key(token),
            include_inactive=request.include_inactive,
        )
        return pb.ListApiKeysResponse(
            api_keys=[api_key_to_proto(key) for key in keys[:size]],
            next_page_token=paging.next_token(
                digest, keys, size, lambda last: page_start_to_token_key(last.created_at, last.id)
            ),
        )

    async def UpdateApiKeyLimits(
        self, request: pb.UpdateApiKeyLimitsRequest, context: Any
    ) -> pb.UpdateApiKeyLimitsResponse:
        """Changes a key's own limits. They hold in every gateway within two seconds."""
        key_id, changes = key_id_from_proto(request), limit_changes_from_proto(request)
        organization_id = await self.organization(request.organization_id)
        self._refuse_more_than_every_key_has(changes)
        key = await self._store.set_limits(
            organization_id, key_id, changes, current_caller().key_id
        )
        if key is None:
            raise not_found("API key", key_id)
        self._keys.forget(key_id)
        return pb.UpdateApiKeyLimitsResponse(api_key=api_key_to_proto(key))

    async def RotateApiKey(
        self, request: pb.RotateApiKeyRequest, context: Any
    ) -> pb.RotateApiKeyResponse:
        """Gives a key another secret and shows it, this once."""
        wish = rotation_wish_from_proto(request, self._now())
        organization_id = await self.organization(request.organization_id)
        secret = new_secret(wish.key_id)
        key = await self._store.rotate(
            organization_id,
            wish.key_id,
            key_hmac(self._pepper.encode(), secret),
            overlap=wish.overlap,
            expires_at=wish.expires_at,
            rotated_by=current_caller().key_id,
        )
        if key is None:
            raise not_found("active API key", wish.key_id)
        self._keys.forget(wish.key_id)
        return pb.RotateApiKeyResponse(api_key=api_key_to_proto(key), secret=secret)

    async def RevokeApiKey(
        self, request: pb.RevokeApiKeyRequest, context: Any
    ) -> pb.RevokeApiKeyResponse:
        """Revokes a key for good. Every gateway refuses it within two seconds."""
        key_id = key_id_from_proto(request)
        organization_id = await self.organization(request.organization_id)
        key = await self._store.revoke(organization_id, key_id, current_caller().key_id)
        if key is None:
            raise not_found("API key", key_id)
        self._keys.forget(key_id)
        return pb.RevokeApiKeyResponse(api_key=api_key_to_proto(key))

    def _refuse_more_than_every_key_has(self, limits: LimitChanges) -> None:
        """Raises where a limit is above the settings', unless who runs the platform gives it.

        Whoever manages only its own organization would take from what the others share.
        """
        if current_caller().may(PLATFORM):
            return
        for name, value in limits.items():
            if value is not None and value > getattr(self._limits, name):
                raise scope_missing(PLATFORM)

    async def _refuse_more_than_the_users_role(self, organization_id: UUID, wish: KeyWish) -> None:
        """Raises unless the user a key is for is active and may do all that it could."""
        if wish.user_id is None:
            return
        user = await self._users.get(organization_id, wish.user_id)
        if user is None or user.disabled_at is not None:
            raise not_found("active user", str(wish.user_id))
        held = SCOPES_OF_ROLE[user.role]
        of_platform = organization_id == DEFAULT_ORGANIZATION_ID
        violations = Violations()
        for index, scope in enumerate(wish.scopes):
            if not allowed(scope, held, of_platform=of_platform):
                violations.add(f"scopes[{index}]", f"is more than the user's role {user.role} may")
        violations.raise_if_any()
