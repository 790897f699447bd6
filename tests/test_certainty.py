"""What is certain about places on the frontier, against simulated truth and a brute force over all orders."""

from itertools import pairwise, permutations
from math import exp

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mnsweep.choice.certainty import Rated, is_side_certain, places
from mnsweep.choice.frontier import pareto
from mnsweep.estimate.confidence import standard_error, standard_errors
from mnsweep.estimate.fit import Estimate


def estimate(ms: float, half_pct: float | None, rounds: int = 16) -> Estimate:
    half = 0.0 if half_pct is None else half_pct / 100
    return Estimate(
        p50_ms=ms,
        ci_low_ms=None if half_pct is None else ms / (1 + half),
        ci_high_ms=None if half_pct is None else ms * (1 + half),
        relative_ci_pct=half_pct,
        p90_ms=None,
        p99_ms=None,
        samples=5 * rounds,
        rounds=rounds,
        stability="stable",
        processes=4,
    )


def rated(cell: str, quality_pct: float, ms: float, half_pct: float | None = 0.5, metric: str = "top1") -> Rated:
    return Rated(cell, metric, quality_pct, estimate(ms, half_pct))


def test_cells_far_apart_are_certain_and_close_ones_are_named() -> None:
    found = places([rated("small", 40, 1.0), rated("a", 60, 2.00), rated("b", 61, 2.01), rated("slow", 50, 5.0)])
    assert found.certain == {"small", "b", "slow"}, "b is on the frontier by its quality, whatever a does"
    ((pair,),) = found.open.values()
    assert (pair.first, pair.second) == ("a", "b") and pair.slower_pct == pytest.approx(0.5) and pair.half_pct > 0.5
    assert found.wanted == {"a", "b"}


def test_one_certain_rival_settles_a_place_whatever_the_others_do() -> None:
    found = places([rated("a", 60, 2.00), rated("b", 61, 2.01), rated("better", 70, 1.0)])
    assert "a" in found.certain


def test_what_was_not_measured_leaves_worse_cells_open() -> None:
    found = places([rated("a", 60, 2.0), Rated("unmeasured", "top1", 70.0, None), rated("no interval", 65, 3.0, None)])
    assert "a" in found.open and {pair.second for pair in found.open["a"]} == {"unmeasured", "no interval"}
    assert "unmeasured" in found.certain, "nothing is better than it"


def test_two_names_of_one_measurement_are_no_rivals() -> None:
    once = estimate(2.0, 0.5)
    cells = [Rated("a", "top1", 60, once), Rated("twin", "top1", 60, once)]
    assert places(cells).certain == {"a", "twin"}
    assert places([*cells, rated("b", 60, 2.0)]).certain == set(), "a latency that happens to be the same is another matter"
    assert "a" in places([*cells, Rated("better twin", "top1", 61, once)]).certain


def test_metrics_have_frontiers_of_their_own() -> None:
    found = places([rated("a", 60, 2.0), rated("b", 61, 2.0, metric="map"), rated("c", 62, 2.0, metric="other")])
    assert found.certain == {"a", "b", "c"}


CELLS = st.lists(
    st.tuples(st.integers(1, 9), st.floats(0.5, 20), st.floats(0.05, 30)),
    min_size=2,
    max_size=5,
)


