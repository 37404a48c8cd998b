"""One process reads what one key asks for at most once at a time; this is such a reading."""

import asyncio
from dataclasses import dataclass, field
from typing import Final

from servemark.runtime.cache.reply import Reply

# Whoever comes later may know of a commit that the reading has missed, and starts one anew.
_JOIN_SECONDS: Final = 0.3


@dataclass(eq=False, slots=True)
class Flight:
    """A reading under way. `spoiled`: something was said meanwhile of what it reads."""

    key: str
    tags: tuple[str, ...]
    version: str
    began: float
    spoiled: bool = False
    answer: "asyncio.Future[Reply]" = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    def takes(self, version: str, now: float) -> bool:
        """Whether a reader who comes now may have its answer, too."""
        return (
            not self.spoiled
            and not self.answer.done()
            and self.version == version
            and now - self.began < _JOIN_SECONDS
        )

    def fail(self, error: BaseException) -> None:
        """Ends it with an error, which nobody may be left to hear of."""
        if isinstance(error, asyncio.CancelledError):
            self.answer.cancel()
        else:
            self.answer.set_exception(error)
            self.answer.exception()
