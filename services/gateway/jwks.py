"""The public keys of a token issuer: fetched once, kept while it is away, and soon up to date."""

import asyncio
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage
from typing import IO, Any, Final

import jwt
import orjson
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from servemark.runtime.errors import unavailable

log = structlog.get_logger()

FETCH_SECONDS: Final = 3.0
# A key the issuer took back is refused after that at the latest.
MAX_AGE_SECONDS: Final = 300.0
# Anyone can send a token with a key id nobody knows; the issuer is not asked for each.
MIN_PAUSE_SECONDS: Final = 5.0
_MAX_BYTES: Final = 256 * 1024
_MAX_KEYS: Final = 100
_MIN_RSA_BITS: Final = 2048


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A public key and the one algorithm that it is used with: RS256 or EdDSA."""

    key: RSAPublicKey | Ed25519PublicKey
    algorithm: str


def signing_keys(document: Any) -> Mapping[str, SigningKey]:
    """The keys of a JWK set (RFC 7517) that tokens may be signed with, by id.

    Keys of other kinds, for encryption, without an id, or too short are left out: a set may have
    them for others.
    """
    entries = document.get("keys") if isinstance(document, dict) else None
    found: dict[str, SigningKey] = {}
    for entry in entries[:_MAX_KEYS] if isinstance(entries, list) else ():
        if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
            continue
        key_id = entry.get("kid")
        # Named by the kind of key, never by the token: a public key is no HMAC's secret.
        algorithm = {"RSA": "RS256", "OKP": "EdDSA"}.get(str(entry.get("kty")))
        if not isinstance(key_id, str) or entry.get("alg", algorithm) != algorithm:
            continue
        try:
            key = jwt.PyJWK(entry, algorithm).key
        except (jwt.PyJWTError, ValueError, TypeError, KeyError):
            continue
        if isinstance(key, Ed25519PublicKey) or (
            isinstance(key, RSAPublicKey) and key.key_size >= _MIN_RSA_BITS
        ):
            found[key_id] = SigningKey(key, str(algorithm))
    return found


def fetch_json(url: str) -> Any:
    """The JSON document at `url`, in a thread. Raises OSError, HTTPException or ValueError.

    Redirects are not followed: they could lead to where nothing is signed or encrypted.
    """
    ends_at = time.monotonic() + FETCH_SECONDS
    opener = urllib.request.build_opener(_NoRedirects)
    body = b""
    with opener.open(url, timeout=FETCH_SECONDS) as answer:
        # Piece by piece: a timeout is of one read, and a slow sender could make it many.
        while piece := answer.read1(_MAX_BYTES):
            body += piece
            if len(body) > _MAX_BYTES or time.monotonic() > ends_at:
                raise ValueError("the key set is too large or comes too slowly")
    return orjson.loads(body)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> None:
        return None


class KeySet:
    """The issuer's keys by id. Calls with a key that is known never wait for the issuer."""

    def __init__(
        self,
        url: str,
        *,
        fetch: Callable[[str], Any] = fetch_json,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._fetch = fetch
        self._clock = clock
        self._keys: Mapping[str, SigningKey] | None = None
        self._asked_at: float | None = None
        self._refresh: asyncio.Task[None] | None = None

    async def get(self, key_id: str) -> SigningKey | None:
        """The key with this id, or None. Raises DEPENDENCY_UNAVAILABLE before the first fetch."""
        known = self._keys is not None and key_id in self._keys
        if not known or self._age() >= MAX_AGE_SECONDS:
            self._start_refresh()
        if not known and self._refresh is not None:
            # Shielded, because others may wait for the same.
            await asyncio.shield(self._refresh)
        if self._keys is None:
            raise unavailable("The issuer of tokens")
        return self._keys.get(key_id)

    async def close(self) -> None:
        """Ends a refresh that is under way."""
        if self._refresh is not None:
            self._refresh.cancel()
            await asyncio.gather(self._refresh, return_exceptions=True)

    def _age(self) -> float:
        return float("inf") if self._asked_at is None else self._clock() - self._asked_at

    def _start_refresh(self) -> None:
        if self._refresh is None and self._age() >= MIN_PAUSE_SECONDS:
            self._asked_at = self._clock()
            self._refresh = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            async with asyncio.timeout(FETCH_SECONDS + 1.0):
                self._keys = signing_keys(await asyncio.to_thread(self._fetch, self._url))
        except (OSError, HTTPException, ValueError, RecursionError) as error:
            # The keys from before go on: an issuer that is away locks nobody out.
            log.warning("keys of the token issuer not read", error=type(error).__name__)
        finally:
            self._refresh = None
