"""A client belongs to the process that made it: a forked child has to make its own."""

import os

from servemark.client.errors import ServemarkError


class ForkedError(ServemarkError):
    """Something of this package was used in a forked child of the process that made it."""


class Owner:
    """Remembers which process made something."""

    __slots__ = ("_pid",)

    def __init__(self) -> None:
        self._pid = os.getpid()

    @property
    def is_here(self) -> bool:
        """Whether this is that process."""
        return os.getpid() == self._pid

    def check(self) -> None:
        """Raises ForkedError in any other process.

        A fork copies neither gRPC's threads nor ours, and locks as they happened to be: what was
        made before it would hang, or send what its parent sends.
        """
        if not self.is_here:
            raise ForkedError(
                f"This client was made in process {self._pid} and cannot be used in its forked"
                f" child {os.getpid()}. Call connect() after the fork, or start processes with"
                " multiprocessing's `spawn`."
            )
