"""What a choice says of itself, against counts by brute force over sweeps of which parts are unknown."""

import re
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mnsweep.choice.constraints import Constraints
from mnsweep.choice.ranking import pick
from mnsweep.result import Result
from tests.conftest import make_result

MS = st.sampled_from([1.0, 2.0, 3.0, 5.0, 8.0])


@st.composite
def cells(draw: st.DrawFn) -> Result:
    """A cell of which anything may be unknown."""
    alpha, res = draw(st.sampled_from([0.25, 0.5, 0.75, 1.0])), draw(st.integers(32, 320))
    ms, tail = draw(st.none() | MS), draw(st.sampled_from([1.0, 1.5]))
    predicted = draw(st.booleans())
    known: dict[str, object] = {"quality_pct": draw(st.none() | st.sampled_from([40.0, 55.0, 70.0]))}
    if ms is not None:
        known |= {"latency_p50_ms": ms, "latency_source": "predicted" if predicted else "measured"}
        if predicted or draw(st.booleans()):
            known |= {"latency_ci_low_ms": ms / 1.1, "latency_ci_high_ms": ms * 1.1}
        if not predicted:
            known |= {"relative_ci_pct": draw(st.sampled_from([None, 1.0, 25.0, 2405.0])), "stability": "noisy"}
            known |= {"latency_p90_ms": draw(st.none() | st.just(ms * tail))}
    return make_result(f"a{alpha}_r{res}", params=round(4e6 * alpha), **known)


SWEEPS = st.lists(cells(), max_size=8, unique_by=lambda r: r.cell)
CONSTRAINTS = st.builds(
    lambda ms, **others: Constraints(max_latency_ms=ms, **(others if ms else {**others, "percentile": None})),
    st.none() | MS,
    percentile=st.sampled_from([None, 90]),
    min_top1=st.sampled_from([None, 50.0, 95.0]),
    max_params_m=st.sampled_from([None, 0.5, 2.0]),
    margin_pct=st.sampled_from([0.0, 20.0]),
    max_relative_ci=st.sampled_from([20.0, 5000.0]),
    precision=st.sampled_from([None, "fp32", "int8"]),
)


def high_ms(r: Result, c: Constraints) -> float | None:
    high = r.latency_p90_ms if c.percentile else r.latency_ci_high_ms
    return None if high is None else high * (1 + c.margin_pct / 100)


def excluded_by(r: Result, c: Constraints) -> set[str]:
    """The constraints that the cell fails by a value that is known."""
    high, broken = high_ms(r, c), set()
    if c.max_latency_ms is not None and high is not None and high > c.max_latency_ms:
        broken.add("max_latency_ms")
    if c.max_params_m is not None and r.params / 1e6 > c.max_params_m:
        broken.add("max_params_m")
    if c.min_top1 is not None and r.quality_pct is not None and r.quality_pct < c.min_top1:
        broken.add("min_top1")
    if c.precision not in (None, r.precision):
        broken.add("precision")
    return broken


def is_candidate(r: Result, c: Constraints) -> bool:
    return None not in (r.latency_p50_ms, r.latency_ci_high_ms, r.quality_pct, high_ms(r, c))


def is_feasible(r: Result, c: Constraints) -> bool:
    return is_candidate(r, c) and not excluded_by(r, c) and (r.relative_ci_pct or 0.0) <= c.max_relative_ci


@settings(max_examples=150, deadline=None)
@given(SWEEPS, CONSTRAINTS)
def test_the_choice_is_that_of_a_brute_force(sweep: list[Result], c: Constraints) -> None:
    feasible = [r for r in sweep if is_feasible(r, c)]
    budget = c.max_latency_ms is not None or c.max_params_m is not None

    def order(r: Result) -> tuple[float, float]:
        latency, quality = r.latency_p50_ms or 0.0, -(r.quality_pct or 0.0)
        return (quality, latency) if budget else (latency, quality)

    got = pick(sweep, c)
    if not feasible:
        assert (got.choice, got.runner_up) == (None, None)
        return
    assert got.choice in feasible and order(got.choice) == min(map(order, feasible))
    assert f"of {len(feasible)} feasible cell{'s' * (len(feasible) != 1)} (of " in got.reason
    assert ("noisy" in got.reason) == (got.choice.latency_source == "measured"), "an unsettled choice is said to be one"


@settings(max_examples=150, deadline=None)
@given(SWEEPS, CONSTRAINTS)
def test_cells_that_are_not_known_well_enough_are_counted(sweep: list[Result], c: Constraints) -> None:
    timed = [r for r in sweep if r.latency_p50_ms is not None]
    assume(timed)
    reason = pick(sweep, c).reason
    for text, number in {
        "too few rounds for an interval": sum(r.latency_ci_high_ms is None for r in timed),
        f"an interval wider than ± {c.max_relative_ci:g} %": sum((r.relative_ci_pct or 0.0) > c.max_relative_ci for r in timed),
        "too few runs for the 90th percentile": sum(r.latency_p90_ms is None for r in timed) if c.percentile else 0,
    }.items():
        said = re.search(rf"(\d+) cells? with {re.escape(text)}", reason)
        assert (int(said[1]) if said else 0) == number


@settings(max_examples=150, deadline=None)
@given(SWEEPS, CONSTRAINTS)
def test_where_nothing_is_feasible_each_constraint_that_excludes_is_named(sweep: list[Result], c: Constraints) -> None:
    timed = [r for r in sweep if r.latency_p50_ms is not None]
    assume(timed and not any(is_feasible(r, c) for r in sweep))
    reason = pick(sweep, c).reason
    pool = [r for r in timed if is_candidate(r, c)] or timed
    broken = [excluded_by(r, c) for r in pool]
    count = {name: sum(name in names for names in broken) for name in set().union(*broken)}
    decisive = {name: n for name, n in count.items() if n == len(pool)}
    said = re.findall(r"`(\w+)` \S+ excludes (?:all (\d+) cells|(\d+) of \d+ cell)", reason)
    assert {name: int(everything or some) for name, everything, some in said} == (decisive or count)
    for name, needs in re.findall(r"\(needs `(\w+)` ([0-9.e+]+)\)", reason):
        looser = replace(c, **{name: float(needs)})  # type: ignore[arg-type]
        assert any(name not in excluded_by(r, looser) for r in pool), "the bound that is suggested lets a cell in"
    fastest = min(r.latency_p50_ms or 0.0 for r in timed)
    assert re.search(r"the fastest of all is (\S+) at", reason)[1] in {r.cell for r in timed if r.latency_p50_ms == fastest}  # type: ignore[index]


@pytest.mark.parametrize(
    "bound, nearest", [({"max_params_m": 0.1}, "max_params_m"), ({"max_latency_ms": 0.5}, "max_latency_ms")]
)
def test_the_nearest_cell_is_that_of_the_constraint(bound: dict[str, float], nearest: str) -> None:
    def made(name: str, ms: float, params: int) -> Result:
        return make_result(
            name, quality_pct=50.0, latency_p50_ms=ms, latency_ci_low_ms=ms, latency_ci_high_ms=ms, params=params
        )

    sweep = [made("a0.25_r128", 9.0, 500_000), made("a0.5_r128", 1.0, 900_000)]
    reason = pick(sweep, Constraints(**bound)).reason  # type: ignore[arg-type]
    assert f"is {'a0.25_r128' if nearest == 'max_params_m' else 'a0.5_r128'}" in reason.split(";")[1]
