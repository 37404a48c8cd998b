"""API keys: `sm_<id>_<secret>`, kept as an HMAC, and how a caller's is checked.

A key is 256 random bits, so it needs no slow hash: HMAC-SHA256 under a pepper that is not in the
database makes a stolen table worthless, and costs microseconds a call where argon2 costs 324 ms.
"""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from uuid import UUID

from servemark.runtime.errors import ServemarkError
from servemark.runtime.tenancy import PUBLIC, Tenant
from servemark.type.v1.error_reason_pb2 import ErrorReason
from services.gateway.grants import READ, allowed
from services.gateway.key_limits import NO_OWN_LIMITS, OwnLimits
from services.gateway.lookup import KeyLookup
from services.gateway.store import ApiKey, KeyStore, NewKey, StoredKey
from services.gateway.tables import DEFAULT_ORGANIZATION_ID

_ID_BYTES = 10
_SECRET_BYTES = 32
_KEY = re.compile(r"sm_([a-z2-7]{16})_[a-z2-7]{52}", re.ASCII)
_NO_HMAC = bytes(32)
# Header, claims and signature of a token; a key has no dot.
_DOTS_OF_TOKEN = 2


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: the key, whose it is, and what it may do, and how much if not as much as all.

    `hardware` are the names of the hardware it may send results for; none: any. `publishes` says
    whether what it sends is public. `user_id` is the user the key belongs to, if it does.
    `key_id` is `user:` and the user's id where a token was sent. `proof` is the HMAC of the key
    that was sent, `ends_at` the end of a token in Unix seconds.
    """

    key_id: str
    organization_id: UUID
    scopes: frozenset[str]
    hardware: frozenset[str] = frozenset()
    user_id: UUID | None = None
    publishes: bool = False
    proof: bytes = field(default=b"", repr=False)
    ends_at: float | None = None
    limits: OwnLimits = NO_OWN_LIMITS

    @property
    def of_platform(self) -> bool:
        """Whether it is of the default organization, whose ADMIN manages the others."""
        return self.organization_id == DEFAULT_ORGANIZATION_ID

    @property
    def tenant(self) -> Tenant:
        """On whose behalf the services behind are called."""
        if self is ANONYMOUS:
            return PUBLIC
        return Tenant(self.organization_id, self.publishes, self.hardware)

    def may(self, scope: str) -> bool:
        """Whether it may do what needs `scope`, which can be PLATFORM."""
        return allowed(scope, self.scopes, of_platform=self.of_platform)


class TokenChecker(Protocol):
    """Tells whose token was sent."""

    async def check(self, token: str) -> Caller:
        """The caller with this token. Raises KEY_INVALID."""

    async def still_good(self, caller: Caller) -> bool:
        """Whether a caller's token would still be let in."""


# Who reads over HTTP without a key, where that is allowed: what is public, of whomever.
ANONYMOUS = Caller("anonymous", DEFAULT_ORGANIZATION_ID, frozenset({READ}))


def _letters(size: int) -> str:
    # Lower-case letters and digits only: a double click selects the whole key, and no shell,
    # address or header needs it quoted.
    return base64.b32encode(secrets.token_bytes(size)).decode().rstrip("=").lower()


def new_key() -> tuple[str, str]:
    """The id and the text of a new key; the text holds 256 random bits besides the id."""
    key_id = _letters(_ID_BYTES)
    return key_id, new_secret(key_id)


def new_secret(key_id: str) -> str:
    """Another text for the key with this id, with 256 new random bits."""
    return f"sm_{key_id}_{_letters(_SECRET_BYTES)}"


def key_hmac(pepper: bytes, key: str) -> bytes:
    """HMAC-SHA256 of a key's whole text, 32 bytes: what is stored and compared."""
    return hmac.digest(pepper, key.encode(), hashlib.sha256)


def bearer(values: Sequence[str | bytes]) -> str:
    """The credential in a call's `authorization` values; empty unless there is exactly one."""
    if len(values) != 1 or not isinstance(values[0], str):
        return ""
    scheme, _, credential = values[0].partition(" ")
    return credential if scheme.lower() == "bearer" else ""


class KeyChecker:
    """Tells whose key was sent, or whose token, where `tokens` can tell."""

    def __init__(
        self, pepper: str, lookup: KeyLookup[StoredKey], tokens: TokenChecker | None = None
    ) -> None:
        self._pepper = pepper.encode()
        self._lookup = lookup
        self._tokens = tokens

    async def check(self, credential: str) -> Caller:
        """The caller with this credential.

        Raises KEY_INVALID with one text whatever is wrong with it, and only after the same work, so
        that neither the answer nor its time tells which keys exist.
        """
        if self._tokens is not None and credential.count(".") == _DOTS_OF_TOKEN:
            return await self._tokens.check(credential)
        # A credential of another form is looked up under an id that no key has.
        form = _KEY.fullmatch(credential[:128])
        stored = await self._lookup.get(form.group(1) if form else "")
        sent = key_hmac(self._pepper, credential)
        matches = _matches(sent, stored)
        if stored is None or not matches or not stored.active:
            raise key_invalid()
        return Caller(
            key_id=stored.id,
            organization_id=stored.organization_id,
            scopes=stored.scopes,
            hardware=stored.hardware,
            user_id=stored.user_id,
            publishes=stored.publishes,
            proof=sent,
            limits=stored.limits,
        )

    async def still_good(self, caller: Caller) -> bool:
        """Whether what the caller sent would still be let in; for long streams."""
        if caller is ANONYMOUS:
            return True
        if self._tokens is not None and caller.ends_at is not None:
            return await self._tokens.still_good(caller)
        stored = await self._lookup.get(caller.key_id)
        return _matches(caller.proof, stored) and stored is not None and stored.active

    def forget(self, key_id: str) -> None:
        """Makes the next check of a key read it anew."""
        self._lookup.forget(key_id)


def _matches(sent: bytes, stored: StoredKey | None) -> bool:
    """Whether the secret is the key's, or the one before while that works. Always two compares."""
    current, previous = (stored.secret_hmac, stored.previous_hmac) if stored else (None, None)
    is_current = hmac.compare_digest(sent, current or _NO_HMAC)
    is_previous = hmac.compare_digest(sent, previous or _NO_HMAC)
    return is_current or is_previous


def key_invalid() -> ServemarkError:
    """The one answer to a key or token that is missing, malformed, unknown, wrong or at its end."""
    return ServemarkError(
        ErrorReason.ERROR_REASON_KEY_INVALID,
        "No key was sent, or it is unknown, expired or revoked. "
        "Send `authorization: Bearer <key>`.",
    )


async def create_key_row(
    store: KeyStore,
    pepper: str,
    *,
    organization_id: UUID,
    name: str,
    scopes: Iterable[str],
    expires_at: datetime | None,
    created_by: str,
    hardware: Iterable[str] = (),
    user_id: UUID | None = None,
    publishes: bool | None = None,
    limits: OwnLimits = NO_OWN_LIMITS,
) -> tuple[ApiKey, str]:
    """Makes a key, stores it, and returns it with its text, which is nowhere else from then on."""
    key_id, text = new_key()
    key = await store.create(
        NewKey(
            id=key_id,
            organization_id=organization_id,
            name=name,
            secret_hmac=key_hmac(pepper.encode(), text),
            scopes=tuple(scopes),
            expires_at=expires_at,
            created_by=created_by,
            hardware=tuple(hardware),
            user_id=user_id,
            publishes=publishes,
            limits=limits,
        )
    )
    return key, text
