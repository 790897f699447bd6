"""The grammar of axes, and the cells they span.

An axis is a list of numbers and ranges, e.g. `0.25,0.5` or `0.25:1.0:0.05`. A range includes both ends, the upper one even if
no step lands on it. The values of a range are counted before they are generated, so that a typing error does not fill memory.

>>> [cell.id for cell in Space(alpha="0.25,0.5", res="128:160:16").cells()][:4]
['a0.25_r128', 'a0.25_r144', 'a0.25_r160', 'a0.5_r128']
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from itertools import chain, product
from math import floor, prod
from typing import Any, SupportsFloat, TypeAlias

from mnsweep.cell import RESOLUTION_RANGE, Cell, Deployment, Design
from mnsweep.errors import MnsweepError
from mnsweep.names import VARIANTS, choices
from mnsweep.options import AXES, NETWORK, option, plain

MAX_DESIGNS = 10_000  # hours of measuring: a larger grid is probably a typing error
PAPER_AXES = {"alpha": "0.25,0.5,0.75,1.0", "res": "128,160,192,224"}
FINE_ALPHAS, FINE_RESOLUTIONS = "0.25:1.0:0.01", "128:224:8"  # the range of the paper's grid, in fine steps

AxisValue: TypeAlias = str | int | float | Sequence[str | int | float]
AxisLike: TypeAlias = str | SupportsFloat | Iterable[Any]  # in Python: also numbers and arrays of any library

WORDS = ("precision", "runtime", "pad")  # axes whose values are names
SETTINGS = ("variant", "task", "classes", "width_rule", "conv_padding", "activation")  # one value each, for all designs
MOST_NUMBER = 10**30  # larger numbers are out of every range, and some overflow a float
_NUMBER = re.compile(r"[+-]?([0-9]{1,40}\.?[0-9]{0,40}|\.[0-9]{1,40})([eE][+-]?[0-9]{1,3})?")


@dataclass(frozen=True, slots=True)
class _Range:
    """`start`, `start + step`, … up to and including `stop`, exact; a single number if `start` equals `stop`."""

    start: Fraction
    stop: Fraction
    step: Fraction

    def count(self) -> int:
        steps = (self.stop - self.start) / self.step
        return floor(steps) + 1 + (steps.denominator != 1)

    def __iter__(self) -> Iterator[Fraction]:
        return (min(self.start + i * self.step, self.stop) for i in range(self.count()))


@dataclass(frozen=True, slots=True)
class _Axis:
    """The name of an axis, its meaning in messages, and the values that it accepts."""

    name: str
    meaning: str
    whole: bool
    low: Fraction
    high: Fraction
    open_below: bool = False

    def check(self, value: Fraction, text: str) -> None:
        if not self.whole and abs(value) < MOST_NUMBER:
            value = Fraction(float(value))  # the value that the cell will have
        below = value <= self.low if self.open_below else value < self.low
        if below or value > self.high or (self.whole and value.denominator != 1):
            bounds = f"above {self.low}, up to {self.high}" if self.open_below else f"from {self.low} to {self.high}"
            raise MnsweepError(f"`{self.name}` {text}: {self.meaning} {bounds}")


_RESOLUTION = (Fraction(RESOLUTION_RANGE[0]), Fraction(RESOLUTION_RANGE[1]))
_AXES = {
    "alpha": _Axis("alpha", "the width multiplier is a number", False, Fraction(0), Fraction(2), open_below=True),
    "res": _Axis("res", "the resolution is a whole number of pixels", True, *_RESOLUTION),
    "threads": _Axis("threads", "threads are a whole number", True, Fraction(1), Fraction(1024)),
    "batch": _Axis("batch", "the batch is a whole number of images", True, Fraction(1), Fraction(1024)),
}


def _parse_number(axis: _Axis, token: str, text: str) -> Fraction:
    if not _NUMBER.fullmatch(token):
        raise MnsweepError(f"`{axis.name}` {text}: {token!r} is not a number", "write 0.25,0.5 or a range a:b:step")
    return Fraction(token)


def _parse_item(axis: _Axis, item: str, text: str) -> _Range:
    if not item:
        raise _missing(axis.name, text)
    parts = [_parse_number(axis, part.strip(), text) for part in item.split(":")]
    if len(parts) == 1:
        return _Range(parts[0], parts[0], Fraction(1))
    if len(parts) != 3:
        raise MnsweepError(f"`{axis.name}` {text}: the range {item!r} has {len(parts)} parts", "write start:stop:step")
    start, stop, step = parts
    if step <= 0 or start > stop:
        raise MnsweepError(f"`{axis.name}` {text}: the range {item!r} is empty", "write start ≤ stop and a step above 0")
    return _Range(start, stop, step)


def _missing(name: str, text: str) -> MnsweepError:
    """A value is empty; `text` is all that was written."""
    if not text:
        return MnsweepError(f"`{name}`: the value is empty", "give at least one, or leave it out")
    return MnsweepError(f"`{name}` {text}: a value is missing beside a comma")


def _parse_words(name: str, value: object) -> list[str]:
    """The values of an axis of names; `Cell` checks that they are known."""
    words = value.split(",") if isinstance(value, str) else value if isinstance(value, list | tuple) else [value]
    if not all(map(_is_number_or_text, words)):
        raise MnsweepError(f"`{name}` {value!r} is not a list of names")
    names = [str(word).strip() for word in words]
    if not names:
        raise MnsweepError(f"`{name}`: the list is empty", "give at least one value")
    if "" in names:
        raise _missing(name, ",".join(names))
    return list(dict.fromkeys(names))


def _plain_axis(value: Any) -> Any:
    """Numbers and arrays of any library as plain numbers and lists, which can be read twice; other values as they are."""
    read = plain(value)
    if isinstance(read, str | bytes | Mapping) or not isinstance(read, Iterable):
        return read
    return [plain(item) for item in read]


def _is_number_or_text(value: object) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _parse_axis(axis: _Axis, value: object) -> tuple[str, list[_Range]]:
    if isinstance(value, str | int | float):
        value = value.split(",") if isinstance(value, str) else [value]
    if not isinstance(value, list) or not all(map(_is_number_or_text, value)):
        raise MnsweepError(f"`{axis.name}` {value!r} is neither numbers nor a range", "write 0.25,0.5 or a range a:b:step")
    if any(isinstance(v, int) and abs(v) > MOST_NUMBER for v in value):
        raise MnsweepError(f"`{axis.name}`: a number of more than 30 digits is out of every range")
    items = [str(v).strip() for v in value]
    text = ",".join(items)
    if not items:
        raise MnsweepError(f"`{axis.name}`: the list is empty", "give at least one value")
    return text, [_parse_item(axis, item, text) for item in items]


def _write_out(axis: _Axis, text: str, ranges: list[_Range]) -> list[Fraction]:
    for bound in chain.from_iterable((r.start, r.stop) for r in ranges):
        axis.check(bound, text)
    values = list(dict.fromkeys(chain.from_iterable(ranges)))
    for value in values:
        axis.check(value, text)
    return values


@dataclass(frozen=True, slots=True)
class Space:
    """A grid of cells: the product of the axes, for one choice of each remaining setting.

    Axes take a string in the grammar above or a list of numbers; `precision`, `runtime` and `pad` take names. If `alpha` or
    `res` is None, it is the paper's four values, or the single value of a comparison network. If None, `classes` is the
    task's number and `activation` is the variant's. `threads` may be `auto` if `auto_threads` gives the number for this
    machine. Raises `MnsweepError` for a value that no cell can have, and for a grid of more than `max_designs` designs or
    cells.
    """

    alpha: AxisValue | None = option(
        None, "Width multipliers: 0.25,0.5 or a range 0.25:1.0:0.05. Default: the paper's four.", panel=AXES
    )
    res: AxisValue | None = option(
        None, "Input resolutions in pixels: 128,160 or 128:224:32. Default: the paper's four.", panel=AXES
    )
    variant: str = option("mobilenet", f"One of {', '.join(choices('variant'))}.", panel=NETWORK)
    task: str = option("classify", f"One of {', '.join(choices('task'))}.", panel=NETWORK)
    classes: int | None = option(None, "Outputs: classes, cells, attributes. Default: the task's.", panel=NETWORK)
    width_rule: str = option("paper", "Channels from α: paper (truncate) or round8.", panel=NETWORK)
    conv_padding: str = option("same", "Padding at stride 2: same (TensorFlow), keras, symmetric (PyTorch).", panel=NETWORK)
    activation: str | None = option(None, "relu6 or relu. Default: the variant's.", panel=NETWORK)
    precision: AxisValue = option("fp32", f"Any of {', '.join(choices('precision'))}.", panel=AXES)
    runtime: AxisValue = option(
        "onnxruntime", f"Any of {', '.join(choices('runtime'))}; or onnxruntime:CUDAExecutionProvider.", panel=AXES
    )
    threads: AxisValue = option("1", "Threads of the runtime's pool: 1,2 or auto (all CPUs).", panel=AXES)
    batch: AxisValue = option("1", "Images per call.", panel=AXES)
    pad: AxisValue = option("auto", "Zero-pad channels, same logits: auto (what pays here), none, 16.", panel=AXES)
    max_designs: int = option(MAX_DESIGNS, "Refuse a grid of more designs than this.", panel=AXES)
    auto_threads: int | None = None

    def __post_init__(self) -> None:
        for name in (*_AXES, *WORDS):
            object.__setattr__(self, name, _plain_axis(getattr(self, name)))

    def cells(self) -> tuple[Cell, ...]:
        """Every cell, each once, in the order given: α outermost, deployments innermost."""
        designs, deployments = self.designs(), self.deployments()
        if (total := len(designs) * len(deployments)) > self.max_designs:
            what = f"{len(designs):,} designs in {len(deployments):,} deployments make {total:,} cells"
            fix = "use fewer, or raise the limit with `max_designs`"
            raise MnsweepError(f"{what}, above the limit of {self.max_designs:,}", fix)
        return tuple(Cell(design, deployment) for design in designs for deployment in deployments)

    def designs(self) -> tuple[Design, ...]:
        """Every design of the grid, α outermost."""
        alphas, resolutions = self._values("alpha", "res")
        settings: dict[str, Any] = {name: getattr(self, name) for name in SETTINGS}
        designs = (Design.of(float(a), int(r), **settings) for a, r in product(alphas, resolutions))
        return tuple(dict.fromkeys(designs))

    def deployments(self) -> tuple[Deployment, ...]:
        """Every deployment of the grid."""
        threads, batches = self._values("threads", "batch")
        precisions, runtimes, pads = (_parse_words(name, getattr(self, name)) for name in WORDS)
        settings = product(precisions, runtimes, map(int, threads), map(int, batches), pads)
        return tuple(Deployment(p, r, threads=t, batch=b, pad=pad) for p, r, t, b, pad in settings)

    def _resolved(self, name: str) -> AxisValue:
        """The value of an axis, with defaults filled in and `auto` threads replaced by this machine's number."""
        value: AxisValue | None = getattr(self, name)
        if value is None:
            network = VARIANTS.get(self.variant)
            native = {"alpha": 1.0, "res": network.native_resolution} if network and network.compares else {}
            return native.get(name, PAPER_AXES[name])
        if name != "threads" or self.auto_threads is None:
            return value
        items: Any = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else [value]
        return [self.auto_threads if isinstance(i, str) and i.strip() == "auto" else i for i in items]

    def _values(self, *names: str) -> list[list[Fraction]]:
        parsed = [(_AXES[name], *_parse_axis(_AXES[name], self._resolved(name))) for name in names]
        counts = [sum(r.count() for r in ranges) for _, _, ranges in parsed]
        if (total := prod(counts)) > self.max_designs:
            asked = " × ".join(f"`{axis.name}` {text} ({n:,})" for (axis, text, _), n in zip(parsed, counts, strict=True))
            fix = "use larger steps, or raise the limit with `max_designs`"
            raise MnsweepError(f"{asked} makes {total:,} designs, above the limit of {self.max_designs:,}", fix)
        return [_write_out(*p) for p in parsed]


SPACE_KEYS = tuple(f.name for f in fields(Space) if f.name not in ("max_designs", "auto_threads"))
