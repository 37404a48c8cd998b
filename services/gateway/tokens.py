"""Tokens of an OpenID Connect issuer as credentials: who they are of, if they are good.

A token says who somebody is; what they may do is in the table of users, so that disabling a user
takes effect within two seconds, however long the token would last.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeGuard

import jwt

from services.gateway.grants import SCOPES_OF_ROLE
from services.gateway.jwks import KeySet
from services.gateway.keys import Caller, key_invalid
from services.gateway.lookup import KeyLookup
from services.gateway.store_users import StoredUser, by_email, by_id, by_subject

MAX_TOKEN_LENGTH: Final = 6_144
MAX_CLAIM_LENGTH: Final = 255
# How far the issuer's clock may be from ours.
LEEWAY_SECONDS: Final = 5.0
_ALGORITHMS: Final = ("RS256", "EdDSA")
# What can be wrong with a text that anyone may have written.
_UNREADABLE: Final = (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError)


class IssuerTokens:
    """Tells whose token was sent: one of `issuer`, for `audience`, signed with a key in `keys`."""

    def __init__(
        self,
        issuer: str,
        audience: str,
        keys: KeySet,
        users: KeyLookup[StoredUser],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._issuer = issuer
        self._audience = audience
        self._keys = keys
        self._users = users
        self._clock = clock

    async def check(self, token: str) -> Caller:
        """The caller with this token. Raises KEY_INVALID with the text that wrong keys get."""
        claims = await self._claims(token)
        user = await self._user(claims)
        if user is None or not user.active:
            raise key_invalid()
        return Caller(
            key_id=f"user:{user.id}",
            organization_id=user.organization_id,
            scopes=SCOPES_OF_ROLE[user.role],
            user_id=user.id,
            publishes=user.publishes,
            ends_at=float(claims["exp"]) + LEEWAY_SECONDS,
        )

    async def still_good(self, caller: Caller) -> bool:
        """Whether a caller's token has not expired and its user is as active as before."""
        if caller.user_id is None or caller.ends_at is None or self._clock() >= caller.ends_at:
            return False
        user = await self._users.get(by_id(caller.user_id))
        return user is not None and user.active

    async def _claims(self, token: str) -> Mapping[str, Any]:
        if len(token) > MAX_TOKEN_LENGTH:
            raise key_invalid()
        try:
            header = jwt.get_unverified_header(token)
        except _UNREADABLE:
            raise key_invalid() from None
        key_id = header.get("kid")
        if not isinstance(key_id, str) or header.get("alg") not in _ALGORITHMS:
            raise key_invalid()
        key = await self._keys.get(key_id)
        if key is None:
            raise key_invalid()
        try:
            claims: Mapping[str, Any] = jwt.decode(
                token,
                key.key,
                algorithms=[key.algorithm],
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except _UNREADABLE:
            raise key_invalid() from None
        return claims

    async def _user(self, claims: Mapping[str, Any]) -> StoredUser | None:
        subject, email = claims["sub"], claims.get("email")
        user = None
        if _can_be_looked_up(subject):
            user = await self._users.get(by_subject(subject))
        # An address counts only if the issuer says that it is theirs: else anyone claims anyone's.
        if user is None and claims.get("email_verified") is True and _can_be_looked_up(email):
            user = await self._users.get(by_email(email))
        return user


def _can_be_looked_up(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and 0 < len(value) <= MAX_CLAIM_LENGTH and value.isprintable()
