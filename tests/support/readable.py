"""A message as a document that people read and that is the same in every run."""

import re
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
_VARIES = ("matrix_time", "matrix_version")
# Processors and libraries of linear algebra differ in the last digits.
_DIGITS = 9


def readable(message: Message) -> Any:
    """The message as JSON, without what differs from run to run.

    Ids are numbered in the order they come in, so that it still shows which ones are the same.
    """
    numbers: dict[str, int] = {}

    def numbered(found: re.Match[str]) -> str:
        return f"(id {numbers.setdefault(found.group(), len(numbers) + 1)})"

    def without(value: Any) -> Any:
        match value:
            case dict():
                return {
                    key: "(varies)" if key in _VARIES else without(item)
                    for key, item in value.items()
                }
            case list():
                return [without(item) for item in value]
            case float():
                return float(f"{value:.{_DIGITS}g}")
            case str():
                return UUID.sub(numbered, value)
        return value

    return without(json_format.MessageToDict(message, preserving_proto_field_name=True))
