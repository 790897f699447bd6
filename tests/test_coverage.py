"""Do the 95 % intervals hold the truth? A short version of `tests/bench/coverage.py`."""

import pytest

from tests.simulate import NOISES, coverage

SWEEPS = 12  # of 16 cells; one interval in twenty may miss, and misses of one sweep go together


@pytest.mark.parametrize("kind", NOISES)
def test_relative_intervals_hold_the_truth(kind: str) -> None:
    assert coverage(kind, SWEEPS) >= 0.90
