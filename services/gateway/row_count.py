"""How many rows a message of an ingest stream brings, read from its bytes.

Parsed as a message that knows only the fields which tell: the rows, each as bytes, and the ids of
columns. So it is the parser of the service itself that reads them, whatever a sender does with
repeated, unknown or reordered fields, and a message of 10,000 rows makes no 10,000 objects.
"""

from typing import Any, Final

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.message import DecodeError

from servemark.ingest.v1.result_columns_pb2 import ResultColumns
from servemark.ingest.v1.result_stream_pb2 import (
    AppendResultsRequest,
    ResultBatch,
    StreamResultsRequest,
)
from services.gateway.grants import INGEST_SERVICE

# Both request types have their batch in the same field; a test compares.
REQUEST_TYPES: Final = {
    f"/{INGEST_SERVICE}/AppendResults": AppendResultsRequest,
    f"/{INGEST_SERVICE}/StreamResults": StreamResultsRequest,
}
_ID_BYTES: Final = 16


def _reader() -> Any:
    file = FileDescriptorProto(
        name="services/gateway/row_count.proto", package="services.gateway", syntax="proto3"
    )
    field = FieldDescriptorProto
    # Innermost first: name, then field, its number, label and the type it has here.
    for name, *fields in (
        ("Columns", ("ids", ResultColumns.IDS_FIELD_NUMBER, field.LABEL_OPTIONAL, "")),
        (
            "Batch",
            ("rows", ResultBatch.ROWS_FIELD_NUMBER, field.LABEL_REPEATED, ""),
            ("columns", ResultBatch.COLUMNS_FIELD_NUMBER, field.LABEL_OPTIONAL, "Columns"),
        ),
        (
            "Request",
            ("batch", AppendResultsRequest.BATCH_FIELD_NUMBER, field.LABEL_OPTIONAL, "Batch"),
        ),
    ):
        message = file.message_type.add(name=name)
        for field_name, number, label, type_name in fields:
            message.field.add(
                name=field_name,
                number=number,
                label=label,
                type=field.TYPE_MESSAGE if type_name else field.TYPE_BYTES,
                type_name=f".services.gateway.{type_name}" if type_name else None,
            )
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("services.gateway.Request"))


_Request: Final = _reader()


def rows_in(message: bytes) -> int:
    """The rows of a message; 0 where it is a header, or no message, which the service refuses."""
    try:
        batch = _Request.FromString(message).batch
    except DecodeError:
        return 0
    return len(batch.rows) + len(batch.columns.ids) // _ID_BYTES
