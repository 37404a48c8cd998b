"""What lies on one curve through an operating point, and what never does."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servemark.type.v1.provenance_pb2 import Provenance
from services.ranking.content import ConfigRow
from services.ranking.curves import AXES, Target, targets
from services.ranking.matrix import Matrix
from services.ranking.options import OperatingPoint
from tests.unit.ranking_matrix.builders import config, identifier, matrix_of

AT_12 = OperatingPoint(concurrency=12)


def at(matrix: Matrix, point: OperatingPoint) -> list[Target]:
    return targets(matrix, np.ones(len(matrix.rows), dtype=np.bool_), point)


def numbers(found: list[Target]) -> list[dict[str, list[int]]]:
    """The numbers of the configurations on each target's curves, by the axis."""
    return [{curve.axis: [int(n) + 1 for n in curve.rows] for curve in one.curves} for one in found]


def ladder(start: int = 1, **given: Any) -> list[ConfigRow]:
    return [config(start + n, concurrency=2 ** (n + 2), **given) for n in range(3)]


def test_loads_of_one_system_are_a_curve_in_rising_order() -> None:
    rows = [config(1, concurrency=16), config(2, concurrency=4), config(3, concurrency=8)]
    found = at(matrix_of(rows), AT_12)
    assert numbers(found) == [{"concurrency": [2, 3, 1]}]
    assert found[0].curves[0].places.tolist() == [4, 8, 16]


@pytest.mark.parametrize(
    "other",
    [
        {"model_version_id": identifier(1501)},
        {"hardware_config_id": identifier(2008), "hardware": "acme/h100x8", "gpu_count": 8},
        {"framework": "sglang"},
        {"framework_version": "0.12.0"},
        {"workload_type": "sharegpt"},
        {"parallelism": (2, 1, 1, 1)},
        {"parallelism": (1, 1, 1, 8)},
        {"provenance": Provenance.PROVENANCE_SIMULATED},
        # What the point leaves open.
        {"input_tokens": 2048},
        {"output_tokens": None},
        {"request_rate": 3.0},
    ],
    ids=lambda other: next(iter(other)),
)
def test_nothing_comes_together_across_systems(other: dict[str, Any]) -> None:
    matrix = matrix_of([*ladder(), *ladder(4, **other)])
    assert numbers(at(matrix, AT_12)) == [{"concurrency": [1, 2, 3]}, {"concurrency": [4, 5, 6]}]


def test_names_that_say_nothing_of_the_system_do_not_part_it() -> None:
    rows = [config(n, concurrency=2**n, tools=(f"tool-{n}",)) for n in (1, 2, 3)]
    assert numbers(at(matrix_of(rows), OperatingPoint(concurrency=5))) == [
        {"concurrency": [1, 2, 3]}
    ]


def test_only_one_load_or_length_varies_and_the_others_are_the_points() -> None:
    rows = [
        config(1, concurrency=8, input_tokens=1000),
        config(2, concurrency=16, input_tokens=1000),
        config(3, concurrency=12, input_tokens=500),
        config(4, concurrency=12, input_tokens=2000),
        config(5, concurrency=8, input_tokens=500),  # differs in both
        config(6, concurrency=None, input_tokens=1000),  # no load to lie at
    ]
    found = at(matrix_of(rows), OperatingPoint(concurrency=12, input_tokens=1000))
    assert numbers(found) == [{"concurrency": [1, 2], "input_tokens": [3, 4]}]


def test_what_differs_in_more_than_one_is_a_target_without_a_curve() -> None:
    rows = [config(1, concurrency=8, input_tokens=500)]
    found = at(matrix_of(rows), OperatingPoint(concurrency=12, input_tokens=1000))
    assert numbers(found) == [{}]
    assert not found[0].measured


def test_a_target_that_was_measured_has_no_curves() -> None:
    found = at(matrix_of([*ladder(), config(4, concurrency=12)]), AT_12)
    assert [(one.measured, one.curves) for one in found] == [(True, ())]


def test_rows_that_are_not_kept_lie_on_no_curve() -> None:
    matrix = matrix_of(ladder())
    found = targets(matrix, np.array([True, False, True]), AT_12)
    assert numbers(found) == [{"concurrency": [1, 3]}]
    assert targets(matrix, np.zeros(3, dtype=np.bool_), AT_12) == []


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[ConfigRow], OperatingPoint]:
    """Up to thirty different configurations of few values, and a point among them."""
    axis: dict[str, st.SearchStrategy[Any]] = {
        "concurrency": st.sampled_from([None, 1, 2, 4]),
        "request_rate": st.sampled_from([None, 0.5, 2.0]),
        "input_tokens": st.sampled_from([None, 128, 512]),
        "output_tokens": st.sampled_from([64, 256]),
    }
    tensor = st.sampled_from([1, 2])
    keys = draw(
        st.lists(st.tuples(tensor, *axis.values()), unique=True, min_size=1, max_size=30),
    )
    rows = [
        config(n + 1, parallelism=(tp, 1, 1, 1), **dict(zip(AXES, key, strict=True)))
        for n, (tp, *key) in enumerate(keys)
    ]
    point = draw(st.fixed_dictionaries(axis))
    return rows, OperatingPoint(**point)


@settings(max_examples=150, deadline=None)
@given(worlds())
def test_curves_are_what_a_search_by_hand_finds(made: tuple[list[ConfigRow], Any]) -> None:
    rows, point = made
    wanted = {axis: getattr(point, axis) for axis in AXES if getattr(point, axis) is not None}
    by_key: dict[Any, dict[str, list[tuple[float, int]]]] = {}
    there = set()
    for index, row in enumerate(rows):
        key = row.parallelism, *(getattr(row, axis) for axis in AXES if axis not in wanted)
        found = by_key.setdefault(key, {})
        off = [axis for axis in wanted if getattr(row, axis) != wanted[axis]]
        if not off:
            there.add(key)
        if len(off) == 1 and getattr(row, off[0]) is not None:
            found.setdefault(off[0], []).append((getattr(row, off[0]), index))
    expected = [
        (key in there, {} if key in there else {a: [i for _, i in sorted(p)] for a, p in f.items()})
        for key, f in by_key.items()
    ]
    assert [
        (one.measured, {curve.axis: curve.rows.tolist() for curve in one.curves})
        for one in at(matrix_of(rows), point)
    ] == expected
