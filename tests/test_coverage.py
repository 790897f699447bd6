"""Do the 95 % intervals hold the truth, and is what is certain true? A short version of `tests/bench/coverage.py`."""

import pytest

from mnsweep.measure.rounds import Rules, narrow
from tests.simulate import CELLS, NOISES, RULES, swept, verdicts_of_pair

SWEEPS = 8  # of 16 cells; one interval in twenty may miss, and misses of one sweep go together


@pytest.mark.parametrize("rules", [RULES, narrow(RULES, 1.0)], ids=["until decided", "until narrow"])
@pytest.mark.parametrize("kind", NOISES)
def test_intervals_hold_the_truth_and_certain_places_are_true(kind: str, rules: Rules) -> None:
    sweeps = [swept(kind, seed, rules) for seed in range(SWEEPS)]
    assert sum(s.inside for s in sweeps) / (SWEEPS * len(CELLS)) >= 0.90
    assert sum(s.wrong for s in sweeps) <= 0.05 * sum(s.certain for s in sweeps)
    assert sum(s.certain for s in sweeps) / (SWEEPS * len(CELLS)) > 0.6, "most places are decided"


def test_deciding_takes_less_time_than_narrow_intervals() -> None:
    decided, narrow_ = (sum(swept("steady", seed, rules).seconds for seed in range(4)) for rules in (RULES, narrow(RULES, 1.0)))
    assert decided < 0.8 * narrow_


@pytest.mark.parametrize("kind", ["steady", "drifting"])
def test_two_sweeps_of_one_machine_are_seldom_called_different_and_a_slower_one_is(kind: str) -> None:
    """A short version of `tests/bench/compare.py`."""
    rules = narrow(RULES, 1.0)
    alike = [verdicts_of_pair(kind, seed, rules)[0] for seed in range(5)]
    called = [verdict for verdicts in alike for verdict in verdicts if verdict in ("slower", "faster")]
    assert len(called) <= 0.1 * 5 * len(CELLS)
    if kind == "steady":
        slower = [verdicts_of_pair(kind, seed, rules, 1.05)[0] for seed in range(5)]
        assert sum(verdict == "slower" for verdicts in slower for verdict in verdicts) >= 0.9 * 5 * len(CELLS)
