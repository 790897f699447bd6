"""Why a cell is chosen, or none: texts for people, which name settings in backticks."""

from collections.abc import Callable, Iterable, Sequence
from math import floor, log10

from mnsweep.accuracy.published import weights_note
from mnsweep.choice.constraints import (
    QUALITIES,
    Constraints,
    active_bounds,
    active_words,
    guarded_latency_ms,
    is_wide,
    violations,
)
from mnsweep.result import PREDICTED, Result, ms_text, quality_text
from mnsweep.wording import STABLE, count_of, typed


def why(choice: Result, results: Sequence[Result], candidates: Sequence[Result], constraints: Constraints) -> list[str]:
    """Why `choice` was chosen: its rank among the feasible `candidates`, what was left out, and what the numbers rest on."""
    aim = "most accurate" if constraints.has_budget else "fastest"
    predicted = choice.latency_source == PREDICTED
    feasible = sum(not violations(r, constraints) for r in candidates)
    parts = [
        f"{choice.cell} is the {aim} of {count_of(feasible, 'feasible cell')} (of {len(candidates)} with latency and quality): "
        f"{quality_text(choice)} at{' predicted' * predicted} {ms_text(choice.latency_p50_ms)} ms, "
        f"{ms_text(guarded_latency_ms(choice, constraints))} ms {_counted_in(constraints)}"
    ]
    if predicted:
        parts.append("its latency was not measured (`no_verify`)")
    elif choice.stability not in (None, STABLE):
        parts.append(f"its latency is {choice.stability}: {choice.stability_reason}; rerun 'mnsweep grid' to narrow it")
    parts += _left_out(results, constraints)
    note = f"its weights are in {choice.weights}" if choice.weights else weights_note(choice.quality_source)
    parts.append(f"the quality is {choice.quality_source}; {note}")
    return parts


def why_none(results: Sequence[Result], candidates: Sequence[Result], constraints: Constraints) -> str:
    """Why no cell meets the constraints: which of them exclude cells, the nearest cell for each, and what is unknown."""
    timed = [r for r in results if r.latency_p50_ms is not None]
    if not timed:
        return "no cell of this sweep was measured; run 'mnsweep grid' again"
    parts = ["no cell meets the constraints", *_excluding(candidates or timed, constraints), *_left_out(results, constraints)]
    if lacking := [r for r in timed if r.quality_pct is None]:
        parts.append(_without_quality(lacking, timed))
    return "; ".join((*parts, *_extremes(timed)))


