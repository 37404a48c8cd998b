"""Messages between the bytes gRPC forwards and the JSON that goes over HTTP."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import orjson
from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from servemark.runtime.errors import ServemarkError
from servemark.type.v1.error_reason_pb2 import ErrorReason

# Beyond this many bytes, JSON is read and written in a thread: it takes milliseconds, and the
# calls of everybody else go through this one's.
_IN_A_THREAD_FROM = 16 * 1024
_MAX_DEPTH = 32
_MAX_TEXT = 400


async def from_json(body: bytes, message: Any) -> bytes:
    """The bytes of a message of the type `message` (a descriptor). Raises MALFORMED_MESSAGE."""
    if len(body) < _IN_A_THREAD_FROM:
        return _from_json(body, message)
    return await asyncio.to_thread(_from_json, body, message)


async def to_json(data: bytes, message: Any) -> bytes:
    """A message of the type `message` as JSON, in protobuf's canonical form."""
    if len(data) < _IN_A_THREAD_FROM:
        return _to_json(data, message)
    return await asyncio.to_thread(_to_json, data, message)


def strict(deserializer: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """The deserializer, with MALFORMED_MESSAGE for bytes that are no message."""

    def parse(data: bytes) -> Any:
        try:
            return deserializer(data)
        except DecodeError:
            raise malformed("The bytes are not a message of the method's request type.") from None

    return parse


def malformed(what: str) -> ServemarkError:
    """The refusal of a body that is no message; `what` says why, in a sentence."""
    return ServemarkError(ErrorReason.ERROR_REASON_MALFORMED_MESSAGE, what[:_MAX_TEXT])


def _from_json(body: bytes, message: Any) -> bytes:
    try:
        value = json.loads(
            body.decode(), object_pairs_hook=_unrepeated, parse_constant=_no_constant
        )
    except UnicodeDecodeError:
        raise malformed("The body is not UTF-8.") from None
    except RecursionError:
        raise malformed("The JSON is nested too deep.") from None
    except ValueError as error:
        raise malformed(f"The body is not JSON: {error}.") from None
    if not isinstance(value, dict):
        raise malformed("The body has to be a JSON object; send {} for an empty request.")
    parsed: Message = GetMessageClass(message)()
    try:
        json_format.ParseDict(value, parsed, max_recursion_depth=_MAX_DEPTH)
        return parsed.SerializeToString()
    except json_format.ParseError as error:
        # Its further lines list every field there is.
        text = str(error).partition("\n")[0].rstrip(". ")
        raise malformed(f"The JSON is not a {message.name}: {text}.") from None
    except Exception:
        # What else the parser stumbles over is wrong input all the same, as with malformed bytes.
        raise malformed(f"The JSON is not a {message.name}.") from None


def _to_json(data: bytes, message: Any) -> bytes:
    return orjson.dumps(json_format.MessageToDict(GetMessageClass(message).FromString(data)))


def _unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {repeated[:100]!r} is there twice")
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")
