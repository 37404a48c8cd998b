"""Where a gateway is, and how the connection to it is protected."""

import ipaddress
import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import grpc

from servemark.client.errors import ServemarkError

DEFAULT_TARGET = "127.0.0.1:50050"

_ENCRYPTED = {"https": True, "grpcs": True, "http": False, "grpc": False}
_PORT = {True: 443, False: 50050}


class AddressError(ServemarkError):
    """A target, or a file of TLS, that cannot be used; the text says what would do."""


class PlaintextKeyError(AddressError):
    """A key was about to be sent where others could read it; the text says how not to."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Files in PEM: the CA that the gateway's certificate is of, and a certificate of our own.

    Without `ca`: the authorities that this machine trusts.
    """

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    @classmethod
    def given(
        cls, ca: Path | str | None, cert: Path | str | None = None, key: Path | str | None = None
    ) -> Self:
        """What is given, and for the rest what SERVEMARK_TLS_CA and SERVEMARK_CLIENT_… name."""
        if cert is None and key is None:
            cert = os.environ.get("SERVEMARK_CLIENT_CERT")
            key = os.environ.get("SERVEMARK_CLIENT_KEY")
        ca = ca or os.environ.get("SERVEMARK_TLS_CA")
        return cls(*(Path(path) if path else None for path in (ca, cert, key)))

    def credentials(self) -> grpc.ChannelCredentials:
        """Credentials of a channel. Raises AddressError where a file cannot be used."""
        if (self.cert is None) != (self.key is None):
            raise AddressError(
                "A certificate and its key go together: SERVEMARK_CLIENT_CERT and"
                " SERVEMARK_CLIENT_KEY."
            )
        # gRPC itself would only say, with the first call, that the handshake failed.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            if self.ca is not None:
                context.load_verify_locations(self.ca)
            if self.cert is not None:
                context.load_cert_chain(self.cert, self.key)
            own = [None if path is None else path.read_bytes() for path in (self.key, self.cert)]
            return grpc.ssl_channel_credentials(_roots(self.ca), *own)
        except (OSError, ssl.SSLError) as error:
            names = ", ".join(str(path) for path in (self.ca, self.cert, self.key) if path)
            raise AddressError(f"The TLS files {names} cannot be used: {error}") from None


@dataclass(frozen=True, slots=True)
class Address:
    """A gateway's address. `name` is that for people and spools: `https://host:443`, `host:50050`.

    endpoint: what gRPC connects to. credentials: None where the connection is not encrypted.
    """

    name: str
    endpoint: str
    credentials: grpc.ChannelCredentials | None

    def options(self) -> list[tuple[str, int]]:
        """gRPC's options for a channel to it."""
        # A proxy of the environment would get what is meant for this machine, with the key.
        return [("grpc.enable_http_proxy", 0)] if _is_here(self.endpoint) else []

    def check(self, key: str | None, allow_plaintext_key: bool | None) -> None:
        """Raises PlaintextKeyError where the key would leave this machine unencrypted.

        Without `allow_plaintext_key` the environment's SERVEMARK_ALLOW_PLAINTEXT_KEY counts.
        """
        if allow_plaintext_key is None:
            said = os.environ.get("SERVEMARK_ALLOW_PLAINTEXT_KEY", "")
            allow_plaintext_key = said.lower() in ("1", "true", "yes")
        if (
            key is None
            or self.credentials is not None
            or allow_plaintext_key
            or _is_here(self.endpoint)
        ):
            return
        raise PlaintextKeyError(
            f"The connection to {self.endpoint} is not encrypted: others could read the API key,"
            f" which was not sent. Use https://{self.endpoint}, with SERVEMARK_TLS_CA=ca.pem where"
            " its certificate is of a CA of your own. Where the network between is trusted, allow"
            " it with SERVEMARK_ALLOW_PLAINTEXT_KEY=true."
        )


def address_of(target: str | None, files: TlsFiles) -> Address:
    """The address that a target names, without one SERVEMARK_TARGET, else 127.0.0.1:50050.

    `https://` and `grpcs://` are encrypted, `http://` and `grpc://` are not; one without a scheme
    is where a CA is given. Raises AddressError.
    """
    target = target or os.environ.get("SERVEMARK_TARGET") or DEFAULT_TARGET
    scheme, divider, rest = target.partition("://")
    if not divider:
        encrypted, endpoint = files.ca is not None, target
    elif scheme.lower() in _ENCRYPTED:
        encrypted = _ENCRYPTED[scheme.lower()]
        endpoint = _endpoint(target, rest, _PORT[encrypted])
    else:
        raise AddressError(_no_target(target))
    if not encrypted:
        return Address(endpoint, endpoint, None)
    return Address(f"https://{endpoint}", endpoint, files.credentials())


def _endpoint(target: str, rest: str, port: int) -> str:
    """host:port of a URL that has nothing else."""
    try:
        parts = urlsplit(f"//{rest}")
        host, port = parts.hostname or "", parts.port or port
        is_bare = rest.rstrip("/") == parts.netloc and "@" not in rest
    except ValueError:
        host, is_bare = "", False
    if not host or not is_bare:
        raise AddressError(_no_target(target))
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _no_target(target: str) -> str:
    return f"{target!r} is no target. Use host:port, or https://host:port for TLS."


def _is_here(endpoint: str) -> bool:
    """Whether what is sent to an endpoint stays on this machine."""
    if endpoint.startswith(("unix:", "unix-abstract:")):
        return True
    try:
        host = urlsplit(f"//{endpoint}").hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _roots(ca: Path | None) -> bytes | None:
    """The CA, or what OpenSSL finds on this machine; None, gRPC's own list, if that is nothing."""
    if ca is not None:
        return ca.read_bytes()
    found = ssl.get_default_verify_paths()
    bundle = Path(found.cafile or f"{found.capath}/ca-certificates.crt")
    return bundle.read_bytes() if bundle.is_file() else None
