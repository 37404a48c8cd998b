"""Failed calls in words people and programs can act on."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self, cast

import grpc
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

DOMAIN = "servemark"

# How gRPC words a server that is not who it should be.
_UNTRUSTED = ("CERTIFICATE_VERIFY_FAILED", "Hostname Verification Check failed")


@dataclass(frozen=True)
class FieldViolation:
    """One wrong field of a request."""

    field: str
    description: str


@dataclass(frozen=True)
class _Details:
    reason: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    violations: tuple[FieldViolation, ...] = ()
    retry_after: float | None = None


class ServemarkError(Exception):
    """Anything this package raises: str() is a sentence for people."""


class ServemarkCallError(ServemarkError, grpc.RpcError):
    """A call that failed. Still a grpc.RpcError, for code that catches those.

    reason: the name of an ErrorReason without its prefix (`ETAG_MISMATCH`); empty if the answer did
    not come from Servemark (nobody there, a proxy). violations: every wrong field. metadata: what a
    program needs to act. retry_after: seconds the server asks to wait; None if it does not say.
    """

    def __init__(
        self, code: grpc.StatusCode, message: str, details: _Details, target: str = ""
    ) -> None:
        self._code = code
        self.message = message
        self.reason = details.reason
        self.metadata = dict(details.metadata)
        self.violations = details.violations
        self.retry_after = details.retry_after
        self.target = target
        super().__init__(self._sentence())

    @classmethod
    def from_rpc_error(cls, error: grpc.RpcError, target: str = "") -> Self:
        """The error behind a grpc.RpcError, with its details read."""
        if isinstance(error, cls):
            return error
        call = cast("grpc.Call", error)
        code = call.code() or grpc.StatusCode.UNKNOWN
        return cls(code, call.details() or "", _details_of(call), target)

    def code(self) -> grpc.StatusCode:
        """The gRPC status code."""
        return self._code

    def details(self) -> str:
        """The server's message."""
        return self.message

    @property
    def is_untrusted(self) -> bool:
        """Whether the server's certificate is not one to trust, so that nothing was sent."""
        return not self.reason and any(text in self.message for text in _UNTRUSTED)

    def _sentence(self) -> str:
        if self.is_untrusted:
            return (
                f"The certificate of {self.target or 'the target'} cannot be trusted"
                f" ({self.message}). SERVEMARK_TLS_CA names the CA it has to be of, and it has to"
                " be for the host that the target names. Nothing was sent."
            )
        if not self.reason and self._code is grpc.StatusCode.UNAVAILABLE:
            return (
                f"No Servemark answers at {self.target or 'the target'} ({self.message})."
                " Is it running? `servemark up` starts one; --target names another."
            )
        if not self.reason and self._code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return f"{self.target or 'The server'} did not answer in time."
        parts = [self.message.rstrip(". ") or self._code.name]
        # The message may name the fields already; saying it twice helps nobody.
        parts += [
            f"{violation.field}: {violation.description.rstrip('. ')}"
            for violation in self.violations
            if violation.description not in self.message
        ]
        sentence = "; ".join(parts)
        if self.retry_after:
            sentence += f". Try again in {_span(self.retry_after)}"
        return f"{sentence} ({self.reason or self._code.name})."


def _span(seconds: float) -> str:
    """A time to wait, as people say it."""
    if seconds < 600:
        return f"{seconds:g} s"
    hours, minutes = divmod(math.ceil(seconds / 60), 60)
    return f"{hours} h {minutes} min"


def _details_of(call: Any) -> _Details:
    try:
        status: status_pb2.Status | None = rpc_status.from_call(call)
    except ValueError:
        # Details that contradict the status were not made by the server that answered.
        return _Details()
    if status is None:
        return _Details()
    reason, metadata = "", dict[str, str]()
    violations: list[FieldViolation] = []
    retry_after = None
    for packed in status.details:
        info, bad, retry = (
            error_details_pb2.ErrorInfo(),
            error_details_pb2.BadRequest(),
            error_details_pb2.RetryInfo(),
        )
        if packed.Unpack(info) and info.domain == DOMAIN:
            reason, metadata = info.reason, dict(info.metadata)
        elif packed.Unpack(bad):
            violations += [
                FieldViolation(item.field, item.description) for item in bad.field_violations
            ]
        elif packed.Unpack(retry):
            retry_after = retry.retry_delay.ToTimedelta().total_seconds()
    return _Details(reason, metadata, tuple(violations), retry_after)
