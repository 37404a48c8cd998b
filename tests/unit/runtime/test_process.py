"""What keeps calls quick beside large data, each in a process of its own."""

import subprocess
import sys

import pytest

CALLS = """
import resource
import threading
import numpy as np
from servemark.runtime import process

def call():
    for _ in range(100):
        [np.ones(100_000) for _ in range(10)]

def faults():
    worker = threading.Thread(target=call)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    worker.start()
    worker.join()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
"""


def says(code: str) -> str:
    """What a new interpreter prints."""
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    ).stdout.strip()


@pytest.mark.skipif(sys.platform != "linux", reason="mallopt is glibc's")
def test_a_call_gets_the_memory_that_the_one_before_gave_back() -> None:
    default, kept = says(
        f"{CALLS}\nprint(faults())\nprocess.keep_freed_memory()\nprint(faults())"
    ).split()
    # 8 MB a call are 2,000 pages, a hundred times over.
    assert int(default) > 20_000
    assert int(kept) < 10_000


def test_who_waits_for_the_interpreter_gets_it_within_a_millisecond() -> None:
    code = "import sys; from servemark.runtime.process import take_short_turns; take_short_turns()"
    assert float(says(f"{code}; print(sys.getswitchinterval())")) <= 0.001


def test_what_is_in_memory_is_exempt_and_what_comes_later_is_not() -> None:
    code = """
import gc, weakref
from servemark.runtime.process import exempt_from_collection
class Node: pass
before = [Node() for _ in range(1000)]
exempt_from_collection()
later = Node()
later.itself, seen = later, weakref.ref(later)
del later
gc.collect()
print(gc.get_freeze_count() >= 1000, seen() is None)
"""
    assert says(code) == "True True"
