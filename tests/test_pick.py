"""The choice, against a brute force that tries every cell."""

import re
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mnsweep.choice.constraints import Constraints
from mnsweep.choice.everywhere import slowest
from mnsweep.choice.ranking import Choice, next_budget, pick
from mnsweep.errors import MnsweepError
from mnsweep.result import Result
from tests.conftest import make_result

SMALL = st.integers(1, 6).map(float)  # so that ties and cells exactly on a bound abound


@st.composite
def one_result(draw: st.DrawFn, numbers: st.SearchStrategy[float] = SMALL, whole: bool = False) -> Result:
    p50, quality = draw(numbers), draw(numbers)
    return make_result(
        params=draw(st.integers(1, 6)) * 1_000_000,
        mult_adds=draw(st.integers(1, 6)) * 1_000_000,
        onnx_bytes=draw(st.integers(1, 6)) * 1_000_000,
        peak_activation_bytes=draw(st.integers(1, 6)) * 1_000_000,
        **({} if not whole and draw(st.integers(0, 5)) == 0 else latency(p50, p50 + draw(numbers))),
        quality_pct=None if not whole and draw(st.integers(0, 5)) == 0 else quality,
        quality_source="published: paper",
    )


def latency(p50: float, high: float) -> dict[str, Any]:
    return {"latency_p50_ms": p50, "latency_ci_low_ms": p50 / 2, "latency_ci_high_ms": high}


def named(results: list[Result]) -> list[Result]:
    """The same with a resolution, and so an id, of their own."""
    return [make_result(f"a0.25_r{32 + i}", **columns_of(r)) for i, r in enumerate(results)]


def columns_of(r: Result) -> dict[str, Any]:
    names = ("params", "mult_adds", "onnx_bytes", "peak_activation_bytes", "latency_p50_ms", "latency_ci_low_ms",
             "latency_ci_high_ms", "quality_pct", "quality_source")  # fmt: skip
    return {name: getattr(r, name) for name in names}


RESULTS = st.lists(one_result(), max_size=9).map(named)
MEASURED = st.lists(one_result(whole=True), min_size=1, max_size=9).map(named)
BOUND = st.none() | st.integers(0, 12).map(float)
CONSTRAINTS = st.builds(
    Constraints,
    max_latency_ms=BOUND,
    margin_pct=st.sampled_from([0.0, 25.0, 100.0]),
    min_top1=BOUND,
    max_params_m=BOUND,
    max_mult_adds_m=BOUND,
    max_size_mb=BOUND,
    max_memory_mb=BOUND,
    max_memory_kb=st.none() | st.integers(1000, 9000).map(float),
)


def feasible(r: Result, c: Constraints) -> bool:
    if r.latency_p50_ms is None or r.latency_ci_high_ms is None or r.quality_pct is None:
        return False
    costs = [
        (r.latency_ci_high_ms * (100 + c.margin_pct) / 100, c.max_latency_ms),
        (r.params / 1e6, c.max_params_m),
        (r.mult_adds / 1e6, c.max_mult_adds_m),
        (r.onnx_bytes / 1e6, c.max_size_mb),
        (r.peak_activation_bytes / 1e6, c.max_memory_mb),
        (r.peak_activation_bytes / 1e3, c.max_memory_kb),
    ]
    return all(bound is None or cost <= bound for cost, bound in costs) and r.quality_pct >= (c.min_top1 or 0)


def merit(r: Result, c: Constraints) -> tuple[float, float]:
    """Higher is better."""
    accurate, fast = r.quality_pct or 0.0, -(r.latency_p50_ms or 0.0)
    bounds = (c.max_latency_ms, c.max_params_m, c.max_mult_adds_m, c.max_size_mb, c.max_memory_mb, c.max_memory_kb)
    return (fast, accurate) if all(bound is None for bound in bounds) else (accurate, fast)


