"""How well 20 measurements predict the others, and what a verified pick loses.

    python -m tests.bench.explore [fp32 int8 threads unpadded] [surface] [speed] [whole] [regret]

Without words everything, about half an hour. Each deployment: 80 designs measured once in interleaved rounds, then 50 random
splits, 20 designs to fit and the others to test, pooled.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np

from mnsweep.accuracy.published import DEFAULT_SOURCE
from mnsweep.accuracy.surface import surface
from mnsweep.app.exploration import RULES, Aims, explore
from mnsweep.app.verify import verified
from mnsweep.arch.deployed import deployed_channels
from mnsweep.cell import Cell, Deployment
from mnsweep.choice.constraints import Constraints
from mnsweep.counting import deployed_cost
from mnsweep.machine.fingerprint import read_machine
from mnsweep.measure.rounds import Rules
from mnsweep.prediction.deployments import predict
from mnsweep.prediction.latency_model import fit_latency
from mnsweep.result import Result
from mnsweep.session import Session, open_session
from mnsweep.space import Space
from mnsweep.sweep.derive import derive
from mnsweep.sweep.file import Prediction, Sweep
from mnsweep.sweep.knowledge import Knowledge
from tests.bench.figure import Figures

DEPLOYMENTS = {
    "fp32": Deployment(),
    "int8": Deployment("int8"),
    "threads": Deployment(threads=2),
    "unpadded": Deployment(pad="none"),
}
MEAN_PCT = {"fp32": 1.5, "int8": 3.0, "threads": 3.0, "unpadded": 6.0}
AXES = {"alpha": "0.25:1.0:0.01", "res": "128:224:8"}
DESIGNS, FITTED, SPLITS = 80, 20, 50
BUDGETS, NEAR = 5, 0.05
ROUNDS = {"fp32": 30, "int8": 16, "threads": 16, "unpadded": 16}  # of every design: where targets are narrow, more


@contextmanager
def open_space(folder: str, deployment: Deployment = DEPLOYMENTS["fp32"], rules: Rules = RULES) -> Iterator[Session]:
    """The default space in one deployment, in a fresh folder."""
    space = Space(AXES["alpha"], AXES["res"], precision=deployment.precision, threads=deployment.threads, pad=deployment.pad)
    sweep = Sweep("bench", space.cells(), prediction=Prediction())
    with open_session(sweep, Path(folder), read_machine(), rules=rules, wait=True) as session:
        yield session


def split_errors(figures: Figures, name: str) -> None:
    """Measure a sample of one deployment and predict one part of it from another, many times."""
    rules = replace(RULES, least_rounds=ROUNDS[name], most_rounds=ROUNDS[name])
    with tempfile.TemporaryDirectory() as folder, open_space(folder, DEPLOYMENTS[name], rules) as session:
        session.measure(Random(1).sample(session.asked, DESIGNS))
        known = session.known()
    cells = [cell for cell in known.sweep.cells if cell.id in known.latency_ms]
    errors, inside, by_mult_adds = splits(known, cells)
    pct, simple = 100 * np.abs(errors), 100 * np.abs(by_mult_adds)
    noise = np.mean([e.relative_ci_pct or np.nan for e in known.estimates.values()])
    print(f"           {name}: {len(cells)} designs, each ± {noise:.1f} % against the others")
    figures.at_most(f"{name}: mean error", pct.mean(), MEAN_PCT[name], "%")
    figures.report(f"{name}: mean error of linear in mult-adds", simple.mean(), "%")
    figures.report(f"{name}: worst error", pct.max(), "%")
    if name == "fp32":
        figures.at_most("fp32: 95th percentile", float(np.percentile(pct, 95)), 4.0, "%")
        figures.at_least("fp32: within ± 5 %", 100 * float(np.mean(pct <= 5)), 97.0, "%")
        figures.at_least("fp32: interval coverage", 100 * inside, 92.0, "%")
        figures.at_most("fp32: interval coverage", 100 * inside, 98.0, "%")
        figures.at_least("fp32: linear in mult-adds / model", simple.mean() / pct.mean(), 2.5, "×")
    else:
        figures.report(f"{name}: interval coverage", 100 * inside, "%")


def splits(known: Knowledge, cells: list[Cell]) -> tuple[np.ndarray, float, np.ndarray]:
    """Errors of the model, the share of its intervals that hold the truth, errors of a line in mult-adds."""
    ms = np.array([known.latency_ms[cell.id] for cell in cells])
    channels = [known.channels[cell.id] for cell in cells]
    mult_adds = np.array([deployed_cost(cell.design).mult_adds for cell in cells]) / 1e6
    errors, inside, simple = [], [], []
    for seed in range(SPLITS):
        order = np.random.default_rng(seed).permutation(len(cells))
        fit, test = order[:FITTED], order[FITTED:]
        model = fit_latency([cells[i] for i in fit], [channels[i] for i in fit], ms[fit].tolist())
        middle, low, high = model.predict([cells[i] for i in test], [channels[i] for i in test])
        errors.append(middle / ms[test] - 1)
        inside.append((low <= ms[test]) & (ms[test] <= high))
        rows = np.stack([np.ones(FITTED), mult_adds[fit]], axis=1) / ms[fit, None]
        constant, slope = np.linalg.lstsq(rows, np.ones(FITTED))[0]
        simple.append((constant + slope * mult_adds[test]) / ms[test] - 1)
    return np.concatenate(errors), float(np.mean(np.concatenate(inside))), np.concatenate(simple)


def surface_errors(figures: Figures) -> None:
    """Leave-one-out errors of the accuracy surfaces."""
    fit = surface(DEFAULT_SOURCE, "fp32")
    assert fit is not None
    figures.at_most(f"accuracy surface, {DEFAULT_SOURCE}: mean leave-one-out error", fit.loo_mean, 0.25, "points")
    figures.at_most(f"accuracy surface, {DEFAULT_SOURCE}: worst", fit.loo_worst, 0.6, "points")
    for source, precision in ((DEFAULT_SOURCE, "int8"), ("paper", "fp32")):
        other = surface(source, precision)
        assert other is not None
        figures.report(f"accuracy surface, {source} {precision}: mean leave-one-out error", other.loo_mean, "points")
        figures.report(f"accuracy surface, {source} {precision}: worst", other.loo_worst, "points")


def prediction_speed(figures: Figures) -> None:
    """A hundred thousand cells, with what their padding comes to."""
    cells = Space("0.25:1.0:0.001", "96:232:1", max_designs=200_000).cells()[:100_000]
    rules = replace(RULES, least_rounds=2, most_rounds=2, process_rounds=2, least_processes=1)
    with tempfile.TemporaryDirectory() as folder, open_space(folder, rules=rules) as session:
        session.measure(Random(1).sample(session.asked, 24))
        known = session.known()
    start = time.perf_counter()
    channels = deployed_channels(cells, {}, known.records.probes)
    found = predict(known.models, cells, channels)
    taken = time.perf_counter() - start
    assert len(found) == len(cells) == 100_000
    figures.at_most("predicting 100,000 cells", taken, 5.0, "s")


def whole_exploration(figures: Figures) -> None:
    """The default command, from a fresh folder."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        command = [sys.executable, "-m", "mnsweep", "explore", "--results-dir", folder, "--quiet"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        figures.at_most("mnsweep explore, 988 designs, from start to files", time.perf_counter() - start, 60.0, "s")


