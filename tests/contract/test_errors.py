"""The table of error reasons is complete: each is a status of a call, or the reason of a row."""

from google.rpc import error_details_pb2

from servemark.runtime.errors import ROW_REASONS, STATUS_OF_REASON, ServemarkError, status_of
from servemark.type.v1.error_reason_pb2 import ErrorReason

ALL = set(ErrorReason.values()) - {ErrorReason.ERROR_REASON_UNSPECIFIED}


def test_every_reason_has_a_status_or_belongs_to_rows() -> None:
    assert set(STATUS_OF_REASON) | ROW_REASONS == ALL
    assert not set(STATUS_OF_REASON) & ROW_REASONS


def test_every_status_names_its_reason_in_the_details() -> None:
    for reason in STATUS_OF_REASON:
        error = ServemarkError(reason, "A sentence.", metadata={"a": "b"})  # type: ignore[arg-type]
        code, status = status_of(error, "an-id")
        info = error_details_pb2.ErrorInfo()
        assert status.details[0].Unpack(info)
        assert info.reason == ErrorReason.Name(reason).removeprefix("ERROR_REASON_")  # type: ignore[arg-type]
        assert info.domain == "servemark"
        assert status.code == code.value[0]
