"""Exploring from the models of another machine's sweep: the fit, its intervals, what is kept, and what is refused."""

import shutil
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from random import Random

import numpy as np
import pytest
from msgspec.structs import replace
from numpy.typing import NDArray

from mnsweep.app.asking import fewest_of
from mnsweep.app.elsewhere import explore_on
from mnsweep.app.like import like_of
from mnsweep.app.requests import ExploreRequest
from mnsweep.cell import Cell, Deployment
from mnsweep.choice.search import about_all
from mnsweep.errors import MnsweepError, StoreError
from mnsweep.options import build
from mnsweep.prediction.deployments import fit_models, like_models
from mnsweep.prediction.features import work
from mnsweep.prediction.information import information_rows
from mnsweep.prediction.latency_model import LatencyModel, fit_latency, shape
from mnsweep.prediction.like import FEWEST_LIKE, FEWEST_THERE, SCORES, Like, LikeModel
from mnsweep.prediction.model_file import from_json, to_json
from mnsweep.prediction.prior import LIKE_FLOOR, LIKE_SPREAD, NOISE, Prior, prior_like, prior_of
from mnsweep.prediction.terms import TERMS
from mnsweep.prediction.uncertainty import BEND, NORMAL, deviations, factor_of, reach
from mnsweep.space import Space
from mnsweep.sweep.derive import read
from mnsweep.sweep.file import Prediction, Sweep, parse_sweep, write_sweep
from mnsweep.sweep.kept import merged
from mnsweep.sweep.store import BLOCKS, CELLS, MODEL, SWEEP, SweepFolder
from tests.fakes import FakeWorker
from tests.test_cli import Run, assert_refused, run
from tests.test_explore_cli import _fast_rules, worker
from tests.test_sweep import HERE

__all__ = ["_fast_rules", "run", "worker"]
Array = NDArray[np.float64]
PLAIN = Deployment(pad="none")
SPACE = Space("0.25:1.0:0.03", "128:224:16", pad="none").cells()
COSTS = {"stem": 0.05, "depthwise": 0.12, "pointwise": 0.02, "maps": 0.004, "weights": 0.01, "depthwise off fours": 0.2,
         "constant": 40_000.0}  # fmt: skip
NS = np.array([COSTS.get(term, 0.0) for term in TERMS])
THERE = Path(__file__).parents[1] / "results/reference/deploy/amd-epyc-2c-156cc3b9"
FEW = ("--alpha", "0.25:0.5:0.05", "--res", "128:224:32", "--pad", "none", "--measure", "5", "--verify", "2")


def amounts(cells: Sequence[Cell]) -> Array:
    return work(cells, [{}] * len(cells))


@cache
def there(scores: tuple[float, ...] = (1.0,) * SCORES) -> Prior:
    return prior_like(NS.tolist(), scores)


def choice(prior: Prior, count: int = FEWEST_LIKE) -> list[Cell]:
    by_design = {cell.design: cell for cell in SPACE}
    rows = information_rows(SPACE, [{}] * len(SPACE), prior)
    return [by_design[design] for design in about_all(list(by_design), rows, count)]


def fitted(cells: Sequence[Cell], ns: Array, prior: Prior | None, noise: Array | float = 0.0) -> LatencyModel:
    return fit_latency(cells, [{}] * len(cells), (amounts(cells) @ ns / 1e6 * np.exp(noise)).tolist(), prior)


def errors(model: LatencyModel, ns: Array) -> Array:
    return np.abs(model.predict(SPACE, [{}] * len(SPACE))[0] / (amounts(SPACE) @ ns / 1e6) - 1)


@pytest.mark.parametrize("speed", [0.02, 1.0, 30.0])
def test_five_cells_find_a_machine_that_differs_in_speed_alone(speed: float) -> None:
    assert errors(fitted(choice(there()), speed * NS, there()), speed * NS).max() < 1e-6


