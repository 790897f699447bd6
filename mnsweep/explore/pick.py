"""The choice: the most accurate cell that meets every constraint, and why."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from math import floor, log10

from mnsweep.accuracy.published import weights_note
from mnsweep.cell import Deployment
from mnsweep.errors import MnsweepError
from mnsweep.result import Result, ms_text

DEPLOYED = ("precision", "runtime")


@dataclass(frozen=True, slots=True)
class Constraints:
    """What a cell must meet; None asks nothing. Megabytes and millions are 10⁶, kilobytes 10³.

    Latency is the upper end of the 95 % interval, per batch, with `margin_pct` on top. Memory is peak
    activation memory. `precision` and `runtime` name those that will do, separated by commas.
    """

    max_latency_ms: float | None = None
    margin_pct: float = 0.0
    min_top1: float | None = None
    max_params_m: float | None = None
    max_mult_adds_m: float | None = None
    max_size_mb: float | None = None
    max_memory_mb: float | None = None
    max_memory_kb: float | None = None
    precision: str | None = None
    runtime: str | None = None

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name in DEPLOYED:
                for word in [] if value is None else value.split(","):
                    Deployment(**{f.name: word})  # raises, and says what there is
            elif value is not None and not (0 <= value < float("inf")):
                raise MnsweepError(f"--{f.name.replace('_', '-')} {value}: needs a finite number of at least 0")

    @property
    def has_budget(self) -> bool:
        """Whether anything bounds the cost; where nothing does, the fastest is chosen, not the most accurate."""
        return any(getattr(self, f.name) is not None for f in fields(self) if f.name.startswith("max_"))


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen, what came second, and why; `choice` is None when nothing meets the constraints."""

    choice: Result | None
    runner_up: Result | None
    reason: str


def guarded_latency_ms(result: Result, constraints: Constraints) -> float | None:
    """What a latency budget is held against: the upper end of the interval, and the margin."""
    high = result.latency_ci_high_ms
    return None if high is None else high * (1 + constraints.margin_pct / 100)


def _latency(c: Constraints) -> Callable[[Result], float | None]:
    return lambda r: guarded_latency_ms(r, c)


def _checks(c: Constraints) -> list[tuple[str, float | None, Callable[[Result], float | None]]]:
    """(flag, bound, cost of a result) for every upper bound."""
    return [
        ("--max-latency-ms", c.max_latency_ms, _latency(c)),
        ("--max-params-m", c.max_params_m, lambda r: r.params / 1e6),
        ("--max-mult-adds-m", c.max_mult_adds_m, lambda r: r.mult_adds / 1e6),
        ("--max-size-mb", c.max_size_mb, lambda r: r.onnx_bytes / 1e6),
        ("--max-memory-mb", c.max_memory_mb, lambda r: r.peak_activation_bytes / 1e6),
        ("--max-memory-kb", c.max_memory_kb, lambda r: r.peak_activation_bytes / 1e3),
    ]


def violations(result: Result, constraints: Constraints) -> list[str]:
    """The flags that `result` does not meet; a value that is not known meets nothing."""
    over = [
        flag
        for flag, bound, cost in _checks(constraints)
        if bound is not None and ((value := cost(result)) is None or value > bound)
    ]
    for name in DEPLOYED:
        allowed = getattr(constraints, name)
        if allowed is not None and getattr(result, name) not in allowed.split(","):
            over.append(f"--{name}")
    least = constraints.min_top1
    if least is not None and (result.quality_pct is None or result.quality_pct < least):
        over.append("--min-top1")
    return over


def pick(results: Sequence[Result], constraints: Constraints) -> Choice:
    """The best of the measured cells with a known quality that meets all constraints.

    Best is most accurate, then fastest; with no upper bound on anything (`--min-top1` alone), fastest,
    then most accurate.
    """
    candidates = _candidates(results)
    if not candidates:
        return Choice(None, None, _nothing_to_choose_from(results))
    ranked = sorted((r for r in candidates if not violations(r, constraints)), key=_rank(constraints))
    if not ranked:
        return Choice(None, None, _nothing_feasible(candidates, constraints))
    return Choice(ranked[0], ranked[1] if ranked[1:] else None, _reason(ranked[0], ranked, candidates, constraints))


