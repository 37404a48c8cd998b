"""What is said of a file outside of it, for whoever has the archive and no database."""

import json
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

from services.ingest.archive.records import DamagedError, Fingerprint, WrittenDay

FORMAT: Final = "servemark.results/1"
# How to compute the checksum, in the manifest and in the file's own metadata.
CHECKSUM_RULE: Final = (
    "XOR over all rows of sha256(record_send(ROW(all columns in order))), PostgreSQL's binary form"
)
_FILE: Final = ".parquet"
_MANIFEST: Final = ".json"


def object_name(day: date, identifier: UUID) -> str:
    """The name of a new file of a day. Later ones of a day sort after it, as UUIDv7 do."""
    return f"day={day}/results-{identifier}{_FILE}"


def manifest_name(name: str) -> str:
    """The name of the manifest that lies beside a file."""
    return name.removesuffix(_FILE) + _MANIFEST


def is_manifest(name: str) -> bool:
    """Whether an object is the manifest of a day."""
    return name.startswith("day=") and name.endswith(_MANIFEST)


def day_in(name: str) -> str:
    """The day that an object's name says it is of."""
    return name.removeprefix("day=").partition("/")[0]


def file_metadata(day: date, fingerprint: Fingerprint) -> dict[str, str]:
    """What a file says of itself."""
    return {
        "format": FORMAT,
        "day": str(day),
        "row_count": str(fingerprint.row_count),
        "content_checksum": fingerprint.checksum.hex(),
        "checksum_rule": CHECKSUM_RULE,
    }


def manifest_of(written: WrittenDay) -> bytes:
    """The manifest of a file."""
    document = file_metadata(written.day, written.fingerprint) | {
        "object": written.object_name.rpartition("/")[2],
        "row_count": written.fingerprint.row_count,
        "byte_size": written.byte_size,
        "sha256": written.sha256.hex(),
        "archived_at": written.archived_at.isoformat(),
    }
    return json.dumps(document, indent=2).encode() + b"\n"


def read_manifest(name: str, content: bytes) -> WrittenDay:
    """The file that the manifest `name` describes. Raises DamagedError for one that is not ours."""
    try:
        document: dict[str, Any] = json.loads(content)
        if document["format"] != FORMAT:
            raise ValueError(document["format"])
        archived_at = datetime.fromisoformat(document["archived_at"])
        if archived_at.tzinfo is None or "/" in document["object"]:
            raise ValueError(document)
        return WrittenDay(
            day=date.fromisoformat(document["day"]),
            object_name=f"{name.rpartition('/')[0]}/{document['object']}",
            byte_size=int(document["byte_size"]),
            sha256=bytes.fromhex(document["sha256"]),
            fingerprint=Fingerprint(
                int(document["row_count"]), bytes.fromhex(document["content_checksum"])
            ),
            archived_at=archived_at,
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedError(f"{name.rpartition('/')[2]} is not a manifest of an archive.") from error
