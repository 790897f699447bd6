"""`mnsweep compare` as a user runs it: two sweeps of made-up machines, phones, and two ways at once."""

import json
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mnsweep.app.compare import side_of
from mnsweep.app.interleave import interleave
from mnsweep.app.requests import CompareRequest
from mnsweep.cell import Deployment
from mnsweep.comparing.matching import match
from mnsweep.comparing.phones import phone, phones
from mnsweep.comparing.verdicts import compare
from mnsweep.comparing.within import decided
from mnsweep.errors import MnsweepError, UnavailableError
from mnsweep.machine.fingerprint import read_machine
from mnsweep.measure.rounds import Rules
from mnsweep.options import request_from
from mnsweep.sweep.store import BLOCKS, SweepFolder
from mnsweep.worker.base import Offer
from tests.fakes import FakeWorker, by_pixels
from tests.test_cli import Run, run
from tests.test_grid_cli import worker

__all__ = ["run", "worker"]
GRID = ("grid", "--alpha", "0.25,0.5", "--res", "128,160", "-q")
PAPER = next((Path(__file__).parent.parent / "results/reference/paper").glob("*"))


@pytest.fixture
def sweep(run: Run, worker: FakeWorker) -> Callable[..., None]:
    """Measures a sweep of four cells, on a machine slower by a factor."""

    def measure(name: str, factor: float = 1.0, *more: str) -> None:
        worker.ms_of = lambda key, d: by_pixels(key.replace("_int8", ""), d) * factor
        assert run(*GRID, "--name", name, *more).code == 0

    return measure


def test_a_slower_sweep_is_called_slower(run: Run, sweep: Callable[..., None]) -> None:
    sweep("a")
    sweep("b", 1.2)
    ran = run("compare", "a", "b", "--json")
    assert ran.code == 0 and {cell["verdict"] for cell in ran.json["cells"]} == {"slower"}
    assert ran.json["overall_ratio"] == pytest.approx(1.2, rel=0.01)
    assert ran.json["overall_ci_low"] < 1.2 < ran.json["overall_ci_high"]
    assert ran.json["a"]["sweep"] == "a" and set(ran.json["cells"][0]) == {"cell", "ratio", "ci_low", "ci_high", "verdict"}
    backwards = run("compare", "b", "a", "--json").json
    assert {cell["verdict"] for cell in backwards["cells"]} == {"faster"}
    assert backwards["overall_ratio"] == pytest.approx(1 / ran.json["overall_ratio"])


def test_a_sweep_against_itself_is_not_called_anything(run: Run, sweep: Callable[..., None]) -> None:
    sweep("a")
    found = run("compare", "a", "a", "--json").json
    assert found["overall_ratio"] == 1.0 and {cell["verdict"] for cell in found["cells"]} <= {"same", "unsure"}


def test_lone_cells_are_compared_by_the_machine_s_level(run: Run, worker: FakeWorker) -> None:
    for name, factor in (("a", 1.0), ("b", 1.2)):
        worker.ms_of = lambda key, d, factor=factor: by_pixels(key, d) * factor  # type: ignore[misc]
        run("grid", "--alpha", "0.5", "--res", "128", "-q", "--name", name)
    (cell,) = run("compare", "a", "b", "--json").json["cells"]
    assert cell["verdict"] == "slower" and cell["ci_low"] < 1.2 < cell["ci_high"]


def test_ci_fails_only_beyond_the_limit(run: Run, sweep: Callable[..., None]) -> None:
    sweep("a")
    sweep("b", 1.08)
    assert run("compare", "a", "b", "--fail-if-slower", "15").code == 0
    ran = run("compare", "a", "b", "--fail-if-slower", "5")
    assert ran.code == 1 and ran.err.splitlines()[-1].startswith("mnsweep: b is slower by more than 5 %: a0.25_r128")
    assert run("compare", "b", "a", "--fail-if-slower", "0").code == 0, "faster is fine"


def test_what_changes_for_a_choice_is_said(run: Run, sweep: Callable[..., None], worker: FakeWorker) -> None:
    sweep("a")
    worker.ms_of = lambda key, d: by_pixels(key, d) * (4.0 if key == "a0.25_r160" else 1.0)
    run(*GRID, "--name", "b")
    found = run("compare", "a", "b", "--budgets-ms", "1,2,5", "--json").json
    assert [p["max_latency_ms"] for p in found["picks"]] == [1.0, 2.0, 5.0]
    assert {(s["first"], s["second"], s["certain"]) for s in found["swaps"]} >= {("a0.25_r160", "a0.5_r128", True)}
    verdicts = {cell["cell"]: cell["verdict"] for cell in found["cells"]}
    assert verdicts["a0.25_r160"] == "slower"
    text = run("compare", "a", "b")
    assert "change places: in B" in text.out


