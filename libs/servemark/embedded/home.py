"""The data directory of one embedded server: its lock, password, port, and where its data lies.

A data directory holds
    starter.lock   held by the program that started the server
    server.lock    held by the server itself, inherited by all its processes
    password, port, server.log
    server/        owned by the user the server runs as; or, if that user cannot get here,
    location       a file that names the directory used instead of server/
"""

import fcntl
import hashlib
import os
import secrets
import tempfile
import time
from pathlib import Path

from servemark.embedded.account import Account, account_for_servers, can_enter, owner_of
from servemark.embedded.errors import EmbeddedServerError
from servemark.embedded.places import public_places

_LEAVING_SECONDS = 20.0


class ServerHome:
    """An open data directory that nobody else can start a server on until it is closed."""

    def __init__(self, data_dir: Path, title: str) -> None:
        """Creates the directory if needed and locks it.

        Raises EmbeddedServerError if another program or a server left behind uses it.
        """
        self.path = data_dir.absolute()
        self.title = title
        try:
            self._create()
            self._starter_lock = self._open_lock("starter.lock")
        except OSError as error:
            raise EmbeddedServerError(
                f"The data directory {self.path} of {title} cannot be used ({error}); "
                "choose a directory that this user can write."
            ) from error
        try:
            self._lock_starter()
            self.server_lock = self._open_lock("server.lock")
            try:
                self._lock_server()
                self.account, self.store = self._find_store()
            except BaseException:
                os.close(self.server_lock)
                raise
        except BaseException:
            os.close(self._starter_lock)
            raise

    @property
    def log(self) -> Path:
        """The file that the server's messages go to."""
        return self.path / "server.log"

    @property
    def port_memory(self) -> Path:
        """The file that remembers the port."""
        return self.path / "port"

    def close(self) -> None:
        """Gives the directory free; a server that still runs keeps its own hold on it."""
        os.close(self.server_lock)
        os.close(self._starter_lock)

    def note_server(self, pid: int) -> None:
        """Writes the server's process id where another starter finds it for its message."""
        _write_pid(self.server_lock, pid)

    def password(self) -> str:
        """Returns the server's password, made up and kept in a 0600 file at the first call."""
        file = self.path / "password"
        if not file.exists():
            write_private(file, secrets.token_urlsafe(32) + "\n")
        try:
            return file.read_text().strip()
        except OSError as error:
            raise EmbeddedServerError(
                f"The password file {file} cannot be read ({error.strerror}); "
                "start as the user that created it."
            ) from error

    def _create(self) -> None:
        if not self.path.exists():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.mkdir(exist_ok=True)
            # Ours, so the server's user may pass; every file in it has its own protection.
            self.path.chmod(0o711)

    def _open_lock(self, name: str) -> int:
        return os.open(self.path / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _lock_starter(self) -> None:
        if not _try_lock(self._starter_lock):
            raise EmbeddedServerError(
                f"{self.title} in {self.path} is already run by process "
                f"{_read_pid(self._starter_lock)} (the server is process {self._server_pid()}); "
                "stop that program, or use another data directory."
            )
        _write_pid(self._starter_lock, os.getpid())

    def _lock_server(self) -> None:
        # The starter is gone, so a server that still holds its lock is on its way out.
        deadline = time.monotonic() + _LEAVING_SECONDS
        while not _try_lock(self.server_lock):
            if time.monotonic() > deadline:
                pid = _read_pid(self.server_lock)
                raise EmbeddedServerError(
                    f"{self.title} process {pid}, left by an earlier program, still uses "
                    f"{self.path}; end it with kill -INT {pid} and start again."
                )
            time.sleep(0.05)

    def _server_pid(self) -> str:
        with (self.path / "server.lock").open() as file:
            return file.read().strip() or "unknown"

    def _find_store(self) -> tuple[Account | None, Path]:
        """Returns the server's user (None: we) and the directory that it owns, created if new."""
        account = account_for_servers()
        location = self.path / "location"
        store = self.path / "server"
        if location.exists():
            store = Path(location.read_text().strip())
            if not store.is_dir():
                raise EmbeddedServerError(
                    f"{self.title} kept its data in {store}, which is gone; bring it back, or "
                    f"remove {self.path} to begin with an empty server."
                )
        if store.is_dir():
            # Its owner stays its owner, whoever starts it this time.
            return (owner_of(store) if account else None), store
        if account is None:
            store.mkdir(mode=0o700)
        elif can_enter(self.path, account):
            store.mkdir(mode=0o700)
            os.chown(store, account.uid, account.gid)
        else:
            store = self._elsewhere(account)
            write_private(location, f"{store}\n")
        return account, store

    def _elsewhere(self, account: Account) -> Path:
        """Creates a directory the account can reach; a folder above ours is closed to it.

        The name is new each time: what lies under an old one belongs to a data directory that was
        removed, whose password nobody knows any more.
        """
        mark = hashlib.sha256(str(self.path.resolve()).encode()).hexdigest()[:12]
        for place in public_places(account):
            try:
                found = tempfile.mkdtemp(prefix=f"servemark-{mark}-", dir=place)
            except OSError:
                continue
            os.chown(found, account.uid, account.gid)
            return Path(found)
        raise EmbeddedServerError(
            f"User {account.name} cannot reach {self.path}, and no other place was found; "
            "use a data directory outside the home of root."
        )


def write_private(path: Path, text: str, owner: Account | None = None) -> None:
    """Writes a new 0600 file in place of what was there, owned by `owner` if given."""
    path.unlink(missing_ok=True)
    # Exclusive, so that a link planted in a directory of another user is not followed.
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        if owner is not None:
            os.fchown(file, owner.uid, owner.gid)
        os.write(file, text.encode())
        os.fsync(file)
    finally:
        os.close(file)


def _try_lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write_pid(file: int, pid: int) -> None:
    os.ftruncate(file, 0)
    os.pwrite(file, f"{pid}\n".encode(), 0)


def _read_pid(file: int) -> str:
    return os.pread(file, 32, 0).decode().strip() or "unknown"
