"""The prior from other machines: where it comes from, what it does to a fit, and when it is dropped."""

import csv
import json
from random import Random

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import lsq_linear

from mnsweep.cell import Cell, Deployment
from mnsweep.errors import MnsweepError, StoreError
from mnsweep.prediction.deployments import fit_models
from mnsweep.prediction.features import work
from mnsweep.prediction.latency_model import fit_latency
from mnsweep.prediction.model_file import from_json, to_json
from mnsweep.prediction.prior import FLOOR, NOISE, SPREAD, Prior, any_prior, prior_for
from mnsweep.prediction.prior_table import CURRENT, names
from mnsweep.prediction.terms import TERMS
from mnsweep.space import Space
from mnsweep.sweep.file import Prediction, Sweep, parse_sweep, write_sweep
from tests.bench.prior import TABLE, rows

SPACE = Space("0.25:1.0:0.03", "128:224:16", pad="none").cells()
FP32 = any_prior(Deployment())


def amounts(cells: list[Cell]) -> NDArray[np.float64]:
    return work(cells, [{}] * len(cells))


def test_the_table_says_what_the_committed_runs_say() -> None:
    """Runs that were measured again since are not compared; of the others, estimates may have become a little better."""
    with TABLE.open(encoding="utf-8") as file:
        ours = {tuple(row.values())[:11]: row for row in csv.DictReader(file) if row["prior"] == CURRENT}
    derived = list(rows(CURRENT))
    assert len(ours) == 10 and len(derived) >= 8
    for row in derived:
        kept = ours[tuple(row.values())[:11]]
        before, now = (amounts(list(SPACE)) @ [float(each[term]) for term in TERMS] for each in (kept, row))
        assert before == pytest.approx(now, rel=0.05)


def test_each_machine_counts_once_and_a_deployment_without_one_has_no_prior() -> None:
    assert FP32.ns.shape == (2, len(TERMS)) and (FP32.ns >= 0).all() and FP32.ns.any(axis=1).all()
    alike = Deployment(threads=2, batch=4, pad="16")
    assert (prior_for(CURRENT, alike) or FP32).ns == pytest.approx(FP32.ns)
    assert prior_for("", Deployment()) is None and prior_for(CURRENT, Deployment("bf16", "openvino")) is None
    assert any_prior(Deployment("bf16", "openvino")).ns.shape == (2, len(TERMS))
    assert names() == (CURRENT,)


def test_the_speed_of_this_machine_is_found_whatever_it_is() -> None:
    one = Prior(FP32.ns[:1])
    work_done = amounts(list(SPACE[::9]))
    for speed in (1e-3, 1.0, 40.0):
        per_ns = work_done / (speed * work_done @ one.ns[0])[:, None]
        assert one.scaled(per_ns) == pytest.approx(speed * one.ns[0])
        both = Prior(np.vstack([one.ns, 7 * one.ns])).scaled(per_ns)
        assert both == pytest.approx(speed * one.ns[0]), "machines of one kind are one, whatever their speeds"
        assert one.typical(work_done) == pytest.approx(one.ns[0] / np.exp(np.log(work_done @ one.ns[0]).mean()))


def test_rows_are_deviations_of_each_share_over_its_width() -> None:
    work_done = amounts(list(SPACE[::9]))
    per_ns = work_done / (2 * work_done @ FP32.ns.mean(axis=0))[:, None]
    extra, target = FP32.rows(per_ns)
    share = FP32.scaled(per_ns) * per_ns.mean(axis=0)
    other = np.random.default_rng(0).uniform(0, 0.1, len(TERMS))
    expected = (other * per_ns.mean(axis=0) - share) / (SPREAD * share + FLOOR) * NOISE
    assert extra @ other - target == pytest.approx(expected)
    assert FP32.widths(np.zeros(2)) == pytest.approx([FLOOR, FLOOR])


