"""The grammar of axes, and the cells they span.

An axis is a list of numbers and ranges, `0.25,0.5` or `0.25:1.0:0.05`; a range includes both its ends,
the upper one even where the step does not land on it. Ranges are counted before they are written out,
so that a slip of the keyboard is an error and not a full memory.

>>> [cell.id for cell in Space(alpha="0.25,0.5", res="128:160:16").cells()][:4]
['a0.25_r128', 'a0.25_r144', 'a0.25_r160', 'a0.5_r128']
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from itertools import chain, product
from math import floor, prod
from typing import TypeAlias

from mnsweep.cell import NATIVE_RESOLUTION, RESOLUTION_RANGE, TASK_CLASSES, Cell, Deployment, Design
from mnsweep.errors import MnsweepError

MAX_DESIGNS = 10_000  # hours of measuring: more is likelier a typing error than a wish
PAPER_AXES = {"alpha": "0.25,0.5,0.75,1.0", "res": "128,160,192,224"}
FINE_ALPHAS, FINE_RESOLUTIONS = "0.25:1.0:0.01", "128:224:8"  # between the paper's corners

AxisValue: TypeAlias = str | int | float | Sequence[str | int | float]

WORDS = ("precision", "runtime", "pad")  # axes of names
MOST_NUMBER = 10**30  # beyond, a number is out of every range, and some are too large for a float
_NUMBER = re.compile(r"[+-]?([0-9]{1,40}\.?[0-9]{0,40}|\.[0-9]{1,40})([eE][+-]?[0-9]{1,3})?")


@dataclass(frozen=True, slots=True)
class _Range:
    """`start`, `start + step`, … up to and with `stop`, exact; a single number where they are equal."""

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
    """How one axis is spoken of in messages, and what it accepts."""

    flag: str
    what: str
    whole: bool
    low: Fraction
    high: Fraction
    open_below: bool = False

    def check(self, value: Fraction, text: str) -> None:
        if not self.whole and abs(value) < MOST_NUMBER:
            value = Fraction(float(value))  # what the cell will have
        below = value <= self.low if self.open_below else value < self.low
        if below or value > self.high or (self.whole and value.denominator != 1):
            bounds = f"{'above' if self.open_below else 'from'} {self.low}{',' if self.open_below else ''}"
            raise MnsweepError(f"{self.flag} {text}: {self.what} {bounds} {'up to' if self.open_below else 'to'} {self.high}")


_RESOLUTION = (Fraction(RESOLUTION_RANGE[0]), Fraction(RESOLUTION_RANGE[1]))
_AXES = {
    "alpha": _Axis("--alpha", "the width multiplier is a number", False, Fraction(0), Fraction(2), open_below=True),
    "res": _Axis("--res", "the resolution is a whole number of pixels", True, *_RESOLUTION),
    "threads": _Axis("--threads", "threads are a whole number", True, Fraction(1), Fraction(1024)),
    "batch": _Axis("--batch", "the batch is a whole number of images", True, Fraction(1), Fraction(1024)),
}


def _parse_number(axis: _Axis, token: str, text: str) -> Fraction:
    if not _NUMBER.fullmatch(token):
        raise MnsweepError(f"{axis.flag} {text}: {token!r} is not a number; write 0.25,0.5 or a range a:b:step")
    return Fraction(token)


def _parse_item(axis: _Axis, item: str, text: str) -> _Range:
    if not item:
        raise MnsweepError(f"{axis.flag} {text}: a value is missing beside a comma")
    parts = [_parse_number(axis, part.strip(), text) for part in item.split(":")]
    if len(parts) == 1:
        return _Range(parts[0], parts[0], Fraction(1))
    if len(parts) != 3:
        raise MnsweepError(f"{axis.flag} {text}: the range {item!r} needs start:stop:step")
    start, stop, step = parts
    if step <= 0 or start > stop:
        raise MnsweepError(f"{axis.flag} {text}: the range {item!r} is empty; it needs start ≤ stop and a step above 0")
    return _Range(start, stop, step)


def _parse_words(name: str, value: object) -> list[str]:
    """The values of an axis of words; a cell checks whether it knows them."""
    words = value.split(",") if isinstance(value, str) else value if isinstance(value, list | tuple) else [value]
    if not all(map(_is_number_or_text, words)):
        raise MnsweepError(f"--{name} {value!r}: expected names")
    found = [str(word).strip() for word in words]
    if not found:
        raise MnsweepError(f"--{name}: the list is empty; give at least one value")
    if "" in found:
        raise MnsweepError(f"--{name} {','.join(found)}: a value is missing beside a comma")
    return list(dict.fromkeys(found))


def _is_number_or_text(value: object) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _parse_axis(axis: _Axis, value: object) -> tuple[str, list[_Range]]:
    if isinstance(value, str | int | float):
        value = value.split(",") if isinstance(value, str) else [value]
    if not isinstance(value, Iterable) or not all(map(_is_number_or_text, value)):
        raise MnsweepError(f"{axis.flag} {value!r}: expected numbers or a range a:b:step")
    if any(isinstance(v, int) and abs(v) > MOST_NUMBER for v in value):
        raise MnsweepError(f"{axis.flag}: a number of more than 30 digits is out of every range")
    items = [str(v).strip() for v in value]
    text = ",".join(items)
    if not items:
        raise MnsweepError(f"{axis.flag}: the list is empty; give at least one value")
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

    Axes take a string in the grammar above or a list of numbers; `precision`, `runtime` and `pad` take names.
    `alpha` and `res` are the paper's four where they are None, or the only ones that a network to compare with has;
    `classes` are the task's own.
    `threads` may say `auto` where `auto_threads` says what that is on this machine. Raises `MnsweepError` on a
    value that no cell can have, and when the grid holds more than `max_designs` designs.
    """

    alpha: AxisValue | None = None
    res: AxisValue | None = None
    variant: str = "mobilenet"
    task: str = "classify"
    classes: int | None = None
    width_rule: str = "paper"
    conv_padding: str = "same"
    activation: str = "relu6"
    precision: AxisValue = "fp32"
    runtime: AxisValue = "onnxruntime"
    threads: AxisValue = "1"
    batch: AxisValue = "1"
    pad: AxisValue = "auto"
    max_designs: int = MAX_DESIGNS
    auto_threads: int | None = None

    def cells(self) -> tuple[Cell, ...]:
        """Every cell, α outermost, in the order given, each once."""
        designs, deployments = self.designs(), self.deployments()
        if (total := len(designs) * len(deployments)) > self.max_designs:
            raise MnsweepError(
                f"{len(designs):,} designs in {len(deployments):,} deployments make {total:,} cells, above the limit of "
                f"{self.max_designs:,}; use fewer, or raise the limit with --max-designs"
            )
        return tuple(Cell(design, deployment) for design in designs for deployment in deployments)

    def designs(self) -> tuple[Design, ...]:
        """Every design of the grid, α outermost."""
        alphas, resolutions = self._values("alpha", "res")
        classes = TASK_CLASSES.get(self.task, 1) if self.classes is None else self.classes
        settings = (self.variant, self.task, classes, self.width_rule, self.conv_padding, self.activation)
        designs = (Design(float(a), int(r), *settings) for a, r in product(alphas, resolutions))
        return tuple(dict.fromkeys(designs))

    def deployments(self) -> tuple[Deployment, ...]:
        """Every deployment of the grid."""
        threads, batches = self._values("threads", "batch")
        precisions, runtimes, pads = (_parse_words(name, getattr(self, name)) for name in WORDS)
        settings = product(precisions, runtimes, map(int, threads), map(int, batches), pads)
        return tuple(Deployment(*setting) for setting in settings)

    def _resolved(self, name: str) -> AxisValue:
        """The value of an axis, with the number that `auto` threads come to in its place."""
        value: AxisValue | None = getattr(self, name)
        if value is None:
            native = {"alpha": 1.0, "res": NATIVE_RESOLUTION[self.variant]} if self.variant in NATIVE_RESOLUTION else {}
            return native.get(name, PAPER_AXES[name])
        if name != "threads" or self.auto_threads is None:
            return value
        items = value.split(",") if isinstance(value, str) else [value] if isinstance(value, int | float) else value
        return [self.auto_threads if isinstance(i, str) and i.strip() == "auto" else i for i in items]

    def _values(self, *names: str) -> list[list[Fraction]]:
        parsed = [(_AXES[name], *_parse_axis(_AXES[name], self._resolved(name))) for name in names]
        counts = [sum(r.count() for r in ranges) for _, _, ranges in parsed]
        if (total := prod(counts)) > self.max_designs:
            asked = " × ".join(f"{axis.flag} {text} ({n:,})" for (axis, text, _), n in zip(parsed, counts, strict=True))
            raise MnsweepError(
                f"{asked} makes {total:,} designs, above the limit of {self.max_designs:,}; "
                "use larger steps, or raise the limit with --max-designs"
            )
        return [_write_out(*p) for p in parsed]


SPACE_KEYS = tuple(f.name for f in fields(Space) if f.name not in ("max_designs", "auto_threads"))
