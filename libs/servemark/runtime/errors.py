"""The one table that maps error reasons to gRPC status codes, and the exception services raise.

Services raise `ServemarkError` in the words of `ErrorReason`; only the server's interceptor turns
it into a status. A test proves that every reason a call can fail with is in `STATUS_OF_REASON`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

from servemark.type.v1.error_reason_pb2 import ErrorReason

ERROR_DOMAIN = "servemark"

_Code = grpc.StatusCode

STATUS_OF_REASON: Mapping[int, grpc.StatusCode] = {
    ErrorReason.ERROR_REASON_INVALID_FIELD: _Code.INVALID_ARGUMENT,
    ErrorReason.ERROR_REASON_MALFORMED_MESSAGE: _Code.INVALID_ARGUMENT,
    ErrorReason.ERROR_REASON_PAGE_TOKEN_INVALID: _Code.INVALID_ARGUMENT,
    ErrorReason.ERROR_REASON_RESOURCE_NOT_FOUND: _Code.NOT_FOUND,
    ErrorReason.ERROR_REASON_RESOURCE_EXISTS: _Code.ALREADY_EXISTS,
    ErrorReason.ERROR_REASON_ETAG_MISMATCH: _Code.ABORTED,
    ErrorReason.ERROR_REASON_RESOURCE_ARCHIVED: _Code.FAILED_PRECONDITION,
    ErrorReason.ERROR_REASON_HEADER_MISSING: _Code.INVALID_ARGUMENT,
    ErrorReason.ERROR_REASON_HEADER_REPEATED: _Code.INVALID_ARGUMENT,
    ErrorReason.ERROR_REASON_HEADER_CHANGED: _Code.FAILED_PRECONDITION,
    ErrorReason.ERROR_REASON_SEQUENCE_GAP: _Code.OUT_OF_RANGE,
    ErrorReason.ERROR_REASON_BATCH_TOO_LARGE: _Code.INVALID_ARGUMENT,
    ErrorReason.ERROR_REASON_USE_CASE_UNKNOWN: _Code.INVALID_ARGUMENT,
    ErrorReason.ERROR_REASON_ARCHIVE_NOT_USABLE: _Code.FAILED_PRECONDITION,
    ErrorReason.ERROR_REASON_KEY_INVALID: _Code.UNAUTHENTICATED,
    ErrorReason.ERROR_REASON_SCOPE_MISSING: _Code.PERMISSION_DENIED,
    ErrorReason.ERROR_REASON_METHOD_NOT_OFFERED: _Code.UNIMPLEMENTED,
    ErrorReason.ERROR_REASON_HARDWARE_NOT_ALLOWED: _Code.PERMISSION_DENIED,
    ErrorReason.ERROR_REASON_DEPENDENCY_UNAVAILABLE: _Code.UNAVAILABLE,
    ErrorReason.ERROR_REASON_OVERLOADED: _Code.RESOURCE_EXHAUSTED,
    ErrorReason.ERROR_REASON_DEADLINE_EXCEEDED: _Code.DEADLINE_EXCEEDED,
    ErrorReason.ERROR_REASON_RATE_LIMITED: _Code.RESOURCE_EXHAUSTED,
    ErrorReason.ERROR_REASON_TOO_MANY_CALLS: _Code.RESOURCE_EXHAUSTED,
    ErrorReason.ERROR_REASON_QUOTA_EXCEEDED: _Code.RESOURCE_EXHAUSTED,
    ErrorReason.ERROR_REASON_STREAM_IDLE: _Code.DEADLINE_EXCEEDED,
    ErrorReason.ERROR_REASON_STREAM_STALLED: _Code.DEADLINE_EXCEEDED,
    ErrorReason.ERROR_REASON_INTERNAL: _Code.INTERNAL,
}

# These refuse one row or one reference of a batch and travel in the answer, never as a status.
ROW_REASONS: frozenset[int] = frozenset(
    {
        ErrorReason.ERROR_REASON_CONFIG_INDEX_UNKNOWN,
        ErrorReason.ERROR_REASON_CONFIG_UNRESOLVED,
        ErrorReason.ERROR_REASON_ID_TIME_MISMATCH,
        ErrorReason.ERROR_REASON_ID_REUSED,
        ErrorReason.ERROR_REASON_TIME_IN_FUTURE,
        ErrorReason.ERROR_REASON_TIME_BEFORE_RETENTION,
        ErrorReason.ERROR_REASON_METRIC_OUT_OF_RANGE,
        ErrorReason.ERROR_REASON_PERCENTILES_NOT_MONOTONE,
        ErrorReason.ERROR_REASON_DETAILED_METRICS_INVALID,
        ErrorReason.ERROR_REASON_NO_METRICS,
        ErrorReason.ERROR_REASON_SKETCH_INVALID,
        ErrorReason.ERROR_REASON_REFERENCE_NOT_FOUND,
        ErrorReason.ERROR_REASON_REFERENCE_AMBIGUOUS,
    }
)

# Details travel in the trailing metadata, of which clients take 8 KiB, in base64.
_MAX_VIOLATION_BYTES = 4096

INTERNAL_TEXT = "Something went wrong on the server. Its log has the cause under this request id."


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One wrong field: its path in the request (`model.tags[3]`) and what is wrong with it."""

    field: str
    description: str


