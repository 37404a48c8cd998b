"""The memory of a process is bounded, and forgets what it is told to."""

from hypothesis import given
from hypothesis import strategies as st

from servemark.runtime.cache.memory import Held, Memory

KEYS = st.sampled_from([f"key-{n}" for n in range(30)])
TAGS = st.sets(st.sampled_from("abc"), max_size=2).map(lambda tags: tuple(sorted(tags)))


def held(size: int, tags: tuple[str, ...] = (), drop_at: float = 100.0) -> Held:
    return Held(b"x" * size, tags, "", 0.0, drop_at, 100.0)


@given(st.lists(st.tuples(KEYS, st.integers(0, 2_000), TAGS, st.booleans())))
def test_it_holds_no_more_than_it_may(steps: list[tuple[str, int, tuple[str, ...], bool]]) -> None:
    memory = Memory(most_entries=8, most_bytes=32_000)
    tags_of = {}
    for key, size, tags, forget in steps:
        memory.put(key, held(size, tags))
        tags_of[key] = tags
        if forget:
            memory.drop_tags(["a"])
            assert all(memory.get(key, 0.0) is None for key, tags in tags_of.items() if "a" in tags)
        assert len(memory) <= 8
        assert memory.byte_size <= 32_000
    memory.drop_tagged()
    memory.drop_prefixes([""])
    assert (len(memory), memory.byte_size, memory._keys_of) == (0, 0, {})


def test_the_longest_unused_leaves_first() -> None:
    memory = Memory(most_entries=2, most_bytes=100_000)
    memory.put("a", held(1))
    memory.put("b", held(1))
    memory.get("a", 0.0)
    memory.put("c", held(1))
    assert [memory.get(key, 0.0) is not None for key in "abc"] == [True, False, True]


def test_a_reply_too_large_for_it_pushes_out_no_other() -> None:
    memory = Memory(most_entries=100, most_bytes=32_000)
    memory.put("a", held(10))
    memory.put("b", held(20_000))
    assert memory.get("a", 0.0) is not None
    assert memory.get("b", 0.0) is None


def test_what_has_had_its_time_is_gone() -> None:
    memory = Memory(most_entries=100, most_bytes=32_000)
    memory.put("a", held(10, drop_at=5.0))
    assert memory.get("a", 4.9) is not None
    assert memory.get("a", 5.0) is None
    assert memory.byte_size == 0
