"""`mnsweep paper` as a user runs it, and the sweep behind `--measure` with made-up latencies."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

import mnsweep.reproduction.judge
from mnsweep.app.paper_times import NAME, PASSES, RULES, PaperMeasured, measure_in_passes, measure_paper
from mnsweep.app.requests import PaperRequest, Place
from mnsweep.cell import Cell, Deployment, Design
from mnsweep.cli import paper as cli
from mnsweep.machine.fingerprint import read_machine
from mnsweep.record import Block, Process
from mnsweep.reproduction.judge import Row, paper_tables
from mnsweep.reproduction.printed import TITLES, Erratum
from mnsweep.reproduction.ratios import Ratio, by_design, cells, ratios
from mnsweep.result import Result
from mnsweep.session import Session
from mnsweep.sweep.derive import derive
from mnsweep.sweep.file import Sweep, write_sweep
from mnsweep.sweep.store import SWEEP, SweepFolder
from tests.conftest import make_result
from tests.fakes import FakeClock, FakeWorker
from tests.test_cli import Run, assert_refused, run

__all__ = ["run"]
KEYS = ["model", "metric", "paper", "computed", "unit", "verdict", "reason"]
MOBILENET, GOOGLENET, VGG = Design.of(1.0, 224), Design.of(1.0, 224, variant="googlenet"), Design.of(1.0, 224, variant="vgg16")


@pytest.fixture
def wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """An explanation that comes to another value than ours."""
    errata = {(8, "VGG 16", "mult_adds"): Erratum("made-up", "erratum", "15000", "made up")}
    monkeypatch.setattr(mnsweep.reproduction.judge, "errata", lambda: {**mnsweep.reproduction.printed.errata(), **errata})


def measured(ms: dict[Design, float]) -> dict[Design, Result]:
    return {design: make_result(Cell(design).id, latency_p50_ms=latency) for design, latency in ms.items()}


# ---- the command


def test_json_is_every_table_with_the_keys_that_are_promised(run: Run) -> None:
    ran = run("paper", "--json")
    assert (ran.code, ran.err) == (0, "")
    assert list(ran.json) == ["schema_version", "tables", "verdicts"] and ran.json["schema_version"] == 1
    for kind, counts in ran.json["verdicts"].items():
        rows = [row for rows in paper_tables().values() for row in rows if bool(row.unit) is (kind == "numbers")]
        assert sum(counts.values()) == len(rows) == {"numbers": 167, "texts": 66}[kind]
        assert counts == {name: sum(row.verdict == name for row in rows) for name in counts}
    assert [table["table"] for table in ran.json["tables"]] == list(range(1, 15))
    for table in ran.json["tables"]:
        assert list(table) == ["table", "rows"]
        for content, row in zip(table["rows"], paper_tables()[table["table"]], strict=True):
            assert list(content) == KEYS
            assert content == {key: getattr(row, key) for key in KEYS}


def test_json_of_one_table(run: Run) -> None:
    (table,) = run("paper", "--table", "13", "--json").json["tables"]
    ours = {(row["model"], row["metric"]): row for row in table["rows"]}
    assert table["table"] == 13 and len(ours) == 27
    ssd = ours["SSD 300 / MobileNet", "mult_adds"]
    assert (ssd["paper"], ssd["unit"], ssd["verdict"]) == (1.2, "B", "match")
    assert 1.1 < ssd["computed"] < 1.3


@pytest.mark.parametrize("number", TITLES)
def test_every_table_fits_100_columns_and_says_what_to_do_next(run: Run, number: int) -> None:
    ran = run("paper", "--table", number)
    assert ran.code == 0
    assert f"Table {number}. " in ran.out and max(map(len, ran.out.splitlines())) <= 100
    assert ran.err == f"next: mnsweep paper --table {number} --measure\n"
    for row in paper_tables(number)[number]:
        assert row.model in ran.out and row.text in ran.out


def test_an_explanation_stands_below_its_table_by_number(run: Run) -> None:
    out = run("paper", "--table", "2", "-q").out
    line = next(line for line in out.splitlines() if line.startswith("Conv 3x3"))
    assert line.split()[-5:] == ["1.906", "+60.1", "%", "erratum", "3"]
    assert "\n3: two digits changed places" in out
    assert out.rstrip().endswith("\n8 numbers: match 4, erratum 1, assumption 3")


def test_numbers_and_texts_are_counted_apart_as_the_readme_says(run: Run) -> None:
    out = run("paper", "-q").out
    assert "\n167 numbers: match 68, erratum 8, assumption 16, quoted 75\n66 texts: match 63, erratum 1, quoted 2\n" in out
    readme = " ".join((Path(__file__).parents[1] / "mnsweep" / "guide" / "paper.md").read_text(encoding="utf-8").split())
    assert "Of 167 numbers, 68 match" in readme and "8 are errata, and 16 depend" in readme and "other 75" in readme
    assert "Of 66 texts, the shapes of Table 1, 63 match, 1 is an erratum, and 2 are quoted" in readme


def test_a_loose_match_is_explained_below_its_table(run: Run) -> None:
    out = run("paper", "--table", "12", "-q").out
    assert re.search(r"\n(\d): a single digit is printed: whatever rounds to 0.1, 0.2 or 0.3 matches", out)


@pytest.mark.parametrize("number", ["0", "15", "-3"])
def test_a_table_that_does_not_exist(run: Run, number: str) -> None:
    assert_refused(run("paper", "--table", number), f"--table {number}", "1 to 14")


def test_a_table_that_is_no_number(run: Run) -> None:
    assert_refused(run("paper", "--table", "11-text"), "--table")


@pytest.mark.parametrize("flag", ["--fresh", "--wait"])
def test_a_flag_that_says_nothing_is_refused(run: Run, flag: str) -> None:
    assert_refused(run("paper", flag), flag, "--measure")


@pytest.mark.parametrize("form", [["--json"], []])
@pytest.mark.usefixtures("wrong")
def test_a_mismatch_ends_with_1_and_is_named(run: Run, form: list[str]) -> None:
    ran = run("paper", "-q", *form)
    assert ran.code == 1
    assert ran.err.count("\n") == 1 and "Table 8, VGG 16, mult_adds: 15470" in ran.err and "'made-up'" in ran.err
    assert run("paper", "--table", "9", *form).code == 0


# ---- the sweep


def test_every_network_is_one_cell_the_largest_file_first() -> None:
    rows = [row for rows in paper_tables().values() for row in rows]
    found = cells(rows)
    assert len(found) == len(set(found)) == len({row.design for row in rows if row.design})
    assert {cell.deployment for cell in found} == {Deployment()}
    assert found[0].design == VGG
    assert {"alexnet", "squeezenet", "googlenet", "inception-v3", "full-conv", "shallow"} < {c.design.variant for c in found}
    assert {cell.design.task for cell in found} == {
        "classify", "dogs", "planet", "attributes", "embedding", "ssd", "faster-rcnn",
    }  # fmt: skip


def test_when_the_time_is_up_every_network_has_had_its_turn(small: list[Row], tmp_path: Path) -> None:
    """The second pass starts when the first has been through all groups, and takes the time that is left."""
    clock = FakeClock()

    def hear(verb: str, *arguments: object) -> None:
        if verb == "pin" and worker.blocks:  # the first pass is over
            clock.advance(RULES.time_budget_s)

    worker = FakeWorker(before=hear)
    folder = SweepFolder(tmp_path / NAME / read_machine().key)
    sweep = Sweep(NAME, cells(small))
    session = Session(sweep=sweep, folder=folder, machine=read_machine(), rules=RULES, new_worker=worker, clock=clock.s)
    measure_in_passes(session)
    assert {result.rounds for result in derive(folder).results} == {PASSES[0]}


def test_the_rules_promise_no_more_than_five_minutes() -> None:
    assert RULES.time_budget_s <= 300 and RULES.least_rounds == RULES.most_rounds


def test_ratios_are_of_mobilenets_against_the_others() -> None:
    ms = {MOBILENET: 10.0, VGG: 120.0, GOOGLENET: 20.0}
    found = {(ratio.model, ratio.against): ratio for ratio in ratios(paper_tables(8)[8], measured(ms))}
    assert list(found) == [("1.0 MobileNet-224", "GoogleNet"), ("1.0 MobileNet-224", "VGG 16")]
    vgg = found["1.0 MobileNet-224", "VGG 16"]
    assert vgg.mult_adds_ratio_paper == pytest.approx(15300 / 569)
    assert vgg.mult_adds_ratio_computed == pytest.approx(15_470_264_320 / 568_740_352)
    assert vgg.latency_ratio == pytest.approx(12.0)


@pytest.mark.parametrize(
    ("number", "against", "models"),
    [
        (4, "Conv MobileNet", ["MobileNet"]),
        (5, "Shallow MobileNet", ["0.75 MobileNet"]),
        (6, "1.0 MobileNet-224", ["0.75 MobileNet-224", "0.5 MobileNet-224", "0.25 MobileNet-224"]),
        (11, "PlaNet (Inception V3)", ["PlaNet MobileNet"]),
        (13, "Faster-RCNN 600 / MobileNet", ["SSD 300 / MobileNet", "Faster-RCNN 300 / MobileNet"]),
    ],
)
def test_who_is_compared_with_whom(number: int, against: str, models: list[str]) -> None:
    found = ratios(paper_tables(number)[number], {})
    assert [(ratio.model, ratio.against) for ratio in found] == [(model, against) for model in models]
    assert all(ratio.latency_ratio is None and ratio.mult_adds_ratio_computed > 0.9 for ratio in found)


def test_layers_have_no_ratios() -> None:
    assert [ratios(paper_tables(number)[number], {}) for number in (1, 2, 3)] == [[], [], []]


def test_a_misprinted_unit_gives_no_printed_ratio() -> None:
    (ratio,) = ratios(paper_tables(11)[11], {})
    assert ratio.mult_adds_ratio_paper is None and ratio.mult_adds_ratio_computed == pytest.approx(9.7, abs=0.1)


SMALL = Design.of(0.25, 32), Design.of(0.5, 32)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> list[Row]:
    """Rows about two networks that are built in no time, and what would take longer left out."""
    template = next(row for row in paper_tables(6)[6] if row.metric == "mult_adds")
    rows = [replace(template, model=Cell(design).id, design=design) for design in SMALL]
    monkeypatch.setattr("mnsweep.app.paper.paper_tables", lambda number: {6: rows})
    return rows


def measured_networks(rows: list[Row], directory: Path, worker: FakeWorker, fresh: bool = False) -> PaperMeasured:
    request = PaperRequest(table=6, measure=True, fresh=fresh, place=Place(results_dir=directory))
    return measure_paper(request, {6: rows}, new_worker=worker)


def test_the_networks_are_a_sweep_that_is_kept_and_continued(small: list[Row], tmp_path: Path) -> None:
    outcome = measured_networks(small, tmp_path, FakeWorker()).derived
    folder = outcome.folder
    assert folder.path == tmp_path / NAME / read_machine().key
    assert {result.rounds for result in outcome.results} == {RULES.least_rounds}
    assert set(by_design(small, outcome.results)) == set(SMALL)
    assert [process.number for process in folder.read().processes] == [1, 2]
    again = measured_networks(small, tmp_path, worker := FakeWorker())
    assert not worker.opened and again.derived.known.sweep == outcome.known.sweep
    measured_networks(small, tmp_path, worker, fresh=True)
    assert len(worker.opened) == 2 and len(list((tmp_path / NAME).iterdir())) == 2


def measure_with(worker: FakeWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the program measure with a worker whose latencies are made up."""
    monkeypatch.setattr("mnsweep.session.WorkerProcess", lambda timeout_s, runtimes=(): worker)


