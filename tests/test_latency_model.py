"""The latency model against machines whose latency is known, the definitions of what it does, and other solvers."""

import json
from collections.abc import Sequence
from functools import cache
from math import ceil, floor
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import lsq_linear, nnls

from mnsweep.arch.channel_padding import Channels
from mnsweep.cell import Cell, Deployment, Design
from mnsweep.errors import MnsweepError, StoreError
from mnsweep.prediction.deployments import fit_models, predict
from mnsweep.prediction.features import work
from mnsweep.prediction.latency_model import FEWEST, Errors, LatencyModel, fit_latency
from mnsweep.prediction.model_file import from_json, to_json
from mnsweep.prediction.terms import TERMS

Array = NDArray[np.float64]
NS = {  # what each term costs on a made-up machine
    "stem": 0.05, "depthwise": 0.12, "pointwise": 0.02, "head": 0.03, "maps": 0.004, "weights": 0.01,
    "depthwise off fours": 0.2, "pointwise off fours": 0.01, "pointwise off sixteens": 0.005, "constant": 40_000.0,
}  # fmt: skip
SPACE = [Cell(Design.of(a / 100, r)) for a in range(25, 101, 3) for r in range(128, 225, 16)]
SHRINKAGES: tuple[float | None, ...] = (None, 1.0, 0.1, 0.01)


def truth_ms(cells: Sequence[Cell], costs: dict[str, float] = NS) -> Array:
    ms: Array = work(cells, [{}] * len(cells)) @ np.array([costs.get(name, 0.0) for name in TERMS]) / 1e6
    return ms


def fitted(cells: Sequence[Cell], ms: Sequence[float] | Array) -> LatencyModel:
    return fit_latency(cells, [{}] * len(cells), list(ms))


@cache
def noisy(seed: int, count: int = 20, sd: float = 0.02) -> tuple[tuple[Cell, ...], tuple[float, ...], LatencyModel]:
    rng = Random(seed)
    cells = tuple(rng.sample(SPACE, count))
    ms = tuple(float(m) * float(np.exp(rng.gauss(0, sd))) for m in truth_ms(cells))
    return cells, ms, fitted(cells, ms)


def shape(cells: Sequence[Cell]) -> Array:
    a, r = np.log([[c.design.alpha, c.design.resolution / 224] for c in cells]).T
    return np.stack([a**0, a, r, a**2, a * r, r**2], axis=1)


def refit(cells: Sequence[Cell], ms: Array, shrinkage: float | None, new: Sequence[Cell]) -> Array:
    """Predictions for `new` cells by the definition of the fit, with other solvers where there are others."""
    done, target = work(cells, [{}] * len(cells)), np.asarray(ms)
    scale = (done / target[:, None]).max(axis=0)
    scale[scale == 0] = 1.0
    costs = nnls(done / target[:, None] / scale, np.ones(len(target)))[0] / scale
    found: Array = work(new, [{}] * len(new)) @ costs
    if shrinkage is not None:  # ridge as least squares with a row for each penalty
        left = np.log(target / (done @ costs))
        rows = np.vstack([shape(cells), np.sqrt(shrinkage) * np.eye(6)])
        found = found * np.exp(shape(new) @ np.linalg.lstsq(rows, np.concatenate([left, np.zeros(6)]))[0])
    return found


def without_each(cells: Sequence[Cell], ms: Array, shrinkage: float | None, new: Sequence[Cell]) -> Array:
    """(left out, new)"""
    kept = [[j for j in range(len(cells)) if j != i] for i in range(len(cells))]
    return np.array([refit([cells[j] for j in its], ms[its], shrinkage, [*new, cells[i]]) for i, its in enumerate(kept)])


def test_a_machine_that_is_a_sum_of_terms_is_predicted_exactly() -> None:
    cells = Random(0).sample(SPACE, 60)
    unseen = [cell for cell in SPACE if cell not in cells]
    ms, low, high = fitted(cells, truth_ms(cells)).predict(unseen, [{}] * len(unseen))
    assert ms == pytest.approx(truth_ms(unseen), rel=1e-6)
    assert low == pytest.approx(ms, rel=1e-5) and high == pytest.approx(ms, rel=1e-5)


COSTS = st.dictionaries(st.sampled_from(list(NS)), st.floats(0.001, 0.3), min_size=1).map(lambda c: c | {"constant": 1e4})