def _rank(constraints: Constraints) -> Callable[[Result], tuple[float, float, int, str]]:
    def rank(r: Result) -> tuple[float, float, int, str]:
        latency, quality = r.latency_p50_ms or 0.0, -(r.quality_pct or 0.0)
        first, second = (quality, latency) if constraints.has_budget else (latency, quality)
        return first, second, r.params, r.cell

    return rank


def next_budget(choice: Result, results: Sequence[Result], constraints: Constraints) -> tuple[float, Result] | None:
    """The next looser latency budget that buys a better cell, and what `pick` takes then; None where none does."""
    better = [
        guarded_latency_ms(r, constraints) or 0.0
        for r in _candidates(results)
        if (r.quality_pct or 0) > (choice.quality_pct or 0) and violations(r, constraints) == ["--max-latency-ms"]
    ]
    if not better:
        return None
    bought = _best_within(min(better), results, constraints)
    return None if bought is None else (min(better), bought)


def _best_within(budget_ms: float, results: Sequence[Result], constraints: Constraints) -> Result | None:
    looser = replace(constraints, max_latency_ms=budget_ms)
    return min((r for r in _candidates(results) if not violations(r, looser)), key=_rank(looser), default=None)


def _candidates(results: Sequence[Result]) -> list[Result]:
    known = ("latency_p50_ms", "latency_ci_low_ms", "latency_ci_high_ms", "quality_pct")
    return [r for r in results if all(getattr(r, name) is not None for name in known)]


def _reason(choice: Result, ranked: Sequence[Result], candidates: Sequence[Result], constraints: Constraints) -> str:
    aim = "most accurate" if constraints.has_budget else "fastest"
    parts = [
        f"{choice.cell} is the {aim} of {len(ranked)} feasible cells (of {len(candidates)} with latency and quality): "
        f"{choice.quality_pct:g} % at {ms_text(choice.latency_p50_ms)} ms, at most "
        f"{ms_text(guarded_latency_ms(choice, constraints))} ms with its interval"
        + (f" and a margin of {constraints.margin_pct:g} %" if constraints.margin_pct else "")
    ]
    if looser := next_budget(choice, candidates, constraints):
        budget_ms, cell = looser
        budget = _as_typed(budget_ms, lambda ms: _best_within(ms, candidates, constraints) == cell)
        parts.append(f"the next looser budget, {budget} ms, would buy {cell.cell} with {cell.quality_pct:g} %")
    parts.append(f"the quality is {choice.quality_source}; {weights_note(choice.quality_source)}")
    return "; ".join(parts)


def _as_typed(ms: float, works: Callable[[float], bool]) -> str:
    """The shortest decimal of at least `ms`, in three digits or more, that works when it is typed."""
    for digits in range(3, 17):
        step = 10.0 ** (floor(log10(ms)) + 1 - digits) if ms > 0 else 1.0
        for text in (f"{ms:.{digits}g}", f"{ms + step:.{digits}g}"):
            if float(text) >= ms and works(float(text)):
                return text if "e" not in text else f"{float(text):.0f}"
    return repr(ms)


def _nothing_to_choose_from(results: Sequence[Result]) -> str:
    if not any(r.latency_p50_ms is not None for r in results):
        return "no cell of this sweep was measured; run 'mnsweep grid' again"
    return (
        "no cell of this sweep has a quality: no published source covers its designs; "
        "sweep α 0.25, 0.5, 0.75 or 1.0 at 128, 160, 192 or 224 px"
    )


def _nothing_feasible(candidates: Sequence[Result], constraints: Constraints) -> str:
    fastest = min(candidates, key=lambda r: r.latency_ci_high_ms or float("inf"))
    best = max(candidates, key=lambda r: r.quality_pct or 0.0)
    return (
        f"no cell meets the constraints; the fastest available is {fastest.cell} at {ms_text(fastest.latency_p50_ms)} ms "
        f"(needs --max-latency-ms {_as_typed(guarded_latency_ms(fastest, constraints) or 0.0, lambda ms: True)}), "
        f"the most accurate is {best.cell} with {best.quality_pct:g} %"
    )
