"""Progress in Python: a bar in a notebook or a terminal, lines elsewhere, and nothing unless it is asked for."""

import sys
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from rich.console import Console

import mnsweep
from mnsweep.measure.rounds import Rules
from mnsweep.progress import TerminalBar, reporting
from tests.fakes import FakeWorker

FAST = Rules(least_rounds=2, most_rounds=2, process_rounds=2, least_processes=1)


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeWorker:
    made = FakeWorker()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("mnsweep.session.WorkerProcess", lambda timeout_s, runtimes=(): made)
    monkeypatch.setattr("mnsweep.sweep.derive._plots", lambda *_: {})
    return made


class FakeNotebook:
    """What IPython's `display` was given, in order, and the updates of what stands there."""

    def __init__(self) -> None:
        self.shown: list[dict[str, str]] = []

    def display(self, content: dict[str, str], *, raw: bool, display_id: bool = False) -> "FakeNotebook | None":
        assert raw
        self.shown.append(content)
        return self if display_id else None

    def update(self, content: dict[str, str], *, raw: bool) -> None:
        self.shown.append(content)


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> FakeNotebook:
    made = FakeNotebook()
    module: Any = ModuleType("IPython.display")
    module.display = made.display
    monkeypatch.setitem(sys.modules, "IPython", ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    return made


def test_a_notebook_shows_a_bar_in_place_unasked(worker: FakeWorker, notebook: FakeNotebook) -> None:
    mnsweep.grid(0.25, [64, 96], rules=FAST)
    plain = [content["text/plain"] for content in notebook.shown]
    assert plain[0].startswith("2 cells to measure, about ")
    assert any(text.startswith("process 1, round 2: ") and "of 2 cells settled" in text for text in plain)
    assert any("<progress" in content["text/html"] for content in notebook.shown) and plain[-1] == ""


def test_a_notebook_can_be_quiet(worker: FakeWorker, notebook: FakeNotebook) -> None:
    mnsweep.grid(0.25, 64, rules=FAST, progress=False)
    assert not notebook.shown


def test_notes_in_a_notebook_are_escaped(notebook: FakeNotebook) -> None:
    with reporting(None, None) as bar:
        bar.skipped({"a": "no <b>"}, {})
        bar.stage("<i>")
    assert notebook.shown[0] == {"text/html": "skipped a: no &lt;b&gt;", "text/plain": "skipped a: no <b>"}
    assert "&lt;i&gt;" in notebook.shown[1]["text/html"]


def test_a_script_is_quiet_unless_asked(worker: FakeWorker, capsys: pytest.CaptureFixture[str]) -> None:
    mnsweep.grid(0.25, 64, rules=FAST)
    assert capsys.readouterr() == ("", "")
    mnsweep.grid(0.25, 96, rules=FAST, progress=True)
    out, err = capsys.readouterr()
    assert out == "" and err.splitlines()[0].startswith("1 cell to measure") and ", round 2: 1 of 1 cell settled" in err


def test_a_terminal_shows_a_bar_that_goes_away() -> None:
    console = Console(force_terminal=True, width=90, record=True, file=StringIO())
    bar = TerminalBar(console)
    bar.show("process 1, round 1", 0.5)
    bar.note("a [note]")
    assert bar.bar.live.is_started and bar.bar.tasks[0].completed == 0.5
    bar.close()
    assert not bar.bar.live.is_started
    assert "a [note]" in console.export_text()


@pytest.mark.parametrize("call", ["grid", "explore"])
def test_the_bar_goes_away_when_measuring_stops(call: str, worker: FakeWorker, notebook: FakeNotebook) -> None:
    worker.interrupted_after = 20
    with pytest.raises(KeyboardInterrupt):
        getattr(mnsweep, call)("0.25:0.5:0.05", [128, 160, 192], rules=FAST)
    assert notebook.shown[0]["text/plain"] != ""
    assert notebook.shown[-1]["text/plain"] == ""
