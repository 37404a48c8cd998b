"""Changing how results are stored, with the rights of the database's owner."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from servemark.stack.errors import StackError

if TYPE_CHECKING:
    from migrations.storage import Moved

T = TypeVar("T")


def move_to_hypertable(database_url: str, say: Callable[[str], None]) -> "Moved":
    """Moves results from native partitions to a hypertable; `say` is told how far it got.

    Raises StackError where that cannot be, with results left where they are.
    """
    from migrations.storage import move_results

    return _run(move_results(database_url, say))


def drop_native_partitions(database_url: str) -> int:
    """Drops the partitions that results were moved from; their size in bytes. Raises StackError."""
    from migrations.storage import drop_partitions

    return _run(drop_partitions(database_url))


def _run(work: Coroutine[Any, Any, T]) -> T:
    from sqlalchemy.exc import DBAPIError

    from migrations.storage import MoveError

    try:
        return asyncio.run(work)
    except MoveError as error:
        raise StackError(str(error)) from None
    except (DBAPIError, OSError) as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise StackError(
            f"The database refused or was lost: {reason}. Results stay where they are; the next "
            "run goes on from there."
        ) from None