def test_cells_are_matched_by_what_they_have_in_common(run: Run, sweep: Callable[..., None], worker: FakeWorker) -> None:
    sweep("a")
    sweep("b", 1.0, "--pad", "none")
    found = run("compare", "a", "b", "--json").json
    assert found["matched_by"] == "design and precision" and len(found["cells"]) == 4
    assert found["remarks"] == ["no cell is in both: matched by design and precision"] or len(found["remarks"]) > 1
    worker.offers = {"openvino": Offer("1.0", ("fp32", "int8"))}
    run(*GRID, "--name", "c", "--res", "96")
    ran = run("compare", "a", "c")
    assert ran.code == 2 and ran.err.startswith("mnsweep: no cell of one sweep corresponds to one of the other: a on ")


def test_phones_are_compared_by_name(run: Run, sweep: Callable[..., None]) -> None:
    sweep("a")
    found = run("compare", "a", "pixel3-cpu", "pixel1-v2", "--json").json
    assert found["b"]["sweep"] == "pixel3-cpu" and len(found["cells"]) == 4
    (other,) = found["others"]
    assert other["matched_by"] == "α, resolution and precision" and other["b"]["sweep"] == "pixel1-v2"
    assert any("published without an interval" in line for line in found["remarks"])


@pytest.mark.parametrize("name", phones())
def test_published_latencies_are_whole(name: str) -> None:
    side = phone(name)
    assert side.estimates.keys() == side.networks.keys() and all(e.p50_ms > 0 for e in side.estimates.values())
    assert "tensorflow" in side.title


def test_a_printed_latency_is_known_to_its_last_digit() -> None:
    cpu = phone("pixel3-cpu")
    small = cpu.estimates["a0.25_r128_int8"]
    assert small.ci_low_ms == 0.75 and small.ci_high_ms == pytest.approx(0.85)
    assert cpu.estimates["a1.0_r224_int8"].ci_high_ms == 13.5


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "a comparison needs two sweeps, none is named"),
        (("a",), "a comparison needs two sweeps, only one is named"),
        (("a", "nothing"), "no results of a sweep 'nothing' in "),
        (("a", "a", "--budgets-ms", "1,x"), "--budgets-ms '1,x': expected milliseconds above 0"),
        (("a", "a", "--budgets-ms", "0"), "--budgets-ms '0': expected milliseconds above 0"),
        (("a", "a", "--alpha", "0.5"), "--alpha requires --interleave"),
        (("a", "a", "--python-b", "x"), "--python-b x requires --interleave"),
        (("a", "--interleave"), "--interleave measures: it takes no sweeps"),
        (("a", "a", "--json", "--csv"), "--json and --csv contradict each other"),
    ],
)
def test_bad_input_is_one_line(run: Run, sweep: Callable[..., None], arguments: tuple[str, ...], said: str) -> None:
    sweep("a")
    ran = run("compare", *arguments)
    assert ran.code == 2 and ran.err.count("\n") == 1 and said in ran.err


def test_a_sweep_without_a_measured_cell_is_named(run: Run, sweep: Callable[..., None]) -> None:
    sweep("a")
    folder = SweepFolder(Path("results") / "empty" / read_machine().key)
    folder.write_machine(read_machine())
    (folder.path / BLOCKS).write_text("")
    ran = run("compare", "a", "empty")
    assert ran.code == 2 and ran.err.count("\n") == 1


def test_a_machine_that_changed_is_remarked(run: Run, sweep: Callable[..., None]) -> None:
    sweep("a")
    path = next(Path("results/a").glob("*"))
    content = json.loads((path / "machine.json").read_text())
    content["checked"] |= {"machine_id": "1234", "logical_cpus": 64}
    (path / "machine.json").write_text(json.dumps(content))
    sweep("b")
    other = next(Path("results/b").glob("*"))
    content = json.loads((other / "machine.json").read_text())
    content["checked"] |= {"machine_id": "1234"}
    (other / "machine.json").write_text(json.dumps(content))
    ran = run("compare", str(path), str(other))
    assert "the same machine, but it changed: logical_cpus 64 against " in ran.err


def test_tables_for_programs(run: Run, sweep: Callable[..., None]) -> None:
    sweep("a")
    csv = run("compare", "a", "a", "--csv").out.splitlines()
    assert csv[0] == "cell,a_ms,b_ms,ratio,ci_low,ci_high,verdict" and len(csv) == 6
    markdown = run("compare", "a", "a", "--markdown").out.splitlines()
    assert markdown[1] == "| --- | ---: | ---: | ---: | ---: | ---: | --- |" and len(markdown) == 7


def test_the_reference_run_is_unsure_about_itself_slowed_by_less_than_its_noise() -> None:
    side = side_of(str(PAPER), Path("results"), "")
    slower = replace(side, estimates={c: replace(e, p50_ms=e.p50_ms * 1.02) for c, e in side.estimates.items()})
    found = compare(side, slower, same_pct=1.0)
    assert {r.verdict for r in found.verdicts.cells} == {"unsure"} and found.matched == match(side, slower)
    assert found.verdicts.overall.ratio == pytest.approx(1.02)


# Two ways at once.

FAST = Rules(least_rounds=8, most_rounds=16, process_rounds=8, least_processes=2, block_ms=1.0)


