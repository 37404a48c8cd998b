import hashlib
from datetime import UTC, datetime

import pytest

from servemark.client import ids

TIME = datetime(2025, 9, 14, 2, 9, 3, 456789, tzinfo=UTC)
HASH = hashlib.sha256(b"a record").digest()


def test_a_uuid7_carries_its_time_version_and_variant() -> None:
    made = ids.uuid7(0x0123456789AB, bytes(range(10)))
    assert made.int >> 80 == 0x0123456789AB
    assert made.version == 7
    assert made.variant == "specified in RFC 4122"


def test_a_uuid7_keeps_all_74_random_bits_apart() -> None:
    made = {ids.uuid7(0, (1 << bit).to_bytes(10, "big")) for bit in range(74)}
    assert len(made) == 74


def test_a_fresh_uuid7_is_another_one_each_time() -> None:
    assert ids.uuid7(1) != ids.uuid7(1)


@pytest.mark.parametrize("time_ms", [-1, 1 << 48])
def test_a_time_a_uuid7_cannot_hold_is_refused(time_ms: int) -> None:
    with pytest.raises(ValueError, match="time_ms"):
        ids.uuid7(time_ms)


def test_too_few_random_bytes_are_refused() -> None:
    with pytest.raises(ValueError, match="10"):
        ids.uuid7(0, b"short")


def test_a_result_id_is_the_same_for_the_same_record_and_carries_its_millisecond() -> None:
    made = ids.result_id(TIME, HASH)
    assert made == ids.result_id(TIME, HASH)
    assert made.int >> 80 == ids.time_ms(TIME) == 1757815743456
    assert made != ids.result_id(TIME, hashlib.sha256(b"another").digest())


def test_a_stream_id_depends_on_every_part_and_on_where_parts_end() -> None:
    assert ids.stream_id(b"ab", b"c") == ids.stream_id(b"ab", b"c")
    assert ids.stream_id(b"ab", b"c") != ids.stream_id(b"a", b"bc")
    assert ids.stream_id(b"ab").version == 8
