"""How good predictions are: compared with measurements that the model never saw, simpler models, and the noise."""

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
from mnsweep.prediction.deployments import Models, Predicted, predict
from mnsweep.prediction.latency_model import Errors

Array = NDArray[np.float64]
BASELINES = {"linear in mult-adds": "mult_adds", "linear in params": "params"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A measured cell and its prediction; for a `fitted` cell that of the fit without it, which has no interval."""

    cell: str
    measured_ms: float
    predicted_ms: float
    low_ms: float
    high_ms: float
    fitted: bool

    @property
    def error(self) -> float:
        """Relative error: predicted over measured, minus 1."""
        return self.predicted_ms / self.measured_ms - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """The models on cells that they never saw; shares and coverage in percent.

    `kendall_tau` is the rank correlation, None for fewer than two distinct latencies. `baselines` are the errors of
    simpler models. `repeatability_pct` is how much the fitted cells that were timed again in the same rounds changed
    relative to each other, on average: no model can do better. None where none was timed twice.
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
    """A check for every measured cell of a deployment that has a model, in the order of `cells`; all else is by cell id."""
    known = [cell for cell in cells if cell.id in latency_ms]
    unseen = predict(models, [cell for cell in known if cell.id in held_out], channels)
    left_out = {key: ms for model in models.values() for key, ms in zip(model.cells, model.left_out_ms, strict=True)}
    predictions = unseen | {key: Predicted(ms, ms, ms) for key, ms in left_out.items()}
    return [
        Check(
            cell=cell.id,
            measured_ms=latency_ms[cell.id],
            predicted_ms=prediction.ms,
            low_ms=prediction.low_ms,
            high_ms=prediction.high_ms,
            fitted=cell.id in left_out,
        )
        for cell in known
        if (prediction := predictions.get(cell.id))
    ]


def validate(checks: Sequence[Check], cells: Sequence[Cell], repeatability_pct: float | None) -> Validation | None:
    """Sum up the checks of the unseen cells; None where there are none. The baselines learn from the fitted cells."""
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
    """Mean change (%) in the latencies of fitted cells between earlier rounds and those of the cells `held_out`.

    Relative to their geometric mean: a change in the machine's speed is no error of a model. None for fewer than two cells.
    """
    later = {process.number for process in records.processes if set(held_out) & set(process.cells)}
    before, again = (fit([b for b in records.blocks if (b.process in later) is which]).estimates for which in (False, True))
    both = [key for key in before if key in again and key not in held_out]
    if len(both) < 2:
        return None
    moved = np.log([again[key].p50_ms / before[key].p50_ms for key in both])
    return 100 * float(np.abs(np.expm1(moved - moved.mean())).mean())


def _tau(checks: Sequence[Check]) -> float | None:
    """Kendall's rank correlation; None where there is nothing to rank."""
    if len(checks) < 2:
        return None
    tau = float(kendalltau([c.measured_ms for c in checks], [c.predicted_ms for c in checks]).statistic)
    return None if np.isnan(tau) else tau


def _baseline(count: str, checks: Sequence[Check], cells: Mapping[str, Cell]) -> Array:
    """Relative errors on the unseen cells of a + b · count, fitted to the relative error in each deployment."""
    errors = []
    for deployment in dict.fromkeys(cells[c.cell].deployment for c in checks):
        deployed = [c for c in checks if cells[c.cell].deployment == deployment]
        amount = {c.cell: float(getattr(deployed_cost(cells[c.cell].design), count)) for c in deployed}
        fitted = [c for c in deployed if c.fitted]
        rows = np.array([[1.0, amount[c.cell]] for c in fitted]) / np.array([[c.measured_ms] for c in fitted])
        scale = rows.max(axis=0)
        constant, slope = np.linalg.lstsq(rows / scale, np.ones(len(fitted)))[0] / scale
        errors += [(constant + slope * amount[c.cell]) / c.measured_ms - 1 for c in deployed if not c.fitted]
    return np.array(errors)


def _share(holds: object) -> float:
    """In percent."""
    return 100 * float(np.mean(np.asarray(holds, dtype=float)))
