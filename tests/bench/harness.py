"""Measures by name, each a figure next to its baseline, taken so that both had the same machine.

A measure is a function in a module `tests/bench/bench_*.py`; the decorator is all there is to it:

    @measure("rank.topsis_1e6x8", unit="ms")
    def topsis_1e6x8(bench: Bench) -> Figure:
        subject, baseline = alternate(run_ours, run_theirs, bench.rounds)
        return Figure(subject * 1e3, baseline * 1e3)

It may be `async def`. A figure that is better when larger says so (`larger_is_better=True`); with
nothing to compare with, its baseline is None. The ratio is made from these two and reads the same
everywhere: above 1 is better than the baseline.
"""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Bench:
    """How thoroughly to measure."""

    quick: bool

    @property
    def rounds(self) -> int:
        """How often subject and baseline take turns."""
        return 3 if self.quick else 11


@dataclass(frozen=True)
class Figure:
    """What a measure found, in the measure's unit."""

    value: float
    baseline: float | None
    larger_is_better: bool = False
    note: str = ""
    """What the table says beside it."""

    @property
    def ratio(self) -> float | None:
        """How many times better than the baseline: above 1 is better, whatever the unit."""
        if self.baseline is None:
            return None
        better, worse = (
            (self.value, self.baseline) if self.larger_is_better else (self.baseline, self.value)
        )
        return better / worse


Function = Callable[[Bench], Figure] | Callable[[Bench], Awaitable[Figure]]


@dataclass(frozen=True)
class Measure:
    """A named function that makes a figure."""

    name: str
    unit: str
    function: Function

    def take(self, bench: Bench) -> Figure:
        """The figure, measured now."""
        found = self.function(bench)
        if isinstance(found, Figure):
            return found
        return asyncio.run(_awaited(found))


MEASURES: dict[str, Measure] = {}


def measure(name: str, *, unit: str) -> Callable[[Function], Function]:
    """Registers the function under the name that `build/bench.json` gives its figure."""

    def register(function: Function) -> Function:
        if name in MEASURES:
            raise ValueError(f"two measures are called {name}")
        MEASURES[name] = Measure(name, unit, function)
        return function

    return register


def alternate(
    subject: Callable[[], Any], baseline: Callable[[], Any], rounds: int
) -> tuple[float, float]:
    """The median seconds of subject and baseline, which take turns: A B A B …

    Whatever else the machine does then falls on both. Each runs once before, unmeasured, to fill
    caches and finish imports.
    """
    times: tuple[list[float], list[float]] = ([], [])
    for function in (subject, baseline):
        function()
    for _ in range(rounds):
        for function, taken in zip((subject, baseline), times, strict=True):
            gc.collect()
            start = time.perf_counter()
            function()
            taken.append(time.perf_counter() - start)
    return median(times[0]), median(times[1])


async def alternate_async(
    subject: Callable[[], Awaitable[Any]], baseline: Callable[[], Awaitable[Any]], rounds: int
) -> tuple[float, float]:
    """As `alternate`, for coroutine functions."""
    times: tuple[list[float], list[float]] = ([], [])
    for function in (subject, baseline):
        await function()
    for _ in range(rounds):
        for function, taken in zip((subject, baseline), times, strict=True):
            gc.collect()
            start = time.perf_counter()
            await function()
            taken.append(time.perf_counter() - start)
    return median(times[0]), median(times[1])


async def _awaited(found: Awaitable[Figure]) -> Figure:
    return await found
