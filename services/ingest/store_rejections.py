"""SQL that reads refused rows."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import ARRAY, Text, any_, bindparam, select

from servemark.runtime.database import Database
from servemark.type.v1.error_reason_pb2 import ErrorReason
from services.ingest.records import RowRejection, StoredRejection
from services.ingest.tables import result_rejections

_j = result_rejections.c


class RejectionStore:
    """Reads refused rows; they are written with the batch they came in."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self, stream_id: UUID | None, reasons: Sequence[str], after: int | None, limit: int
    ) -> list[StoredRejection]:
        """Up to `limit` refused rows, the newest first, before the one named by `after`."""
        query = select(
            _j.id,
            _j.stream_id,
            _j.sequence,
            _j.row_index,
            _j.result_id,
            _j.reason,
            _j.detail,
            _j.payload_sha256,
            _j.created_at,
        )
        if stream_id is not None:
            query = query.where(_j.stream_id == stream_id)
        if reasons:
            wanted = bindparam(None, list(reasons), type_=ARRAY(Text()))
            query = query.where(_j.reason == any_(wanted))
        if after is not None:
            query = query.where(_j.id < after)
        query = query.order_by(_j.id.desc()).limit(limit)
        async with self._database.transaction() as connection:
            return [
                StoredRejection(
                    id=row.id,
                    stream_id=row.stream_id,
                    sequence=row.sequence,
                    rejection=RowRejection(
                        row=row.row_index,
                        result_id=row.result_id,
                        reason=ErrorReason.Value(f"ERROR_REASON_{row.reason}"),
                        detail=row.detail,
                        payload_sha256=row.payload_sha256,
                    ),
                    created_at=row.created_at,
                )
                for row in await connection.execute(query)
            ]