@pytest.mark.parametrize("seed", range(4))
def test_terms_that_are_scaled_each_by_its_own_factor_are_found(seed: int) -> None:
    ns = NS * np.exp(np.random.default_rng(seed).uniform(-0.5, 0.5, len(NS)))
    by_speed = fitted(choice(there()), ns, Prior(NS[None], 1e-6, 1e-6, (1.0,) * SCORES))
    few, many = (errors(fitted(choice(there(), count), ns, there()), ns).mean() for count in (FEWEST_LIKE, 40))
    assert many < 0.003 and few < 0.02 and few < 0.7 * errors(by_speed, ns).mean()


def test_standard_deviations_are_those_of_the_joint_normal_distribution() -> None:
    """Conditioned on what is measured by the covariance of latencies, with no matrix of coefficients."""
    done, new = Random(1).sample(SPACE, 5), Random(2).sample(SPACE, 8)
    per_ns = amounts(done) / (amounts(done) @ NS)[:, None]
    share = NS * per_ns.mean(axis=0)
    unit = np.maximum(per_ns.mean(axis=0), 1e-300)
    spread = np.where(per_ns.mean(axis=0) > 0, (LIKE_SPREAD * share + LIKE_FLOOR) / unit, 0)
    rows = np.hstack([amounts([*done, *new]) / (amounts([*done, *new]) @ NS)[:, None], shape([*done, *new])])
    covariance = (rows * np.concatenate([spread, [BEND] * 6]) ** 2) @ rows.T
    known = np.linalg.inv(covariance[:5, :5] + NOISE**2 * np.eye(5))
    left = covariance[5:, 5:] - covariance[5:, :5] @ known @ covariance[:5, 5:]
    got = deviations(factor_of(per_ns, shape(done), there()), rows[5:, : len(TERMS)], shape(new))
    assert got == pytest.approx(np.sqrt(np.diag(left) + NOISE**2), rel=1e-6)


def test_an_interval_reaches_as_far_as_the_rank_of_the_pooled_scores_says() -> None:
    scores = [float(score) for score in range(1, 41)]
    assert reach(scores[:5], scores[5:], 0.95) == 39  # ⌈0.95 · 41⌉ of 40
    assert reach(scores[30:35], scores[:14], 0.95) == 35, "with 19, the largest"
    assert reach([0.1] * 5, [0.2] * 30, 0.95) == NORMAL


def drawn(rng: np.random.Generator, widths: float) -> Array:
    """Latencies (cells,) of a machine whose terms, bend and noise differ as the prior says, or by a multiple of its widths."""
    unit = (amounts(SPACE) / (amounts(SPACE) @ NS)[:, None]).mean(axis=0)
    share = np.maximum(NS * unit + widths * rng.normal(size=len(NS)) * there().widths(NS * unit), 0)
    ns = np.divide(share, unit, out=np.zeros_like(unit), where=unit > 0)
    logs = np.log(amounts(SPACE) @ ns / 1e6) + shape(SPACE) @ rng.normal(0, widths * BEND, 6)
    ms: Array = np.exp(logs + rng.normal(0, NOISE, len(SPACE)))
    return ms


@pytest.mark.parametrize(("widths", "is_chosen"), [(1.0, True), (1.0, False), (2.0, True)])
def test_intervals_of_five_cells_hold_what_they_promise(widths: float, is_chosen: bool) -> None:
    """Over machines that differ as the prior says, and twice as much; the scores there are of standard deviations that hold."""
    inside = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        ms = drawn(rng, widths)
        prior = there(tuple(np.abs(rng.normal(size=SCORES)).tolist()))
        cells = choice(there()) if is_chosen else Random(seed).sample(SPACE, FEWEST_LIKE)
        by_id = dict(zip((cell.id for cell in SPACE), ms.tolist(), strict=True))
        model = fit_latency(cells, [{}] * len(cells), [by_id[cell.id] for cell in cells], prior)
        _, low, high = model.predict(SPACE, [{}] * len(SPACE))
        inside += [held for cell, held in zip(SPACE, (low <= ms) & (ms <= high), strict=True) if cell not in cells]
    assert 0.94 <= np.mean(inside) <= 0.995


def test_fewer_than_five_or_no_scores_are_too_few() -> None:
    cells = choice(there())
    with pytest.raises(MnsweepError, match=r"^4 measured cells are too few .* at least 5"):
        fitted(cells[:4], NS, there())
    with pytest.raises(MnsweepError, match=r"^5 measured cells are too few .* at least 8"):
        fitted(cells, NS, prior_like(NS.tolist()))