@settings(max_examples=100, deadline=None)
@given(RESULTS, CONSTRAINTS)
def test_choice_and_runner_up_are_the_best_two(results: list[Result], constraints: Constraints) -> None:
    allowed = [r for r in results if feasible(r, constraints)]
    best_two = sorted((merit(r, constraints) for r in allowed), reverse=True)[:2]
    got = pick(results, constraints)
    chosen = [r for r in (got.choice, got.runner_up) if r is not None]
    assert [merit(r, constraints) for r in chosen] == best_two
    assert all(r in allowed for r in chosen) and len({r.cell for r in chosen}) == len(chosen)


@settings(max_examples=100, deadline=None)
@given(MEASURED, CONSTRAINTS, st.randoms(use_true_random=False))
def test_choice_does_not_depend_on_the_order_of_rows(results: list[Result], constraints: Constraints, rng: Any) -> None:
    shuffled = rng.sample(results, len(results))
    assert pick(shuffled, constraints).choice == pick(results, constraints).choice


def test_most_accurate_with_a_budget_and_fastest_without() -> None:
    small, large = (make_result(f"a{a}_r128", quality_pct=q, **latency(ms, ms)) for a, q, ms in ((0.25, 40, 1), (1.0, 70, 9)))
    assert pick([small, large], Constraints(max_latency_ms=10)).choice == large
    assert pick([small, large], Constraints(max_size_mb=10)).choice == large
    assert pick([small, large], Constraints(min_top1=30)).choice == small
    assert pick([small, large], Constraints(min_top1=50)).choice == large
    assert pick([small, large], Constraints()).choice == small


@pytest.mark.parametrize(
    ("budget_ms", "margin_pct", "fits"),
    [(4.9, 0, False), (5.0, 0, True), (6.2, 25, False), (6.25, 25, True), (5.0, 1, False)],
)
def test_budget_is_for_the_upper_end_of_the_interval_and_the_margin(budget_ms: float, margin_pct: float, fits: bool) -> None:
    result = make_result(quality_pct=40.0, **latency(3.0, 5.0))
    assert (pick([result], Constraints(max_latency_ms=budget_ms, margin_pct=margin_pct)).choice is not None) is fits


@pytest.mark.parametrize("missing", [{"quality_pct": None}, {"latency_p50_ms": None, "latency_ci_high_ms": None}])
@pytest.mark.parametrize("constraints", [Constraints(), Constraints(max_params_m=100), Constraints(min_top1=0)])
def test_cells_without_quality_or_latency_are_never_picked(missing: dict[str, None], constraints: Constraints) -> None:
    good = make_result("a1.0_r224", quality_pct=1.0, **latency(99.0, 100.0))
    bare = make_result("a0.25_r128", **{"quality_pct": 99.0, **latency(1.0, 2.0), **missing})
    got = pick([bare, good], constraints)
    assert (got.choice, got.runner_up) == (good, None)
    nothing = pick([bare], constraints)
    assert (nothing.choice, nothing.runner_up) == (None, None)
    assert ("measured" if "latency_p50_ms" in missing else "no cell of this sweep has a quality") in nothing.reason


@pytest.mark.parametrize("constraints", [Constraints(), Constraints(max_params_m=100), Constraints(max_latency_ms=100)])
def test_a_cell_without_an_interval_is_no_reason_to_crash(constraints: Constraints) -> None:
    good = make_result("a1.0_r224", quality_pct=1.0, **latency(99.0, 100.0))
    no_interval = make_result("a0.25_r128", quality_pct=99.0, latency_p50_ms=1.0)
    assert pick([no_interval, good], constraints).choice == good


@settings(max_examples=80, deadline=None)
@given(MEASURED, CONSTRAINTS)
def test_infeasible_names_the_fastest_and_a_budget_that_works(results: list[Result], constraints: Constraints) -> None:
    assume(not any(feasible(r, constraints) for r in results))
    got = pick(results, constraints)
    assert (got.choice, got.runner_up) == (None, None)
    too_slow = constraints.max_latency_ms is not None and all(
        (r.latency_ci_high_ms or 0.0) * (1 + constraints.margin_pct / 100) > constraints.max_latency_ms for r in results
    )
    said = re.search(r"fastest available is (\S+) at .*?needs `max_latency_ms` ([0-9.e+]+)\)", got.reason)
    assert said or not too_slow
    if not said:
        return
    fastest = min(r.latency_ci_high_ms or 0.0 for r in results)
    assert said[1] in {r.cell for r in results if r.latency_ci_high_ms == fastest}
    assert pick(results, Constraints(max_latency_ms=float(said[2]), margin_pct=constraints.margin_pct)).choice


