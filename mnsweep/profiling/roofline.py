"""Roofline model: the time of each layer, and how close its rate is to the machine's two roofs.

A layer's rate is limited by the machine's peak rate, and by memory bandwidth × the layer's operations per byte. The lower of
the two is the layer's roof. Source: Williams, Waterman and Patterson 2009, "Roofline". Bytes count the weights, and each
feature map that a layer reads or writes, once. Data still in a cache costs less, so a layer may exceed its memory roof.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

from mnsweep.arch.cost import layer_mult_adds, layer_params
from mnsweep.arch.expand import Layer
from mnsweep.names import PRECISIONS

OUTPUTS = ("logits", "probabilities", "embedding", "detections")  # OpenVINO's names for operators that write an output
OTHER = "other"  # the row for operators that belong to no layer: changes of layout and of precision
_MOVES = ("Reorder", "Transpose", "Quantize", "Dequantize", "Flatten", "Reshape", "Convert", "Cast")
_MOVED = re.compile(r"\.(flat|quantize|dequantize)\b")


class Operator(Protocol):
    """One operator that ran, as the runtime names it, with nanoseconds per run: `mnsweep.worker.base.NodeTime`."""

    @property
    def name(self) -> str:
        """The runtime's name for this operator of the graph."""
        ...

    @property
    def op(self) -> str:
        """The type of operator, e.g. `Conv`."""
        ...

    @property
    def implementation(self) -> str:
        """The kernel or layout that ran; empty if the runtime does not report it."""
        ...

    @property
    def ns(self) -> float:
        """Nanoseconds per run."""
        ...


@dataclass(frozen=True, slots=True)
class Roof:
    """The machine's limits: 10⁹ operations per second (2 for each mult-add) and GB per second; None if unknown."""

    peak_gflops: float | None
    bandwidth_gb_per_s: float | None

    @property
    def ridge(self) -> float | None:
        """Operations per byte above which the peak is the lower roof; None if a limit is unknown."""
        if self.peak_gflops is None or self.bandwidth_gb_per_s is None:
            return None
        return self.peak_gflops / self.bandwidth_gb_per_s

    def gflops(self, intensity: float) -> float | None:
        """The roof, in 10⁹ operations per second, at `intensity` operations per byte; None if a limit is unknown."""
        if self.peak_gflops is None or self.bandwidth_gb_per_s is None:
            return None
        return min(self.peak_gflops, self.bandwidth_gb_per_s * intensity)

    def bound(self, intensity: float) -> str | None:
        """The lower roof at `intensity` operations per byte: `compute` or `memory`; None if a limit is unknown."""
        return None if self.ridge is None else "compute" if intensity >= self.ridge else "memory"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the profile: a deployed layer, with its time and its work in one run.

    `mult_adds` is per image; `ms`, `flops` and `moved_bytes` are for the whole batch. The row `other` has no mult-adds.
    """

    name: str
    kind: str
    ms: float
    mult_adds: int = 0
    flops: int = 0
    moved_bytes: int = 0
    operators: tuple[Operator, ...] = ()

    @property
    def gflops(self) -> float | None:
        """Rate in 10⁹ operations per second; None for a row without mult-adds or without measured time."""
        return self.flops / (1e6 * self.ms) if self.flops and self.ms else None

    @property
    def intensity(self) -> float | None:
        """Operations per byte; None for a row without mult-adds."""
        return self.flops / self.moved_bytes if self.flops else None

    def bound(self, roof: Roof) -> str | None:
        """The lower roof for this row: `compute` or `memory`; None if unknown or without mult-adds."""
        return None if self.intensity is None else roof.bound(self.intensity)

    def peak_pct(self, roof: Roof) -> float | None:
        """The row's rate, in % of the peak."""
        return None if self.gflops is None or not roof.peak_gflops else 100 * self.gflops / roof.peak_gflops

    def roof_pct(self, roof: Roof) -> float | None:
        """The row's rate, in % of the row's roof."""
        highest = None if self.intensity is None else roof.gflops(self.intensity)
        return None if self.gflops is None or not highest else 100 * self.gflops / highest


@dataclass(frozen=True, slots=True)
class Kind:
    """All rows of one kind: time of the deployed layers, and shares of the logical network as in the paper's Table 2."""

    name: str
    ms: float
    time_pct: float
    mult_adds_pct: float
    params_pct: float
    gflops: float | None


