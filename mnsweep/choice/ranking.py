"""The choice: the most accurate cell that meets every constraint, and why."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

from mnsweep.choice.constraints import Constraints, guarded_latency_ms, violations
from mnsweep.choice.display import as_html, as_text
from mnsweep.choice.reasons import as_typed, why, why_none
from mnsweep.errors import MnsweepError
from mnsweep.result import PREDICTED, Result, ms_text, quality_text
from mnsweep.wording import count_of

LOOKS, AT_ONCE = 6, 4  # at most 6 times the best predictions are measured, 4 cells at a time
Measure = Callable[[Sequence[str]], Sequence[Result]]  # measures the cells with these ids; returns all results


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The chosen cell, the runner-up, and the reason as text with settings in backticks.

    `choice` is None when no cell meets the constraints. `looked_at` holds the ids of the cells measured to verify the choice.
    """

    choice: Result | None
    runner_up: Result | None
    reason: str
    looked_at: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return as_text(self)

    def _repr_html_(self) -> str:
        return as_html(self)


def pick(results: Sequence[Result], constraints: Constraints) -> Choice:
    """Pick the best cell that meets all constraints, among the cells with a latency and a quality.

    The best cell is the most accurate, then the fastest; without any upper bound (`min_quality` alone), it is the fastest, then
    the most accurate. A predicted latency counts with the upper end of its interval. Raises `MnsweepError` where the
    qualities have different metrics.
    """
    candidates = _candidates(results, constraints)
    _check_metrics(candidates, constraints)
    ranked = _ranked(candidates, constraints)
    if not ranked:
        return Choice(choice=None, runner_up=None, reason=why_none(results, candidates, constraints))
    best, *others = ranked
    first, *rest = why(best, results, candidates, constraints)
    reason = "; ".join((first, *_looser(best, candidates, constraints), *rest))
    return Choice(choice=best, runner_up=others[0] if others else None, reason=reason)


def pick_verified(results: Sequence[Result], constraints: Constraints, measure: Measure) -> Choice:
    """Pick as `pick` does, but measure the best predictions as long as the choice or the runner-up is a prediction.

    Until it is measured, a prediction counts with an interval as narrow as that of a typical measured cell. After `LOOKS`
    repetitions the best measured cell is chosen, and the reason says so. Raises what `measure` raises, and `MnsweepError`
    where the qualities have different metrics.
    """
    _check_metrics(_candidates(results, constraints), constraints)
    believed_ms: dict[str, float] = {}
    for _ in range(LOOKS):
        narrowed = _with_narrow_intervals(results)
        ranked = _ranked(_candidates(narrowed, constraints), constraints)
        if not any(r.latency_source == PREDICTED for r in ranked[:2]):
            return _with_verification(pick(narrowed, constraints), believed_ms, "")
        doubtful = [r for r in ranked if r.latency_source == PREDICTED][:AT_ONCE]
        believed_ms |= {r.cell: r.latency_p50_ms or 0.0 for r in doubtful}
        results = measure([r.cell for r in doubtful])
    measured = [r for r in results if r.latency_source != PREDICTED]
    stopped = f"; better ones may be left: after {LOOKS} looks at the predictions, the best measured cell was taken"
    return _with_verification(pick(measured, constraints), believed_ms, stopped)


def _check_metrics(candidates: Sequence[Result], constraints: Constraints) -> None:
    """Raise `MnsweepError` where the qualities have different metrics: mean AP is not comparable with top-1."""
    allowed = [r for r in candidates if constraints.task is None or r.task in constraints.task.split(",")]
    if len({r.quality_metric for r in allowed}) > 1:
        tasks = ", ".join(sorted({r.task for r in allowed}))
        raise MnsweepError(
            f"this sweep has qualities of several kinds, for the tasks {tasks}",
            "name one with `task`, or another sweep with `sweep`",
        )


def _with_narrow_intervals(results: Sequence[Result]) -> list[Result]:
    above = [
        r.latency_ci_high_ms / r.latency_p50_ms
        for r in results
        if r.latency_source != PREDICTED and r.latency_p50_ms and r.latency_ci_high_ms
    ]
    usual = median(above) if above else 1.0
    high = {r.cell: (r.latency_p50_ms or 0.0) * usual for r in results if r.latency_source == PREDICTED}
    return [replace(r, latency_ci_high_ms=high[r.cell]) if r.cell in high else r for r in results]


def _with_verification(choice: Choice, believed_ms: Mapping[str, float], more: str) -> Choice:
    """The choice, with the predicted latency and the number of measured cells added to its reason."""
    if not believed_ms:
        return choice
    verb = "was" if len(believed_ms) == 1 else "were"
    verified = f"{count_of(len(believed_ms), 'predicted cell')} {verb} measured to verify it"
    if choice.choice and (ms := believed_ms.get(choice.choice.cell)):
        verified += f"; it was predicted at {ms_text(ms)} ms"
    return replace(choice, reason=f"{choice.reason}; {verified}{more}", looked_at=tuple(believed_ms))


def _ranked(candidates: Sequence[Result], constraints: Constraints) -> list[Result]:
    return sorted((r for r in candidates if not violations(r, constraints)), key=_rank(constraints))


def _rank(constraints: Constraints) -> Callable[[Result], tuple[float, float, int, str]]:
    def rank(r: Result) -> tuple[float, float, int, str]:
        latency, quality = r.latency_p50_ms or 0.0, -(r.quality_pct or 0.0)
        first, second = (quality, latency) if constraints.has_budget else (latency, quality)
        return first, second, r.params, r.cell

    return rank


def next_budget(choice: Result, results: Sequence[Result], constraints: Constraints) -> tuple[float, Result] | None:
    """The next looser latency budget in ms that allows a more accurate cell, and that cell; None where there is none."""
    better = [
        guarded_latency_ms(r, constraints) or 0.0
        for r in _candidates(results, constraints)
        if (r.quality_pct or 0) > (choice.quality_pct or 0) and violations(r, constraints) == ["max_latency_ms"]
    ]
    if not better:
        return None
    bought = _best_within(min(better), results, constraints)
    return None if bought is None else (min(better), bought)


def _looser(choice: Result, candidates: Sequence[Result], constraints: Constraints) -> list[str]:
    """What the next looser latency budget buys, in words; nothing where it buys nothing."""
    looser = next_budget(choice, candidates, constraints)
    if looser is None:
        return []
    budget_ms, cell = looser
    budget = as_typed(budget_ms, lambda ms: _best_within(ms, candidates, constraints) == cell)
    return [f"the next looser budget, {budget} ms, would buy {cell.cell} with {quality_text(cell)}"]


def _best_within(budget_ms: float, results: Sequence[Result], constraints: Constraints) -> Result | None:
    looser = replace(constraints, max_latency_ms=budget_ms)
    return next(iter(_ranked(_candidates(results, looser), looser)), None)


def _candidates(results: Sequence[Result], constraints: Constraints) -> list[Result]:
    known = ["latency_p50_ms", "latency_ci_low_ms", "latency_ci_high_ms", "quality_pct"]
    known += [f"latency_p{constraints.percentile}_ms"] if constraints.percentile else []
    return [r for r in results if all(getattr(r, name) is not None for name in known)]
