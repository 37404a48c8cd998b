"""Documents that went wrong on the way: keys lost, types changed, numbers no tool measures."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from hypothesis import strategies as st

from tests.support.result_documents import copy_of

_DEEP: Any = []
for _ in range(200):
    _DEEP = [_DEEP]

ODD: tuple[Any, ...] = (
    None,
    True,
    False,
    "",
    "NaN",
    "inf",
    "false",
    "12.5",
    "\ud800",
    "x" * 5000,
    "a\x00b",
    0,
    -1,
    -0.0,
    1e-320,
    1e308,
    -1e308,
    10**400,
    2**63,
    float("nan"),
    float("inf"),
    float("-inf"),
    [],
    {},
    [None],
    [{}],
    [[]],
    {"successful": 1},
    {"": {"": {}}},
    _DEEP,
)
"""Values put where others belong."""


@st.composite
def mutated(draw: st.DrawFn, document: Any) -> Any:
    """The document after one to four changes at places of it."""
    changed = copy_of(document)
    for _ in range(draw(st.integers(1, 4))):
        places = list(_places(changed))
        if not places:
            break
        parent, key = places[draw(st.integers(0, len(places) - 1))]
        odd = draw(st.integers(-len(ODD) // 2, len(ODD) - 1))
        if odd < 0:
            del parent[key]
        else:
            # A copy: the next change may be made inside of it.
            parent[key] = deepcopy(ODD[odd])
    return changed


def _places(value: Any, depth: int = 0) -> Iterator[tuple[Any, Any]]:
    """Each place of the document as its parent and the key or index there."""
    if depth > 12:
        return
    if isinstance(value, dict):
        items: Any = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    else:
        return
    for key, inner in items:
        yield value, key
        yield from _places(inner, depth + 1)
