"""`mnsweep explore` and `pick` on what it explored, as a user runs them; a made-up machine is timed."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from mnsweep.arch.channel_padding import NARROW, WIDE
from mnsweep.cli.explore import _prior as prior_lines
from mnsweep.machine.fingerprint import Machine
from mnsweep.prepare.models import Prepared
from mnsweep.sweep.cells_file import from_csv
from mnsweep.sweep.file import Prediction
from mnsweep.sweep.store import CELLS, SweepFolder
from tests.fakes import FakeWorker
from tests.test_cli import Ran, Run, assert_refused, run
from tests.test_exploration import RULES, machinery
from tests.test_result import COLUMNS
from tests.test_sweep import HERE

__all__ = ["run"]

SMALL = ("--alpha", "0.25:0.5:0.05", "--res", "128:224:32")
FEW = (*SMALL, "--measure", "10", "--verify", "2")
ERRORS = {"mean_pct", "p95_pct", "worst_pct"}
Explore = Callable[..., Ran]


@pytest.fixture
def _fast_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rounds in one process, for `explore` and for what `pick` verifies."""
    for module in ("explore", "verify"):
        monkeypatch.setattr(f"mnsweep.app.{module}.RULES", RULES)


@pytest.fixture
def worker(_fast_rules: None, monkeypatch: pytest.MonkeyPatch) -> FakeWorker:
    """The worker that is timed; no network is built and no picture drawn."""
    made = machinery()
    monkeypatch.setattr("mnsweep.prepare.offers.chains", lambda *_: dict.fromkeys((*NARROW, *WIDE), b""))
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    monkeypatch.setattr("mnsweep.session.WorkerProcess", lambda timeout_s, runtimes=(): made)
    monkeypatch.setattr(Prepared, "model_of", lambda self, cell: b"")
    monkeypatch.setattr("mnsweep.sweep.derive._plots", lambda *_: {})
    return made


@pytest.fixture
def explore(run: Run, worker: FakeWorker) -> Explore:
    assert not worker.blocks
    return lambda *arguments: run("explore", *FEW, *arguments)


def test_explore_as_json(explore: Explore) -> None:
    ran = explore("--validate", "3", "--json")
    document = ran.json
    assert ran.code == 0
    assert set(document) == {
        "schema_version", "sweep", "machine", "results_dir", "machine_speed", "skipped", "model", "verification", "validation",
        "cells",
    }  # fmt: skip
    assert (document["schema_version"], document["sweep"], document["machine"]) == (1, "explore", HERE.key)
    assert document["skipped"] == {} and set(document["machine_speed"]) == {"slower_pct", "faster_pct"}
    model = document["model"]
    assert set(model) == {"loo_mean_pct", "loo_p95_pct", "loo_worst_pct", "deployments"}
    (only,) = model["deployments"]
    assert (only["precision"], only["runtime"], only["threads"], only["pad"]) == ("fp32", "onnxruntime", 1, "auto")
    assert only["measured"] == 12
    assert only["loo_mean_pct"] == model["loo_mean_pct"] < 10  # each left-out design is an extreme one
    assert only["prior"] in ("used", "dropped")
    assert all(words.endswith((" ns per mult-add", " ns per byte", " ns")) for words in only["coefficients"].values())
    assert set(document["verification"]) == ERRORS | {"designs", "mean_regret", "worst_regret"}
    assert set(document["validation"]) == ERRORS | {
        "designs", "within_5_pct", "within_10_pct", "kendall_tau", "interval_coverage", "baselines", "repeatability_pct",
    }  # fmt: skip
    assert set(document["validation"]["baselines"]) == {"linear in mult-adds", "linear in params"}
    assert all(set(errors) == ERRORS for errors in document["validation"]["baselines"].values())
    assert (document["verification"]["designs"], document["validation"]["designs"]) == (2, 3)
    assert document["validation"]["repeatability_pct"] == pytest.approx(0, abs=0.01)
    assert len(document["cells"]) == 24 and list(document["cells"][0])[: len(COLUMNS)] == COLUMNS
    sources = [cell["latency_source"] for cell in document["cells"]]
    assert (sources.count("measured"), sources.count("predicted")) == (15, 9)
    kept = from_csv((Path(document["results_dir"]) / CELLS).read_text(), CELLS)
    assert [cell["cell"] for cell in document["cells"]] == [r.cell for r in kept]