def budget_to_suggest(results: Iterable[Result]) -> str | None:
    """A latency budget in milliseconds, as typed, that about half of the cells with a quality meet; None where none does."""
    high_ms = sorted(r.interval_ms[1] for r in results if r.interval_ms and r.quality_pct is not None)
    return as_typed(high_ms[len(high_ms) // 2], lambda _: True, digits=2) if high_ms else None


def as_typed(ms: float, works: Callable[[float], bool], digits: int = 3) -> str:
    """The shortest decimal of at least `ms`, in so many `digits` or more, that works when it is typed."""
    for shown in range(digits, 17):
        step = 10.0 ** (floor(log10(ms)) + 1 - shown) if ms > 0 else 1.0
        for text in (f"{ms:.{shown}g}", f"{ms + step:.{shown}g}"):
            if float(text) >= ms and works(float(text)):
                return text if "e" not in text else f"{float(text):.0f}"
    return repr(ms)


def _counted_in(constraints: Constraints) -> str:
    """What is held against a latency budget, in words."""
    high = f"at the {constraints.percentile}th percentile" if constraints.percentile else "at the upper end of the interval"
    return high + (f" with a margin of {constraints.margin_pct:g} %" if constraints.margin_pct else "")


def _left_out(results: Iterable[Result], constraints: Constraints) -> list[str]:
    """Measured cells whose latency is not known well enough to be chosen, in one sentence; nothing where there are none."""
    timed = [r for r in results if r.latency_p50_ms is not None]
    percentile = constraints.percentile
    counts = {
        "too few rounds for an interval": sum(r.interval_ms is None for r in timed),
        f"an interval wider than ± {constraints.max_relative_ci:g} %": sum(is_wide(r, constraints) for r in timed),
        f"too few runs for the {percentile}th percentile": sum(_lacks_tail(r, percentile) for r in timed),
    }
    said = [f"{count_of(number, 'cell')} with {what}" for what, number in counts.items() if number]
    return [f"not considered: {', '.join(said)} (rerun 'mnsweep grid' to measure longer)"] if said else []


def _lacks_tail(result: Result, percentile: int | None) -> bool:
    return percentile is not None and getattr(result, f"latency_p{percentile}_ms") is None


def _without_quality(lacking: Sequence[Result], timed: Sequence[Result]) -> str:
    if len(lacking) < len(timed):
        return f"{count_of(len(lacking), 'cell')} without a quality: no published source covers them"
    return (
        "no cell of this sweep has a quality: no published source covers its designs; "
        "sweep α 0.25, 0.5, 0.75 or 1.0 at 128, 160, 192 or 224 px"
    )


def _excluding(cells: Sequence[Result], constraints: Constraints) -> list[str]:
    """What each constraint excludes: those that exclude every cell alone, or else all that exclude some."""
    broken = [name for r in cells for name in violations(r, constraints) if _is_known(name, r, constraints)]
    count = {name: broken.count(name) for name in dict.fromkeys(broken)}
    decisive = [name for name, number in count.items() if number == len(cells)]
    return [_excluded(name, count[name], cells, constraints) for name in decisive or count]


def _is_known(name: str, result: Result, constraints: Constraints) -> bool:
    """Whether a constraint excludes the cell by a value, and not because the value is unknown; `_left_out` has those."""
    if name in QUALITIES:
        return result.quality_pct is not None
    bounds = active_bounds(constraints)
    return name != "max_relative_ci" and (name not in bounds or bounds[name][1](result) is not None)


def _excluded(name: str, number: int, cells: Sequence[Result], constraints: Constraints) -> str:
    of = f"all {len(cells)} cells" if number == len(cells) > 1 else f"{number} of {count_of(len(cells), 'cell')}"
    return f"`{name}` {typed(getattr(constraints, name))} excludes {of}{_nearest(name, cells, constraints)}"


def _nearest(name: str, cells: Sequence[Result], constraints: Constraints) -> str:
    """The cell that comes nearest to meeting one constraint, and what it needs."""
    if name in active_words(constraints):
        return f": this sweep has {', '.join(sorted({getattr(r, name) for r in cells}))}"
    if name in QUALITIES:
        known = [r for r in cells if r.quality_pct is not None]
        best = max(known, key=lambda r: r.quality_pct or 0.0, default=None)
        return f": the nearest is {best.cell} with {quality_text(best)}" if best else ""
    cost = active_bounds(constraints)[name][1]
    costs = [(value, r) for r in cells if (value := cost(r)) is not None]
    if not costs:
        return ""
    least, nearest = min(costs, key=lambda pair: pair[0])
    needs = f"(needs `{name}` {as_typed(least, lambda _: True)})"
    if name == "max_latency_ms":
        return f": the fastest available is {nearest.cell} at {ms_text(nearest.latency_p50_ms)} ms {needs}"
    return f": the nearest is {nearest.cell} {needs}"


def _extremes(timed: Sequence[Result]) -> list[str]:
    """The fastest and the most accurate of all cells with a latency, whatever they lack."""
    fastest = min(timed, key=lambda r: r.latency_p50_ms or 0.0)
    parts = [f"the fastest of all is {fastest.cell} at {ms_text(fastest.latency_p50_ms)} ms"]
    if fastest.quality_pct is None:
        parts[0] += ", without a quality"
    if accurate := [r for r in timed if r.quality_pct is not None]:
        best = max(accurate, key=lambda r: r.quality_pct or 0.0)
        parts.append(f"the most accurate is {best.cell} with {quality_text(best)}")
    return parts
