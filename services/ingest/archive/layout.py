"""What a file of the archive holds of each result: all of its columns, and its configuration's.

The configuration's columns stand in every row, named `config_…`: repeated values take almost no
room in Parquet, and whoever reads the file needs nothing beside it. The columns follow the tables
of the service, so one that a migration adds is archived from then on; a file written before has it
not, and is restored without it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Column,
    Date,
    DateTime,
    Double,
    Integer,
    LargeBinary,
    Text,
    Uuid,
)
from sqlalchemy.dialects.postgresql import JSONB

from services.ingest.archive.records import DamagedError
from services.ingest.tables import benchmark_configs, benchmark_results

# How a value is written: see parquet.py.
Kind = Literal[
    "uuid", "text", "double", "integer", "bigint", "time", "date", "bytes", "json", "integers"
]
# The first that fits: an Integer is a BigInteger's base class.
_KINDS: Final[Sequence[tuple[type[Any], Kind]]] = (
    (Uuid, "uuid"),
    (Text, "text"),
    (Double, "double"),
    (BigInteger, "bigint"),
    (Integer, "integer"),
    (DateTime, "time"),
    (Date, "date"),
    (LargeBinary, "bytes"),
    (JSONB, "json"),
    (ARRAY, "integers"),
)


@dataclass(frozen=True, slots=True)
class ArchiveColumn:
    """A column of the file: its name there, and where it comes from in SQL.

    In SQL a result is `r` and its configuration `c`. `is_written_back` is False for what the
    database computes.
    """

    name: str
    source: str
    kind: Kind
    is_written_back: bool = True

    @property
    def of_config(self) -> bool:
        """Whether it is the configuration's."""
        return self.source.startswith("c.")


def _kind(column: Column[Any]) -> Kind:
    for sql_type, kind in _KINDS:
        if isinstance(column.type, sql_type):
            return kind
    raise TypeError(f"{column} has the type {column.type}, which has no place in the archive")


RESULT_COLUMNS: Final = tuple(
    ArchiveColumn(
        column.name, f"r.{column.name}", _kind(column), is_written_back=column.computed is None
    )
    for column in benchmark_results.columns
)
CONFIG_COLUMNS: Final = tuple(
    ArchiveColumn(f"config_{column.name}", f"c.{column.name}", _kind(column))
    for column in benchmark_configs.columns
    # A result has these two itself, and by them is joined to its configuration.
    if column.name not in ("id", "model_id")
)
COLUMNS: Final = RESULT_COLUMNS + CONFIG_COLUMNS

_COLUMN_OF_NAME: Final = {column.name: column for column in COLUMNS}


def columns_named(names: Iterable[str]) -> tuple[ArchiveColumn, ...]:
    """The columns of a file. Raises DamagedError for one that this version does not know."""
    unknown = [name for name in names if name not in _COLUMN_OF_NAME]
    if unknown:
        raise DamagedError(
            f"The file has columns that this version does not know: {', '.join(unknown)}."
        )
    return tuple(_COLUMN_OF_NAME[name] for name in names)