@pytest.fixture
def with_fake(monkeypatch: pytest.MonkeyPatch) -> None:
    """The program measures with made-up latencies."""
    measure_with(FakeWorker(), monkeypatch)


def test_measured_json_has_latencies_and_ratios(run: Run, small: list[Row], with_fake: None) -> None:
    ran = run("paper", "--measure", "--json")
    assert ran.code == 0, ran.err
    (table,) = ran.json["tables"]
    assert list(table) == ["table", "rows", "ratios"]
    for row in table["rows"]:
        assert list(row) == [*KEYS, "latency_ms", "latency_ci_low_ms", "latency_ci_high_ms"]
        assert row["latency_ci_low_ms"] <= row["latency_ms"] <= row["latency_ci_high_ms"]
    latency = {row["model"]: row["latency_ms"] for row in table["rows"]}
    (ratio,) = table["ratios"]
    assert list(ratio) == list(Ratio.__dataclass_fields__)
    assert (ratio["model"], ratio["against"]) == ("a0.25_r32", "a0.5_r32")
    assert ratio["latency_ratio"] == pytest.approx(latency["a0.5_r32"] / latency["a0.25_r32"])
    assert "18 networks to measure" in ran.err, "the figures' 16 with them"


def test_measured_tables_have_latencies_and_ratios_in_words(run: Run, small: list[Row], with_fake: None) -> None:
    ran = run("paper", "--measure")
    assert ran.code == 0, ran.err
    assert "here" in ran.out and "(ms)" in ran.out
    assert "a0.25_r32 against a0.5_r32: " in ran.out and "× faster here" in ran.out
    assert max(map(len, ran.out.splitlines())) <= 100
    assert ran.err.splitlines()[-1].startswith("next: mnsweep grid")


