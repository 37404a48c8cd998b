"""AdminService: who may call. A key sees and manages the keys of its own organization only.

The last ADMIN key may be revoked, too: a key that leaked has to go at once. Whoever runs the
database makes another with `python -m services.gateway.bootstrap`.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from servemark.gateway.v1 import admin_service_pb2_grpc
from servemark.gateway.v1 import api_key_pb2 as pb
from servemark.runtime import paging
from servemark.runtime.errors import not_found
from servemark.runtime.validation import Violations
from services.gateway.admission import current_caller
from services.gateway.convert import (
    MAX_ID_LENGTH,
    api_key_to_proto,
    key_wish_from_proto,
    page_start_from_token_key,
    page_start_to_token_key,
)
from services.gateway.keys import KeyChecker, create_key_row
from services.gateway.store import KeyStore


def _now() -> datetime:
    return datetime.now(UTC)


class AdminServicer(admin_service_pb2_grpc.AdminServiceServicer):
    """Answers from Postgres; every change is in the audit log."""

    def __init__(
        self,
        store: KeyStore,
        keys: KeyChecker,
        pepper: str,
        *,
        now: Callable[[], datetime] = _now,
    ) -> None:
        self._store = store
        self._keys = keys
        self._pepper = pepper
        self._now = now

    async def CreateApiKey(
        self, request: pb.CreateApiKeyRequest, context: Any
    ) -> pb.CreateApiKeyResponse:
        """Stores a new key and shows its secret, this once."""
        wish = key_wish_from_proto(request, self._now())
        caller = current_caller()
        key, secret = await create_key_row(
            self._store,
            self._pepper,
            organization_id=caller.organization_id,
            name=wish.name,
            scopes=wish.scopes,
            expires_at=wish.expires_at,
            created_by=caller.key_id,
        )
        return pb.CreateApiKeyResponse(api_key=api_key_to_proto(key), secret=secret)

    async def ListApiKeys(
        self, request: pb.ListApiKeysRequest, context: Any
    ) -> pb.ListApiKeysResponse:
        """One page of keys, the newest first."""
        violations = Violations()
        size = paging.page_size(violations, request.page_size)
        violations.raise_if_any()
        organization_id = current_caller().organization_id
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
        answer = pb.ListApiKeysResponse(api_keys=[api_key_to_proto(key) for key in keys[:size]])
        if len(keys) > size:
            answer.next_page_token = paging.encode_token(
                digest, page_start_to_token_key(keys[size - 1])
            )
        return answer

    async def RevokeApiKey(
        self, request: pb.RevokeApiKeyRequest, context: Any
    ) -> pb.RevokeApiKeyResponse:
        """Revokes a key for good. Every gateway refuses it within two seconds."""
        violations = Violations()
        key_id = violations.text("id", request.id, max_len=MAX_ID_LENGTH)
        violations.raise_if_any()
        caller = current_caller()
        key = await self._store.revoke(caller.organization_id, key_id, caller.key_id)
        if key is None:
            raise not_found("API key", key_id)
        self._keys.forget(key_id)
        return pb.RevokeApiKeyResponse(api_key=api_key_to_proto(key))
