"""What was believed of the cells on the predicted frontier, against what measuring them said."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mnsweep.choice.frontier import best_within
from mnsweep.prediction.latency_model import Errors


@dataclass(frozen=True, slots=True)
class Verification:
    """What was believed of cells on the predicted frontier against what measuring them said.

    Errors are in percent, regret in points: how much less quality there is within a latency, by all that is known
    afterwards, than was believed; 0 at best.
    """

    designs: int
    errors: Errors
    mean_regret: float
    worst_regret: float


def verify(
    verified: Sequence[str], before_ms: Mapping[str, float], after_ms: Mapping[str, float], quality_pct: Mapping[str, float]
) -> Verification | None:
    """Hold what was believed of the cells `verified` against what is known afterwards; None where there are none.

    The budgets at which regret is taken are the latencies that they were believed to have, as far as anything meets them.
    """
    if not verified:
        return None
    budgets = [before_ms[key] for key in verified]
    believed, true = (
        best_within([(ms, quality_pct[key]) for key, ms in known.items() if key in quality_pct], budgets)
        for known in (before_ms, after_ms)
    )
    lost = [max(0.0, hoped - found) for hoped, found in zip(believed, true, strict=True) if found > float("-inf")]
    regret = np.array(lost or [0.0])
    errors = np.array([before_ms[key] / after_ms[key] - 1 for key in verified])
    return Verification(len(verified), Errors.of(errors), float(regret.mean()), float(regret.max()))
