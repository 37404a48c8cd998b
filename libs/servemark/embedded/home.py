"""The data directory of one embedded server: its lock, password, port, and where its data lies.

A data directory holds
    starter.lock            held by the program that started the server
    password, port, server.log
    server/                 owned by the user the server runs as; or, if that user cannot get here,
    location                a file that names the directory used instead of server/
    server/server.lock      held by the server itself: all its processes inherit it
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
            self._starter_lock = _open_lock(self.path / "starter.lock")
        except OSError as error:
            raise self._unusable(error) from error
        try:
            self._lock_starter()
            self.account, self.store = self._find_store()
            self.server_lock = _open_lock(self.store / "server.lock")
            try:
                self._lock_server()
            except BaseException:
                os.close(self.server_lock)
                raise
        except OSError as error:
            os.close(self._starter_lock)
            raise self._unusable(error) from error
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

    def note_server(self, pid: int | None) -> None:
        """Writes the server's process id where another starter finds it for its message."""
        _write_note(self._starter_lock, f"process {os.getpid()} (the server is process {pid})")
        _write_note(self.server_lock, f"{pid}")

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

    def _unusable(self, error: OSError) -> EmbeddedServerError:
        return EmbeddedServerError(
            f"The data directory {self.path} of {self.title} cannot be used ({error}); "
            "choose a directory that this user can write."
        )

    def _lock_starter(self) -> None:
        if not _try_lock(self._starter_lock):
            raise EmbeddedServerError(
                f"{self.title} in {self.path} is already run by "
                f"{_read_note(self._starter_lock)}; "
                "stop that program, or use another data directory."
            )
        _write_note(self._starter_lock, f"process {os.getpid()}")

    def _lock_server(self) -> None:
        # The starter is gone, so a server that still holds its lock is on its way out.
        deadline = time.monotonic() + _LEAVING_SECONDS
        while not _try_lock(self.server_lock):
            if time.monotonic() > deadline:
                pid = _read_note(self.server_lock)
                raise EmbeddedServerError(
                    f"{self.title} process {pid}, left by an earlier program, still uses "
                    f"{self.path}; end it with kill -INT {pid} and start again."
                )
            time.sleep(0.05)

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
            return (self._owner(store) if account else None), store
        if account is None:
            store.mkdir(mode=0o700)
        elif can_enter(self.path, account):
            store.mkdir(mode=0o700)
            os.chown(store, account.uid, account.gid)
        else:
            store = self._elsewhere(account)
            write_private(location, f"{store}\n")
        return account, store

    def _owner(self, store: Path) -> Account:
        """Returns the user of an existing store, who stays its user whoever starts the server."""
        owner = owner_of(store)
        if owner.uid == 0:
            raise EmbeddedServerError(
                f"The data of {self.title} in {store} belongs to root, who may not run it; "
                f"give it to the user that ran it before (chown -R postgres {store})."
            )
        if not can_enter(store, owner):
            raise EmbeddedServerError(
                f"{self.title} keeps its data in {store}, which its user {owner.name} cannot "
                "reach; move it back, or open the folders above it (chmod o+x)."
            )
        return owner

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
    """Replaces a file at once by a 0600 file with the text, owned by `owner` if given."""
    building = path.with_name(path.name + ".new")
    building.unlink(missing_ok=True)
    # Exclusive, so that a link planted in a directory of another user is not followed.
    file = os.open(building, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        if owner is not None:
            os.fchown(file, owner.uid, owner.gid)
        os.write(file, text.encode())
        os.fsync(file)
    finally:
        os.close(file)
    building.replace(path)


def _open_lock(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _try_lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write_note(file: int, note: str) -> None:
    os.ftruncate(file, 0)
    os.pwrite(file, f"{note}\n".encode(), 0)


def _read_note(file: int) -> str:
    return os.pread(file, 200, 0).decode().strip() or "an unknown process"
