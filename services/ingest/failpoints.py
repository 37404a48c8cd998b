"""Named places where a test can make the process fail, through SERVEMARK_FAILPOINTS.

`before_commit=crash` kills the process there; `after_rows=error` raises; `before_tx=crash@3` waits
for the third time the place is passed; several are separated by commas. Nothing is set in
production, and then a place costs one look at an empty dictionary.
"""

import os
import re
import signal

PLACES = (
    # A batch on its way into the store.
    "before_tx",
    "after_rows",
    "before_commit",
    "after_commit_before_ack",
    # A day on its way into the archive, and out of the database.
    "archive_writing",
    "archive_written",
    "archive_verified",
    "archive_described",
    "archive_recorded",
    "day_dropped",
    "drop_committed",
)
_PATTERN = re.compile(r"(?P<place>[a-z_]+)=(?P<action>crash|error)(?:@(?P<turn>[1-9][0-9]*))?")


class FailpointError(ConnectionError):
    """What a failpoint raises: to the service it looks like a database that went away."""


class Failpoints:
    """The places of one process that fail, and how. Raises ValueError for text it does not know."""

    def __init__(self, text: str = "") -> None:
        self._waiting: dict[str, tuple[str, int]] = {}
        for part in filter(None, (part.strip() for part in text.split(","))):
            match = _PATTERN.fullmatch(part)
            if match is None or match["place"] not in PLACES:
                raise ValueError(
                    f"{part!r} is not one of {', '.join(PLACES)} with =crash or =error"
                )
            self._waiting[match["place"]] = (match["action"], int(match["turn"] or 1))

    def hit(self, place: str) -> None:
        """Fails here if this place is set and its turn has come."""
        if not self._waiting or place not in self._waiting:
            return
        action, turn = self._waiting.pop(place)
        if turn > 1:
            self._waiting[place] = (action, turn - 1)
        elif action == "crash":
            # SIGKILL, as a real crash: no handler and no flush runs.
            os.kill(os.getpid(), signal.SIGKILL)
        else:
            raise FailpointError(f"failpoint {place}")
