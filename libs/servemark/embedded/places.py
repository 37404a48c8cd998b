"""Places that a server's own user can reach when the data directory is closed to it."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from servemark.embedded.account import Account, can_enter

# What lasts longest comes first: the system may empty a temporary folder when it starts.
_CANDIDATES = ("/var/lib", "/var/tmp")  # noqa: S108


def public_places(account: Account) -> Iterator[Path]:
    """Yields existing directories that the account can enter, the most lasting first."""
    for candidate in (*_CANDIDATES, tempfile.gettempdir()):
        place = Path(candidate)
        if place.is_dir() and can_enter(place, account):
            yield place
