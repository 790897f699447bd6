"""How good predictions are: held against measurements that the model never saw, beside simpler models and the noise."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau

from mnsweep.arch.channel_padding import Channels
from mnsweep.cell import Cell
from mnsweep.counting import deployed_cost
from mnsweep.measure.fit import fit
from mnsweep.measure.record import Records
from mnsweep.prediction.deployments import Models, predict
from mnsweep.prediction.latency_model import Errors

Array = NDArray[np.float64]
BASELINES = {"linear in mult-adds": "mult_adds", "linear in params": "params"}


@dataclass(frozen=True, slots=True)
class Check:
    """A measured cell with what was predicted for it; a `fitted` one by the model that left it out."""

    cell: str
    measured_ms: float
    predicted_ms: float
    low_ms: float
    high_ms: float
    fitted: bool

    @property
    def error(self) -> float:
        """Relative to what was measured."""
        return self.predicted_ms / self.measured_ms - 1


@dataclass(frozen=True, slots=True)
class Validation:
    """The model on cells that it never saw; shares and coverage in percent.

    `repeatability_pct` is how far the fitted cells that were timed again in the same rounds moved against each other on
    average: no model can do better. None where none was timed twice.
    """

    designs: int
    errors: Errors
    within_5_pct: float
    within_10_pct: float
    kendall_tau: float | None
    interval_coverage: float
    baselines: Mapping[str, Errors]
    repeatability_pct: float | None


def check(
    models: Models,
    cells: Sequence[Cell],
    latency_ms: Mapping[str, float],
    channels: Mapping[str, Channels],
    held_out: Collection[str],
) -> list[Check]:
    """Every measured cell of a deployment that has a model, in the order of `cells`."""
    known = [cell for cell in cells if cell.id in latency_ms]
    unseen = predict(models, [cell for cell in known if cell.id in held_out], channels)
    left_out = {key: ms for model in models.values() for key, ms in zip(model.cells, model.left_out_ms, strict=True)}
    found = []
    for cell in known:
        measured = latency_ms[cell.id]
        if cell.id in left_out:
            ms = left_out[cell.id]
            found.append(Check(cell.id, measured, ms, ms, ms, fitted=True))
        elif cell.id in unseen:
            p = unseen[cell.id]
            found.append(Check(cell.id, measured, p.ms, p.low_ms, p.high_ms, fitted=False))
    return found


def validate(checks: Sequence[Check], cells: Sequence[Cell], repeatability_pct: float | None) -> Validation | None:
    """Sum up the checks of unseen cells; None where there are none. The baselines are fitted to the fitted cells' latencies."""
    unseen = [c for c in checks if not c.fitted]
    if not unseen:
        return None
    errors = np.array([c.error for c in unseen])
    by_id = {cell.id: cell for cell in cells}
    return Validation(
        designs=len(unseen),
        errors=Errors.of(errors),
        within_5_pct=_share(np.abs(errors) <= 0.05),
        within_10_pct=_share(np.abs(errors) <= 0.10),
        kendall_tau=_tau(unseen),
        interval_coverage=_share([c.low_ms <= c.measured_ms <= c.high_ms for c in unseen]),
        baselines={name: Errors.of(_baseline(count, checks, by_id)) for name, count in BASELINES.items()},
        repeatability_pct=repeatability_pct,
    )


def repeatability_pct(records: Records, held_out: Collection[str]) -> float | None:
    """Mean deviation between the latencies that fitted cells had before, and in the rounds of the cells `held_out`.

    Relative to their geometric mean: the machine's own speed is no error of a model.
    """
    later = {process.number for process in records.processes if set(held_out) & set(process.cells)}
    before, again = (fit([b for b in records.blocks if (b.process in later) is which]).estimates for which in (False, True))
    both = [key for key in before if key in again and key not in held_out]
    if len(both) < 2:
        return None
    moved = np.log([again[key].p50_ms / before[key].p50_ms for key in both])
    return 100 * float(np.abs(np.expm1(moved - moved.mean())).mean())


def _tau(checks: Sequence[Check]) -> float | None:
    """Kendall's rank correlation; None where there is nothing to put in order."""
    if len(checks) < 2:
        return None
    tau = float(kendalltau([c.measured_ms for c in checks], [c.predicted_ms for c in checks]).statistic)
    return None if np.isnan(tau) else tau


def _baseline(count: str, checks: Sequence[Check], cells: Mapping[str, Cell]) -> Array:
    """Errors on the unseen cells of a + b · count, for each deployment fitted to the relative error."""
    errors = []
    for how in dict.fromkeys(cells[c.cell].deployment for c in checks):
        its = [c for c in checks if cells[c.cell].deployment == how]
        amount = {c.cell: float(getattr(deployed_cost(cells[c.cell].design), count)) for c in its}
        fitted = [c for c in its if c.fitted]
        rows = np.array([[1.0, amount[c.cell]] for c in fitted]) / np.array([[c.measured_ms] for c in fitted])
        scale = rows.max(axis=0)
        constant, slope = np.linalg.lstsq(rows / scale, np.ones(len(fitted)))[0] / scale
        errors += [(constant + slope * amount[c.cell]) / c.measured_ms - 1 for c in its if not c.fitted]
    return np.array(errors)


def _share(holds: object) -> float:
    return 100 * float(np.mean(np.asarray(holds, dtype=float)))
