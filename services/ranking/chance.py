"""Random numbers that a repeated request finds again: the seed is a digest of what was asked.

There is no other source of chance in a ranking. The same request on the same matrix version draws
the same numbers, in whichever process and however the work is cut into blocks, as long as numpy is
the same: a new release may make other numbers of the same bits (NumPy Enhancement Proposal 19).
"""

import hashlib

import numpy as np
import numpy.typing as npt


def seed_of(purpose: str, request: bytes, matrix_version: int) -> int:
    """The seed, 256 bits, of the draws for one purpose.

    `request` is the request in one canonical form: two spellings of it are two seeds. A `purpose`
    of its own keeps two methods that serve one request from drawing the same numbers.
    """
    digest = hashlib.sha256(f"{purpose}\0{matrix_version}\0".encode())
    digest.update(request)
    return int.from_bytes(digest.digest(), "big")


def generator(seed: int, stream: int = 0) -> np.random.Generator:
    """A generator at the start of one of the seed's independent streams. Both numbers are ≥ 0."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(stream,))))


def standard_error(count: npt.ArrayLike, samples: int) -> npt.NDArray[np.float64]:
    """How far count / samples is from the probability it estimates, for each count.

    It is the standard deviation of the posterior under Jeffreys' prior: between the ends that of
    the binomial, sqrt(p (1 - p) / samples), which at the ends would be 0, as if what none of the
    draws showed could not be.

    >>> standard_error([0, 250, 1000], 1000).round(4).tolist()
    [0.0007, 0.0137, 0.0007]
    """
    share = (np.asarray(count, dtype=np.float64) + 0.5) / (samples + 1)
    error: npt.NDArray[np.float64] = np.sqrt(share * (1 - share) / (samples + 2))
    return error
