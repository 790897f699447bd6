"""What a cell must meet to be picked."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from mnsweep.cell import Deployment
from mnsweep.errors import MnsweepError
from mnsweep.names import choices, is_choice
from mnsweep.result import Result

WORDS = ("precision", "runtime", "task")  # constraints that name values
TAILS = (90, 99)  # percentiles that are kept


@dataclass(frozen=True, slots=True)
class Constraints:
    """What a cell must meet; None asks nothing. Megabytes and millions are 10⁶, kilobytes 10³.

    Latency is the upper end of the 95 % interval, per batch, with `margin_pct` on top; with a `percentile` (90 or 99) that of
    all measured runs. Memory is peak activation memory. `precision`, `runtime` and `task` name those that will do,
    separated by commas.
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
    percentile: int | None = None
    task: str | None = None

    def __post_init__(self) -> None:
        if self.percentile not in (None, *TAILS):
            raise MnsweepError(f"--percentile {self.percentile}: choose from {', '.join(map(str, TAILS))}")
        if self.percentile and self.max_latency_ms is None:
            raise MnsweepError(f"--percentile {self.percentile}: says nothing without --max-latency-ms")
        if self.min_top1 is not None and self.min_top1 > 100:
            raise MnsweepError(f"--min-top1 {self.min_top1}: nothing is more accurate than 100 %")
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name in WORDS:
                for word in [] if value is None else value.split(","):
                    _check_word(f.name, word)
            elif value is not None and not (0 <= value < float("inf")):
                raise MnsweepError(f"--{f.name.replace('_', '-')} {value}: needs a finite number of at least 0")

    @property
    def has_budget(self) -> bool:
        """Whether anything bounds the cost; where nothing does, the fastest is chosen, not the most accurate."""
        return any(getattr(self, f.name) is not None for f in fields(self) if f.name.startswith("max_"))


def _check_word(name: str, word: str) -> None:
    """Raise `MnsweepError` that says what there is, where `word` is none of it."""
    if name == "task" and not is_choice("task", word):
        raise MnsweepError(f"--task {word!r} is unknown: choose from {', '.join(choices('task'))}")
    if name != "task":
        setting: dict[str, Any] = {name: word}
        Deployment(**setting)


def guarded_latency_ms(result: Result, constraints: Constraints) -> float | None:
    """What a latency budget is held against: the upper end of the interval or a measured percentile, and the margin."""
    high = getattr(result, f"latency_p{c}_ms") if (c := constraints.percentile) else result.latency_ci_high_ms
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
    for name in WORDS:
        allowed = getattr(constraints, name)
        if allowed is not None and getattr(result, name) not in allowed.split(","):
            over.append(f"--{name}")
    least = constraints.min_top1
    if least is not None and (result.quality_pct is None or result.quality_pct < least):
        over.append("--min-top1")
    return over
