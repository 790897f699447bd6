"""The stop rule: when a cell has been timed enough."""

from mnsweep.measure.fit import Estimate
from mnsweep.measure.rounds import Rules


def has_settled(found: Estimate | None, target_pct: float, rules: Rules) -> bool:
    """Whether the relative interval is narrow enough, from enough rounds and processes, or the rounds are used up."""
    if found is None or found.rounds < rules.least_rounds:
        return False
    if found.rounds >= rules.most_rounds:
        return True
    if found.processes < rules.least_processes or found.relative_ci_pct is None:
        return False
    return found.relative_ci_pct <= target_pct


def rounds_left(found: Estimate | None, target_pct: float, rules: Rules) -> float:
    """Rounds that a cell still needs, as far as can be told: widths shrink with the root of the rounds."""
    if found is None or found.relative_ci_pct is None:
        return rules.least_rounds
    needed = found.rounds * (found.relative_ci_pct / target_pct) ** 2
    return max(0.0, min(max(needed, rules.least_rounds), rules.most_rounds) - found.rounds)


def unsettled_reason(found: Estimate | None, target_pct: float, rules: Rules) -> str | None:
    """Why a cell did not settle, in words; None when it did."""
    if found is None:
        return "not measured: the time was up before its turn"
    if found.relative_ci_pct is not None and found.relative_ci_pct <= target_pct:
        return None
    if rules.least_rounds == rules.most_rounds <= found.rounds:
        return None  # a fixed number of rounds promises no width
    width = "nothing to compare it with" if found.relative_ci_pct is None else f"± {found.relative_ci_pct:.2f} %"
    limit = f"the limit of {rules.most_rounds} rounds" if found.rounds >= rules.most_rounds else "the end of the time"
    return f"{width} at {limit}, wanted ± {target_pct:g} %; {found.stability}: {found.stability_reason}"