@dataclass(frozen=True)
class Looser:
    """What the sentence about the next looser budget says."""

    text: str
    cell: str


def looser_budget(choice: Choice) -> Looser | None:
    said = re.search(r"the next looser budget, (\S+) ms, would buy (\S+) with", choice.reason)
    return Looser(said[1], said[2]) if said else None


def with_budget(c: Constraints, budget_ms: float) -> Constraints:
    return replace(c, max_latency_ms=budget_ms)


LOOSE = st.builds(
    Constraints,
    max_latency_ms=st.integers(3, 9).map(float),
    margin_pct=st.sampled_from([0.0, 25.0, 100.0]),
    min_top1=st.sampled_from([None, 2.0]),
    max_params_m=st.sampled_from([None, 5.0]),
)


@settings(max_examples=80, deadline=None)
@given(MEASURED, LOOSE)
def test_next_budget_buys_the_better_cell_and_no_smaller_one_does(results: list[Result], constraints: Constraints) -> None:
    choice = pick(results, constraints).choice
    assume(choice is not None)
    assert choice is not None and choice.quality_pct is not None
    guarded = [(r.latency_ci_high_ms or 0) * (100 + constraints.margin_pct) / 100 for r in results]
    tries = {ms: pick(results, with_budget(constraints, ms)).choice for ms in guarded}
    buys = {ms: r for ms, r in tries.items() if r is not None and (r.quality_pct or 0) > choice.quality_pct}
    looser = next_budget(choice, results, constraints)
    if looser is None:
        assert not buys
    else:
        assert looser[0] == pytest.approx(min(buys))
        assert pick(results, with_budget(constraints, looser[0])).choice == looser[1]


def test_next_budget_names_what_it_buys_where_two_cells_tie() -> None:
    cells = [(40.0, 1.0, 2.0), (50.0, 4.0, 5.0), (50.0, 3.0, 5.0)]
    results = named([make_result(quality_pct=pct, **latency(ms, high)) for pct, ms, high in cells])
    choice = pick(results, Constraints(max_latency_ms=2)).choice
    assert choice == results[0]
    assert next_budget(choice, results, Constraints(max_latency_ms=2)) == (5.0, results[2])
    assert pick(results, Constraints(max_latency_ms=5)).choice == results[2]


ANY_MS = st.floats(0.5, 50)


@settings(max_examples=80, deadline=None)
@given(st.lists(one_result(ANY_MS, whole=True), min_size=2, max_size=9).map(named), ANY_MS)
def test_next_budget_works_as_printed(results: list[Result], budget_ms: float) -> None:
    said = looser_budget(pick(results, Constraints(max_latency_ms=budget_ms)))
    assume(said is not None)
    assert said is not None
    bought = pick(results, Constraints(max_latency_ms=float(said.text))).choice
    assert bought is not None and bought.cell == said.cell


def test_next_budget_as_printed_with_neighbours_within_its_rounding() -> None:
    cells = [(40.0, 5.0), (50.0, 10.01), (60.0, 10.04)]
    results = [make_result(f"a0.25_r{128 + i}", quality_pct=q, **latency(ms, ms)) for i, (q, ms) in enumerate(cells)]
    said = looser_budget(pick(results, Constraints(max_latency_ms=6)))
    assert said
    bought = pick(results, Constraints(max_latency_ms=float(said.text))).choice
    assert bought is not None and bought.cell == said.cell


@pytest.mark.parametrize("ms", [0.0123, 1.0049, 9.994, 999.6, 1234.5, 45678.0])
def test_a_printed_budget_is_just_enough(ms: float) -> None:
    results = [make_result("a0.25_r128", quality_pct=40.0, **latency(0.01, 0.01))]
    results += [make_result("a1.0_r224", quality_pct=70.0, **latency(ms, ms))]
    said = looser_budget(pick(results, Constraints(max_latency_ms=0.011)))
    assert said and ms <= float(said.text) <= 1.01 * ms


