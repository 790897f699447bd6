"""Scatter plots for the page: where marks, ticks and lines are, in the units of an SVG. Colours and shapes are the page's."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from mnsweep.wording import round_numbers, three_digits

WIDTH, HEIGHT = 720.0, 440.0
LEFT, RIGHT, TOP, BOTTOM = 64.0, 12.0, 14.0, 52.0
MOST_BARS = 200  # more intervals would hide the marks
FEW_DECADES = 12.0  # high over low
MOST_TICKS = 9  # beyond it only powers of ten
Interval = tuple[float, float] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One cell: its row in the table, values on both axes, and horizontal or vertical intervals of its latency.

    `wide` is the absolute interval, `narrow` the one against the other cells.
    """

    row: int
    x: float
    y: float
    wide: Interval = None
    narrow: Interval = None
    kind: int = 0
    predicted: bool = False
    on_frontier: bool = False


@dataclass(frozen=True, slots=True)
class Tick:
    """A tick: where, and what stands there."""

    at: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A scatter plot; `latency_is_x` tells along which axis intervals lie.

    `marks` are its points in the units of the SVG, `frontier` are those of its line.
    """

    title: str
    x_label: str
    y_label: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    marks: tuple[Point, ...]
    frontier: str
    latency_is_x: bool
    width: float = WIDTH
    height: float = HEIGHT
    left: float = LEFT
    right: float = WIDTH - RIGHT
    top: float = TOP
    bottom: float = HEIGHT - BOTTOM


def scatter(title: str, x_label: str, y_label: str, points: Sequence[Point], *, log_y: bool, latency_is_x: bool) -> Chart:
    """The plot of at least one point; x is logarithmic, y too where `log_y`. All values on logarithmic axes are above 0."""
    bars = len(points) <= MOST_BARS
    ends = [end for p in points if bars and p.wide for end in p.wide]
    xs, ys = [p.x for p in points], [p.y for p in points]
    x_of, x_ticks = _log_axis([*xs, *(ends if latency_is_x else ())], LEFT, WIDTH - RIGHT)
    axis = _log_axis if log_y else _linear_axis
    y_of, y_ticks = axis([*ys, *(() if latency_is_x else ends)], HEIGHT - BOTTOM, TOP)
    place = x_of if latency_is_x else y_of
    marks = tuple(
        replace(
            p,
            x=x_of(p.x),
            y=y_of(p.y),
            wide=(place(p.wide[0]), place(p.wide[1])) if bars and p.wide else None,
            narrow=(place(p.narrow[0]), place(p.narrow[1])) if bars and p.narrow else None,
        )
        for p in points
    )
    line = sorted((m.x, m.y) for m in marks if m.on_frontier)
    return Chart(
        title=title,
        x_label=x_label,
        y_label=y_label,
        x_ticks=x_ticks,
        y_ticks=y_ticks,
        marks=marks,
        frontier=" ".join(f"{x:g},{y:g}" for x, y in line),
        latency_is_x=latency_is_x,
    )


def _log_axis(values: Sequence[float], start: float, end: float) -> tuple[Callable[[float], float], tuple[Tick, ...]]:
    low, high = min(values), max(values)
    low, high = (low / 1.06, high * 1.06) if high / low > 1.02 else (low / 1.3, high * 1.3)
    span = math.log(high / low)

    def place(value: float) -> float:
        return round(start + (end - start) * math.log(value / low) / span, 1)

    if high / low < FEW_DECADES:  # too short for round numbers of one digit
        return place, tuple(Tick(place(v), _digits(v, step)) for v, step in _round_values(low, high))
    values = round_numbers(low, high)
    shown = values if len(values) <= MOST_TICKS else [v for v in values if f"{v:e}"[0] == "1"]
    return place, tuple(Tick(place(v), three_digits(v)) for v in shown)


def _linear_axis(values: Sequence[float], start: float, end: float) -> tuple[Callable[[float], float], tuple[Tick, ...]]:
    low, high = min(values), max(values)
    pad = 0.05 * (high - low) or 1.0
    low, high = low - pad, high + pad

    def place(value: float) -> float:
        return round(start + (end - start) * (value - low) / (high - low), 1)

    return place, tuple(Tick(place(v), _digits(v, step)) for v, step in _round_values(low, high))


def _round_values(low: float, high: float) -> list[tuple[float, float]]:
    """Some six multiples of a round step within the limits, each with the step."""
    rough = (high - low) / 6
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(s * magnitude for s in (1, 2, 5, 10) if s * magnitude >= rough)
    return [(n * step, step) for n in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _digits(value: float, step: float) -> str:
    """The value with as many decimals as the step has."""
    return f"{value:,.{max(0, -math.floor(math.log10(step) + 1e-9))}f}"