@dataclass(frozen=True, slots=True)
class QuotaViolation:
    """A limit that was met: whose it is (`caller:…`) and how much it allows."""

    subject: str
    description: str


class ServemarkError(Exception):
    """A call cannot be answered, for a reason the caller can act on.

    `reason` is an `ErrorReason`, `message` a sentence that says what to do, `metadata` what a
    program needs for it, `retry_after` seconds until a repeat may succeed, `quota` the limit met.
    """

    def __init__(
        self,
        reason: "ErrorReason.ValueType",
        message: str,
        *,
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[FieldViolation] = (),
        quota: QuotaViolation | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.metadata = dict(metadata or {})
        self.violations = tuple(violations)
        self.quota = quota
        self.retry_after = retry_after


def not_found(what: str, ref: str) -> ServemarkError:
    """The error for a resource that is not there: `what` is its kind, `ref` its id or name."""
    return ServemarkError(
        ErrorReason.ERROR_REASON_RESOURCE_NOT_FOUND,
        f"There is no {what} {ref!r}.",
        metadata={"resource": what, "ref": ref},
    )


def unavailable(what: str, retry_after: float = 1.0) -> ServemarkError:
    """The error for a server this call depends on that does not answer."""
    return ServemarkError(
        ErrorReason.ERROR_REASON_DEPENDENCY_UNAVAILABLE,
        f"{what} does not answer. Nothing of this call was stored; try again.",
        metadata={"dependency": what},
        retry_after=retry_after,
    )


def reason_name(reason: int) -> str:
    """The reason as `ErrorInfo.reason` carries it: without the enum's prefix."""
    return ErrorReason.Name(reason).removeprefix("ERROR_REASON_")  # type: ignore[arg-type]


def _pack(message: object) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)  # type: ignore[arg-type]
    return packed


def status_of(error: ServemarkError, request_id: str) -> tuple[grpc.StatusCode, status_pb2.Status]:
    """The status code and the `google.rpc.Status` with details that `error` is answered with."""
    code = STATUS_OF_REASON[error.reason]
    info = error_details_pb2.ErrorInfo(
        reason=reason_name(error.reason), domain=ERROR_DOMAIN, metadata=error.metadata
    )
    details = [_pack(info)]
    if error.violations:
        bad = error_details_pb2.BadRequest()
        for violation in error.violations:
            bad.field_violations.add(field=violation.field, description=violation.description)
            if bad.ByteSize() > _MAX_VIOLATION_BYTES:
                break
        details.append(_pack(bad))
    if error.quota is not None:
        failure = error_details_pb2.QuotaFailure()
        failure.violations.add(subject=error.quota.subject, description=error.quota.description)
        details.append(_pack(failure))
    if error.retry_after is not None:
        delay = duration_pb2.Duration()
        delay.FromNanoseconds(int(error.retry_after * 1e9))
        details.append(_pack(error_details_pb2.RetryInfo(retry_delay=delay)))
    details.append(_pack(error_details_pb2.RequestInfo(request_id=request_id)))
    status = status_pb2.Status(
        code=code_pb2.Code.Value(code.name), message=error.message, details=details
    )
    return code, status