def rows(layers: Sequence[Layer], operators: Sequence[Operator], precision: str, batch: int = 1) -> tuple[Row, ...]:
    """One row for each of the deployed `layers`, in their order, and one for all operators that belong to no layer."""
    names = [layer.name for layer in layers]
    of_layer: dict[str | None, list[Operator]] = {}
    for operator in operators:
        of_layer.setdefault(layer_of(operator, names), []).append(operator)
    others = of_layer.get(None, [])
    timed = [_row(layer, of_layer.get(layer.name, []), precision, batch) for layer in layers]
    return (*timed, Row(OTHER, OTHER, _ms(others), operators=tuple(others)))


def layer_of(operator: Operator, names: Collection[str]) -> str | None:
    """The layer that an operator belongs to. Runtimes name an operator after its layer, sometimes with a suffix.

    None for operators that only move or convert feature maps, whichever layer they are next to.
    """
    if operator.op.startswith(_MOVES) or _MOVED.search(operator.name):
        return None
    if operator.name in OUTPUTS:
        return list(names)[-1]
    meant = [name for name in names if re.match(rf"{re.escape(name)}(?![A-Za-z0-9])", operator.name)]
    return max(meant, key=len, default=None)


def layer_bytes(layer: Layer, precision: str, batch: int) -> int:
    """Bytes of the feature maps that a layer reads and writes, for the whole batch, plus its weights without biases."""
    read = 0 if layer.op == "roi_align" else layer.in_channels * layer.in_size**2  # it reads only a few pixels
    values = layer.repeats * read + layer.values
    return PRECISIONS[precision].item_bytes * (batch * values + layer.weights)


def kinds(timed: Sequence[Row], logical: Sequence[Layer]) -> tuple[Kind, ...]:
    """The rows summed by kind, in order of first appearance; shares of work are those of the `logical` layers."""
    names = dict.fromkeys(row.kind for row in timed)
    return tuple(_kind(name, timed, logical) for name in names)


def _kind(name: str, timed: Sequence[Row], logical: Sequence[Layer]) -> Kind:
    rows_of_kind = [row for row in timed if row.kind == name]
    layers = [layer for layer in logical if layer.kind == name]
    ms, flops = sum(row.ms for row in rows_of_kind), sum(row.flops for row in rows_of_kind)
    return Kind(
        name=name,
        ms=ms,
        time_pct=100 * ms / (sum(row.ms for row in timed) or 1.0),
        mult_adds_pct=100 * sum(map(layer_mult_adds, layers)) / sum(map(layer_mult_adds, logical)),
        params_pct=100 * sum(map(layer_params, layers)) / sum(map(layer_params, logical)),
        gflops=flops / (1e6 * ms) if flops and ms else None,
    )


def in_words(names: Sequence[str]) -> str:
    """Layer names as text, with runs of numbers as ranges and each kind once.

    >>> in_words(["stem", "depthwise1", "pointwise1", "depthwise2", "depthwise3", "depthwise13"])
    'stem, depthwise1–3, depthwise13, pointwise1'
    """
    numbers: dict[str, list[str]] = {}
    for name in names:
        stem = name.rstrip("0123456789")
        numbers.setdefault(stem, []).append(name[len(stem) :])
    return ", ".join(stem + span for stem, texts in numbers.items() for span in _spans(texts))


def _spans(numbers: Sequence[str]) -> list[str]:
    """`["1", "2", "3", "13"]` as `["1–3", "13"]`; unchanged if any name has no number."""
    if not all(numbers):
        return list(numbers)
    runs = groupby(enumerate(sorted(map(int, numbers))), key=lambda pair: pair[1] - pair[0])
    ends = [[number for _, number in run] for _, run in runs]
    return [str(run[0]) if len(run) == 1 else f"{run[0]}–{run[-1]}" for run in ends]


def _row(layer: Layer, operators: Sequence[Operator], precision: str, batch: int) -> Row:
    mult_adds = layer_mult_adds(layer)
    moved = layer_bytes(layer, precision, batch)
    return Row(
        name=layer.name,
        kind=layer.kind,
        ms=_ms(operators),
        mult_adds=mult_adds,
        flops=2 * mult_adds * batch,
        moved_bytes=moved,
        operators=tuple(operators),
    )


def _ms(operators: Sequence[Operator]) -> float:
    return sum(operator.ns for operator in operators) / 1e6