def test_without_validation_there_is_none_and_the_next_step_is_pick(explore: Explore) -> None:
    document = explore("--json", "--quiet")
    assert document.err == "" and document.json["validation"] is None
    assert explore().err.splitlines()[-1].startswith("next: mnsweep pick --sweep explore ")


def test_what_is_printed_for_people(explore: Explore) -> None:
    ran = explore("--validate", "3")
    assert ran.code == 0
    for words in ("model  ", "verification", "fresh random cells", "linear in params", "Kendall's tau", "predicted frontier"):
        assert words in ran.out
    assert "prior from" in ran.out
    assert "10 cells to learn from" not in ran.out and "cells to learn from" in ran.err


@pytest.mark.parametrize(
    ("priors", "said"),
    [
        (["none"], None),
        (["used", "none"], "fitted with a weak prior from the reference runs of other machines"),
        (["dropped"], "the prior from other machines was dropped: the measurements contradict it"),
        (["used", "dropped"], "for 1 of 2 models, the prior from other machines was dropped: the measurements contradict it"),
    ],
)
def test_what_became_of_the_prior_is_said(priors: list[str], said: str | None) -> None:
    models = {i: SimpleNamespace(prior=prior) for i, prior in enumerate(priors)}
    known = SimpleNamespace(models=models, prediction=Prediction())
    lines = prior_lines(SimpleNamespace(known=known))  # type: ignore[arg-type]
    assert [line.strip() for line in lines] == ([said] if said else [])


