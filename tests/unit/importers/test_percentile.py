import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servemark.importers.percentile import percentile


@given(
    st.lists(st.floats(0, 1e9), min_size=1, max_size=50).map(sorted),
    st.sampled_from([0, 1, 25, 50, 90, 95, 99, 99.9, 100]),
)
def test_it_is_numpys_default_to_the_last_bit(samples: list[float], percent: float) -> None:
    assert percentile(samples, percent) == float(np.percentile(samples, percent))


def test_no_samples_have_no_percentile() -> None:
    with pytest.raises(ValueError, match="no samples"):
        percentile([], 50)
