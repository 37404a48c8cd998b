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
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from servemark.runtime.errors import ServemarkError
from servemark.type.v1.error_reason_pb2 import ErrorReason
from services.gateway.grants import READ
from services.gateway.lookup import KeyLookup
from services.gateway.store import ApiKey, KeyStore, NewKey
from services.gateway.tables import DEFAULT_ORGANIZATION_ID

_ID_BYTES = 10
_SECRET_BYTES = 32
_KEY = re.compile(r"sm_([a-z2-7]{16})_[a-z2-7]{52}", re.ASCII)
_NO_HMAC = bytes(32)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: the key, whose it is, and what it may do."""

    key_id: str
    organization_id: UUID
    scopes: frozenset[str]


# Who reads over HTTP without a key, where that is allowed.
ANONYMOUS = Caller("anonymous", DEFAULT_ORGANIZATION_ID, frozenset({READ}))


def _letters(size: int) -> str:
    # Lower-case letters and digits only: a double click selects the whole key, and no shell,
    # address or header needs it quoted.
    return base64.b32encode(secrets.token_bytes(size)).decode().rstrip("=").lower()


def new_key() -> tuple[str, str]:
    """The id and the text of a new key; the text holds 256 random bits besides the id."""
    key_id = _letters(_ID_BYTES)
    return key_id, f"sm_{key_id}_{_letters(_SECRET_BYTES)}"


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
    """Tells whose key was sent."""

    def __init__(self, pepper: str, lookup: KeyLookup) -> None:
        self._pepper = pepper.encode()
        self._lookup = lookup

    async def check(self, credential: str) -> Caller:
        """The caller with this credential.

        Raises KEY_INVALID with one text whatever is wrong with it, and only after the same work, so
        that neither the answer nor its time tells which keys exist.
        """
        # A credential of another form is looked up under an id that no key has.
        form = _KEY.fullmatch(credential[:128])
        stored = await self._lookup.get(form.group(1) if form else "")
        sent = key_hmac(self._pepper, credential)
        matches = hmac.compare_digest(sent, stored.secret_hmac if stored else _NO_HMAC)
        if stored is None or not matches or not stored.active:
            raise key_invalid()
        return Caller(stored.id, stored.organization_id, stored.scopes)

    async def still_good(self, caller: Caller) -> bool:
        """Whether the caller's key is still neither revoked nor expired; for long streams."""
        if caller is ANONYMOUS:
            return True
        stored = await self._lookup.get(caller.key_id)
        return stored is not None and stored.active

    def forget(self, key_id: str) -> None:
        """Makes the next check of a key read it anew."""
        self._lookup.forget(key_id)


def key_invalid() -> ServemarkError:
    """The one answer to a key that is missing, malformed, unknown, wrong, expired or revoked."""
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
        )
    )
    return key, text
