"""What lies where in the data directory, and the secrets made for it once."""

import hashlib
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

DEFAULT_DATA_DIR = ".servemark"


def data_dir_from_environment() -> Path:
    """SERVEMARK_DATA_DIR, or `.servemark` in the current folder."""
    return Path(os.environ.get("SERVEMARK_DATA_DIR", DEFAULT_DATA_DIR))


def write_private(path: Path, text: str) -> None:
    """Writes a file only its owner can read, whole or not at all."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    scratch.replace(path)


@dataclass(frozen=True)
class DataDir:
    """The folder that holds everything `servemark up` keeps between two starts."""

    root: Path

    @property
    def postgres(self) -> Path:
        """The embedded PostgreSQL's own folder."""
        return self.root / "postgres"

    @property
    def valkey(self) -> Path:
        """The embedded Valkey's own folder."""
        return self.root / "valkey"

    @property
    def logs(self) -> Path:
        """One log file for each service."""
        return self.root / "logs"

    @property
    def archive(self) -> Path:
        """The days of results that were archived, where the environment names no other place."""
        return self.root / "archive"

    @property
    def client_file(self) -> Path:
        """Address and key that the command line uses where it is given none."""
        return self.root / "client.json"

    @property
    def pid_file(self) -> Path:
        """Process id of the `servemark up` that runs, and the addresses of its servers."""
        return self.root / "up.json"

    @property
    def sample_file(self) -> Path:
        """Digest of the sample data that was loaded."""
        return self.root / "sample.json"

    def create(self) -> None:
        """Makes the folder. Others may pass through it, not list it; what is secret is 0600.

        Started by root, PostgreSQL runs as another user, whose data lies below.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o711)
        self.logs.mkdir(mode=0o700, exist_ok=True)

    def key_pepper(self) -> str:
        """The pepper of stored key hashes: made once, because without it every key is lost."""
        path = self.root / "secrets.json"
        if not path.exists():
            write_private(path, json.dumps({"key_pepper": secrets.token_hex(32)}))
        pepper: str = json.loads(path.read_text())["key_pepper"]
        return pepper


def sample_dir() -> Path:
    """The folder of the shipped catalog and results."""
    from servemark import sample

    return Path(str(sample.__file__)).parent


def sample_digest() -> str:
    """SHA-256 over every shipped data file, so that a newer release loads its data again."""
    digest = hashlib.sha256()
    for path in sorted(sample_dir().rglob("*.json*")):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