@pytest.mark.parametrize(
    "name",
    [
        "max_latency_ms",
        "margin_pct",
        "min_top1",
        "max_params_m",
        "max_mult_adds_m",
        "max_size_mb",
        "max_memory_mb",
        "max_memory_kb",
    ],
)
@pytest.mark.parametrize("value", [float("nan"), -1.0, -0.001, float("inf"), float("-inf")])
def test_bad_constraints_are_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(MnsweepError, match=rf"^`{name}` {value}[^\n]*$"):
        Constraints(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("source", "note"),
    [("published: slim-2018-08", "public TensorFlow checkpoint"), ("published: paper", "weights were never published")],
)
def test_reason_says_where_the_weights_are(source: str, note: str) -> None:
    result = make_result(quality_pct=40.0, quality_source=source, **latency(1.0, 2.0))
    reason = pick([result], Constraints(max_latency_ms=3)).reason
    assert source in reason and note in reason


def test_reason_counts_candidates_and_shows_the_interval() -> None:
    results = [make_result(f"a0.25_r{r}", quality_pct=40.5, **latency(1.0, high)) for r, high in ((128, 2.0), (160, 9.0))]
    reason = pick([*results, make_result("a1.0_r224")], Constraints(max_latency_ms=3, margin_pct=10)).reason
    for part in ("a0.25_r128", "1 feasible", "of 2 with latency and quality", "40.5 %", "1.00 ms", "2.20 ms", "margin of 10 %"):
        assert part in reason
    assert "\n" not in reason


def test_only_the_precisions_and_runtimes_that_will_do() -> None:
    cells = ["a1.0_r224", "a1.0_r224_int8", "a1.0_r224_openvino", "a1.0_r224_int8_openvino"]
    known = [make_result(cell, **latency(4.0 - i, 4.0), quality_pct=70.0, quality_source="x") for i, cell in enumerate(cells)]
    assert pick(known, Constraints(max_latency_ms=5.0)).choice == known[3]
    assert pick(known, Constraints(max_latency_ms=5.0, precision="fp32")).choice == known[2]
    assert pick(known, Constraints(max_latency_ms=5.0, runtime="onnxruntime")).choice == known[1]
    assert pick(known, Constraints(max_latency_ms=5.0, precision="bf16")).choice is None
    assert pick(known, Constraints(max_latency_ms=5.0, precision="bf16,fp32", runtime="onnxruntime")).choice == known[0]
    with pytest.raises(MnsweepError, match="precision 'fp8'"):
        Constraints(precision="fp32,fp8")


@given(st.lists(st.lists(one_result(), min_size=4, max_size=4), min_size=2, max_size=3), SMALL)
def test_one_choice_for_all_machines_is_fast_enough_on_each(tables: list[list[Result]], budget: float) -> None:
    """Against a search through every cell that was measured on all machines."""
    machines = {f"m{number}": named(results) for number, results in enumerate(tables)}
    same = {r.cell: r for r in machines["m0"]}  # a cell has one quality, whatever the machine
    machines = {
        key: [replace(r, quality_pct=same[r.cell].quality_pct, params=same[r.cell].params) for r in results]
        for key, results in machines.items()
    }
    timed = [{r.cell for r in results if r.latency_p50_ms is not None} for results in machines.values()]
    shared = set.intersection(*timed)
    limits = Constraints(max_latency_ms=budget)
    if not shared:
        with pytest.raises(MnsweepError, match="no cell was measured on all machines"):
            slowest(machines, limits)
        return
    results, where = slowest(machines, limits)
    best = pick(results, limits).choice
    fits = [
        cell
        for cell in shared
        if same[cell].quality_pct is not None
        and all((r.latency_ci_high_ms or 0.0) <= budget for results in machines.values() for r in results if r.cell == cell)
    ]
    assert (best is None) == (not fits)
    if best is not None:
        assert best.cell in fits and best.quality_pct == max(same[cell].quality_pct or 0.0 for cell in fits)
        assert best in machines[where[best.cell]]
