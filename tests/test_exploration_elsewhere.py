"""Explorations that meet something else: a runtime that is not there, another region of the space, a single fresh design."""

from dataclasses import replace
from pathlib import Path

import pytest

from mnsweep.app.exploration import Aims, explore
from mnsweep.errors import UnavailableError
from mnsweep.space import Space
from mnsweep.sweep.derive import derive, read
from mnsweep.sweep.file import Prediction, Sweep
from mnsweep.sweep.store import SweepFolder
from mnsweep.worker.base import Offer
from tests.test_exploration import (
    AIMS,
    ASKED,
    _no_pictures_and_no_networks,  # noqa: F401 - a fixture
    machinery,
    measured,
    run,
    session_of,
    table,
)
from tests.test_sweep import HERE

BOTH = Space("0.25:0.55:0.05", "128:224:16", runtime="onnxruntime,openvino").cells()
GONE = {"openvino": Offer(obstacle="no openvino: pip install it")}


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    return SweepFolder(tmp_path / "results" / "explore" / HERE.key)


def test_a_runtime_that_is_not_there_takes_all_its_cells_with_it(folder: SweepFolder) -> None:
    asked = replace(ASKED, cells=BOTH)
    session = session_of(folder, machinery(offers=GONE), asked)
    explore(session, AIMS)
    derive(folder)
    assert set(session.skipped.values()) == {"no openvino: pip install it"}
    assert {r.runtime for r in table(folder).values()} == {"onnxruntime"}
    assert set(table(folder)) == {cell.id for cell in ASKED.cells}
    assert len(measured(folder)) == AIMS.measure + AIMS.verify + AIMS.validate


def test_where_nothing_runs_the_obstacle_is_what_is_said(folder: SweepFolder) -> None:
    asked = replace(ASKED, cells=tuple(cell for cell in BOTH if cell.deployment.runtime == "openvino"))
    with pytest.raises(UnavailableError, match="no openvino: pip install it"):
        run(folder, machinery(offers=GONE), asked=asked)


def test_what_was_measured_stays_when_its_runtime_has_gone(folder: SweepFolder) -> None:
    openvino = tuple(cell for cell in BOTH if cell.deployment.runtime == "openvino")
    run(folder, asked=replace(ASKED, cells=openvino))
    before = measured(folder)
    run(folder, machinery(offers=GONE), asked=replace(ASKED, cells=BOTH))
    left = table(folder)
    assert before <= set(left) and before < measured(folder)
    assert {r.cell for r in left.values() if r.runtime == "openvino"} == before


def test_another_region_gets_measurements_of_its_own(folder: SweepFolder) -> None:
    run(folder)
    first = measured(folder)
    elsewhere = Sweep("explore", Space("0.6:1.0:0.05", "128:224:16").cells(), prediction=Prediction())
    run(folder, asked=elsewhere)
    fresh = measured(folder) - first
    assert len(fresh) == AIMS.measure + AIMS.verify + AIMS.validate
    assert fresh <= {cell.id for cell in elsewhere.cells}
    verified, held_out = read(folder).prediction.verified, read(folder).prediction.held_out
    assert (len(verified), len(held_out)) == (2 * AIMS.verify, 2 * AIMS.validate)


def test_a_single_fresh_design_has_an_error_and_no_rank_correlation(folder: SweepFolder) -> None:
    found = run(folder, aims=Aims(measure=16, verify=0, validate=1)).validation
    assert found is not None and found.designs == 1 and found.kendall_tau is None
    assert found.errors.mean_pct == found.errors.worst_pct
