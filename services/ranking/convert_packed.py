"""Many small messages of numbers at once.

A reply has hundreds of them, and to set their fields one by one took a third of the time of writing
it. So their bytes are laid out by numpy, and protobuf reads them as it would from anybody else. In
its wire format (https://protobuf.dev/programming-guides/encoding) a field is a key, which is its
number and its type, and then a double's eight bytes, or a message's length and fields.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from google.protobuf.message import Message

from services.ranking.matrix import Floats

_DOUBLE: Final = 1
_MESSAGE: Final = 2


def add_each(
    into: Sequence[Message],
    field: str,
    same: Sequence[Message],
    doubles: Sequence[str],
    values: Floats,
) -> None:
    """Adds a message like each of same[m] to the repeated `field` of each of into[s].

    Their fields `doubles`, d of them, get values[s, m, d]; they are not set in `same`. Raises
    ValueError where a key or a length takes more than one byte, or what is the same does not take
    as many bytes in each.
    """
    if not into or not same:
        return
    (s, m, d), heads = values.shape, [message.SerializeToString() for message in same]
    size = _one_byte(len(heads[0]) + 9 * d)
    outer = bytes((_key(into[0], field, _MESSAGE), size))
    # numpy refuses heads that are not of one length.
    start = np.array([list(outer + head) for head in heads], dtype=np.uint8)
    numbers = np.empty((s, m, d, 9), dtype=np.uint8)
    numbers[..., 0] = [_key(same[0], name, _DOUBLE) for name in doubles]
    numbers[..., 1:] = np.ascontiguousarray(values, dtype="<f8").view(np.uint8).reshape(s, m, d, 8)
    start = np.broadcast_to(start, (s, *start.shape))
    rows = np.concatenate([start, numbers.reshape(s, m, -1)], axis=2)
    for parent, row in zip(into, rows, strict=True):
        parent.MergeFromString(row.tobytes())


def _key(message: Message, field: str, wire_type: int) -> int:
    number: int = message.DESCRIPTOR.fields_by_name[field].number
    return _one_byte(number << 3 | wire_type)


def _one_byte(number: int) -> int:
    # The highest bit says that the number goes on in the next byte.
    if number >= 128:
        raise ValueError(f"{number} takes more than one byte")
    return number
