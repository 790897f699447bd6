"""Figures that say how good predictions are, against their definitions, other libraries and cases worked out by hand."""

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import kendalltau

from mnsweep.arch.channel_padding import Channels
from mnsweep.arch.expand import expand
from mnsweep.cell import Cell, Deployment, Design
from mnsweep.choice.verification import verify
from mnsweep.counting import cost
from mnsweep.prediction.latency_model import fit_latency
from mnsweep.prediction.validation import Check, Validation, check, repeatability_pct, validate
from mnsweep.record import Block, Process, Records

CELLS = tuple(Cell(Design.of(a / 100, r)) for a in range(25, 101, 15) for r in (128, 160, 192, 224))
INT8 = tuple(Cell(cell.design, Deployment("int8")) for cell in CELLS)
MS = st.floats(0.5, 50)


def of(cell: Cell, measured: float, predicted: float, fitted: bool = False, half: float = 0.1) -> Check:
    low, high = predicted * (1 - half), predicted * (1 + half)
    return Check(cell=cell.id, measured_ms=measured, predicted_ms=predicted, low_ms=low, high_ms=high, fitted=fitted)


def validated(checks: list[Check], cells: tuple[Cell, ...] = CELLS) -> Validation:
    found = validate(checks, cells, None)
    assert found is not None
    return found


FITTED = [of(cell, 1.0 + i, 1.0 + i, fitted=True) for i, cell in enumerate(CELLS[:8])]


@given(st.lists(st.tuples(MS, MS), min_size=2, max_size=16))
def test_shares_and_ranks_by_their_definition(drawn: list[tuple[float, float]]) -> None:
    unseen = [of(cell, m, p) for cell, (m, p) in zip(CELLS[8:], drawn, strict=False)]
    found, n = validated([*FITTED, *unseen]), len(unseen)
    off = [abs(c.predicted_ms - c.measured_ms) / c.measured_ms for c in unseen]
    assume(min(abs(x - share) for x in off for share in (0.05, 0.1)) > 1e-9)
    assert found.designs == n
    assert found.errors.mean_pct == pytest.approx(100 * sum(off) / n)
    assert found.errors.worst_pct == pytest.approx(100 * max(off))
    assert found.errors.p95_pct == pytest.approx(100 * np.percentile(off, 95))
    assert found.within_5_pct == pytest.approx(100 * sum(x <= 0.05 for x in off) / n)
    assert found.within_10_pct == pytest.approx(100 * sum(x <= 0.1 for x in off) / n)
    assert found.interval_coverage == pytest.approx(100 * sum(c.low_ms <= c.measured_ms <= c.high_ms for c in unseen) / n)
    pairs = list(combinations([(c.measured_ms, c.predicted_ms) for c in unseen], 2))
    if all(a[0] != b[0] and a[1] != b[1] for a, b in pairs):  # no ties
        agree = sum(np.sign(a[0] - b[0]) * np.sign(a[1] - b[1]) for a, b in pairs)
        assert found.kendall_tau == pytest.approx(agree / len(pairs))
    expected = kendalltau([m for m, _ in drawn[:n]], [p for _, p in drawn[:n]]).statistic
    assert found.kendall_tau == (None if np.isnan(expected) else pytest.approx(expected))


def test_cells_that_took_alike_have_no_rank_and_fitted_cells_do_not_count() -> None:
    found = validated([of(CELLS[0], 1.0, 9.0, fitted=True), *FITTED[1:], of(CELLS[9], 2.0, 2.08), of(CELLS[10], 2.0, 1.92)])
    assert (found.designs, found.kendall_tau) == (2, None)
    assert found.errors.mean_pct == found.errors.worst_pct == pytest.approx(4.0)
    assert (found.within_5_pct, found.interval_coverage) == (100.0, 100.0)


def test_nothing_unseen_is_no_validation() -> None:
    assert validate(FITTED, CELLS, 1.0) is None
    assert validate([], CELLS, None) is None


def counted(cell: Cell, name: str) -> float:
    return float(getattr(cost(expand(cell.design)), name))


BASELINES = [("linear in mult-adds", "mult_adds"), ("linear in params", "params")]


@pytest.mark.parametrize(("name", "count"), BASELINES)
def test_baselines_are_straight_lines_by_weighted_least_squares(name: str, count: str) -> None:
    rng = np.random.default_rng(3)
    ms = [counted(cell, "mult_adds") / 3e7 * float(np.exp(rng.normal(0, 0.2))) for cell in CELLS]
    checks = [of(cell, m, m, fitted=i % 2 == 0) for i, (cell, m) in enumerate(zip(CELLS, ms, strict=True))]
    amount = np.array([counted(cell, count) for cell in CELLS]) / 1e6
    line = np.polyfit(amount[::2], ms[::2], 1, w=1 / np.array(ms[::2]))
    off = np.abs(np.polyval(line, amount[1::2]) / np.array(ms[1::2]) - 1)
    found = validated(checks).baselines[name]
    assert (found.mean_pct, found.worst_pct) == pytest.approx((100 * off.mean(), 100 * off.max()), rel=1e-6)


