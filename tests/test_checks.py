"""`paper`, `profile` and `doctor` in Python: frames with the numbers that the commands print."""

import json
from pathlib import Path

import pandas as pd
import pytest

import mnsweep
from tests.fakes import FakeWorker
from tests.fuzz import run
from tests.test_profile import CELL, lab


def test_the_paper_s_numbers_are_those_of_the_command() -> None:
    frame = mnsweep.paper()
    tables = json.loads(run("paper", "--json").out)["tables"]
    assert len(frame) == sum(len(table["rows"]) for table in tables)
    assert frame.verdict.tolist() == [row["verdict"] for table in tables for row in table["rows"]]
    assert set(frame.dtypes.astype(str)) == {"Int64", "string", "Float64"}
    row = frame[(frame.table == 8) & (frame.model == "1.0 MobileNet-224") & (frame.metric == "mult_adds")].iloc[0]
    assert (row.paper, round(row.computed, 1), row.paper_text, row.cell) == (569, 568.7, "569", "a1.0_r224")
    shapes = frame[frame.table == 1]
    assert shapes.paper.isna().all() and shapes.paper_text.notna().all() and shapes.computed_text.notna().any()
    assert frame.attrs == {"sweep": None, "machine": None, "results_dir": None, "ratios": [], "missing": {}}
    assert mnsweep.paper(8).dtypes.equals(frame.dtypes) and mnsweep.paper(table=8).table.unique().tolist() == [8]


def test_a_table_that_does_not_exist_and_a_flag_without_effect_are_refused() -> None:
    with pytest.raises(mnsweep.MnsweepError, match="`table` 99"):
        mnsweep.paper(99)
    with pytest.raises(mnsweep.MnsweepError, match="`fresh` requires `measure`"):
        mnsweep.paper(fresh=True)


def test_the_paper_s_networks_are_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = FakeWorker(ms_of=lambda *_: 3.0)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("mnsweep.session.WorkerProcess", lambda timeout_s, runtimes=(): worker)
    monkeypatch.setattr("mnsweep.sweep.derive._plots", lambda *_: {})
    frame = mnsweep.paper(5, measure=True)
    assert frame[frame.cell.notna()].latency_ms.notna().all() and frame.dtypes.equals(mnsweep.paper(5).dtypes)
    assert frame.attrs["sweep"] == "paper-tables" and Path(frame.attrs["results_dir"]).is_dir()
    assert frame.attrs["ratios"][0]["latency_ratio"] == pytest.approx(1.0, rel=0.01)


def test_a_profile_is_the_document_of_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("mnsweep.app.profile.WorkerProcess", lab(left=("depthwise1",)))
    frame = mnsweep.profile(CELL.design.alpha, CELL.design.resolution, pad="none", results_dir="here")
    assert frame.name[0] and frame.ms.sum() == pytest.approx(frame.attrs["profiled_ms"])
    assert set(frame.dtypes.astype(str)) == {"Int64", "string", "Float64"}
    assert frame.attrs["lint"][0]["fix"].startswith("`pad` auto"), "in Python's words"
    document = json.loads((Path(frame.attrs["results_dir"]) / frame.attrs["files"][0]).read_text())
    assert [layer["name"] for layer in document["layers"]] == frame["name"].tolist()


def test_the_doctor_s_findings_are_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = mnsweep.doctor(timing=False)
    assert frame.columns.tolist() == ["name", "value", "verdict", "why", "fix"]
    assert set(frame.verdict) <= {"good", "fair", "poor", "unknown"} and set(frame.dtypes.astype(str)) == {"string"}
    about = frame.attrs
    assert about["machine"] and about["repeatability"] is None is about["obstacle"] is about["sweep"]
    assert not (frame.fix == "").any(), "unknown, not empty"
    pd.testing.assert_frame_equal(mnsweep.doctor(timing=False)[["name"]], frame[["name"]])
