"""Verdicts within one sweep: pairs that were timed in the same rounds share the machine's level, so it drops out."""

from collections.abc import Mapping, Sequence

import numpy as np

from mnsweep.estimate.confidence import standard_error, standard_errors
from mnsweep.estimate.fit import Estimate, freedom
from mnsweep.estimate.ratio import ERROR, Differences, Verdicts, judge

Pairs = Sequence[tuple[str, str]]  # ids: what is compared with, and what is compared


def judge_pairs(pairs: Pairs, estimates: Mapping[str, Estimate], same_pct: float, names: Sequence[str] = ()) -> Verdicts:
    """A verdict on the second of each pair; `names` are those of the pairs, or else the second's id."""
    return judge(_differences(pairs, estimates, names), same_pct)


def decided(pairs: Pairs, estimates: Mapping[str, Estimate], same_pct: float) -> set[str]:
    """The ids of pairs that differ by more than `same_pct` % beyond doubt, at whatever moment one looks (`confidence.py`)."""
    known = [pair for pair in pairs if all(item in estimates for item in pair)]
    if not known:
        return set()
    d = _differences(known, estimates, ())
    rounds = np.array([float(min(estimates[one].rounds, estimates[two].rounds)) for one, two in known])
    half = standard_errors(ERROR / len(pairs), rounds, d.freedom) * np.sqrt(d.variance)
    beyond = np.abs(d.log_ratio) - half > np.log1p(same_pct / 100)
    return {item for pair, is_beyond in zip(known, beyond.tolist(), strict=True) if is_beyond for item in pair}


def _differences(pairs: Pairs, estimates: Mapping[str, Estimate], names: Sequence[str]) -> Differences:
    ones, twos = ([estimates[pair[i]] for pair in pairs] for i in (0, 1))
    errors = [np.array([standard_error(e) for e in side]) for side in (ones, twos)]
    each = [freedom(np.array([float(e.rounds) for e in side])) for side in (ones, twos)]
    return Differences(
        cells=list(names) or [two for _, two in pairs],
        log_ratio=np.log([two.p50_ms / one.p50_ms for one, two in zip(ones, twos, strict=True)]),
        variance=errors[0] ** 2 + errors[1] ** 2,
        freedom=each[0] + each[1],
        in_step=True,
    )
