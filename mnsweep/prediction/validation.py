"""Accuracy of predictions, compared with held-out measurements, simpler models and measurement noise."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnsweep.arch.channel_padding import Channels
from mnsweep.cell import Cell
from mnsweep.counting import deployed_cost
from mnsweep.estimate.fit import fit
from mnsweep.prediction.deployments import Models, Predicted, predict
from mnsweep.prediction.latency_model import Errors
from mnsweep.record import Records

Array = NDArray[np.float64]
BASELINES = {"linear in mult-adds": "mult_adds", "linear in params": "params"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A measured cell and its prediction. A `fitted` cell has its leave-one-out prediction, without an interval."""

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
    """Accuracy of the models on held-out cells; shares and coverage are in percent.

    `kendall_tau` is the rank correlation, or None for fewer than two distinct latencies. `baselines` are the errors of
    simpler models. `repeatability_pct` is the mean relative change of the fitted cells that were timed again in the same
    rounds as the held-out cells. No model can do better. It is None if fewer than two cells were timed again.
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
    """Compare measured with predicted latencies: one check for every measured cell whose deployment has a model.

    `latency_ms` (milliseconds per batch), `channels` and `held_out` are keyed by cell id. Checks are in the order of `cells`.
    """
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
    """Summarize the checks of held-out cells; None if there are none. Baselines are fitted to the fitted cells."""
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
    """Mean change (%) in the latencies of fitted cells, from earlier rounds to the rounds that timed the `held_out` cells.

    Changes are relative to their geometric mean, because a change in the machine's speed is not an error of the model.
    None for fewer than two cells.
    """
    later = {process.number for process in records.processes if set(held_out) & set(process.cells)}
    before, again = (fit([b for b in records.blocks if (b.process in later) is which]).estimates for which in (False, True))
    both = [key for key in before if key in again and key not in held_out]
    if len(both) < 2:
        return None
    moved = np.log([again[key].p50_ms / before[key].p50_ms for key in both])
    return 100 * float(np.abs(np.expm1(moved - moved.mean())).mean())


def _tau(checks: Sequence[Check]) -> float | None:
    """Kendall's rank correlation; None if there is nothing to rank."""
    if len(checks) < 2:
        return None
    from scipy.stats import kendalltau  # takes a third of a second to load

    tau = float(kendalltau([c.measured_ms for c in checks], [c.predicted_ms for c in checks]).statistic)
    return None if np.isnan(tau) else tau


def _baseline(count: str, checks: Sequence[Check], cells: Mapping[str, Cell]) -> Array:
    """Relative errors of a + b · count on held-out cells; fitted in each deployment by least squares on the relative error."""
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
    """Percentage of true values."""
    return 100 * float(np.mean(np.asarray(holds, dtype=float)))
