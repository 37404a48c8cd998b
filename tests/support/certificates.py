"""A CA for a test, and what its certificates are needed for."""

import os
import ssl
from pathlib import Path

import grpc
import trustme


class Certificates:
    """A CA and files of certificates it made."""

    def __init__(self, folder: Path) -> None:
        self.ca = trustme.CA()
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.ca_file = folder / "ca.pem"
        self.ca.cert_pem.write_to_path(self.ca_file)

    def server_credentials(self) -> grpc.ServerCredentials:
        """What a gRPC server on this machine needs."""
        cert, key = self.issue("server")
        return grpc.ssl_server_credentials([(key.read_bytes(), cert.read_bytes())])

    def issue(self, name: str) -> tuple[Path, Path]:
        """Files of a new certificate and its key, put in place of those before."""
        made = self.ca.issue_cert("127.0.0.1", "localhost")
        cert, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        fresh_cert, fresh_key = cert.with_suffix(".new"), key.with_suffix(".newkey")
        fresh_cert.write_bytes(b"".join(pem.bytes() for pem in made.cert_chain_pems))
        fresh_key.write_bytes(made.private_key_pem.bytes())
        os.replace(fresh_cert, cert)
        os.replace(fresh_key, key)
        return cert, key

    def context(self, name: str | None = None) -> ssl.SSLContext:
        """What a client needs that trusts the CA, and shows a certificate if one is named."""
        context = ssl.create_default_context(cafile=self.ca_file)
        if name is not None:
            context.load_cert_chain(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        return context

    def credentials(self, name: str | None = None) -> grpc.ChannelCredentials:
        """The same for gRPC."""
        shown = [
            None if name is None else (self.folder / f"{name}.{kind}").read_bytes()
            for kind in ("key", "pem")
        ]
        return grpc.ssl_channel_credentials(self.ca_file.read_bytes(), *shown)
