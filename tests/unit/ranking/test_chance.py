"""Seeds by hand, and how far a share of draws is off."""

import doctest
import hashlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from services.ranking import chance
from services.ranking.chance import generator, seed_of, standard_error


def test_the_example_in_the_manual_is_true() -> None:
    results = doctest.testmod(chance)
    assert results.attempted > 0
    assert results.failed == 0


def test_a_seed_is_the_digest_of_purpose_version_and_request() -> None:
    digest = hashlib.sha256(b"smaa\x007\x00request").hexdigest()
    assert seed_of("smaa", b"request", 7) == int(digest, 16)


@given(st.binary(max_size=20), st.integers(0, 2**40))
def test_another_request_version_or_purpose_has_another_seed(request: bytes, version: int) -> None:
    seeds = {
        seed_of("smaa", request, version),
        seed_of("confidence", request, version),
        seed_of("smaa", request, version + 1),
        seed_of("smaa", request + b"\0", version),
    }
    assert len(seeds) == 4


def test_the_first_numbers_of_a_seed_stay_what_they_are() -> None:
    # Another value here means that every answer made by chance changes with the same request.
    seed = seed_of("smaa", b"request", 7)
    drawn = generator(seed).random(3)
    assert drawn.tolist() == [0.6226921766768885, 0.9092073725771063, 0.7200772610472623]
    assert generator(seed).random(3).tolist() == drawn.tolist()
    assert generator(seed, 1).random(3).tolist() != drawn.tolist()


def test_a_standard_error_is_the_binomial_one_but_never_zero() -> None:
    np.testing.assert_allclose(standard_error(400, 1000), np.sqrt(0.4 * 0.6 / 1000), rtol=2e-3)
    # (0 + 1/2) / 1001 = 0.0004995; sqrt(0.0004995 * 0.9995005 / 1002) = 0.000706
    np.testing.assert_allclose(standard_error([0, 1000], 1000), 0.000706, rtol=1e-3)


def test_a_standard_error_is_how_far_shares_are_off() -> None:
    counts = np.random.default_rng(1).binomial(500, 0.1, 20_000)
    off = np.sqrt(np.mean((counts / 500 - 0.1) ** 2))
    np.testing.assert_allclose(np.mean(standard_error(counts, 500)), off, rtol=0.02)
