"""Tokens of a trusted issuer open the gateway to the users it knows, and to nobody else."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import grpc
import jwt
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import ValidationError

from servemark.gateway.v1 import user_pb2
from servemark.gateway.v1.api_key_pb2 import ListApiKeysRequest
from servemark.gateway.v1.audit_pb2 import ListAuditLogRequest
from servemark.ingest.v1.result_query_pb2 import GetBenchmarkResultRequest
from servemark.ingest.v1.result_stream_pb2 import AppendResultsRequest, ResultBatch
from servemark.runtime.errors import ServemarkError
from services.gateway.grants import GRANTS
from services.gateway.jwks import MAX_AGE_SECONDS, MIN_PAUSE_SECONDS, KeySet, signing_keys
from tests.rpc.gateway.issuer import AUDIENCE, ISSUER, Issuer, public_jwk
from tests.rpc.gateway.stand import Stand, auth, refused, running, settings_for
from tests.rpc.gateway.test_admission import OK, call, code_of

ADMIN, VIEWER = user_pb2.ROLE_ADMIN, user_pb2.ROLE_VIEWER


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    """An issuer for the module."""
    with Issuer().serving() as served:
        yield served


@pytest_asyncio.fixture(scope="module")
async def stand(gateway_database: str, issuer: Issuer) -> AsyncIterator[Stand]:
    """A gateway that trusts the issuer."""
    async with running(gateway_database, **issuer.settings) as one:
        yield one


async def user(stand: Stand, role: Any = ADMIN, **fields: str) -> user_pb2.User:
    """A new user of the default organization."""
    request = user_pb2.CreateUserRequest(
        **{"email": f"{uuid4()}@example.org", "role": role, **fields}
    )
    made = await stand.admin.CreateUser(request, metadata=auth(await stand.key("ADMIN")))
    found: user_pb2.User = made.user
    return found


async def listed(stand: Stand, token: str) -> Any:
    return await stand.admin.ListApiKeys(ListApiKeysRequest(), metadata=auth(token))


@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
async def test_a_users_token_opens_what_the_role_may(
    stand: Stand, issuer: Issuer, kind: str
) -> None:
    subject = str(uuid4())
    await user(stand, VIEWER, subject=subject)
    token = issuer.token(getattr(issuer, kind), sub=subject)
    answer = await stand.ingest.GetBenchmarkResult(
        GetBenchmarkResultRequest(id="x"), metadata=auth(token)
    )
    assert answer.benchmark_result.id == "x"
    no = await refused(listed(stand, token))
    assert (no.reason, no.metadata) == ("SCOPE_MISSING", {"required_scope": "ADMIN"})


async def test_a_user_without_a_subject_is_known_by_a_verified_email_only(
    stand: Stand, issuer: Issuer
) -> None:
    known = await user(stand)
    await listed(stand, issuer.token(email=known.email.upper(), email_verified=True))
    for claims in (
        {"email": known.email},
        {"email": known.email, "email_verified": False},
        {"email": known.email, "email_verified": "true"},
        {"email": [known.email], "email_verified": True},
        {"sub": known.email},
    ):
        no = await refused(listed(stand, issuer.token(**claims)))
        assert no.reason == "KEY_INVALID", claims


async def test_a_user_with_a_subject_is_not_known_by_email(stand: Stand, issuer: Issuer) -> None:
    known = await user(stand, subject=str(uuid4()))
    no = await refused(listed(stand, issuer.token(email=known.email, email_verified=True)))
    assert no.reason == "KEY_INVALID"


async def test_what_a_user_changes_is_logged_under_the_user(stand: Stand, issuer: Issuer) -> None:
    subject = str(uuid4())
    known = await user(stand, subject=subject)
    token = auth(issuer.token(sub=subject))
    other = user_pb2.CreateUserRequest(email=f"{uuid4()}@example.org", role=VIEWER)
    made = await stand.admin.CreateUser(other, metadata=token)
    log = await stand.admin.ListAuditLog(ListAuditLogRequest(target=made.user.id), metadata=token)
    assert [(entry.actor, entry.action) for entry in log.entries] == [
        (f"user:{known.id}", "user.create")
    ]


def bad_tokens(issuer: Issuer, subject: str) -> dict[str, str]:
    """Tokens of a user who is there, each with one thing wrong."""
    now = int(time.time())
    good = issuer.token(sub=subject)
    head, claims, signature = good.split(".")
    stranger = generate_private_key(65537, 2048)
    public = issuer.rsa.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    confused = f"{_part({'alg': 'HS256', 'typ': 'JWT', 'kid': 'rsa'})}.{claims}"
    mac = hmac.digest(public, confused.encode(), hashlib.sha256)
    return {
        "alg none": f"{_part({'alg': 'none', 'kid': 'rsa'})}.{claims}.",
        "alg none, signed": f"{_part({'alg': 'none', 'kid': 'rsa'})}.{claims}.{signature}",
        "HS256 with the public key": f"{confused}.{_letters(mac)}",
        "another algorithm's key": issuer.token(sub=subject, headers={"kid": "ed"}),
        "RS512": jwt.encode(
            {"sub": subject, "iss": ISSUER, "aud": AUDIENCE, "exp": now + 600},
            issuer.rsa,
            algorithm="RS512",
            headers={"kid": "rsa"},
        ),
        "another's signature": issuer.token(stranger, sub=subject),
        "another's edwards signature": issuer.token(Ed25519PrivateKey.generate(), sub=subject),
        "unknown kid": issuer.token(stranger, sub=subject, headers={"kid": "mine"}),
        "no kid": jwt.encode({"sub": subject}, issuer.rsa, algorithm="RS256"),
        "a key of its own": issuer.token(
            stranger, sub=subject, headers={"jwk": public_jwk(stranger, "rsa")}
        ),
        "other claims": f"{head}.{_part({'sub': subject, 'exp': now + 600})}.{signature}",
        "no signature": f"{head}.{claims}.",
        "wrong audience": issuer.token(sub=subject, aud="somebody-else"),
        "no audience": issuer.token(sub=subject, aud=None),
        "wrong issuer": issuer.token(sub=subject, iss=f"{ISSUER}/"),
        "no issuer": issuer.token(sub=subject, iss=None),
        "expired": issuer.token(sub=subject, exp=now - 30),
        "without an end": issuer.token(sub=subject, exp=None),
        "not yet valid": issuer.token(sub=subject, nbf=now + 60),
        "issued in the future": issuer.token(sub=subject, iat=now + 60),
        "no subject": issuer.token(sub=None),
        "a subject with a NUL": issuer.token(sub="a\x00b"),
        "unknown user": issuer.token(sub=str(uuid4())),
        "oversized": issuer.token(sub=subject, more="x" * 5000),
        "nested": f"{_letters(b'[' * 3000)}.{claims}.{signature}",
        "an endless number": f"{_letters(b'9' * 3000)}.{claims}.{signature}",
        "two dots": "..",
        "not base64": "a.b.c",
    }


def _part(content: dict[str, Any]) -> str:
    return _letters(json.dumps(content).encode())


def _letters(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


async def test_no_method_answers_a_bad_token(stand: Stand, issuer: Issuer) -> None:
    subject = str(uuid4())
    await user(stand, subject=subject)
    await listed(stand, issuer.token(sub=subject))
    stand.behind.forget()
    bad = bad_tokens(issuer, subject)
    texts = set()
    for method in GRANTS:
        for name, token in bad.items():
            no = await refused(call(stand.channel, method, auth(token)))
            assert no.code is grpc.StatusCode.UNAUTHENTICATED, (method, name)
            assert no.reason == "KEY_INVALID", (method, name)
            texts.add((no.text, tuple(no.metadata), no.fields, no.retry_seconds))
    assert len(bad) >= 10
    assert len(texts) == 1
    assert stand.behind.seen.calls == []


async def test_a_disabled_user_is_refused_within_two_seconds_by_every_gateway(
    stand: Stand, issuer: Issuer, gateway_database: str
) -> None:
    """No Redis is configured at all, and the gateways know nothing of each other."""
    subject = str(uuid4())
    known = await user(stand, subject=subject)
    token = issuer.token(sub=subject)
    admin = auth(await stand.key("ADMIN"))
    async with running(gateway_database, **issuer.settings) as other:
        for place in (stand, other):
            await listed(place, token)
        await stand.admin.DisableUser(user_pb2.DisableUserRequest(id=known.id), metadata=admin)
        disabled_at = time.monotonic()
        for place in (stand, other):
            await until_refused(place, token)
            assert time.monotonic() - disabled_at < 2.0


async def until_refused(stand: Stand, credential: str) -> None:
    """Waits until a credential that was good is refused."""
    method = "/servemark.gateway.v1.AdminService/ListApiKeys"
    async with asyncio.timeout(20):
        while (code := await code_of(call(stand.channel, method, auth(credential)))) is OK:
            await asyncio.sleep(0.02)
    assert code is grpc.StatusCode.UNAUTHENTICATED


async def test_a_stream_ends_with_the_token_that_opened_it(stand: Stand, issuer: Issuer) -> None:
    subject = str(uuid4())
    await user(stand, user_pb2.ROLE_RUNNER, subject=subject)
    # The clocks may be 5 s apart, so a token lives for as long after its end.
    token = issuer.token(sub=subject, exp=int(time.time()) - 3)
    stream = stand.ingest.AppendResults(metadata=auth(token))
    await stream.write(AppendResultsRequest(batch=ResultBatch(sequence=7)))
    assert (await stream.read()).ack.sequence == 7
    async with asyncio.timeout(20):
        no = await refused(stream.read())
    assert no.reason == "KEY_INVALID"


async def test_a_new_key_of_the_issuer_works_at_once_and_one_taken_back_soon_does_not(
    issuer: Issuer,
) -> None:
    now = 0.0
    keys = KeySet(issuer.url, clock=lambda: now)
    assert await keys.get("rsa")
    now += MIN_PAUSE_SECONDS
    fresh = Ed25519PrivateKey.generate()
    before = list(issuer.keys)
    issuer.keys = [public_jwk(fresh, "fresh")]
    try:
        assert await keys.get("fresh")
        assert await keys.get("rsa") is None
        issuer.keys = before
        now += MAX_AGE_SECONDS
        # Known keys never wait, so the first call after the time has the old set.
        assert await keys.get("fresh")
        async with asyncio.timeout(10):
            while await keys.get("fresh"):
                await asyncio.sleep(0.01)
    finally:
        issuer.keys = before


async def test_made_up_key_ids_ask_the_issuer_once_in_a_while_only(issuer: Issuer) -> None:
    now = 0.0
    keys = KeySet(issuer.url, clock=lambda: now)
    before = issuer.asked
    await asyncio.gather(*(keys.get(f"made up {number}") for number in range(200)))
    for number in range(200):
        assert await keys.get(f"also made up {number}") is None
    assert issuer.asked - before == 1
    now += MIN_PAUSE_SECONDS
    await keys.get("made up")
    assert issuer.asked - before == 2


async def test_keys_are_kept_while_the_issuer_is_away(issuer: Issuer) -> None:
    now = 0.0
    keys = KeySet(issuer.url, clock=lambda: now)
    assert await keys.get("rsa")
    issuer.status = 503
    try:
        now += MAX_AGE_SECONDS
        assert await keys.get("rsa")
        assert await keys.get("made up") is None
        assert await keys.get("rsa")
    finally:
        issuer.status = 200


@pytest.mark.parametrize("status", [302, 404, 503])
async def test_an_issuer_that_never_answered_is_unavailable(issuer: Issuer, status: int) -> None:
    issuer.status = status
    try:
        with pytest.raises(ServemarkError, match="issuer of tokens does not answer"):
            await KeySet(issuer.url).get("rsa")
    finally:
        issuer.status = 200


def test_a_key_set_gives_only_keys_that_tokens_may_be_signed_with(issuer: Issuer) -> None:
    rsa, edwards = issuer.keys
    short = public_jwk(generate_private_key(65537, 1024), "short")
    private = {**edwards, "kid": "private", "d": edwards["x"]}
    others = [
        short,
        private,
        {**rsa, "kid": "for encryption", "use": "enc"},
        {**rsa, "kid": "another algorithm", "alg": "PS256"},
        {**rsa, "kid": 7},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "shared"},
        {"kty": "OKP", "crv": "X25519", "x": edwards["x"], "kid": "for agreement"},
        {"kty": "RSA", "kid": "empty"},
        "text",
    ]
    found = signing_keys({"keys": [rsa, edwards, *others]})
    assert {name: key.algorithm for name, key in found.items()} == {"rsa": "RS256", "ed": "EdDSA"}
    no_key_sets: list[Any] = [{}, [], {"keys": {}}, None, "keys"]
    for document in no_key_sets:
        assert signing_keys(document) == {}


@pytest.mark.parametrize(
    "wrong",
    [
        {"oidc_issuer": ISSUER},
        {"oidc_issuer": ISSUER, "oidc_audience": AUDIENCE},
        {"oidc_jwks_url": "http://issuer.example/keys"},
        {"oidc_jwks_url": "file:///etc/passwd"},
        {"oidc_jwks_url": "https://"},
    ],
)
def test_half_an_issuer_or_one_anybody_could_be_is_no_setting(wrong: dict[str, str]) -> None:
    whole = {"oidc_issuer": ISSUER, "oidc_audience": AUDIENCE, "oidc_jwks_url": "https://a/b"}
    settings_for("postgresql://x/y", **whole)
    if "oidc_jwks_url" in wrong:
        wrong = {**whole, **wrong}
    with pytest.raises(ValidationError):
        settings_for("postgresql://x/y", **wrong)