def both(a: FakeWorker, b: FakeWorker, tmp_path: Path, **settings: object) -> dict[str, str]:
    request = request_from(CompareRequest, interleave=True, results_dir=tmp_path, **settings)
    comparison, _ = interleave(request, new_workers=(lambda: a, lambda: b), rules=FAST)
    return {r.cell: r.verdict for r in comparison.verdicts.cells}


def test_the_same_way_twice_is_the_same(tmp_path: Path) -> None:
    a, b = FakeWorker(ms_of=ms_of_item(1.0), seed=1), FakeWorker(ms_of=ms_of_item(1.0), seed=2)
    assert both(a, b, tmp_path, alpha="0.25,0.5", res=128) == {"a0.25_r128": "same", "a0.5_r128": "same"}
    assert set(a.opened) == {"canary", "a0.25_r128@a", "a0.5_r128@a"} and set(b.opened) == {"a0.25_r128@b", "a0.5_r128@b"}
    assert a.started > b.started > 1, "both start anew in every process, and so does the canary's worker"


def ms_of_item(factor: float) -> Callable[[str, Deployment], float]:
    """The milliseconds of an item; the canary is none of the two sides."""
    return lambda key, deployment: 1.0 if key == "canary" else factor * by_pixels(key.partition("@")[0], deployment)


def test_a_slower_way_is_seen_at_once(tmp_path: Path) -> None:
    a, b = FakeWorker(ms_of=ms_of_item(1.0)), FakeWorker(ms_of=ms_of_item(1.05), seed=3)
    assert both(a, b, tmp_path, alpha=0.5, res=128) == {"a0.5_r128": "slower"}
    folder = SweepFolder(next((tmp_path / "interleaved").glob("*")))
    assert folder.read().processes[0].settings["onnxruntime@b"] == "1.0"
    of_sides = Counter(block.cell for block in folder.read().blocks if not block.canary)
    assert of_sides["a0.5_r128@a"] == of_sides["a0.5_r128@b"] > 0, "both are timed equally often"
    assert {block.cell for block in folder.read().blocks if block.canary} == {"canary"}


def test_both_sides_run_the_same_file_where_only_the_environment_differs(tmp_path: Path) -> None:
    a, b = FakeWorker(ms_of=ms_of_item(1.0)), FakeWorker(ms_of=ms_of_item(1.0))
    both(a, b, tmp_path, alpha=0.3, res=128)
    assert a.asked["chain"] > 0 and b.asked["chain"] == 0, "channels are chosen once"


def test_settings_of_b_are_its_own(tmp_path: Path) -> None:
    a, b = FakeWorker(ms_of=ms_of_item(1.0)), FakeWorker(ms_of=ms_of_item(0.5))
    found = both(a, b, tmp_path, alpha=0.5, res=128, precision_b="int8", pad="none")
    assert found == {"a0.5_r128_pnone": "faster"} and set(b.opened) == {"a0.5_r128_int8_pnone@b"}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"precision": "fp32,int8"}, "side A has several deployments"),
        ({"runtime_b": "onnxruntime,openvino"}, "side B has several deployments"),
        ({"name": "a/b"}, "sweep name 'a/b'"),
    ],
)
def test_an_impossible_pair_is_refused(tmp_path: Path, settings: dict[str, str], said: str) -> None:
    with pytest.raises(MnsweepError, match=said):
        both(FakeWorker(), FakeWorker(), tmp_path, alpha=0.5, res=128, **settings)


def test_a_side_that_is_not_offered_says_which(tmp_path: Path) -> None:
    b = FakeWorker(offers={"openvino": Offer(obstacle="no openvino: pip install it")})
    with pytest.raises(UnavailableError, match=r"side B: a0\.5_r128_openvino: no openvino"):
        both(FakeWorker(), b, tmp_path, alpha=0.5, res=128, runtime_b="openvino")


def test_an_interpreter_that_is_not_there_is_refused(run: Run) -> None:
    ran = run("compare", "--interleave", "--alpha", "0.5", "--res", "64", "--python-b", "nowhere/python")
    assert ran.code == 2 and "--python-b nowhere/python: no such file" in ran.err


def test_a_pair_is_decided_only_beyond_doubt(tmp_path: Path) -> None:
    a, b = FakeWorker(ms_of=ms_of_item(1.0), noise_pct=3.0), FakeWorker(ms_of=ms_of_item(1.005), noise_pct=3.0, seed=5)
    request = request_from(CompareRequest, interleave=True, results_dir=tmp_path, alpha=0.5, res=128)
    comparison, outcome = interleave(request, new_workers=(lambda: a, lambda: b), rules=FAST)
    assert comparison.verdicts.overall.verdict in ("unsure", "same")
    pairs = [("a0.5_r128@a", "a0.5_r128@b")]
    assert decided(pairs, outcome.known.estimates, 1.0) == set() and decided(pairs, {}, 1.0) == set()
    assert math.isfinite(comparison.verdicts.overall.ratio)
