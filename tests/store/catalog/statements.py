"""Counts the statements that a piece of work sends to the database."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event

from servemark.runtime.database import Database


@contextmanager
def counted(database: Database) -> Iterator[list[str]]:
    """Yields a list that fills with each statement sent, but for how transactions begin and end."""
    sent: list[str] = []

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        if "set_config('servemark.organization'" not in statement:
            sent.append(statement)

    event.listen(database.engine.sync_engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(database.engine.sync_engine, "before_cursor_execute", note)
