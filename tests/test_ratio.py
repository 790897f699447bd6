"""Verdicts on ratios: held against scipy and brute force, and simulated."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mnsweep.estimate.ratio import FASTER, SAME, SLOWER, UNSURE, Differences, judge


def differences(log_ratio: list[float], error: list[float], level: float = 0.0, freedom: float = 1e9) -> Differences:
    return Differences(
        cells=[f"c{i}" for i in range(len(log_ratio))],
        log_ratio=np.array(log_ratio),
        variance=np.square(np.array(error)),
        freedom=np.full(len(log_ratio), freedom),
        level=level**2,
    )


def verdicts(*arguments: object, same_pct: float = 1.0, **settings: float) -> list[str]:
    return [r.verdict for r in judge(differences(*arguments, **settings), same_pct).cells]  # type: ignore[arg-type]


def test_each_verdict_is_given_where_it_should_be() -> None:
    found = verdicts([0.1, -0.1, 0.002, 0.02], [0.01, 0.01, 0.001, 0.03])
    assert found == [SLOWER, FASTER, SAME, UNSURE]


def test_the_margin_decides_what_is_the_same() -> None:
    assert verdicts([0.008], [0.0005]) == [SAME]
    assert verdicts([0.008], [0.0005], same_pct=0.5) == [SLOWER]


def test_a_shared_level_widens_every_interval_and_that_of_the_mean() -> None:
    alone, shared = (judge(differences([0.05] * 16, [0.01] * 16, level), 1.0) for level in (0.0, 0.04))
    assert {r.verdict for r in alone.cells} == {SLOWER} and {r.verdict for r in shared.cells} == {UNSURE}
    width = math.log((shared.overall.ci_high or 0) / (shared.overall.ci_low or 1)) / 2
    assert width == pytest.approx(1.96 * math.hypot(0.04, 0.01 / 4), rel=0.01), "16 cells do not average the level away"


def test_cells_that_may_be_off_together_do_not_average_out() -> None:
    d = differences([0.0] * 16, [0.01] * 16)
    apart = judge(d, 1.0).overall
    together = judge(Differences(**{**{f: getattr(d, f) for f in d.__slots__}, "in_step": True}), 1.0).overall
    assert math.log(together.ci_high or 0) == pytest.approx(4 * math.log(apart.ci_high or 0), rel=0.01)


@given(st.floats(-0.5, 0.5), st.floats(1e-4, 0.2), st.floats(1, 100))
def test_intervals_are_student_s(log_ratio: float, error: float, freedom: float) -> None:
    (cell,) = judge(differences([log_ratio], [error], freedom=freedom), 1.0).cells
    half = stats.t(freedom).ppf(0.975) * error
    assert cell.ci_low is not None and cell.ci_high is not None
    assert [math.log(cell.ci_low), math.log(cell.ci_high)] == pytest.approx([log_ratio - half, log_ratio + half], abs=1e-9)


@given(st.lists(st.tuples(st.floats(-0.2, 0.2), st.floats(0.001, 0.1)), min_size=1, max_size=20))
def test_discoveries_are_those_of_benjamini_and_hochberg(cells: list[tuple[float, float]]) -> None:
    log_ratio, error = (list(column) for column in zip(*cells, strict=True))
    p = [2 * stats.norm.sf(abs(d) / e) for d, e in cells]
    ranked = sorted(p)
    passed = [value for i, value in enumerate(ranked, 1) if value <= 0.05 * i / len(p)]
    limit = max(passed, default=-1.0)
    found = verdicts(log_ratio, error)
    for verdict, value, (d, e) in zip(found, p, cells, strict=True):
        within = abs(d) + 1.96 * e <= math.log(1.01)
        if not within and abs(value - limit) > 1e-6:
            assert (verdict in (SLOWER, FASTER)) == (value <= limit)
        if verdict in (SLOWER, FASTER):
            assert (verdict == SLOWER) == (d > 0)


def test_a_cell_without_an_interval_is_unsure_and_does_not_spoil_the_others() -> None:
    found = judge(differences([0.1, 0.1], [math.nan, 0.01]), 1.0)
    assert [r.verdict for r in found.cells] == [UNSURE, SLOWER]
    assert found.cells[0].ci_low is None and found.cells[0].ratio == pytest.approx(math.exp(0.1))
    assert found.overall.ci_low is not None


def test_false_discoveries_stay_below_five_percent() -> None:
    rng, wrong, called = np.random.default_rng(0), 0, 0
    for _ in range(400):
        truth = np.where(np.arange(20) < 10, 0.0, 0.06)
        seen = truth + rng.normal(0, 0.02, 20)
        names = verdicts(seen.tolist(), [0.02] * 20)
        called += sum(n in (SLOWER, FASTER) for n in names)
        wrong += sum(n in (SLOWER, FASTER) for n in names[:10])
    assert wrong / called < 0.05 and called > 1500
