"""Whatever the user's matplotlib settings are, a plot has the same bytes; a plot that fails takes nothing else with it."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import matplotlib as mpl
import pytest

from mnsweep.plots.caption import caption
from mnsweep.plots.figure import own_style
from mnsweep.plots.pareto import mult_adds_plot, pareto_plot
from mnsweep.plots.roofline import draw
from mnsweep.profiling.roofline import Roof
from mnsweep.sweep.cells_file import to_csv
from mnsweep.sweep.derive import derive, read
from mnsweep.sweep.store import SweepFolder
from tests.test_report import THREE, text_of

DRAW = """
import json, sys, mnsweep.plots  # the first import of matplotlib
from tests.test_plot_settings import digests
print(json.dumps(digests()))
sys.exit("matplotlib.pyplot" in sys.modules)
"""
KEPT = ("backend", "interactive", "toolbar")


def digests() -> dict[str, str]:
    files = {**pareto_plot(THREE, "caption"), **mult_adds_plot(THREE, "caption"), **draw((), Roof(None, None), "c", "roofline")}
    return {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}


def hostile() -> Iterator[str]:
    """Lines of a settings file that turns every switch and doubles every number."""
    for name, value in mpl.rcParamsDefault.items():
        if isinstance(value, bool) and name not in KEPT:
            yield f"{name}: {not value}"
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{name}: {value * 2 + 1}"
    yield from ("axes.facecolor: black", "savefig.bbox: tight", "font.family: monospace", "lines.marker: x", "nonsense: 1")


def drawn_in(folder: Path, **environment: str) -> tuple[dict[str, str], str]:
    """The plots of another process that starts in `folder`, and what it wrote on stderr."""
    here = str(Path(__file__).parents[1])
    env = {**os.environ, "PYTHONPATH": here, "PYTHONSAFEPATH": "1", **environment}
    done = subprocess.run([sys.executable, "-c", DRAW], cwd=folder, env=env, capture_output=True, text=True, check=True)
    return json.loads(done.stdout), done.stderr


@pytest.mark.parametrize(
    ("settings", "environment"),
    [
        ("\n".join(hostile()), {}),
        ("text.usetex: True\nbackend: TkAgg", {}),
        ("", {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}),
        ("", {"MPLBACKEND": "nonsense"}),
        ("font.size: 20\n# caf\xe9", {"MPLBACKEND": "nonsense"}),  # not UTF-8
    ],
    ids=["every setting", "usetex", "notebook", "unknown backend", "latin-1"],
)
def test_settings_and_backends_of_the_user_change_nothing(tmp_path: Path, settings: str, environment: dict[str, str]) -> None:
    (tmp_path / "matplotlibrc").write_text(settings, encoding="latin-1")
    assert drawn_in(tmp_path, **environment) == (digests(), "")


def test_a_style_of_the_session_changes_nothing_and_stays() -> None:
    expected = digests()
    with mpl.rc_context({"axes.facecolor": "black", "text.usetex": True, "font.size": 30}):
        assert digests() == expected
        assert (mpl.rcParams["axes.facecolor"], mpl.rcParams["font.size"]) == ("black", 30)


def test_style_is_complete() -> None:
    """The test of the tests above: without our style, a setting of the user is in force."""
    with mpl.rc_context({"axes.facecolor": "black"}):
        assert mpl.rcParams["axes.facecolor"] == "black"
        with own_style():
            assert mpl.rcParams["axes.facecolor"] == "white"


MARKUP = "<b>&amp;\"'</b> ]]> <![CDATA[ $\\frac{ x$ 你好 \x1b[2J\x00"


def test_markup_in_names_is_text(sweep_folder: SweepFolder) -> None:
    known, machine = read(sweep_folder), sweep_folder.read_machine()
    odd = replace(machine, checked={**machine.checked, "cpu": f"CPU {MARKUP}"})
    results = [replace(r, quality_source=f"published: {MARKUP}", quality_metric="imagenet_top1") for r in THREE]
    text = caption(f"sweep {MARKUP}", results, known.records, machine=odd, movement=known.movement)
    drawn: Mapping[str, bytes] = {**pareto_plot(results, text), **mult_adds_plot(results, text)}
    for name in ("pareto.svg", "latency_mult_adds.svg"):
        ElementTree.fromstring(drawn[name])
        words = " ".join(text_of(drawn[name]))
        for source in ("CPU ", "published: ", "sweep "):
            assert f"{source}<b>&amp;\"'</b> ]]> <![CDATA[ $\\frac{{ x$ 你好 \\x1b[2J\\x00" in words


def test_a_plot_that_fails_is_one_warning_after_everything_else(
    sweep_folder: SweepFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = sweep_folder.path
    for derived in ("cells.csv", "pareto.png", "latency_mult_adds.png"):
        (path / derived).unlink()

    def fail(*_: object) -> dict[str, bytes]:
        assert (path / "cells.csv").exists()
        raise RuntimeError("latex\nwas not found")

    monkeypatch.setattr("mnsweep.plots.pareto.pareto_plot", fail)
    with pytest.warns(UserWarning, match=r"^pareto: not drawn \(latex was not found\); all other files are written$") as caught:
        outcome = derive(sweep_folder)
    assert len(caught) == 1
    assert (path / "cells.csv").read_text(encoding="utf-8") == to_csv(outcome.results)
    assert (path / "latency_mult_adds.png").exists() and not (path / "pareto.png").exists()