def test_a_model_there_that_many_cells_here_contradict_is_dropped() -> None:
    wrong = prior_like([1e6 if term == "constant" else 0.0 for term in TERMS], (1.0,) * SCORES)
    model = fitted(Random(3).sample(SPACE, 60), NS, wrong)
    assert (model.prior, model.uncertainty) == ("dropped", None)


def test_a_saved_model_has_the_same_intervals() -> None:
    model = fitted(choice(there()), 2 * NS, there(), np.random.default_rng(0).normal(0, 0.02, FEWEST_LIKE))
    text = to_json({PLAIN: model})
    (again,) = from_json(text, MODEL).values()
    for one, other in zip(model.predict(SPACE, [{}] * len(SPACE)), again.predict(SPACE, [{}] * len(SPACE)), strict=True):
        assert one == pytest.approx(other, rel=1e-6)
    assert to_json({PLAIN: again}) == text
    for old, new in (('"reach": ', '"reach": -'), ('"factor": [\n', '"factor": [[],\n'), ('"uncertainty"', '"else"')):
        with pytest.raises(StoreError, match=r"^model\.json: is not a latency model"):
            from_json(text.replace(old, new), MODEL)


def a_like(**changes: object) -> Like:
    model = LikeModel(PLAIN, dict(zip(TERMS, NS.tolist(), strict=True)), (0.5,) * FEWEST_THERE)
    return replace(Like("amd-2c-0", "deploy", (model,)), **changes)


def with_like(like: Like | None) -> Sweep:
    return Sweep("x", SPACE[:3], prediction=Prediction(prior="2026-11", like=like))


def test_a_sweep_file_keeps_it_and_one_without_is_as_it_was() -> None:
    text = write_sweep(with_like(a_like()))
    assert parse_sweep(text, Path(SWEEP)) == with_like(a_like())
    assert "like" not in write_sweep(with_like(None))
    assert prior_of(Deployment("int8", pad="none"), "", a_like()) is None, "another deployment"


BAD = [
    ('machine = "amd-2c-0"', 'machine = "../x"'), ('sweep = "deploy"', "sweep = 3"), ("pointwise = 0.02", "pointwise = nan"),
    ("stem = 0.05", "stem = inf"), ("depthwise = 0.12", "depthwise = -0.12"), ("maps = 0.004", "maps = 1e300"),
    ("weights = 0.01", "weights = 1e-300"), ("head = 0.0", "feet = 0.0"), ("constant = 40000.0", ""), ("0.5,\n", "nan,\n"),
    ("0.5,\n", "-0.5,\n"), ("scores = [", "scores = []\nrest = ["), ('precision = "fp32"', 'precision = "fp64"'),
    ("threads = 1", "threads = 0"),
]  # fmt: skip


@pytest.mark.parametrize(("good", "bad"), BAD)
def test_anything_else_in_the_file_is_refused_in_one_line(good: str, bad: str) -> None:
    text = write_sweep(with_like(a_like()))
    assert good in text
    with pytest.raises(MnsweepError, match=r"^sweep\.toml: [^\n]+$"):
        parse_sweep(text.replace(good, bad), Path(SWEEP))


def test_two_models_of_one_deployment_or_none_that_costs_time_are_refused() -> None:
    (model,) = a_like().models
    with pytest.raises(ValueError, match="two models for one deployment"):
        a_like(models=(model, model))
    with pytest.raises(ValueError, match="nothing cost time"):
        LikeModel(PLAIN, dict.fromkeys(TERMS, 0.0), model.scores)


