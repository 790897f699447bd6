"""Tables as text, CSV and Markdown, and the first look at a frontier in a terminal."""

import csv
import io
import os
import pty
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mnsweep.cli.first_look import FEWEST, HEIGHT, frontier_plot
from mnsweep.sweep.cells_file import from_csv
from tests.test_cli import Run, run

__all__ = ["run"]
(PAPER,) = (Path(__file__).parent.parent / "results" / "reference" / "paper").glob("*")
RESULTS = from_csv((PAPER / "cells.csv").read_text(), PAPER)
COUNT = ("count", "--alpha", "0.25,0.5", "--res", "128")


@pytest.mark.parametrize("command", [COUNT, (*COUNT[:2], "0.25", "--res", "128", "--layers"), ("paper", "--table", "8")])
def test_markdown_is_one_table_and_prose_goes_elsewhere(run: Run, command: tuple[str, ...]) -> None:
    lines = run(*command, "--markdown").out.splitlines()
    assert all(line.startswith("| ") and line.endswith(" |") for line in lines)
    assert len({line.count("|") for line in lines}) == 1 and set(lines[1]) <= set("| -:")


def test_csv_has_a_row_for_each_row(run: Run) -> None:
    rows = list(csv.DictReader(io.StringIO(run(*COUNT, "--csv").out)))
    assert [row["cell"] for row in rows] == ["a0.25_r128", "a0.5_r128"] and rows[0]["params"] == "470072"
    printed = list(csv.reader(io.StringIO(run("paper", "--table", "8", "--csv").out)))
    assert printed[0][:2] == ["model", "what"] and len({len(row) for row in printed}) == 1


def test_two_forms_contradict_each_other(run: Run) -> None:
    ran = run(*COUNT, "--csv", "--markdown")
    assert ran.code == 2 and "--csv and --markdown contradict each other" in ran.err


def test_the_frontier_in_characters_shows_every_cell_and_fits() -> None:
    lines = frontier_plot(RESULTS, 100).splitlines()
    assert len(lines) == HEIGHT + 1 and max(map(len, lines)) <= 100 and "\x1b" not in "".join(lines)
    plotted = "".join(lines[1:])
    on = sum(bool(r.on_frontier) for r in RESULTS)
    assert on - 2 <= plotted.count("●") <= on and plotted.count("·") <= len(RESULTS) - on  # neighbours may share a place
    assert lines[-1].split() == ["0.5", "1", "2", "5"]


def test_where_a_plot_tells_nothing_there_is_none() -> None:
    assert frontier_plot(RESULTS[: FEWEST - 1], 100) == ""
    mixed = [replace(r, quality_metric=metric) for r, metric in zip(RESULTS, ["top1", "mean_ap"] * 8, strict=True)]
    assert frontier_plot(mixed, 100) == "" and frontier_plot([], 100) == ""


@pytest.mark.skipif(not hasattr(pty, "openpty"), reason="needs a terminal")
@pytest.mark.parametrize(("columns", "is_shown"), [(120, True), (80, False)])
def test_a_wide_terminal_gets_it_and_a_narrow_one_does_not(columns: int, is_shown: bool) -> None:
    code = (
        "import sys, fcntl, termios, struct; from pathlib import Path; from mnsweep.cli.first_look import print_frontier; "
        "from mnsweep.cli.output import Form; from mnsweep.sweep.cells_file import from_csv; p = Path(sys.argv[1]); "
        f"fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack('HHHH', 40, {columns}, 0, 0)); "
        "print_frontier(from_csv(p.read_text(), p), Form.TABLE); print('end')"
    )
    ours, theirs = pty.openpty()
    subprocess.run([sys.executable, "-c", code, str(PAPER / "cells.csv")], stdout=theirs, check=True)
    os.close(theirs)
    said = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert ("on the frontier" in said) is is_shown and "end" in said