def test_a_network_that_fails_is_named_and_the_rest_is_kept(
    run: Run, small: list[Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    measure_with(FakeWorker(refuses={"a0.5_r32"}), monkeypatch)
    ran = run("paper", "--measure", "--json")
    assert ran.code == cli.PARTIAL == 3
    assert "a0.5_r32 was not measured: not today" in ran.err
    latency = {row["model"]: row["latency_ms"] for row in json.loads(ran.out)["tables"][0]["rows"]}
    assert latency["a0.5_r32"] is None and latency["a0.25_r32"] > 0
    assert ran.json["tables"][0]["ratios"][0]["latency_ratio"] is None


def test_a_sweep_of_all_networks_is_derived_without_a_latency_model_of_each(tmp_path: Path) -> None:
    """The rows of other networks, shallow ones and detectors are none that the latency models know."""
    rows = [row for number in (5, 8, 12, 13) for row in paper_tables(number)[number]]
    ids = [cell.id for cell in cells(rows)]
    folder, sweep = SweepFolder(tmp_path / NAME / read_machine().key), Sweep(NAME, cells(rows), "paper")
    folder.write_machine(read_machine())
    folder.replace(SWEEP, write_sweep(sweep))
    with folder.appending() as append:
        append(
            Process(
                number=1, started_at="2025-01-01T12:00:00+00:00", settings={}, cells=tuple(ids), padding=dict.fromkeys(ids, "")
            )
        )
        for number in range(1, 7):
            for i, key in enumerate(ids):
                append(
                    Block(
                        cell=key,
                        process=1,
                        round=number,
                        at_s=float(number),
                        first_ns=2_000_000,
                        samples_ns=(1_000_000 + 10_000 * i + 1000 * number,),
                    )
                )
    outcome = derive(folder)
    assert set(by_design(rows, outcome.results)) == {cell.design for cell in sweep.cells}
