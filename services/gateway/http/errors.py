"""Errors as Connect writes them: a code by name, a message, and the same details as over gRPC."""

from collections.abc import Mapping
from typing import Any, Final

import grpc
import orjson
from google.protobuf import any_pb2, json_format
from google.rpc import status_pb2

from services.gateway.http.context import HttpContext, encoded
from services.gateway.metadata import STATUS_DETAILS

_Code = grpc.StatusCode

# https://connectrpc.com/docs/protocol#error-codes
HTTP_STATUS: Final[Mapping[grpc.StatusCode, int]] = {
    _Code.CANCELLED: 499,
    _Code.UNKNOWN: 500,
    _Code.INVALID_ARGUMENT: 400,
    _Code.DEADLINE_EXCEEDED: 504,
    _Code.NOT_FOUND: 404,
    _Code.ALREADY_EXISTS: 409,
    _Code.PERMISSION_DENIED: 403,
    _Code.RESOURCE_EXHAUSTED: 429,
    _Code.FAILED_PRECONDITION: 400,
    _Code.ABORTED: 409,
    _Code.OUT_OF_RANGE: 400,
    _Code.UNIMPLEMENTED: 501,
    _Code.INTERNAL: 500,
    _Code.UNAVAILABLE: 503,
    _Code.DATA_LOSS: 500,
    _Code.UNAUTHENTICATED: 401,
}


def code_name(code: grpc.StatusCode) -> str:
    """The code as Connect writes it; it spells one of them with a single l."""
    return "canceled" if code is _Code.CANCELLED else code.name.lower()


def error_of(code: grpc.StatusCode, context: HttpContext) -> dict[str, Any]:
    """The error a call ended with, as the object Connect answers."""
    error: dict[str, Any] = {"code": code_name(code), "message": context.text}
    raw = dict(context.trailers).get(STATUS_DETAILS)
    if isinstance(raw, bytes):
        error["details"] = [_detail(one) for one in status_pb2.Status.FromString(raw).details]
    return error


def error_body(code: grpc.StatusCode, message: str) -> bytes:
    """The body of an error that has no details, because the call was not begun."""
    return orjson.dumps({"code": code_name(code), "message": message})


def _detail(packed: any_pb2.Any) -> dict[str, Any]:
    name = packed.type_url.rpartition("/")[2]
    detail: dict[str, Any] = {"type": name, "value": encoded(packed.value)}
    try:
        debug = json_format.MessageToDict(packed)
    except (TypeError, ValueError):
        # Of a type we do not know; its bytes are there.
        return detail
    detail["debug"] = {key: value for key, value in debug.items() if key != "@type"}
    return detail
