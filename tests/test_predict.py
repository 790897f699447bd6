"""Predicting any cell from the saved models, held against the table that the same models filled."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

import mnsweep
from mnsweep.errors import MnsweepError, StoreError

ROOT = Path(__file__).parent.parent
(EXPLORED,) = (ROOT / "results/reference/explore").iterdir()
AXES = {"alpha": "0.3:0.4:0.01", "res": "128:224:32"}


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return pd.read_csv(EXPLORED / "cells.csv").set_index("cell")


def test_what_was_not_measured_comes_out_as_in_the_table(table: pd.DataFrame) -> None:
    found = mnsweep.predict(**AXES, sweep=str(EXPLORED)).set_index("cell")
    predicted = table.loc[found.index].query("latency_source == 'predicted'")
    assert len(predicted) > 20
    columns = ["latency_p50_ms", "latency_ci_low_ms", "latency_ci_high_ms", "quality_pct", "quality_sd_pct", "onnx_bytes"]
    assert found.loc[predicted.index, columns].to_numpy(float) == pytest.approx(predicted[columns].to_numpy(float), rel=1e-9)
    assert set(found["latency_source"]) == {"predicted"}


def test_designs_between_those_of_the_sweep_lie_between_them() -> None:
    found = mnsweep.predict("0.5,0.505,0.51", 200, sweep=str(EXPLORED))["quality_pct"].tolist()
    assert found == sorted(found)


def test_another_deployment_has_no_model_and_no_latency() -> None:
    found = mnsweep.predict(0.5, 200, sweep=str(EXPLORED), precision="int8")
    assert found["latency_p50_ms"].isna().all()
    assert "predicted" in found["quality_source"].item()


def test_beyond_the_source_an_accuracy_has_to_be_asked_for() -> None:
    assert mnsweep.predict(1.2, 200, sweep=str(EXPLORED))["quality_pct"].isna().all()
    (found,) = mnsweep.predict(1.2, 200, sweep=str(EXPLORED), extrapolate=True).itertuples()
    assert found.quality_source == "predicted: slim-2018-08, extrapolated"
    inside = mnsweep.predict(0.99, 200, sweep=str(EXPLORED))["quality_sd_pct"].item()
    assert found.quality_sd_pct > 2 * inside


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda model: model | {"schema_version": 99}, "is a model of another version of mnsweep"),
        (lambda model: model | {"terms": {"guesses": "ns"}}, "is a model of another version of mnsweep"),
        (lambda model: {"schema_version": 1}, "is not a latency model"),
        (lambda model: [], "is not a latency model"),
    ],
)
def test_a_model_of_another_version_is_refused_with_the_mend(damage: object, words: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(EXPLORED, tmp_path / "explore" / EXPLORED.name))
    model = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(damage(model)))  # type: ignore[operator]
    with pytest.raises(StoreError, match=words) as caught:
        mnsweep.predict(0.5, 200, sweep=str(folder))
    assert "mnsweep rebuild" in str(caught.value)


def test_a_sweep_without_models_says_so(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(EXPLORED, tmp_path / "explore" / EXPLORED.name))
    (folder / "model.json").unlink()
    with pytest.raises(MnsweepError, match="run 'mnsweep explore' first"):
        mnsweep.predict(0.5, 200, sweep=str(folder))