@given(CELLS)
def test_a_certain_place_holds_in_every_order_that_the_intervals_allow(drawn: list[tuple[int, float, float]]) -> None:
    """Brute force: move the cells of each undecided pair past each other; no certain place changes."""
    cells = [rated(str(i), float(q), ms, half) for i, (q, ms, half) in enumerate(drawn)]
    found = places(cells)
    assert found.certain | set(found.open) == {r.cell for r in cells}
    assert not found.certain & set(found.open)
    on = pareto([(r.estimate.p50_ms if r.estimate else None, r.quality_pct) for r in cells])
    halves = np.array([standard_error(r.estimate) for r in cells if r.estimate])
    wide = float(standard_errors(0.05 / max(1, len(cells) * (len(cells) - 1) // 2), np.array(16.0), np.array(60.0)))
    logs = np.log([ms for _, ms, _ in drawn])
    for order in permutations(range(len(cells))):
        # The closest latencies to what was measured in which the cells come in this order; skip it if a pair can't swap.
        allowed = all(logs[b] - logs[a] >= -wide * np.hypot(halves[a], halves[b]) for a, b in pairwise(order))
        every = all(
            logs[b] - logs[a] >= -wide * np.hypot(halves[a], halves[b]) for i, a in enumerate(order) for b in order[i + 1 :]
        )
        if not (allowed and every):
            continue
        rank = {cell: place for place, cell in enumerate(order)}
        moved = pareto([(float(rank[i]), r.quality_pct) for i, r in enumerate(cells)])
        for r, before, after in zip(cells, on, moved, strict=True):
            ties = any(o is not r and o.quality_pct == r.quality_pct for o in cells)
            if r.cell in found.certain and not ties:
                assert before == after


def test_the_bound_holds_at_every_look_together() -> None:
    """1,000 means of normal noise, looked at after each of 60 rounds: at most 5 % are ever outside, as a plain interval is."""
    draws = np.random.default_rng(0).normal(size=(1000, 60)).cumsum(axis=1)
    rounds = np.arange(1.0, 61.0)
    off = np.abs(draws / rounds) * np.sqrt(rounds)
    sequence = standard_errors(0.05, rounds, np.full(60, 1e6))
    assert (off > sequence).any(axis=1).mean() <= 0.05
    assert (off > stats.norm.ppf(0.975)).any(axis=1).mean() > 0.2
    assert 1.2 < sequence[15] / stats.norm.ppf(0.975) < 1.7, "what honest looks cost"


def test_few_rounds_widen_the_bound_as_in_student_s_t() -> None:
    few, many = standard_errors(0.01, np.array([8.0, 8.0]), np.array([7.0, 1e6]))
    assert few == pytest.approx(stats.t.ppf(stats.norm.cdf(many), 7), rel=1e-3)


def test_the_standard_error_is_that_of_the_interval() -> None:
    assert standard_error(estimate(1.0, 2.0, 16)) == pytest.approx(np.log1p(0.02) / stats.t.ppf(0.975, 30))
    assert np.isnan(standard_error(estimate(1.0, None)))


@pytest.mark.parametrize(
    ("ms", "half_pct", "certain"), [(10, 1, True), (10.9, 1, False), (11.1, 1, False), (12, 1, True), (10, None, False)]
)
def test_the_side_of_a_budget(ms: float, half_pct: float | None, certain: bool) -> None:
    assert is_side_certain(estimate(ms, half_pct), 11.0, 16) == certain
    assert not is_side_certain(None, 11.0, 16)


def test_simulated_sweeps_are_seldom_wrong_about_a_certain_place() -> None:
    """Of 200 sweeps of 16 cells with normal noise, looked at after each process, 95 % never call a wrong place certain."""
    rng, wrong = np.random.default_rng(1), 0
    truth = np.sort(np.log(rng.uniform(1, 20, 16)))
    quality = rng.permutation(16).astype(float)
    on = pareto([(exp(t), q) for t, q in zip(truth, quality, strict=True)])
    for _ in range(200):
        blocks = truth + rng.normal(0, 0.05, (40, 16))
        is_wrong = False
        for rounds in range(8, 41, 4):
            mean, error = blocks[:rounds].mean(axis=0), blocks[:rounds].std(axis=0, ddof=1) / rounds**0.5
            halves = 100 * np.expm1(error * stats.t.ppf(0.975, 2 * (rounds - 1)))
            cells = [Rated(str(i), "q", quality[i], estimate(exp(mean[i]), halves[i], rounds)) for i in range(16)]
            seen = pareto([(r.estimate.p50_ms, r.quality_pct) for r in cells if r.estimate])
            is_wrong |= any(seen[int(cell)] != on[int(cell)] for cell in places(cells).certain)
        wrong += is_wrong
    assert wrong / 200 <= 0.05
