"""The estimate, against truth that is known because it was made up."""

from itertools import product

import numpy as np
import pytest

from mnsweep.estimate.fit import P90_SAMPLES, P99_SAMPLES, Estimate, Fit, Movement, fit
from mnsweep.estimate.polish import median_polish
from mnsweep.record import Block

TRUTH = {f"c{i}": 1e6 * 1.4**i for i in range(8)}  # ns


def blocks_of(
    cells: dict[str, float],
    process: int = 1,
    rounds: int = 20,
    level: float = 0.0,
    noise: float = 0.01,
    weather: float = 0.05,
    runs: int = 5,
    seed: int = 0,
) -> list[Block]:
    """Cells timed by a machine whose rounds, process level and blocks differ, in logarithms."""
    rng = np.random.default_rng([seed, process])
    round_effect = rng.normal(0, weather, rounds)
    return [
        Block(
            cell=cell,
            process=process,
            round=r + 1,
            at_s=float(r),
            first_ns=0,
            samples_ns=(round(ns * np.exp(level + round_effect[r] + rng.normal(0, noise))),) * runs,
        )
        for r, (cell, ns) in product(range(rounds), cells.items())
    ]


def relative(latencies: dict[str, float]) -> np.ndarray:
    logs = np.log([latencies[cell] for cell in sorted(latencies)])
    return np.asarray(logs - logs.mean())


def test_round_effects_leave_relative_latencies_alone() -> None:
    found = {cell: e.p50_ms for cell, e in fit(blocks_of(TRUTH, noise=0.0, weather=0.3)).estimates.items()}
    assert relative(found) == pytest.approx(relative(TRUTH), abs=1e-6)


def test_interleaving_beats_the_raw_median_when_the_machine_moves() -> None:
    blocks = blocks_of(TRUTH, noise=0.005, weather=0.2)
    found = {cell: e.p50_ms for cell, e in fit(blocks).estimates.items()}
    by_round_lost = {
        c: float(np.median([b.samples_ns[0] for b in blocks if b.cell == c][: 5 + i])) for i, c in enumerate(TRUTH)
    }
    assert np.abs(relative(found) - relative(TRUTH)).max() < 0.005
    assert np.abs(relative(by_round_lost) - relative(TRUTH)).max() > 0.02


def test_one_block_is_an_estimate_without_a_relative_interval() -> None:
    (e,) = fit([Block(cell="a", process=1, round=1, at_s=0.0, first_ns=0, samples_ns=(2_000_000,) * 5)]).estimates.values()
    assert e.p50_ms == pytest.approx(2.0)
    assert (e.relative_ci_pct, e.samples, e.rounds) == (None, 5, 1)


def test_nothing_measured_is_no_estimate() -> None:
    assert fit([]) == Fit({}, Movement(0.0, 0.0))


def test_groups_that_never_ran_together_are_compared_through_their_references() -> None:
    """Process 2 ran on a machine 20 % slower; only c0, c3 and c7 were in both."""
    first = blocks_of({c: TRUTH[c] for c in ("c0", "c1", "c2", "c3", "c7")}, process=1, noise=0.002)
    second = blocks_of({c: TRUTH[c] for c in ("c0", "c3", "c4", "c5", "c6", "c7")}, process=2, level=0.2, noise=0.002)
    found = {cell: e.p50_ms for cell, e in fit(first + second).estimates.items()}
    assert relative(found) == pytest.approx(relative(TRUTH), abs=0.004)


def test_a_chain_of_groups_is_levelled_exactly() -> None:
    """Least squares over processes solves what alternating medians would creep towards."""
    names = list(TRUTH)
    blocks = [
        b
        for p in range(7)
        for b in blocks_of({c: TRUTH[c] for c in names[p : p + 2]}, p + 1, level=0.1 * p, noise=0, weather=0)
    ]
    found = {cell: e.p50_ms for cell, e in fit(blocks).estimates.items()}
    assert relative(found) == pytest.approx(relative(TRUTH), abs=1e-5)


