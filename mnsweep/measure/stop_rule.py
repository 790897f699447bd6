"""The stop rule: when a cell has been timed enough."""

from mnsweep.estimate.fit import Estimate
from mnsweep.measure.rounds import Rules


def has_settled(estimate: Estimate | None, target_pct: float, rules: Rules) -> bool:
    """Whether the relative interval is narrow enough, after enough rounds and processes.

    `target_pct` is a half width in percent. A cell without an interval has not settled.
    """
    if estimate is None or estimate.relative_ci_pct is None:
        return False
    enough = estimate.rounds >= rules.least_rounds and estimate.processes >= rules.least_processes
    return enough and estimate.relative_ci_pct <= target_pct


def is_done(estimate: Estimate | None, target_pct: float, rules: Rules) -> bool:
    """Whether a cell is timed no more: it has settled, or its rounds are used up."""
    used_up = estimate is not None and estimate.rounds >= max(rules.least_rounds, rules.most_rounds)
    return used_up or has_settled(estimate, target_pct, rules)


def rounds_left(estimate: Estimate | None, target_pct: float, rules: Rules) -> float:
    """Estimated number of rounds that a cell still needs: half widths shrink with the square root of the rounds."""
    if estimate is None or estimate.relative_ci_pct is None:
        return rules.least_rounds
    needed = estimate.rounds * (estimate.relative_ci_pct / target_pct) ** 2
    return max(0.0, min(max(needed, rules.least_rounds), rules.most_rounds) - estimate.rounds)


def unsettled_reason(estimate: Estimate | None, target_pct: float, rules: Rules) -> str | None:
    """The reason why a cell did not settle; None if it did."""
    if estimate is None:
        return "not measured: the time ran out before its turn"
    if estimate.relative_ci_pct is not None and estimate.relative_ci_pct <= target_pct:
        return None
    if rules.least_rounds == rules.most_rounds <= estimate.rounds:
        return None  # a fixed number of rounds guarantees no width
    width = "no interval" if estimate.relative_ci_pct is None else f"± {estimate.relative_ci_pct:.2f} %"
    limit = f"the limit of {rules.most_rounds} rounds" if estimate.rounds >= rules.most_rounds else "the end of the time"
    return f"{width} at {limit}, wanted ± {target_pct:g} %; {estimate.stability}: {estimate.stability_reason}"