def test_a_dry_run_measures_nothing_and_says_how_much_it_would(run: Run) -> None:
    ran = run("explore", "--dry-run", "--json", "--validate", "30")
    document = ran.json
    assert document.pop("seconds") > 0
    assert document == {
        "schema_version": 1, "sweep": "explore", "designs": 988, "deployments": 1, "measure": 12, "verify": 10, "validate": 30,
    }  # fmt: skip
    two = run("explore", *FEW, "--threads", "1", "--precision", "fp32,int8", "--dry-run")
    said = "24 designs in 2 deployments: 20 cells to learn from, 2 to verify, 0 to validate, about 9 s; the others are"
    assert re.sub(r"about \d+ s", "about 9 s", two.out) == f"{said} predicted\n"
    assert not Path("results").exists()


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("--measure", "7"), ("--measure 7", "at least 8 measured designs")),
        (("--measure", "0"), ("--measure 0", "at least 8")),
        (("--verify", "-1"), ("--verify -1",)),
        (("--validate", "-3"), ("--validate -3",)),
        (("--alpha", "0.5", "--res", "128"), ("1 design to explore", "widen --alpha and --res")),
        (("--alpha", "0.5,0.6", "--res", "128,160,192,224"), ("8 designs to explore", "mnsweep grid")),
        (("--res", "96:224:16"), ("at 96 px is outside of slim-2018-08", "128 to 224 px", "--extrapolate")),
        (("--alpha", "0.2:1.0:0.1"), ("α 0.2 ", "0.25 to 1", "--extrapolate")),
        (("--quality-source", "imagenet"), ("--quality-source imagenet", "slim-2018-08")),
        (("--quality-source", "paper", "--precision", "int8"), ("--quality-source paper", "no accuracies in int8")),
        (("--precision", "fp8"), ("fp8", "fp32, bf16, int8")),
        (("--alpha", "0.5:0.25:0.1"), ("--alpha", "is empty")),
        (("--max-designs", "100"), ("988 designs", "--max-designs")),
        (("--name", "a/b"), ("'a/b'",)),
        (("--max-latency-ms", "-1"), ("--max-latency-ms",)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_bad_input_is_one_line(run: Run, arguments: tuple[str, ...], parts: tuple[str, ...]) -> None:
    assert_refused(run("explore", *arguments), *parts)
    assert not Path("results").exists()


def test_a_sweep_of_another_machine_is_refused(explore: Explore) -> None:
    folder = SweepFolder(Path("results/explore") / HERE.key)
    folder.write_machine(Machine({**HERE.checked, "cpu": "Abacus"}, {}))
    assert_refused(explore("--quiet"), "another machine", "cpu", "--name")


def test_where_nothing_can_be_measured_it_is_not_to_be_had(run: Run, worker: FakeWorker) -> None:
    worker.refuses = tuple(f"a{a / 100!r}_r{r}" for a in range(25, 55, 5) for r in range(128, 225, 32))
    ran = run("explore", *FEW, "--quiet")
    assert (ran.code, ran.out) == (4, "") and ran.err == "mnsweep: no latency can be predicted: not today\n"


def test_a_failure_is_partial_success(run: Run, worker: FakeWorker) -> None:
    worker.refuses = ("a0.25_r128",)
    ran = run("explore", *FEW, "--quiet", "--json")
    assert (ran.code, ran.err) == (3, "mnsweep: a0.25_r128 failed: not today\n")
    (failed,) = [cell for cell in ran.json["cells"] if cell["latency_p50_ms"] is None]
    assert failed["cell"] == "a0.25_r128"


def test_a_timeout_names_the_option_that_sets_it(run: Run, worker: FakeWorker) -> None:
    worker.lost_at = "a0.25_r128"
    ran = run("explore", *FEW, "--quiet")
    assert (ran.code, ran.err) == (3, "mnsweep: a0.25_r128 failed: no answer within 60 s (--cell-timeout-s)\n")


def picked(ran: Ran) -> dict[str, object]:
    assert ran.code == 0, ran.err
    choice = ran.json["choice"]
    assert isinstance(choice, dict)
    return choice


def test_pick_measures_its_choice_and_what_it_measured_stays(run: Run, explore: Explore, worker: FakeWorker) -> None:
    predicted = {c["cell"]: c for c in explore("--json", "--verify", "0").json["cells"] if c["latency_source"] == "predicted"}
    wanted = max(predicted.values(), key=lambda cell: float(cell["quality_pct"]))
    budget = (
        "pick",
        "--min-top1",
        str(wanted["quality_pct"]),
        "--max-mult-adds-m",
        str(wanted["mult_adds"] / 1e6),
        "--json",
        "-q",
    )
    unverified = run(*budget, "--no-verify")
    assert picked(unverified)["latency_source"] == "predicted"
    assert "its latency was not measured (--no-verify)" in unverified.json["reason"]
    before = worker.blocks.total()
    verified = run(*budget)
    assert picked(verified)["latency_source"] == "measured" and worker.blocks.total() > before
    assert "measured to verify it; it was predicted at" in verified.json["reason"]
    kept = from_csv((SweepFolder(Path("results/explore") / HERE.key)).read_text(CELLS), CELLS)
    assert [r.latency_source for r in kept if r.cell == picked(verified)["cell"]] == ["measured"]
    before = worker.blocks.total()
    assert picked(run(*budget)) == picked(verified) and worker.blocks.total() == before


def test_pick_with_predictions_of_another_machine_needs_no_verify(run: Run, explore: Explore, tmp_path: Path) -> None:
    cells = explore("--json", "--verify", "0").json["cells"]
    best = max((c for c in cells if c["latency_source"] == "predicted"), key=lambda cell: float(cell["quality_pct"]))
    folder, elsewhere = Path("results/explore") / HERE.key, Machine({**HERE.checked, "cpu": "Abacus"}, {})
    machine = json.loads((folder / "machine.json").read_text())
    (folder / "machine.json").write_text(json.dumps({**machine, "key": elsewhere.key, "checked": elsewhere.checked}))
    other = folder.rename(folder.with_name(elsewhere.key))
    asked = ("pick", "--min-top1", best["quality_pct"], "--max-mult-adds-m", best["mult_adds"] / 1e6, "--sweep", other, "-q")
    ran = run(*asked)
    assert (ran.code, ran.out, ran.err.count("\n")) == (4, "", 1)
    assert "was measured on another machine; add --no-verify" in ran.err
    assert run(*asked, "--no-verify").code == 0


def test_pick_with_contradictory_constraints(run: Run, explore: Explore, worker: FakeWorker) -> None:
    explore("-q")
    before = worker.blocks.total()
    ran = run("pick", "--max-latency-ms", "0.0001", "--min-top1", "99", "--json", "-q")
    assert (ran.code, ran.json["choice"]) == (1, None) and "no cell meets the constraints" in ran.json["reason"]
    assert_refused(run("pick", "--max-latency-ms", "4", "--percentile", "95"), "--percentile 95", "90, 99")
    assert_refused(run("pick", "--percentile", "90"), "--percentile 90", "--max-latency-ms")
    assert worker.blocks.total() == before
