"""TLS from files, read again when they change: a renewed certificate needs no restart.

New connections get the new one; those that are open stay as they are, half an hour at most.
"""

import os
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import structlog

log = structlog.get_logger()


class TlsFilesError(RuntimeError):
    """The files are missing, or are no certificate with its key; the text says which."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Files in PEM: our certificate with its chain, its key, and the CA of the other side."""

    cert: Path | None
    key: Path | None
    ca: Path | None

    def _paths(self) -> Sequence[Path]:
        return [path for path in (self.cert, self.key, self.ca) if path is not None]

    def stamp(self) -> tuple[tuple[int, int, int], ...]:
        """Changes when a file is written or replaced. Raises OSError."""
        stats = [os.stat(path) for path in self._paths()]
        return tuple((stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in stats)

    def read(self) -> "Pems":
        """What is in the files. Raises OSError."""
        cert, key, ca = (
            None if path is None else path.read_bytes() for path in (self.cert, self.key, self.ca)
        )
        return Pems(cert, key, ca)


@dataclass(frozen=True, slots=True)
class Pems:
    """The contents of TlsFiles."""

    cert: bytes | None
    key: bytes | None
    ca: bytes | None


@dataclass(frozen=True, slots=True)
class _Loaded:
    pems: Pems
    context: ssl.SSLContext


class Tls:
    """One side of TLS, always as its files are now.

    While files do not fit together, as in the middle of their replacement, those before stay.
    Raises TlsFilesError where they never did.
    """

    def __init__(self, files: TlsFiles, *, server: bool) -> None:
        self._files = files
        self._server = server
        self.generation = 0
        try:
            self._stamp = files.stamp()
            self._loaded = self._load()
        except (OSError, ssl.SSLError) as error:
            raise TlsFilesError(f"The TLS files cannot be used: {error}") from error

    def pems(self) -> Pems:
        """The contents of the files."""
        self._renew()
        return self._loaded.pems

    def context(self) -> ssl.SSLContext:
        """A context with the files; make use of it for one connection."""
        self._renew()
        return self._loaded.context

    def _renew(self) -> None:
        try:
            stamp = self._files.stamp()
            if stamp == self._stamp:
                return
            self._loaded = self._load()
        except (OSError, ssl.SSLError) as error:
            log.warning("new TLS files cannot be used yet", error=str(error))
            return
        self._stamp = stamp
        self.generation += 1
        log.info("new TLS files in use")

    def _load(self) -> _Loaded:
        files = self._files
        if self._server:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.set_alpn_protocols(["http/1.1"])
        else:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if files.cert is not None:
            context.load_cert_chain(files.cert, files.key)
        if files.ca is not None:
            context.load_verify_locations(files.ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return _Loaded(files.read(), context)


def server_credentials(tls: Tls) -> grpc.ServerCredentials:
    """Credentials of a gRPC port; where `tls` has a CA, callers need a certificate of it."""
    given = -1

    def fetch() -> Any:
        nonlocal given
        pems = tls.pems()
        if tls.generation == given:
            # To gRPC: nothing new.
            return None
        given = tls.generation
        pair: Any = (pems.key, pems.cert)
        return grpc.ssl_server_certificate_configuration([pair], pems.ca)

    return grpc.dynamic_ssl_server_credentials(
        fetch(), fetch, require_client_authentication=tls.pems().ca is not None
    )


def server_context(tls: Tls) -> ssl.SSLContext:
    """A context for an HTTP port that gives every new connection the files as they are then."""
    context = tls.context()

    def renew(connection: ssl.SSLObject, _name: str | None, _context: Any) -> None:
        connection.context = tls.context()

    context.sni_callback = renew
    return context


def channel_credentials(tls: Tls) -> grpc.ChannelCredentials:
    """Credentials of a channel that trusts the CA, with our certificate if there is one."""
    pems = tls.pems()
    return grpc.ssl_channel_credentials(pems.ca, pems.key, pems.cert)