@pytest.mark.parametrize(("name", "count"), BASELINES)
def test_a_machine_that_a_baseline_describes_is_described_by_it_in_each_deployment(name: str, count: str) -> None:
    cells = (*CELLS, *INT8)
    ms = {cell.id: (1.0 + counted(cell, count) / 1e8) / (1 if cell in CELLS else 4) for cell in cells}
    checks = [of(cell, ms[cell.id], ms[cell.id], fitted=i % 3 > 0) for i, cell in enumerate(cells)]
    found = validated(checks, cells)
    assert found.baselines[name].worst_pct == pytest.approx(0, abs=1e-6)
    (other,) = set(found.baselines) - {name}
    assert found.baselines[other].mean_pct > 0.3


def test_fitted_cells_stand_with_what_the_others_say_and_unseen_ones_with_the_model() -> None:
    ms = {cell.id: 1.0 + counted(cell, "mult_adds") / 3e7 for cell in CELLS}
    fitted, unseen = CELLS[:16], CELLS[16:20]
    channels: dict[str, Channels] = {cell.id: {} for cell in CELLS}
    model = fit_latency(fitted, [{}] * 16, [ms[cell.id] for cell in fitted])
    known = {cell.id: ms[cell.id] for cell in CELLS[:20]}  # the last were not measured
    checks = check({Deployment(): model}, (*CELLS, *INT8), known, channels, [cell.id for cell in unseen])
    assert [c.cell for c in checks] == [cell.id for cell in CELLS[:20]]
    assert [c.fitted for c in checks] == [True] * 16 + [False] * 4
    assert [c.predicted_ms for c in checks[:16]] == list(model.left_out_ms)
    predicted = np.array(model.predict(unseen, [{}] * 4)).T
    assert [(c.predicted_ms, c.low_ms, c.high_ms) for c in checks[16:]] == [tuple(row) for row in predicted]
    assert checks[0].error == pytest.approx(model.left_out_ms[0] / ms[CELLS[0].id] - 1)


def records(moved: dict[str, float], held_out: str) -> Records:
    """Two processes: in the second each cell takes as many times as long as `moved` says, beside the one held out."""

    def lines() -> Iterator[Process | Block]:
        for process in (1, 2):
            cells = list(moved) + [held_out] * (process - 1)
            yield Process(number=process, started_at="2025-01-01T00:00:00+00:00", settings={}, cells=tuple(cells))
            for number in range(1, 5):
                for i, cell in enumerate(cells):
                    ns = round(1e9 * (1 + i) * (moved.get(cell, 1.0) if process == 2 else 1.0))
                    yield Block(cell=cell, process=process, round=number, at_s=float(number), first_ns=ns, samples_ns=(ns,) * 5)

    found = Records()
    for line in lines():
        found.add(line)
    return found


@pytest.mark.parametrize("speed", [1.0, 1.3])
def test_repeatability_is_how_far_cells_moved_against_each_other(speed: float) -> None:
    ids, apart = [cell.id for cell in CELLS[:4]], CELLS[5].id
    assert repeatability_pct(records(dict.fromkeys(ids, speed), apart), [apart]) == pytest.approx(0, abs=1e-6)
    moved = dict(zip(ids, (speed * 1.02, speed / 1.02, speed * 1.02, speed / 1.02), strict=True))
    assert repeatability_pct(records(moved, apart), [apart]) == pytest.approx(100 * (0.02 + (1 - 1 / 1.02)) / 2, rel=1e-6)


def test_repeatability_needs_two_cells_that_were_timed_twice() -> None:
    apart = CELLS[5].id
    assert repeatability_pct(records({CELLS[0].id: 1.1}, apart), [apart]) is None
    assert repeatability_pct(records({cell.id: 1.0 for cell in CELLS[:4]}, apart), []) is None
    assert repeatability_pct(Records(), [apart]) is None


POINTS = st.lists(st.tuples(st.integers(1, 9).map(float), st.integers(1, 9).map(float), st.integers(1, 9).map(float)),
                  min_size=1, max_size=9)  # fmt: skip


@given(POINTS, st.data())
def test_regret_by_brute_force(drawn: list[tuple[float, float, float]], data: st.DataObject) -> None:
    before, after, quality = ({f"c{i}": row[k] for i, row in enumerate(drawn)} for k in range(3))
    checked = data.draw(st.lists(st.sampled_from(list(before)), min_size=1, unique=True))
    found = verify(checked, before, after, quality)
    assert found
    lost = []
    for key in checked:
        hoped = max(quality[c] for c in before if before[c] <= before[key])
        if bought := [quality[c] for c in after if after[c] <= before[key]]:
            lost.append(max(0.0, hoped - max(bought)))
    assert found.designs == len(checked)
    assert (found.mean_regret, found.worst_regret) == pytest.approx((float(np.mean(lost or [0])), max(lost or [0])))
    assert found.errors.worst_pct == pytest.approx(max(100 * abs(before[k] / after[k] - 1) for k in checked))


def test_no_regret_where_beliefs_were_true_and_nothing_verified_is_no_verification() -> None:
    ms, quality = {"a": 1.0, "b": 2.0}, {"a": 40.0, "b": 60.0}
    found = verify(["a", "b"], ms, ms, quality)
    assert found and (found.worst_regret, found.errors.worst_pct) == (0.0, 0.0)
    slower = verify(["b"], ms, {"a": 1.0, "b": 2.5}, quality)
    assert slower and (slower.mean_regret, slower.errors.mean_pct) == pytest.approx((20.0, 20.0))
    assert verify([], ms, ms, quality) is None
