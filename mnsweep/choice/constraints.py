"""What a cell must meet to be picked."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypeAlias

from mnsweep.cell import Deployment
from mnsweep.errors import MnsweepError
from mnsweep.names import choices, is_choice
from mnsweep.options import CONSTRAINTS, option

if TYPE_CHECKING:
    from mnsweep.result import Result

WORDS = ("precision", "runtime", "task")  # constraints that list accepted values
QUALITIES = ("min_quality", "min_top1")  # lower bounds on the quality
TAILS = (90, 99)  # percentiles that results have
DEFAULT_RELATIVE_CI = 20.0  # %, against other cells: a wider interval tells networks twice as large apart hardly at all
Cost: TypeAlias = "Callable[[Result], float | None]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraints:
    """What a cell must meet; None means no constraint. Megabytes and millions are 10⁶, kilobytes 10³.

    The latency budget applies to one batch: to the upper end of the 95 % confidence interval, or with `percentile` (90 or
    99) to that percentile of all measured runs, plus `margin_pct`. Memory is peak activation memory. `precision`, `runtime`
    and `task` list the accepted values, separated by commas. Raises `MnsweepError` on a bad value.
    """

    max_latency_ms: float | None = option(None, "Budget for the upper end of the latency interval.", panel=CONSTRAINTS)
    margin_pct: float = option(
        0.0,
        "Add this much to each latency before it is held against the budget, in %.",
        panel=CONSTRAINTS,
        requires="max_latency_ms",
    )
    min_quality: float | None = option(
        None, "Minimum quality in %, by the task's metric: top-1, mean AP, mAP …", panel=CONSTRAINTS, excludes="min_top1"
    )
    min_top1: float | None = option(None, "The same under its older name.", panel=CONSTRAINTS)
    max_params_m: float | None = option(None, "Maximum parameters, in millions.", panel=CONSTRAINTS)
    max_mult_adds_m: float | None = option(None, "Maximum mult-adds, in millions.", panel=CONSTRAINTS)
    max_size_mb: float | None = option(None, "Maximum ONNX file size, in 10⁶ bytes.", panel=CONSTRAINTS)
    max_memory_mb: float | None = option(None, "Maximum peak activation memory, in 10⁶ bytes.", panel=CONSTRAINTS)
    max_memory_kb: float | None = option(None, "The same in 10³ bytes, for microcontrollers.", panel=CONSTRAINTS)
    max_relative_ci: float = option(
        DEFAULT_RELATIVE_CI, "Ignore measured cells known less well than ± this, in %.", panel=CONSTRAINTS
    )
    precision: str | None = option(None, "Only these precisions: fp32,int8. Default: any.", panel=CONSTRAINTS)
    runtime: str | None = option(None, "Only these runtimes: onnxruntime. Default: any.", panel=CONSTRAINTS)
    percentile: int | None = option(
        None, "Hold the budget against this percentile of measured runs: 90 or 99.", panel=CONSTRAINTS
    )
    task: str | None = option(None, "Only networks for this task, e.g. ssd. Default: any.", panel=CONSTRAINTS)

    def __post_init__(self) -> None:
        if self.percentile not in (None, *TAILS):
            raise MnsweepError(f"`percentile` {self.percentile} is unknown", f"choose from {', '.join(map(str, TAILS))}")
        if self.percentile and self.max_latency_ms is None:
            raise MnsweepError(f"`percentile` {self.percentile} requires `max_latency_ms`")
        for name in QUALITIES:
            if (least := getattr(self, name)) is not None and least > 100:
                raise MnsweepError(f"`{name}` {least}: nothing is more accurate than 100 %")
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name in WORDS:
                for word in [] if value is None else value.split(","):
                    _check_word(f.name, word)
            elif value is not None and not (0 <= value < float("inf")):
                raise MnsweepError(f"`{f.name}` {value} is not a finite number of at least 0")

    @property
    def has_budget(self) -> bool:
        """Whether any cost has an upper bound; without one, the fastest cell is chosen, not the most accurate."""
        return bool(active_bounds(self))


def _check_word(name: str, word: str) -> None:
    """Raise `MnsweepError`, with the known values, if `word` is not one of them."""
    if name == "task" and not is_choice("task", word):
        raise MnsweepError(f"`task` {word!r} is unknown", f"choose from {', '.join(choices('task'))}")
    if name != "task":
        setting: dict[str, Any] = {name: word}
        Deployment(**setting)


def guarded_latency_ms(result: "Result", constraints: Constraints) -> float | None:
    """Latency in ms to compare with a budget: the interval's upper end or the percentile, plus margin; None if unknown."""
    high = getattr(result, f"latency_p{c}_ms") if (c := constraints.percentile) else result.latency_ci_high_ms
    return None if high is None else high * (1 + constraints.margin_pct / 100)


def active_bounds(c: Constraints) -> dict[str, tuple[float, Cost]]:
    """Every upper bound on a cost that is set, by its setting: the bound, and the cost of a result in the same unit."""
    costs: dict[str, Cost] = {
        "max_latency_ms": lambda r: guarded_latency_ms(r, c),
        "max_params_m": lambda r: r.params / 1e6,
        "max_mult_adds_m": lambda r: r.mult_adds / 1e6,
        "max_size_mb": lambda r: r.onnx_bytes / 1e6,
        "max_memory_mb": lambda r: r.peak_activation_bytes / 1e6,
        "max_memory_kb": lambda r: r.peak_activation_bytes / 1e3,
    }
    return {name: (bound, cost) for name, cost in costs.items() if (bound := getattr(c, name)) is not None}


def active_words(c: Constraints) -> dict[str, list[str]]:
    """The accepted values of every setting that is constrained to names."""
    return {name: allowed.split(",") for name in WORDS if (allowed := getattr(c, name)) is not None}


def is_wide(result: "Result", c: Constraints) -> bool:
    """Whether a latency was measured, but is known less well than `max_relative_ci` asks for."""
    return result.relative_ci_pct is not None and result.relative_ci_pct > c.max_relative_ci


def violations(result: "Result", constraints: Constraints) -> list[str]:
    """The names of the constraints that `result` does not meet; an unknown value does not meet its constraint."""
    bounds = active_bounds(constraints).items()
    violated = [name for name, (bound, cost) in bounds if (value := cost(result)) is None or value > bound]
    violated += [name for name, allowed in active_words(constraints).items() if getattr(result, name) not in allowed]
    violated += ["max_relative_ci"] * is_wide(result, constraints)
    for name in QUALITIES:
        least = getattr(constraints, name)
        if least is not None and (result.quality_pct is None or result.quality_pct < least):
            violated.append(name)
    return violated
