"""An issuer of tokens on loopback: two keys, their set over HTTP, and tokens of any claims."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

ISSUER = "https://issuer.example"
AUDIENCE = "servemark"
PrivateKey = RSAPrivateKey | Ed25519PrivateKey


def public_jwk(key: PrivateKey, key_id: str) -> dict[str, Any]:
    """The public half of a key as it stands in a key set."""
    public = key.public_key()
    if isinstance(key, RSAPrivateKey):
        text = jwt.algorithms.RSAAlgorithm.to_jwk(public)  # type: ignore[arg-type]
    else:
        text = jwt.algorithms.OKPAlgorithm.to_jwk(public)  # type: ignore[arg-type]
    return {**json.loads(text), "kid": key_id}


class Issuer:
    """What the issuer holds, and what it was asked for."""

    def __init__(self) -> None:
        self.rsa = generate_private_key(65537, 2048)
        self.ed25519 = Ed25519PrivateKey.generate()
        self.keys = [public_jwk(self.rsa, "rsa"), public_jwk(self.ed25519, "ed")]
        self.url = ""
        self.asked = 0
        self.status = 200

    @property
    def settings(self) -> dict[str, str]:
        """The gateway's settings for it."""
        return {
            "oidc_issuer": ISSUER,
            "oidc_audience": AUDIENCE,
            "oidc_jwks_url": self.url,
        }

    def token(
        self,
        key: PrivateKey | None = None,
        *,
        headers: dict[str, Any] | None = None,
        **claims: Any,
    ) -> str:
        """A token that is good but for what is given. A claim of None is left out."""
        signer = key or self.rsa
        is_rsa = isinstance(signer, RSAPrivateKey)
        now = int(time.time())
        everything = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "somebody",
            "iat": now,
            "nbf": now,
            "exp": now + 600,
            **claims,
        }
        return jwt.encode(
            {name: value for name, value in everything.items() if value is not None},
            signer,
            algorithm="RS256" if is_rsa else "EdDSA",
            headers={"kid": "rsa" if is_rsa else "ed", **(headers or {})},
        )

    @contextmanager
    def serving(self) -> Iterator["Issuer"]:
        """Its key set on a free port."""
        issuer = self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked += 1
                body = json.dumps({"keys": issuer.keys}).encode()
                self.send_response(issuer.status)
                if issuer.status == 302:
                    self.send_header("location", issuer.url)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                return

        server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        self.url = f"http://127.0.0.1:{server.server_port}/keys"
        try:
            yield self
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
