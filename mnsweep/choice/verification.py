"""Verification of the predicted frontier: predictions compared with later measurements."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mnsweep.choice.frontier import best_within
from mnsweep.prediction.latency_model import Errors


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """Predictions for `designs` cells on the predicted frontier, compared with their measurements.

    Errors are in percent. Regret is in points of quality: the best quality within a latency budget by predicted latencies,
    minus the best by measured latencies; 0 at best.
    """

    designs: int
    errors: Errors
    mean_regret: float
    worst_regret: float


def verify(
    verified: Sequence[str], before_ms: Mapping[str, float], after_ms: Mapping[str, float], quality_pct: Mapping[str, float]
) -> Verification | None:
    """Compare latencies before and after the `verified` cells were measured; None where no cell was verified.

    `before_ms` (ms), `after_ms` (ms) and `quality_pct` are by cell id. The budgets for regret are the predicted latencies of
    the verified cells; a budget that no measured cell meets is left out.
    """
    if not verified:
        return None
    budgets = [before_ms[key] for key in verified]
    believed, true = (
        best_within([(ms, quality_pct[key]) for key, ms in known.items() if key in quality_pct], budgets)
        for known in (before_ms, after_ms)
    )
    lost = [max(0.0, hoped - real) for hoped, real in zip(believed, true, strict=True) if real > float("-inf")]
    regret = np.array(lost or [0.0])
    errors = np.array([before_ms[key] / after_ms[key] - 1 for key in verified])
    return Verification(
        designs=len(verified),
        errors=Errors.of(errors),
        mean_regret=float(regret.mean()),
        worst_regret=float(regret.max()),
    )