def test_an_exploration_stays_with_its_like_and_learns_of_further_deployments() -> None:
    other = LikeModel(Deployment("int8"), a_like().models[0].ns, (0.1,) * FEWEST_THERE)
    both = merged(with_like(a_like(models=(other,))), with_like(a_like())).prediction
    assert both and both.like == a_like(models=(a_like().models[0], other))
    assert merged(with_like(None), with_like(a_like())) == with_like(a_like())
    refit = a_like(models=(LikeModel(PLAIN, a_like().models[0].ns, other.scores),))
    assert merged(with_like(refit), with_like(a_like())) == with_like(a_like()), "it was measured on there since"
    for kept, said in ((None, "like no other"), (a_like(sweep="paper"), "like paper of amd-2c-0")):
        with pytest.raises(StoreError, match=rf"^`like` deploy of amd-2c-0: the sweep was explored {said}; use another `name`"):
            merged(with_like(a_like()), with_like(kept))


@cache
def known_there() -> Like:
    return like_of(str(THERE), [PLAIN, Deployment("int8", "openvino")], Path("results"), SweepFolder(Path("own")))


def test_what_is_told_are_the_models_fitted_to_all_that_was_measured_there() -> None:
    known = read(SweepFolder(THERE))
    models = fit_models(known.sweep.cells, known.latency_ms, known.channels)
    for told in known_there().models:
        model = models[told.deployment]
        assert list(told.ns.values()) == pytest.approx(model.fit.ns, rel=1e-8) and len(told.scores) == len(model.cells) == 16
        assert 0.2 < np.sqrt(np.mean(np.square(told.scores))) < 2, "standard deviations are about right"
    assert (known_there().machine, known_there().sweep) == (THERE.name, "deploy")
    few = [cell for cell in known.sweep.cells if cell.deployment == PLAIN][: FEWEST_THERE - 1]
    assert not like_models(few, known.latency_ms, known.channels)


def at(results: Path, sweep: str, machine: str) -> Path:
    """A copy of the other machine's run."""
    path = results / sweep / machine
    shutil.copytree(THERE, path, ignore=shutil.ignore_patterns("*.png"))
    return path


def without_most(path: Path) -> None:
    lines = (path / BLOCKS).read_text().splitlines(keepends=True)
    kept = [line for line in lines if '"a0.25_' in line or '"a0.5_r128' in line or '"cell"' not in line]
    (path / BLOCKS).write_text("".join(kept))


