"""What a process does so that calls stay quick beside large data and other work."""

import ctypes
import gc
import sys
from typing import Final

# From malloc.h.
_M_TRIM_THRESHOLD: Final = -1
_M_TOP_PAD: Final = -2
_M_MMAP_THRESHOLD: Final = -3

_MIB: Final = 1024 * 1024

_TURN_SECONDS: Final = 0.0005


def keep_freed_memory() -> None:
    """Has the process keep what calls give back, up to 32 MiB, for the calls that follow.

    A call that calculates with large arrays takes megabytes. By default glibc hands them to the
    system after it, and the next call gets them back page by page, each one a fault and 4 KiB of
    zeros. Where the C library is another one, nothing changes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    mallopt(_M_MMAP_THRESHOLD, 8 * _MIB)
    mallopt(_M_TRIM_THRESHOLD, 32 * _MIB)
    mallopt(_M_TOP_PAD, 4 * _MIB)


def take_short_turns() -> None:
    """Has threads that wait for the interpreter get it within half a millisecond instead of 5 ms.

    numpy gives it away in every operation on a larger array. Beside a thread that does not, a call
    of a hundred operations would wait for it a hundred times.
    """
    sys.setswitchinterval(_TURN_SECONDS)


def exempt_from_collection() -> None:
    """Has the garbage collector pass over everything that is in memory now.

    For large data that stays: each full collection would look at all its objects, and hold up calls
    meanwhile. What is not part of a cycle is freed as ever. The rest stays until the process ends,
    so do this a few times and not regularly.
    """
    gc.freeze()
