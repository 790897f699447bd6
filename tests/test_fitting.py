"""Tables on narrow terminals: no cell is cut, and what was left out is said."""

import re
from itertools import pairwise

import pytest

from mnsweep.cli.show import console, layers_table, results_table
from mnsweep.result import MEASURED, PREDICTED, Result
from tests.conftest import make_result
from tests.fuzz import run

LONG = "a0.25_r128_c7_keras_int8_openvino_t2_b8_p16"
MEASURED_VALUES = {
    "latency_p50_ms": 1.234, "latency_ci_low_ms": 1.23, "latency_ci_high_ms": 1.24, "relative_ci_pct": 0.5,
    "latency_source": MEASURED, "quality_pct": 41.5, "quality_metric": "top1", "quality_source": "made up", "on_frontier": True,
}  # fmt: skip
PREDICTED_VALUES = {**MEASURED_VALUES, "latency_source": PREDICTED, "quality_sd_pct": 0.3, "predicted_on_frontier": True}


def results(cell: str, **more: object) -> list[Result]:
    values = PREDICTED_VALUES if more.pop("predicted", False) else MEASURED_VALUES
    return [make_result(cell, **values, **more), make_result("a1.0_r224", **values)]


def printed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int, table: object) -> str:
    monkeypatch.setenv("COLUMNS", str(width))
    capsys.readouterr()
    console().print(table)
    return capsys.readouterr().out


@pytest.mark.parametrize("width", [20, 40, 60, 70, 80, 100, 140])
@pytest.mark.parametrize("cell", ["a0.25_r128", LONG])
@pytest.mark.parametrize("predicted", [False, True])
@pytest.mark.parametrize("measured", [False, True])
def test_no_cell_is_cut(
    width: int, cell: str, predicted: bool, measured: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = printed(capsys, monkeypatch, width, results_table(results(cell, predicted=predicted), measured))
    assert "…" not in out
    (row,) = (line for line in out.splitlines() if line.strip().startswith(cell))
    if measured:
        assert "1.23" in row, "the latency stays"
        assert row.rstrip().endswith("○" if predicted else "●"), "and so do the marks"
        assert ("predicted" in row) is predicted, "and where it is from"
    rows = [line for line in out.splitlines() if line.strip().startswith("a")]
    assert "left out" in out or all(len(line) <= width for line in rows)


def test_what_is_left_out_is_said_least_important_first(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = results_table(results("a0.25_r128"), measured=True)
    wide = printed(capsys, monkeypatch, 140, table)
    assert "left out" not in wide and "mult-adds" in wide
    needed = max(map(len, wide.splitlines()[:4]))
    lost = [
        set(re.findall("params|mult-adds|95 % interval|against|top-1", " ".join(out.partition("left out")[2].split())))
        for width in range(needed, 14, -1)
        if (out := printed(capsys, monkeypatch, width, table))
    ]
    assert lost[0] == set() and lost[1] == {"params"}
    assert all(before <= after for before, after in pairwise(lost))
    assert lost[-1] >= {"params", "mult-adds", "95 % interval", "against"}


@pytest.mark.parametrize("width", [40, 60, 80])
@pytest.mark.parametrize(
    "arguments", [("count",), ("count", "--alpha", "0.33", "--res", "200", "--layers"), ("paper",), ("paper", "--table", "8")]
)
def test_commands_cut_nothing(width: int, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    ran = run(*arguments)
    assert ran.status == 0 and "…" not in ran.out
    monkeypatch.setenv("COLUMNS", "200")
    assert "left out" not in run(*arguments).out


def test_layers_keep_their_counts(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    row: dict[str, int | str] = {
        "name": "depthwise13",
        "params": 123_456,
        "mult_adds": 987_654_321,
        "activation_bytes": 3_211_264,
    }
    row |= {
        "in_channels": 1024,
        "in_size": 112,
        "out_channels": 1024,
        "out_size": 112,
        "kernel": 3,
        "kernel_width": 3,
        "stride": 2,
    }
    out = printed(capsys, monkeypatch, 50, layers_table("title", [row]))
    assert "depthwise13" in out and "987,654,321" in out and "left out in 50 columns: bytes out, filter" in out


def test_piped_tables_are_whole(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    cell = LONG.replace("openvino", "onnxruntime-CUDAExecutionProvider").replace("c7_keras", "full-conv_c1001_keras_relu")
    console().print(results_table(results(cell, predicted=True, batch=8, images_per_s=1e6), measured=True))
    out = capsys.readouterr().out
    assert cell in out and "images" in out and "left out" not in out and "…" not in out


@pytest.mark.parametrize("columns", ["0", "²", "-1", "", "9" * 400, "wide"])
@pytest.mark.parametrize("arguments", [("count",), ("--help",)])
def test_a_width_that_is_none_is_ignored(columns: str, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = run(*arguments).out
    monkeypatch.setenv("COLUMNS", columns)
    assert run(*arguments).out == wanted != ""