Refused = tuple[Callable[[Path], object], str, Deployment, str]
REFUSALS: dict[str, Refused] = {
    "no such sweep": (lambda results: None, "nowhere", PLAIN, "no results of a sweep 'nowhere' in"),
    "no name": (lambda results: None, "", PLAIN, "no results of a sweep '' in"),
    "two machines": (
        lambda results: [at(results, "deploy", machine) for machine in ("a-2c-1", "b-2c-2")],
        "deploy", PLAIN, "`like` deploy: was measured on 2 other machines; name one: .*a-2c-1, .*b-2c-2",
    ),
    "itself": (
        lambda results: at(results, "explore", HERE.key), "explore", PLAIN, "`like` explore: is the sweep to explore itself",
    ),
    "no such deployment": (
        lambda results: at(results, "deploy", "a-2c-1"), "deploy", Deployment(threads=2),
        "`like` deploy: has no measured cells with precision fp32, .* threads 2, .*; it has precision fp32, ",
    ),
    "too few": (
        lambda results: without_most(at(results, "deploy", "a-2c-1")), "deploy", PLAIN,
        "`like` deploy: has 5 measured cells with precision fp32, .*: too few to learn from; measure at least 14 there",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS)
def test_what_can_not_be_learned_from_is_refused(tmp_path: Path, case: str) -> None:
    prepare, name, deployment, said = REFUSALS[case]
    prepare(tmp_path)
    with pytest.raises(MnsweepError, match=f"^{said}") as caught:
        like_of(name, [deployment], tmp_path, SweepFolder(tmp_path / "explore" / HERE.key))
    assert caught.value.exit_code == 2


def test_a_name_is_the_sweep_of_another_machine_before_this_one(tmp_path: Path) -> None:
    at(tmp_path, "deploy", HERE.key)
    own = SweepFolder(tmp_path / "explore" / HERE.key)
    assert like_of("deploy", [PLAIN], tmp_path, own).models, "of this machine where there is no other"
    without_most(at(tmp_path, "deploy", "a-2c-1"))
    with pytest.raises(MnsweepError, match="too few"):
        like_of("deploy", [PLAIN], tmp_path, own)


def test_explored_and_rebuilt_without_the_other_folder(run: Run, worker: FakeWorker, tmp_path: Path) -> None:
    path = at(tmp_path / "elsewhere", "deploy", "a-2c-1")
    ran = run("explore", *FEW, "--validate", "2", "--like", str(path))
    assert ran.code == 0 and f"fitted from the models of sweep deploy on {THERE.name}" in ran.out
    assert "5 cells to learn from" in ran.err
    folder = SweepFolder(Path("results") / "explore" / HERE.key)
    assert {*folder.read().processes[0].cells} == first_five()
    before = {name: folder.read_text(name) for name in (CELLS, MODEL, SWEEP)}
    shutil.rmtree(tmp_path / "elsewhere")
    for name in (CELLS, MODEL):
        (folder.path / name).unlink()
    assert run("rebuild", str(folder.path)).code == 0
    assert {name: folder.read_text(name) for name in before} == before
    again = run("explore", *FEW)
    assert again.code == 2 and "`" not in again.err and "at least 8" in again.err, "without it, five are too few"
    assert run("explore", *FEW[:-4], "--measure", "8", "--verify", "2").code == 0, "what was kept stays"
    assert run("predict", "--alpha", "0.3", "--res", "144", "--pad", "none").code == 0


def first_five() -> set[str]:
    """The ends and what tells most, of the cells that `FEW` asks for, by the models of the other machine."""
    cells = Space("0.25:0.5:0.05", "128:224:32", pad="none").cells()
    rows = information_rows(cells, [{}] * len(cells), prior_of(PLAIN, "", known_there()))
    designs = about_all([cell.design for cell in cells], rows, FEWEST_LIKE)
    return {cell.id for cell in cells if cell.design in designs}


def test_refusals_on_the_command_line(run: Run, worker: FakeWorker) -> None:
    assert_refused(run("explore", *FEW, "--like", "nowhere"), "no results of a sweep 'nowhere'")
    assert_refused(run("explore", *FEW[:-4], "--measure", "4", "--like", str(THERE)), "--measure 4: a model needs at least 5")
    assert_refused(
        run("explore", *FEW, "--like", str(THERE), "--runtime", "litert"), "has no measured cells with precision fp32"
    )
    assert run("explore", *FEW, "--like", str(THERE)).code == 0
    other = THERE.parents[1] / "deploy/amd-epyc-2c-e7fd23df"
    assert_refused(run("explore", *FEW, "--like", str(other)), "--like deploy of amd-epyc-2c-e7fd23df: the sweep was explored")
    assert run("explore", *FEW, "--like", str(other), "--fresh").code == 0


def test_other_machines_can_not_read_it() -> None:
    request = build(ExploreRequest, {"like": "deploy", "on": "pi"})
    assert fewest_of(request) == FEWEST_LIKE
    with pytest.raises(MnsweepError, match=r"^`like` deploy: the sweep is here, not there"):
        explore_on(request)


def test_five_designs_are_the_ends_and_what_tells_most_about_all_others() -> None:
    cells = choice(there())
    sizes = [(cell.design.alpha, cell.design.resolution) for cell in cells]
    assert sizes[:2] == [(0.25, 128), (1.0, 224)] and len({*sizes}) == 5
    rows = information_rows(SPACE, [{}] * len(SPACE), there())
    places = [SPACE.index(cell) for cell in cells]

    def left(chosen: Sequence[int]) -> float:
        return float(np.trace(rows @ np.linalg.inv(np.eye(rows.shape[1]) + rows[chosen].T @ rows[chosen]) @ rows.T))

    ours = left(places)
    drawn = [left([*places[:2], *Random(seed).sample(range(len(SPACE)), 3)]) for seed in range(50)]
    assert ours <= 1.1 * min(drawn) and all(left([*places[:4], i]) >= ours - 1e-9 for i in range(len(SPACE)))
    taken = [cells[0].design, SPACE[7].design]
    more = about_all([cell.design for cell in SPACE], rows, 2, taken)
    assert more[0] == cells[1].design and not {*more} & {*taken}
