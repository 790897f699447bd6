"""Results as CSV and JSON: what was written reads back, and damage is one line that names the file and the line."""

import csv
import io
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnsweep.cell import Cell, parse_cell
from mnsweep.errors import StoreError
from mnsweep.result import Result
from mnsweep.sweep.cells_file import from_csv, to_csv, to_document
from tests.conftest import make_result

# DESIGN.md, section 3: later work adds behind these, never renames.
PROMISED = """
cell, alpha, resolution, variant, task, classes, width_rule, conv_padding, activation, precision, runtime, threads, batch, pad,
params, mult_adds, deployed_mult_adds, onnx_bytes, peak_activation_bytes, latency_p50_ms, latency_ci_low_ms,
latency_ci_high_ms, relative_ci_pct, latency_p90_ms, latency_p99_ms, samples, rounds, stability, latency_source,
quality_metric, quality_pct, quality_sd_pct, quality_source, top5_pct, on_frontier
""".replace("\n", " ").strip()
COLUMNS = PROMISED.replace(",", " ").split()

NUMBER = st.none() | st.floats(0, allow_nan=False, allow_infinity=False)
COUNT = st.none() | st.integers(0, 2**70)
TEXT = st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), min_size=1)
OPTIONAL: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(["relative_ci_pct", "latency_p90_ms", "latency_p99_ms", "quality_sd_pct", "top5_pct"], NUMBER),
    "quality_pct": st.none() | st.floats(0, 100),
    **dict.fromkeys(["samples", "rounds"], COUNT),
    **dict.fromkeys(["stability", "latency_source", "quality_metric", "quality_source"], TEXT),
    "on_frontier": st.none() | st.booleans(),
}
CELLS = st.sampled_from(["a0.25_r128", "a0.33_r200_t2_b4", "a1.0_r224_c10_keras_relu", "a1e-05_r32_round8"])
LATENCIES = st.none() | st.lists(st.floats(1e-6, 1e9), min_size=3, max_size=3).map(sorted)
INTERVAL = ("latency_ci_low_ms", "latency_p50_ms", "latency_ci_high_ms")
RESULTS = st.lists(
    st.builds(
        lambda cell, ms, **others: make_result(cell, **others, **dict(zip(INTERVAL, ms or [None] * 3, strict=True))),
        CELLS,
        LATENCIES,
        **OPTIONAL,
    ),
    max_size=4,
)
KNOWN = make_result(latency_p50_ms=1.5, samples=100, quality_pct=41.5, quality_source="published: paper", on_frontier=True)


@settings(max_examples=80, deadline=None)
@given(RESULTS)
def test_csv_reads_back_to_the_same_results(results: list[Result]) -> None:
    assert from_csv(to_csv(results), "cells.csv") == results


def test_columns_are_those_that_were_promised_in_their_order() -> None:
    header, row = csv.reader(io.StringIO(to_csv([make_result()])))
    assert header[: len(COLUMNS)] == COLUMNS
    assert (header[-1], row[-1]) == ("schema_version", "1")
    assert list(json.loads(to_document([make_result()]))["cells"][0]) == header[:-1]


def test_csv_is_plain() -> None:
    line = to_csv([KNOWN]).splitlines()[1]
    counts = "a0.25_r128,0.25,128,mobilenet,classify,1000,paper,same,relu6,fp32,onnxruntime,1,1,auto,2,3,3,5,7"
    assert line.startswith(f"{counts},1.5,,,,,,100,,,,,41.5,,published: paper,,true,") and line.endswith(",1")


@pytest.mark.parametrize("name", [*COLUMNS, "schema_version"])
@pytest.mark.parametrize("rows", [0, 1])
def test_a_missing_column_is_an_error(name: str, rows: int) -> None:
    table = list(csv.reader(io.StringIO(to_csv([KNOWN] * rows))))
    at = table[0].index(name)
    text = "".join(",".join(row[:at] + row[at + 1 :]) + "\n" for row in table)
    assert_refused(text)