@pytest.mark.parametrize("seed", range(4))
def test_the_fit_is_the_minimum_of_both_sums_of_squares(seed: int) -> None:
    rng = Random(seed)
    cells = rng.sample(SPACE, 10)
    done = amounts(cells)
    ms = done @ FP32.ns[seed % 2] / 1e6 * np.exp([rng.gauss(0, 0.02) for _ in cells])
    model = fit_latency(cells, [{}] * 10, ms.tolist(), FP32)
    assert model.prior == "used"
    per_ns = done / (ms * 1e6)[:, None]
    extra, target = FP32.rows(per_ns)
    both, wanted = np.vstack([per_ns, extra]), np.concatenate([np.ones(10), target])
    scale = np.maximum(both.max(axis=0), 1e-300)
    best = lsq_linear(both / scale, wanted, bounds=(0, np.inf), tol=1e-14)
    costs = np.array(model.fit.ns)
    assert (costs >= 0).all()
    assert ((both @ costs - wanted) ** 2).sum() <= 2 * best.cost * (1 + 1e-6)


def test_what_few_cells_leave_open_is_as_on_other_machines() -> None:
    """Eight cells of one resolution: the work at other resolutions is known from the other machine alone."""
    cells = [cell for cell in SPACE if cell.design.resolution == 128][::3][:8]
    new = [cell for cell in SPACE if cell.design.resolution == 224]
    truth = amounts([*cells, *new]) @ FP32.ns.mean(axis=0) / 1e6 * 3
    errors = []
    for prior in (Prior(FP32.ns.mean(axis=0, keepdims=True)), None):
        noisy = truth[:8] * np.exp(np.random.default_rng(1).normal(0, 0.02, 8))
        predicted, _, _ = fit_latency(cells, [{}] * 8, noisy.tolist(), prior).predict(new, [{}] * len(new))
        errors.append(float(np.abs(predicted / truth[8:] - 1).mean()))
    assert errors[0] < 0.7 * errors[1]


def test_a_prior_that_the_measurements_contradict_is_dropped() -> None:
    cells = Random(3).sample(SPACE, 30)
    ms = amounts(cells) @ np.array([0.02 if name == "pointwise" else 0.0 for name in TERMS]) / 1e6
    wrong = Prior(np.array([[1e6 if name == "constant" else 0.0 for name in TERMS]]))
    model, alone = (fit_latency(cells, [{}] * 30, ms.tolist(), prior) for prior in (wrong, None))
    assert (model.prior, alone.prior) == ("dropped", "none")
    assert (model.fit, model.missed, model.without) == (alone.fit, alone.missed, alone.without)


def saved(prior: str) -> str:
    cells = Random(3).sample(SPACE, 10)
    noise = np.exp(np.random.default_rng(0).normal(0, 0.02, 10))
    ms = {cell.id: float(ms) for cell, ms in zip(cells, amounts(cells) @ FP32.ns[0] / 1e6 * noise, strict=True)}
    return to_json(fit_models(cells, ms, {cell.id: {} for cell in cells}, prior=prior))


def test_the_file_says_what_became_of_the_prior_and_old_files_are_as_they_were() -> None:
    content = json.loads(saved(CURRENT))["models"][0]
    assert content["prior"] == "used" and "prior" not in json.loads(saved(""))["models"][0]
    for name in ("", CURRENT):
        (model,) = from_json(saved(name), "model.json").values()
        assert model.prior == ("used" if name else "none") and to_json({Deployment(pad="none"): model}) == saved(name)
    for bad in ('"maybe"', "3", "null"):
        with pytest.raises(StoreError, match=r"^model\.json: is not a latency model \(.*prior.*'mnsweep rebuild'$"):
            from_json(saved(CURRENT).replace('"prior": "used"', f'"prior": {bad}'), "model.json")


def test_a_sweep_names_its_prior_and_an_unknown_one_is_refused() -> None:
    text = write_sweep(Sweep("x", SPACE[:3], prediction=Prediction(prior=CURRENT)))
    again = parse_sweep(text, TABLE)
    assert again.prediction == Prediction(prior=CURRENT)
    old = parse_sweep("\n".join(line for line in text.splitlines() if not line.startswith("prior")), TABLE)
    assert old.prediction == Prediction() and old.prediction.prior == ""
    with pytest.raises(MnsweepError, match=rf"`prior` '1999': is unknown to this version; choose from {CURRENT}, or drop it"):
        parse_sweep(text.replace(f'prior = "{CURRENT}"', 'prior = "1999"'), TABLE)
