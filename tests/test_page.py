"""The page of `mnsweep report`: what stands in it, that texts stay texts, and that it is a whole document.

`tests/bench/page.py` opens it in a browser.
"""

import base64
import gzip
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnsweep.page.chart import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Point, scatter
from mnsweep.page.document import page
from mnsweep.result import Result, ms_text
from mnsweep.sweep.cells_file import from_csv, to_csv
from tests.bench.page import HOSTILE, made_up, on_page
from tests.test_cli import Run, run
from tests.test_compare import sweep
from tests.test_grid_cli import worker

__all__ = ["run", "sweep", "worker"]
REFERENCE = Path(__file__).parent.parent / "results" / "reference"
(PAPER,) = (REFERENCE / "paper").glob("*")
VOID = {"meta", "link", "input", "br", "img"}
OPTIONAL = {"td", "th", "tr", "tbody"}  # their end tags may be left out


class Reader(HTMLParser):
    """Collects elements and texts; notes what is not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.data: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open[-1] != tag and self.open[-1] in OPTIONAL:
            self.open.pop()
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data: str) -> None:
        self.data.append(data)
        if self.rows and self.rows[-1] and any(tag in ("td", "th") for tag in self.open[-3:]):
            self.rows[-1][-1] += data


def embedded(text: str) -> Any:
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text)
    return json.loads(found)


@pytest.fixture
def shown() -> tuple[str, list[Result]]:
    results = from_csv((PAPER / "cells.csv").read_text(), PAPER)
    return page([on_page(results)], [], [], "1.0"), results


def test_it_is_a_whole_document_that_loads_nothing(shown: tuple[str, list[Result]]) -> None:
    text, _ = shown
    read = Reader(text)
    assert not read.wrong and not read.open
    assert text.startswith("<!doctype html>") and ("html", {"lang": "en"}) in read.elements
    for tag, attributes in read.elements:
        for name in ("src", "href"):
            assert (attributes.get(name) or "#").startswith(("data:", "#")), (tag, attributes)
    assert "http" not in text.replace("http-equiv", "") and "@import" not in text and "url(" not in text


def test_the_table_the_marks_and_the_data_are_the_same_numbers(shown: tuple[str, list[Result]]) -> None:
    text, results = shown
    read, (data,) = Reader(text), embedded(text)
    rows = [row for row in read.rows if row and row[0].startswith("a")]
    assert [row[0] for row in rows] == data["cell"] == [r.cell for r in results]
    assert data["latency_ci_high_ms"] == [r.latency_ci_high_ms for r in results]
    for row, result in zip(rows, results, strict=True):
        assert ms_text(result.latency_p50_ms) in row and f"{result.quality_pct:.1f}" in row
    marks = [a for tag, a in read.elements if tag == "circle" and "data-i" in a]
    assert len(marks) == 2 * len(results) and {int(a["data-i"] or -1) for a in marks} == set(range(len(results)))
    link = next(a["href"] for tag, a in read.elements if tag == "a" and "download" in a)
    assert gzip.decompress(base64.b64decode((link or "").partition(",")[2])).decode() == to_csv(results)


def test_texts_stay_texts() -> None:
    results = [replace(r, quality_source=HOSTILE) for r in made_up(8)]
    texts: dict[str, Any] = {"name": HOSTILE, "machine": HOSTILE, "title": HOSTILE, "caption": HOSTILE}
    text = page(
        [on_page(results, **texts, facts=((HOSTILE, HOSTILE),), sweep_file=HOSTILE, reproduce=HOSTILE)], [], [], HOSTILE
    )
    read = Reader(text)
    assert not read.wrong and sum(tag == "script" for tag, _ in read.elements) == 2 and "<img src=x" not in text
    assert embedded(text)[0]["words"]["quality_source"] == [HOSTILE]
    assert HOSTILE in "".join(read.data)


def test_a_page_without_accuracies_or_with_one_cell_has_what_there_is() -> None:
    (result,) = made_up(1)
    alone = Reader(page([on_page([result])], [], [], "1.0"))
    assert sum(tag == "figure" for tag, _ in alone.elements) == 2
    unrated = [replace(r, quality_pct=None, quality_source=None, on_frontier=None) for r in made_up(3)]
    read = Reader(page([on_page(unrated)], [], [], "1.0"))
    assert sum(tag == "form" for tag, _ in read.elements) == 0 and sum(tag == "figure" for tag, _ in read.elements) == 1


def test_large_sweeps_make_small_pages() -> None:
    assert len(page([on_page(made_up(16))], [], [], "1.0").encode()) < 300_000
    assert len(page([on_page(made_up(2000))], [], [], "1.0").encode()) < 1_300_000


values = st.floats(1e-3, 1e4)


@given(st.lists(st.tuples(values, values), min_size=1, max_size=30), st.booleans())
def test_everything_lies_within_the_plot_and_in_order(pairs: list[tuple[float, float]], log_y: bool) -> None:
    points = [Point(row=i, x=x, y=y, wide=(x * 0.9, x * 1.1), narrow=(x * 0.99, x * 1.01)) for i, (x, y) in enumerate(pairs)]
    chart = scatter("t", "x", "y", points, log_y=log_y, latency_is_x=True)
    for mark in chart.marks:
        assert mark.wide is not None and LEFT <= mark.wide[0] <= mark.x <= mark.wide[1] <= WIDTH - RIGHT
        assert TOP <= mark.y <= HEIGHT - BOTTOM
    ends = [tick.at for tick in chart.x_ticks]
    assert ends == sorted(ends) and len(set(ends)) == len(ends) and all(LEFT <= end <= WIDTH - RIGHT for end in ends)
    assert len({tick.text for tick in chart.y_ticks}) == len(chart.y_ticks) > 0
    ordered = sorted(zip([m.x for m in chart.marks], [x for x, _ in pairs], strict=True))
    assert [x for _, x in ordered] == sorted(x for x, _ in pairs)


# As a user runs it.


def test_the_newest_sweep_is_the_default_and_the_file_lies_beside_it(run: Run, sweep: Any) -> None:
    sweep("a")
    ran = run("report", "--json")
    path = Path(ran.json["path"])
    assert ran.code == 0 and path.name == "report.html" and path.parent.parent.name == "a"
    assert ran.json["size_bytes"] == path.stat().st_size < 100_000


def test_two_sweeps_are_compared_on_the_page(run: Run, sweep: Any) -> None:
    sweep("a")
    sweep("b", 1.2)
    assert run("report", "a", "b", "--out", "two.html").code == 0
    text = Path("two.html").read_text()
    assert 'id="compared"' in text and text.count(">slower<") >= 4 and len(embedded(text)) == 2
    verdict = run("compare", "a", "b", "--json").json
    assert f"{verdict['overall_ratio']:.3f} ×" in text


def test_the_roofline_of_a_profiled_cell_is_on_the_page(run: Run, sweep: Any) -> None:
    sweep("a")
    (folder,) = Path("results/a").glob("*")
    profile = Path("results/profile") / folder.name
    profile.mkdir(parents=True)
    (profile / "a0.5_r128_roofline.svg").write_text("<svg/>")
    run("report", "a", "--out", "page.html")
    drawn = [attributes for tag, attributes in Reader(Path("page.html").read_text()).elements if tag == "img"]
    assert [a["alt"] for a in drawn] == ["Profile of one cell: what limits each layer"]


def test_the_paper_s_tables_are_added_when_asked_for(run: Run, sweep: Any) -> None:
    sweep("a")
    run("report", "a", "--paper", "--out", "paper.html")
    text = Path("paper.html").read_text()
    assert "569" in text and ">erratum" in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nothing",), "no results of a sweep 'nothing'"),
        (("a", "a"), "is named twice"),
        (("a", "--out", "results/a"), "results/a: "),
    ],
)
def test_bad_input_is_one_line(run: Run, sweep: Any, arguments: tuple[str, ...], said: str) -> None:
    sweep("a")
    ran = run("report", *arguments)
    assert ran.code == 2 and said in ran.err and ran.err.count("\n") == 1


def test_without_any_sweep_it_says_what_to_run(run: Run) -> None:
    ran = run("report")
    assert ran.code == 2 and "run 'mnsweep grid' first" in ran.err