def regret(figures: Figures) -> None:
    """What a verified pick loses against measuring every design that is predicted near the budget."""
    with tempfile.TemporaryDirectory() as folder:
        with open_space(folder) as session:
            explore(session, Aims())
            results = derive(session.folder).results
        believed = sorted(r.latency_p50_ms or 0.0 for r in results if r.predicted_on_frontier)
        budgets = np.geomspace(believed[len(believed) // 10], believed[-len(believed) // 10], BUDGETS)
        bounds = [Constraints(max_latency_ms=float(budget)) for budget in budgets]
        picked = [verified(derive(session.folder).results, bound, session.folder, wait=True).choice for bound in bounds]
        predicted = {r.cell: r.latency_p50_ms or 0.0 for r in derive(session.folder).results}
        with open_space(folder) as session:
            near = [c for c in session.asked if any(abs(predicted[c.id] / budget - 1) <= NEAR for budget in budgets)]
            session.measure(near)
            known = session.known()
        print(f"           {len(near)} designs measured near {BUDGETS} budgets")
        measured = [r for r in derive(session.folder).results if r.cell in known.latency_ms]
        lost = [_lost(measured, choice, budget) for budget, choice in zip(budgets, picked, strict=True)]
        figures.at_most("quality lost by the verified pick, worst of five budgets", max(lost), 0.3, "points")


def _lost(measured: list[Result], choice: Result | None, budget_ms: float) -> float:
    """How much less quality the choice has than the best cell within the budget, in points."""
    best = max((r for r in measured if (r.latency_ci_high_ms or 0.0) <= budget_ms), key=lambda r: r.quality_pct or 0.0)
    assert choice is not None
    lost = (best.quality_pct or 0.0) - (choice.quality_pct or 0.0)
    print(f"           {budget_ms:.2f} ms: picked {choice.cell}, best {best.cell}, lost {lost:.2f} points")
    return lost


PARTS = {"surface": surface_errors, "speed": prediction_speed, "whole": whole_exploration, "regret": regret}

if __name__ == "__main__":
    figures, words = Figures(), sys.argv[1:] or [*DEPLOYMENTS, *PARTS]
    for word in words:
        split_errors(figures, word) if word in DEPLOYMENTS else PARTS[word](figures)
    figures.finish()
