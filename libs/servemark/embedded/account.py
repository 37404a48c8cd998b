"""Which operating-system user a server runs as, and what that user can reach."""

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

from servemark.embedded.errors import EmbeddedServerError

_PREFERRED = ("postgres", "valkey", "redis", "nobody")


@dataclass(frozen=True)
class Account:
    """A user of this machine that a server started by root runs as."""

    name: str
    uid: int
    gid: int


def account_for_servers() -> Account | None:
    """Returns the user to run servers as, or None when we are not root and stay who we are.

    PostgreSQL refuses to run as root. Any user of the password file will do; the first of a few
    customary ones is taken, else the first that is not root.
    """
    if os.geteuid() != 0:
        return None
    entries = {entry.pw_name: entry for entry in pwd.getpwall() if entry.pw_uid != 0}
    for name in (*_PREFERRED, *entries):
        if name in entries:
            return Account(name, entries[name].pw_uid, entries[name].pw_gid)
    raise EmbeddedServerError(
        "PostgreSQL refuses to run as root and this machine has no other user; "
        "create one (useradd --system postgres) or start as an ordinary user."
    )


def owner_of(path: Path) -> Account:
    """Returns the user that owns an existing path, named by its number if it has no name."""
    status = path.stat()
    try:
        entry = pwd.getpwuid(status.st_uid)
    except KeyError:
        return Account(str(status.st_uid), status.st_uid, status.st_gid)
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _allows(path: Path, account: Account, bit: int) -> bool:
    status = path.stat()
    if status.st_uid == account.uid:
        shift = 6
    elif status.st_gid == account.gid:
        shift = 3
    else:
        shift = 0
    return bool(stat.S_IMODE(status.st_mode) >> shift & bit)


def can_enter(directory: Path, account: Account | None) -> bool:
    """True if the user may pass through the directory and through every one above it.

    Without an account the answer is always True: we are the user, and the system will say no.
    """
    if account is None:
        return True
    resolved = directory.resolve()
    return all(_allows(part, account, 1) for part in (resolved, *resolved.parents))


def can_run(program: Path, account: Account | None) -> bool:
    """True if the user may reach, read and execute the file."""
    if account is None:
        return os.access(program, os.R_OK | os.X_OK)
    resolved = program.resolve()
    return (
        can_enter(resolved.parent, account)
        and _allows(resolved, account, 4)
        and _allows(resolved, account, 1)
    )
