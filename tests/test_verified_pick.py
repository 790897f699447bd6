"""A choice among predictions is measured before it is given: against brute force, with a truth that is made up."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mnsweep.choice.constraints import Constraints
from mnsweep.choice.ranking import AT_ONCE, LOOKS, pick, pick_verified
from mnsweep.errors import MnsweepError
from mnsweep.result import MEASURED, PREDICTED, Result
from tests.conftest import make_result

WIDER = 1.25  # upper end of a measured interval against its middle, of every cell
HOPED = 2.0  # the same of predictions is wider yet


class Truth:
    """Predictions, and a machine that measures what is true; it counts what it was asked."""

    def __init__(self, rows: Sequence[tuple[float, float, float]]) -> None:
        """`rows` are of predicted and true milliseconds, and quality."""
        self.ms = {f"a0.5_r{32 + i}": true for i, (_, true, _) in enumerate(rows)}
        self.results = [
            make_result(cell, **columns(ms, HOPED, PREDICTED), quality_pct=pct, quality_source="predicted: x", params=i)
            for i, (cell, (ms, _, pct)) in enumerate(zip(self.ms, rows, strict=True))
        ]
        self.asked: list[list[str]] = []

    def measure(self, ids: Sequence[str]) -> Sequence[Result]:
        self.asked.append(list(ids))
        self.results = [replace(r, **columns(self.ms[r.cell], WIDER, MEASURED)) if r.cell in ids else r for r in self.results]
        return self.results

    def measured(self, *cells: str) -> "Truth":
        self.measure(cells or list(self.ms))
        self.asked.clear()
        return self

    def all(self) -> list[Result]:
        """As if everything had been measured."""
        return [replace(r, **columns(self.ms[r.cell], WIDER, MEASURED)) for r in self.results]


def columns(ms: float, above: float, source: str) -> dict[str, Any]:
    return {"latency_p50_ms": ms, "latency_ci_low_ms": ms / above, "latency_ci_high_ms": ms * above, "latency_source": source}


MS = st.floats(0.5, 20)
ROWS = st.lists(st.tuples(MS, MS, st.integers(1, 99).map(float)), min_size=2, max_size=12, unique_by=lambda row: row[2])
FAST = make_result("a0.25_r32", **columns(0.1, WIDER, MEASURED), quality_pct=0.5, quality_source="published: x")


def with_one_measured(truth: Truth) -> Truth:
    """Beside a cell that was measured, so that it is known how wide measured intervals are."""
    truth.ms[FAST.cell] = FAST.latency_p50_ms or 0.0
    truth.results.append(FAST)
    return truth


@given(ROWS, MS)
def test_with_predictions_that_are_right_it_is_the_choice_among_all_measured(
    rows: list[tuple[float, float, float]], budget_ms: float
) -> None:
    truth = with_one_measured(Truth([(true, true, pct) for _, true, pct in rows]))
    constraints = Constraints(max_latency_ms=budget_ms)
    got = pick_verified(truth.results, constraints, truth.measure)
    allowed = sorted((r for r in truth.all() if (r.latency_p50_ms or 0) * WIDER <= budget_ms), key=lambda r: r.quality_pct or 0)
    best_two = [r.cell for r in allowed[:-3:-1]]
    assert [r.cell for r in (got.choice, got.runner_up) if r] == best_two
    assert all(r.latency_source == MEASURED for r in (got.choice, got.runner_up) if r)
    assert len(truth.asked) <= 1, "one look is enough"


@given(ROWS, MS)
def test_with_predictions_that_are_wrong_it_is_the_best_of_those_that_seemed_to_fit(
    rows: list[tuple[float, float, float]], budget_ms: float
) -> None:
    truth = with_one_measured(Truth(rows))
    hopeful = {r.cell for r in truth.results if (r.latency_p50_ms or 0) * WIDER <= budget_ms}
    got = pick_verified(truth.results, Constraints(max_latency_ms=budget_ms), truth.measure)
    fits = {
        r.cell: r.quality_pct or 0.0 for r in truth.all() if (r.latency_p50_ms or 0) * WIDER <= budget_ms and r.cell in hopeful
    }
    assert (got.choice.quality_pct if got.choice else None) == max(fits.values(), default=None)
    asked = [cell for ids in truth.asked for cell in ids]
    assert tuple(asked) == got.looked_at and len(asked) == len(set(asked)), "nothing is measured twice"
    assert set(asked) <= hopeful
    for r in (got.choice, got.runner_up):
        assert r is None or (r.latency_source, r.latency_p50_ms) == (MEASURED, truth.ms[r.cell])


def test_it_moves_on_from_a_prediction_that_was_wrong_and_says_what_was_believed() -> None:
    truth = with_one_measured(Truth([(3.0, 9.0, 70.0), (2.9, 3.1, 60.0), (1.0, 1.0, 40.0)]))
    got = pick_verified(truth.results, Constraints(max_latency_ms=4.0), truth.measure)
    assert got.choice and got.runner_up
    assert (got.choice.quality_pct, got.choice.latency_p50_ms, got.runner_up.quality_pct) == (60.0, 3.1, 40.0)
    assert "3 predicted cells were measured to verify it; it was predicted at 2.90 ms" in got.reason
    assert "no_verify" not in got.reason


def test_what_was_measured_already_is_not_measured_again() -> None:
    truth = Truth([(3.0, 3.0, 70.0), (2.0, 2.0, 60.0), (9.0, 9.0, 80.0)]).measured()
    got = pick_verified(truth.results, Constraints(max_latency_ms=4.0), truth.measure)
    assert not truth.asked and got == pick(truth.results, Constraints(max_latency_ms=4.0))
    half = Truth([(3.0, 3.0, 70.0), (2.0, 2.0, 60.0), (9.0, 9.0, 80.0)]).measured("a0.5_r32", "a0.5_r33")
    assert pick_verified(half.results, Constraints(max_latency_ms=4.0), half.measure).choice == half.results[0]
    assert not half.asked, "what is too slow by its prediction does not matter"


def test_the_runner_up_is_verified_too() -> None:
    truth = Truth([(3.0, 3.0, 70.0), (2.0, 9.0, 60.0), (1.0, 1.0, 50.0)]).measured("a0.5_r32")
    got = pick_verified(truth.results, Constraints(max_latency_ms=4.0), truth.measure)
    assert got.runner_up and got.runner_up.quality_pct == 50.0
    assert truth.asked == [["a0.5_r33", "a0.5_r34"]]


def test_after_a_few_looks_the_best_measured_cell_is_taken_and_the_reason_says_so() -> None:
    never_right = [(1.0, 50.0, 99.0 - i) for i in range(LOOKS * AT_ONCE + 5)]
    truth = with_one_measured(Truth(never_right))
    got = pick_verified(truth.results, Constraints(max_latency_ms=4.0), truth.measure)
    assert got.choice == FAST
    assert len(truth.asked) == LOOKS and len(got.looked_at) == LOOKS * AT_ONCE
    assert f"better ones may be left: after {LOOKS} looks" in got.reason


def test_a_prediction_that_fails_to_be_measured_is_not_chosen() -> None:
    truth = with_one_measured(Truth([(3.0, 3.0, 70.0), (2.0, 2.0, 60.0)]))
    gone = dict.fromkeys(("latency_p50_ms", "latency_ci_low_ms", "latency_ci_high_ms", "latency_source"))

    def fails(ids: Sequence[str]) -> Sequence[Result]:
        return [replace(r, **gone) if r.cell == "a0.5_r32" else r for r in truth.measure(ids)]  # type: ignore[arg-type]

    got = pick_verified(truth.results, Constraints(max_latency_ms=4.0), fails)
    assert got.choice and got.choice.quality_pct == 60.0


def test_unverified_a_prediction_counts_at_its_upper_end_and_the_answer_says_so() -> None:
    truth = Truth([(3.0, 3.0, 70.0), (1.9, 1.9, 60.0)])
    got = pick(truth.results, Constraints(max_latency_ms=4.0))
    assert got.choice and (got.choice.quality_pct, got.looked_at) == (60.0, ())
    assert "60 % at predicted 1.90 ms" in got.reason and "its latency was not measured (`no_verify`)" in got.reason
    measured = pick(truth.all(), Constraints(max_latency_ms=4.0))
    assert measured.choice and measured.choice.quality_pct == 70.0 and "predicted" not in measured.reason.split(";")[0]


@pytest.mark.parametrize(
    ("percentile", "budget_ms", "quality"), [(90, 4.0, 50.0), (90, 5.0, 60.0), (99, 5.0, 50.0), (99, 3.0, None)]
)
def test_budgets_on_percentiles_use_measured_tails_alone(percentile: int, budget_ms: float, quality: float | None) -> None:
    truth = Truth([(1.0, 1.0, 90.0), (1.0, 1.0, 60.0), (1.0, 1.0, 50.0)]).measured("a0.5_r33", "a0.5_r34")
    tails = {"a0.5_r33": (4.5, 9.0), "a0.5_r34": (3.5, 4.8)}
    results = [
        replace(r, latency_p90_ms=tails[r.cell][0], latency_p99_ms=tails[r.cell][1]) if r.cell in tails else r
        for r in truth.results
    ]
    constraints = Constraints(max_latency_ms=budget_ms, percentile=percentile)
    for choose in (pick, lambda rows, c: pick_verified(rows, c, truth.measure)):
        got = choose(results, constraints)
        assert (got.choice.quality_pct if got.choice else None) == quality
    assert not truth.asked, "a tail is never predicted"


def test_a_percentile_that_no_cell_has_runs_for_is_said() -> None:
    results = Truth([(1.0, 1.0, 90.0)]).measured().results
    got = pick(results, Constraints(max_latency_ms=9.0, percentile=99))
    assert got.choice is None and "not considered: 1 cell with too few runs for the 99th percentile" in got.reason


CHOOSERS: list[Callable[[Truth, Constraints], object]] = [
    lambda truth, c: pick(truth.results, c).choice,
    lambda truth, c: pick_verified(truth.results, c, truth.measure).choice,
]


@pytest.mark.parametrize("choose", CHOOSERS)
@pytest.mark.parametrize(
    "constraints",
    [Constraints(max_latency_ms=1.0, min_top1=69.0), Constraints(max_params_m=0.0, min_top1=65.0),
     Constraints(max_latency_ms=0.01), Constraints(max_latency_ms=9.0, precision="int8"),
     Constraints(max_latency_ms=9.0, runtime="openvino")],
)  # fmt: skip
def test_constraints_that_contradict_each_other_measure_nothing(
    choose: Callable[[Truth, Constraints], object], constraints: Constraints
) -> None:
    truth = with_one_measured(Truth([(3.0, 3.0, 60.0), (5.0, 5.0, 70.0)]))
    truth.results[1] = replace(truth.results[1], params=5_000_000)
    assert choose(truth, constraints) is None
    assert not truth.asked


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"percentile": 95, "max_latency_ms": 1.0}, "`percentile` 95 is unknown; choose from 90, 99"),
     ({"percentile": 90}, "`percentile` 90 requires `max_latency_ms`"),
     ({"min_top1": 100.5}, "nothing is more accurate than 100 %")],
)  # fmt: skip
def test_constraints_that_make_no_sense_are_refused(settings: dict[str, float], words: str) -> None:
    with pytest.raises(MnsweepError, match=f"^[^\n]*{words}"):
        Constraints(**settings)  # type: ignore[arg-type]


@given(ROWS)
def test_without_an_upper_bound_the_fastest_is_verified(rows: list[tuple[float, float, float]]) -> None:
    assume(len({true for _, true, _ in rows}) == len(rows))
    truth = Truth([(true, true, pct) for _, true, pct in rows])
    got = pick_verified(truth.results, Constraints(min_top1=min(pct for *_, pct in rows)), truth.measure)
    assert got.choice and got.choice.cell == min(truth.ms, key=lambda cell: truth.ms[cell])
    assert got.choice.latency_source == MEASURED