def test_a_file_cut_anywhere_in_a_line_is_an_error() -> None:
    whole = to_csv([KNOWN, make_result("a1.0_r224")])
    first, second = whole.index("\n") + 1, whole.index("\n", whole.index("\n") + 1) + 1
    harmless = {first - 1, first, second - 1, second, len(whole) - 1}  # line ends: no value is lost in a line
    for end in range(len(whole)):
        if end not in harmless:
            assert_refused(whole[:end])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("alpha", "wide"),
        ("alpha", ""),
        ("params", "1.5"),
        ("samples", "many"),
        ("on_frontier", "maybe"),
        ("latency_p50_ms", "1,5"),
        ("latency_p50_ms", "nan"),
        ("quality_pct", "inf"),
        ("schema_version", ""),
        ("schema_version", "one"),
        ("cell", '"' + "x" * 200_000),  # beyond what the csv module takes for one value
    ],
)
def test_a_damaged_value_is_an_error(name: str, value: str) -> None:
    header, row = (line.split(",") for line in to_csv([KNOWN]).splitlines())
    row[header.index(name)] = value
    assert_refused(",".join(header) + "\n" + ",".join(row) + "\n")


@pytest.mark.parametrize("text", ["", "\n", "\0\0\0", "not a table", "<html>\n</html>\n"])
def test_what_is_no_table_is_an_error(text: str) -> None:
    assert_refused(text)


def test_a_newer_schema_says_to_upgrade() -> None:
    text = to_csv([KNOWN])
    assert "upgrade" in assert_refused(text.removesuffix(",1\n") + ",2\n")


BAD_VALUES = [
    ("alpha", "wide", "alpha 'wide' does not fit: expected float, got str"),
    ("params", "", "missing required field params"),
    ("params", "9" * 400, "params is not a finite number"),
    ("latency_p50_ms", "inf", "latency_p50_ms is not a finite number"),
    ("precision", "fp64", "precision 'fp64' is unknown"),
    ("threads", "0", "threads 0 "),
    ("cell", "a0.5_r160", "cell 'a0.5_r160' has the settings of a0.25_r128"),
    ("schema_version", "1,1", "has 43 of 42 values"),
]


@pytest.mark.parametrize(("name", "value", "words"), BAD_VALUES, ids=[f"{name} {value:.9}" for name, value, _ in BAD_VALUES])
def test_an_error_names_the_line_and_what_is_wrong(name: str, value: str, words: str) -> None:
    header, good, bad = (line.split(",") for line in to_csv([KNOWN, KNOWN]).splitlines())
    bad[header.index(name)] = value
    message = assert_refused("".join(",".join(row) + "\n" for row in (header, good, bad)))
    assert message.startswith("some/cells.csv: line 3: ") and words in message
    assert message.endswith("; recreate it with 'mnsweep rebuild'") and "`" not in message


LINES = to_csv([KNOWN, make_result("a1.0_r224_int8_p16", deployed_channels="9>16")])


@settings(max_examples=400, deadline=None)
@given(
    st.integers(0, len(LINES)),
    st.integers(0, 30),
    st.text(max_size=12) | st.sampled_from(["nan", "-", "1e999", '"', "\n", ","]),
)
def test_whatever_is_changed_in_a_file_it_is_read_or_refused_in_one_line(start: int, length: int, text: str) -> None:
    changed = LINES[:start] + text + LINES[start + length :]
    try:
        results = from_csv(changed, "some/cells.csv")
    except StoreError:
        assert_refused(changed)
    else:
        assert all(Cell(r.design, r.deployment).id == r.cell for r in results)


def test_a_result_knows_its_design_its_deployment_and_its_channels() -> None:
    cell = parse_cell("a0.33_r200_keras_int8_t2_p16")
    result = make_result(cell.id, deployed_channels="9>16 19>32")
    assert (result.design, result.deployment, result.channels) == (cell.design, cell.deployment, {9: 16, 19: 32})
    assert make_result(deployed_channels="unpadded").channels == {} and make_result().channels is None


def assert_refused(text: str) -> str:
    with pytest.raises(StoreError) as refused:
        from_csv(text, "some/cells.csv")
    message = str(refused.value)
    assert message.startswith("some/cells.csv: ") and "\n" not in message
    return message


def reject_constant(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


@settings(max_examples=100, deadline=None)
@given(RESULTS)
def test_json_is_strict_and_unknown_is_null(results: list[Result]) -> None:
    document = json.loads(to_document(results, sweep=None, machine="m"), parse_constant=reject_constant)
    assert {k: document[k] for k in ("schema_version", "sweep", "machine")} == {
        "schema_version": 1,
        "sweep": None,
        "machine": "m",
    }
    assert [Result(**cell) for cell in document["cells"]] == results


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_json_never_holds_what_json_has_no_word_for(value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        to_document([make_result(latency_p50_ms=value)])