@settings(max_examples=4)
@given(COSTS, st.randoms(use_true_random=False))
def test_any_sum_of_terms_is_predicted_exactly(costs: dict[str, float], rng: Random) -> None:
    cells = rng.sample(SPACE, 60)
    ms, _, _ = fitted(cells, truth_ms(cells, costs)).predict(SPACE, [{}] * len(SPACE))
    assert ms == pytest.approx(truth_ms(SPACE, costs), rel=1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_costs_are_not_negative_and_no_others_fit_better(seed: int) -> None:
    cells, ms, model = noisy(seed)
    costs = np.array(model.fit.ns)
    assert (costs >= 0).all()
    rows = work(cells, [{}] * len(cells)) / np.array(ms)[:, None] / 1e6
    scale = np.maximum(rows.max(axis=0), 1e-300)
    best = lsq_linear(rows / scale, np.ones(len(ms)), bounds=(0, np.inf), tol=1e-14)
    assert ((rows @ costs - 1) ** 2).sum() <= 2 * best.cost * (1 + 1e-6)
    slope = (rows / scale).T @ (rows @ costs - 1)  # Karush, Kuhn, Tucker: none can be raised, none in use moved
    assert (slope >= -1e-8).all() and np.abs(slope[costs > 0]).max() <= 1e-8


@pytest.mark.parametrize("seed", range(1))
def test_each_cell_is_predicted_by_the_others_alone_and_the_correction_earns_its_place(seed: int) -> None:
    cells, ms, model = noisy(seed)
    target = np.array(ms)
    candidates = [without_each(cells, target, shrinkage, [])[:, -1] for shrinkage in SHRINKAGES]
    means = [float(np.abs(candidate / target - 1).mean()) for candidate in candidates]
    best = candidates[int(np.argmin(means))]
    assert model.left_out_ms == pytest.approx(best, rel=1e-6)
    assert model.missed == pytest.approx(np.log(target / best), abs=1e-6)
    assert model.errors.mean_pct == pytest.approx(100 * min(means), rel=1e-6)
    assert model.errors.worst_pct == pytest.approx(100 * float(np.abs(best / target - 1).max()), rel=1e-6)
    assert any(model.fit.correction) is (int(np.argmin(means)) > 0)


def test_a_bend_that_no_term_has_is_corrected_and_a_sum_of_terms_is_not() -> None:
    cells = Random(2).sample(SPACE, 40)
    bent = truth_ms(cells) * np.array([c.design.alpha for c in cells]) ** 0.8
    assert any(fitted(cells, bent).fit.correction)
    assert np.abs(fitted(cells, truth_ms(cells)).fit.correction).max() < 1e-9


@pytest.mark.parametrize("wrong", [0.5, 3.0])
def test_what_a_cell_measured_has_no_say_in_its_own_prediction(wrong: float) -> None:
    cells = Random(5).sample(SPACE, 60)
    ms = truth_ms(cells)
    ms[7] *= wrong  # one wrong measurement on an exact machine: the other 59 say what it should have been
    model = fitted(cells, ms)
    if not any(model.fit.correction):
        assert model.left_out_ms[7] == pytest.approx(ms[7] / wrong, rel=1e-6)
    assert model.missed[7] == pytest.approx(np.log(wrong), abs=0.02)


@pytest.mark.parametrize("count", [8, 20, 39])
def test_intervals_are_jackknife_plus_by_the_definition(count: int) -> None:
    cells, ms, model = noisy(100 + count, count)
    target, new = np.array(ms), Random(9).sample(SPACE, 12)
    for shrinkage in SHRINKAGES:
        found = without_each(cells, target, shrinkage, new)
        if found[:, -1] == pytest.approx(np.array(model.left_out_ms), rel=1e-6):
            break
    others, missed = np.log(found[:, :-1]), np.abs(np.log(target / found[:, -1]))
    lower, upper = np.sort(others - missed[:, None], axis=0), np.sort(others + missed[:, None], axis=0)
    low = lower[max(1, floor(0.05 * (count + 1) + 1e-9)) - 1]  # the k-th smallest, counted from 1
    high = upper[min(count, ceil(0.95 * (count + 1) - 1e-9)) - 1]
    middle = np.log(refit(cells, target, shrinkage, new))
    got = np.log(model.predict(new, [{}] * len(new)))
    assert got == pytest.approx(np.array([middle, np.minimum(low, middle), np.maximum(high, middle)]), abs=1e-6)


def test_intervals_hold_what_they_promise() -> None:
    """Over many machines and choices of what to measure, 95 % of unseen cells lie in their interval."""
    inside = []
    for seed in range(40):
        rng, (cells, _, model) = Random(seed), noisy(1000 + seed)
        unseen = rng.sample([cell for cell in SPACE if cell not in cells], 20)
        ms = truth_ms(unseen) * np.exp([rng.gauss(0, 0.02) for _ in unseen])
        _, low, high = model.predict(unseen, [{}] * len(unseen))
        inside += list((low <= ms) & (ms <= high))
    assert 0.92 <= np.mean(inside) <= 0.99


@pytest.mark.parametrize("factor", [1e-3, 7.0])
def test_a_machine_of_another_speed_is_the_same_but_for_its_speed(factor: float) -> None:
    cells, ms, model = noisy(3)
    faster = fitted(cells, factor * np.array(ms))
    assert faster.missed == pytest.approx(model.missed, abs=1e-7)
    new = SPACE[::20]
    same = [np.array(m.predict(new, [{}] * len(new))) for m in (model, faster)]
    assert same[1] == pytest.approx(factor * same[0], rel=1e-6)


def test_too_few_cells_are_refused_with_the_least() -> None:
    cells = SPACE[:: len(SPACE) // FEWEST][:FEWEST]
    assert fitted(cells, truth_ms(cells)).cells == tuple(cell.id for cell in cells)
    with pytest.raises(MnsweepError, match=rf"^7 measured cells are too few .* at least {FEWEST} \(`measure`\)$"):
        fitted(cells[:-1], truth_ms(cells[:-1]))


def test_errors_in_closed_form() -> None:
    errors = Errors.of(np.array([-0.01, 0.02, 0.0, -0.05]))
    assert (errors.mean_pct, errors.worst_pct) == pytest.approx((2.0, 5.0))
    assert errors.p95_pct == pytest.approx(2 + 0.85 * 3)  # 95 % of the way through 0, 1, 2, 5


def test_coefficients_are_in_readable_units() -> None:
    cells = Random(1).sample(SPACE, 60)
    said = fitted(cells, truth_ms(cells, {"pointwise": 0.02, "maps": 0.004, "constant": 4e4})).coefficients
    assert said["pointwise"] == "0.02 ns per mult-add" and said["maps"] == "0.004 ns per byte"
    assert said["constant"] == "4e+04 ns"


INT8 = Deployment("int8")


def two_models() -> dict[Deployment, LatencyModel]:
    cells, ms, model = noisy(0)
    quantized = [Cell(cell.design, INT8) for cell in cells]
    return {Deployment(): model, INT8: fitted(quantized, np.array(ms) / 3)}


def test_a_saved_model_comes_back_equal() -> None:
    models = two_models()
    text = to_json(models)
    saved = from_json(text, "model.json")
    assert to_json(saved) == text
    assert list(saved) == list(models)
    for deployment, model in models.items():
        back = saved[deployment]
        assert back.cells == model.cells
        for name in ("left_out_ms", "missed"):
            assert getattr(back, name) == pytest.approx(getattr(model, name), rel=1e-8)
        for terms, sent in zip((back.fit, *back.without), (model.fit, *model.without), strict=True):
            assert terms.ns == pytest.approx(sent.ns, rel=1e-8)
            assert terms.correction == pytest.approx(sent.correction, rel=1e-8)
    assert json.loads(text)["models"][0]["coefficients"] == models[Deployment()].coefficients


def test_a_saved_number_has_nine_digits() -> None:
    ms = json.loads(to_json(two_models()))["models"][0]["left_out_ms"]
    assert ms == [float(f"{number:.9g}") for number in ms]


def changed(**values: Any) -> str:
    return json.dumps({**json.loads(to_json(two_models())), **values})


def with_first(**values: Any) -> str:
    first, second = json.loads(to_json(two_models()))["models"]
    return changed(models=[{**first, **values}, second])


TERM_COSTS = [1.0] * len(TERMS)
BAD_FILES = [
    (changed(schema_version=2), "another version"), (changed(terms={"stem": "ns"}), "another version"),
    (changed(models=[{}]), "is not a latency model"), (changed(models=3), "is not a latency model"),
    ("", "is not"), ("[]", "is not"), ("{}", "is not"), ("null", "is not"), ("\x80pickle", "is not"),
    ("\ud800", "is not"), ("[" * 100_000, "is not"), ('{"models": ' + "[" * 100_000, "is not"),
    (with_first(cells=3), r"Expected array, got int - at \$\.models\[0\]\.cells"),
    (with_first(cells=["a0.25_r128"]), "length >= 5"), (with_first(cells=["a0.25_r128"] * 7), "7 cells and no uncertainty"),
    (with_first(missed=[0.0]), "missed has 1 entries for 20 cells"),
    (with_first(without=[]), "without has 0 entries for 20 cells"),
    (with_first(left_out_ms=[-1.0] * 20), r"> 0\.0 - at \$\.models\[0\]\.left_out_ms"),
    (with_first(fit={"ns": TERM_COSTS[1:], "correction": [0.0] * 6}), rf"length >= {len(TERMS)} - at \$\.models\[0\]\.fit\.ns"),
    (with_first(fit={"ns": TERM_COSTS, "correction": [0.0] * 7}), r"length <= 6 - at \$\.models\[0\]\.fit\.correction"),
    (with_first(fit={"ns": [-1.0] * len(TERMS), "correction": [0.0] * 6}), ">= 0.0"),
    (with_first(fit={"ns": [0.0] * len(TERMS), "correction": [0.0] * 6}), "nothing costs time"),
    (with_first(missed=[float("nan")] * 20), "malformed"), (changed(models=[]).replace("[]", "[1e999]"), "is not"),
    (with_first(missed=[0.0625] * 20).replace("0.0625", "1e999", 1), "out of range"),
    (with_first(deployment={"precision": "fp64"}), "precision 'fp64' is unknown"),
    (with_first(deployment={"threads": "1"}), "Expected int, got str"),
    (with_first(deployment={"precision": "int8"}), "two models for one deployment"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "words"), BAD_FILES, ids=range(len(BAD_FILES)))
def test_any_other_file_is_refused_in_one_line_with_what_is_wrong_and_the_fix(text: str, words: str) -> None:
    with pytest.raises(StoreError, match=rf"^results/model\.json: [^`]*{words}[^\n`]*'mnsweep rebuild'$"):
        from_json(text, "results/model.json")


def read_or_refused(text: str) -> None:
    try:
        models = from_json(text, "results/model.json")
    except StoreError as error:
        assert str(error).startswith("results/model.json: ") and "\n" not in str(error)
    else:
        assert list(from_json(to_json(models), "model.json")) == list(models)
        assert all(len(model.cells) == len(model.missed) == len(model.without) for model in models.values())


SAVED = to_json(two_models())
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=100)
@given(st.integers(0, len(SAVED)), st.integers(0, 40), st.text(max_size=12))
def test_a_file_with_changed_characters_is_read_or_refused(start: int, length: int, text: str) -> None:
    read_or_refused(SAVED[:start] + text + SAVED[start + length :])


@settings(max_examples=100)
@given(st.randoms(use_true_random=False), JSON)
def test_a_file_with_another_value_somewhere_is_read_or_refused(rng: Random, value: Any) -> None:
    document = node = json.loads(SAVED)
    while True:
        key = rng.choice(range(len(node)) if isinstance(node, list) else list(node))
        if not isinstance(node[key], list | dict) or not node[key] or rng.random() < 0.2:
            break
        node = node[key]
    node[key] = value
    read_or_refused(json.dumps(document))


def test_each_deployment_has_a_model_of_its_own_and_others_are_left_out() -> None:
    ms = dict(zip((cell.id for cell in SPACE), truth_ms(SPACE), strict=True))
    quantized = [Cell(cell.design, INT8) for cell in SPACE]
    known = {c.id: float(ms[Cell(c.design).id]) * (1 if c.deployment == Deployment() else 0.5) for c in [*SPACE, *quantized]}
    cells = [*SPACE[::4], *quantized[::3]]
    channels: dict[str, Channels] = {cell.id: {} for cell in [*SPACE, *quantized]}
    models = fit_models(cells, known, channels)
    assert {how: model.cells for how, model in models.items()} == {
        Deployment(): tuple(cell.id for cell in SPACE[::4]), INT8: tuple(cell.id for cell in quantized[::3])
    }  # fmt: skip
    held_out = [cell.id for cell in SPACE[::8]]
    assert not set(fit_models(cells, known, channels, held_out)[Deployment()].cells) & set(held_out)
    few = fit_models([*SPACE[::4], *quantized[: FEWEST - 1]], known, channels)
    assert list(few) == [Deployment()]
    found = predict(few, [*SPACE, *quantized], {cell.id: {} for cell in SPACE[1:]})
    assert set(found) == {cell.id for cell in SPACE[1:]}, "without a model, or of unknown channels"
    assert all(p.low_ms <= p.ms <= p.high_ms for p in found.values())