def test_the_relative_interval_shrinks_with_rounds_and_grows_with_noise() -> None:
    def mean_width(**settings: float) -> float:
        return float(np.mean([e.relative_ci_pct or 0 for e in fit(blocks_of(TRUTH, **settings)).estimates.values()]))  # type: ignore[arg-type]

    assert mean_width(rounds=80) < 0.7 * mean_width(rounds=20)
    assert mean_width(noise=0.03) > 2 * mean_width(noise=0.01)


def test_the_spread_between_processes_is_in_the_relative_interval() -> None:
    """Each process gives every cell an offset of its own, as memory layout does; within it, no noise at all."""
    rng = np.random.default_rng(1)
    blocks = []
    for p in (1, 2, 3):
        shifted = {f"c{i}": 1e6 * np.exp(rng.normal(0, 0.02)) for i in range(40)}
        blocks += blocks_of(shifted, process=p, noise=1e-4)
    widths = [e.relative_ci_pct or 0 for e in fit(blocks).estimates.values()]
    assert pytest.approx(float(np.mean(widths)), rel=0.25) == 100 * 1.96 * 0.02 / 3**0.5


def ends_ms(estimate: Estimate) -> tuple[float, float]:
    assert estimate.ci_low_ms is not None and estimate.ci_high_ms is not None
    return estimate.ci_low_ms, estimate.ci_high_ms


@pytest.mark.parametrize("cells, rounds, has_one", [(3, 1, False), (3, 2, True), (1, 5, False), (1, 6, True)])
def test_too_few_rounds_have_no_interval(cells: int, rounds: int, has_one: bool) -> None:
    truth = dict(list(TRUTH.items())[:cells])
    for estimate in fit(blocks_of(truth, rounds=rounds, noise=0.01)).estimates.values():
        assert (estimate.ci_low_ms is not None) == (estimate.ci_high_ms is not None) == has_one
        assert has_one or estimate.relative_ci_pct is None


def test_the_absolute_interval_holds_the_movement_of_the_machine() -> None:
    calm = fit(blocks_of(TRUTH, weather=0.001)).estimates["c3"]
    moody = fit(blocks_of(TRUTH, weather=0.1)).estimates["c3"]
    (calm_low, calm_high), (moody_low, moody_high) = ends_ms(calm), ends_ms(moody)
    assert calm_low < calm.p50_ms < calm_high
    assert moody_high / moody_low > 1.2 > 1.05 > calm_high / calm_low
    assert (moody.relative_ci_pct or 0) < 1.5


@pytest.mark.parametrize(
    ("samples", "has_p90", "has_p99"), [(63, False, False), (64, True, False), (661, True, False), (662, True, True)]
)
def test_percentiles_only_from_enough_samples(samples: int, has_p90: bool, has_p99: bool) -> None:
    values = tuple(range(1_000_000, 1_000_000 + samples))
    (e,) = fit([Block(cell="a", process=1, round=1, at_s=0.0, first_ns=0, samples_ns=values)]).estimates.values()
    assert ((e.p90_ms is not None), (e.p99_ms is not None)) == (has_p90, has_p99)
    if has_p90:
        assert e.p90_ms == pytest.approx(float(np.percentile(values, 90)) / 1e6)
    assert (P90_SAMPLES, P99_SAMPLES) == (64, 662)


def test_median_polish_separates_rows_and_columns() -> None:
    rows, columns = np.array([1.0, 5.0, 2.0, 9.0]), np.array([0.5, -0.25, 0.0, 0.125, -0.5])
    table = rows[:, None] + columns
    table[1, 2] = np.nan
    found_rows, found_columns = median_polish(table)
    assert found_rows == pytest.approx(rows)
    assert found_columns == pytest.approx(columns)


def test_the_same_blocks_give_the_same_bytes() -> None:
    blocks = blocks_of(TRUTH)
    assert repr(fit(blocks)) == repr(fit(list(blocks)))
