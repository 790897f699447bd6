"""Accuracies by source: published ones, and those of a training run of the user's own.

A frontier uses one source at a time. Top-1 depends on the crop and the training recipe: the same
architecture differs by 0.6 to 2.6 points between sources, more than neighbours on a grid differ.

An int8 cell has the accuracy of a network trained with quantization, never that of the float network. A bf16 cell
inherits the accuracy of its fp32 twin: rounding to 8 bits of mantissa moves top-1 by less than the printed precision.
"""

import csv
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any, TypeAlias

from mnsweep.cell import Cell, Design
from mnsweep.errors import MnsweepError
from mnsweep.names import PRECISIONS, choices

DEFAULT_SOURCE = "slim-2018-08"
PAPER = "paper"
CHECKPOINT_OUTPUTS = 1001  # of the networks of the default source
PLAIN_WIDTHS = choices("width_rule")[0]
PREDICTED, TRAINED = "predicted", "trained"
RUN_PREFIX = "trained:"  # of a quality source: the name of a training run follows
_TO_TRAIN = "no network of this size was published: train it and see, before you rely on the number"
_QUANTIZED = "it needs weights that were trained with quantization: a file quantized after training need not reach it"
_WEIGHTS = {  # by source: whether the trained weights behind its accuracies are available
    "slim-2018-08": "its weights are a public TensorFlow checkpoint: import it ('mnsweep import'), or an exported file has "
    "seeded random weights",
    PAPER: "its weights were never published: train them",
}


@dataclass(frozen=True, slots=True)
class Quality:
    """A published or predicted quality, in % of `metric`. `reference` cites where it was printed; empty if predicted."""

    metric: str
    quality_pct: float
    top5_pct: float | None
    source: str
    reference: str
    precision: str = "fp32"
    predicted: bool = False  # from the source's accuracies, by `surface.py`
    deviation_pct: float | None = None  # standard deviation in points, where it was counted on so many pictures

    @property
    def provenance(self) -> str:
        """Provenance and source as columns show them, e.g. `published: paper`. Never show a quality without it."""
        if self.predicted:
            return f"{PREDICTED}: {self.source}"
        if self.source.startswith(RUN_PREFIX):
            inherited, _, _ = PRECISIONS[self.precision].provenance.rpartition(", published")
            return f"{f'{inherited}, ' if inherited else ''}{TRAINED}: {self.source.removeprefix(RUN_PREFIX)}"
        return f"{PRECISIONS[self.precision].provenance}: {self.source}"


@dataclass(frozen=True, slots=True)
class RunAccuracies:
    """The accuracies of a training run as a source: those of its networks, by precision and design."""

    name: str
    qualities: tuple[tuple[str, Design, Quality], ...]


Source: TypeAlias = str | RunAccuracies  # a published source is known by its name


def published(cell: Cell, source: Source = DEFAULT_SOURCE) -> Quality | None:
    """The accuracy that `source` has for exactly the network of `cell`; None if it has none.

    For a task that the source does not cover, the paper's accuracies are used: no other source has any.
    Raises `MnsweepError` on an unknown source.
    """
    design, precision = cell.design, cell.deployment.precision
    if isinstance(source, RunAccuracies):
        known = _of_run(source).get((PRECISIONS[precision].quality_of, design))
        return known and replace(known, precision=precision)
    _check(source)
    # At every published α, both width rules give the same channels.
    classes = _classes(design, source)
    is_printed = design.width_rule == PLAIN_WIDTHS and design.classes == classes
    network = design if is_printed else replace(design, width_rule=PLAIN_WIDTHS, classes=classes)
    printed = _published()[source if design.task in _tasks(source) else PAPER]
    quality = printed.get((PRECISIONS[precision].quality_of, network))
    return quality and replace(quality, precision=precision)


def _classes(design: Design, source: str) -> int:
    """The classes of the row of a design: the checkpoints' 1001 outputs are the 1000 classes of ImageNet and a background."""
    has_background = (source, design.task, design.classes) == (DEFAULT_SOURCE, "classify", CHECKPOINT_OUTPUTS)
    return design.classes - 1 if has_background else design.classes


def is_plain(cell: Cell, source: Source = DEFAULT_SOURCE) -> bool:
    """Whether the design differs from the default MobileNet, or from those of a run, in α, resolution and width rule at most.

    The width rule is ignored because both rules give the same channels at every published α.
    """
    design = replace(cell.design, width_rule=PLAIN_WIDTHS)
    if not isinstance(source, RunAccuracies):
        return design == Design.of(design.alpha, design.resolution)
    size: Any = {"alpha": design.alpha, "resolution": design.resolution, "width_rule": PLAIN_WIDTHS}
    return any(replace(of_run, **size) == design for _, of_run, _ in source.qualities[:1])


def anchors(source: Source, precision: str) -> dict[tuple[float, int], Quality]:
    """Accuracies that `source` has for plain networks at one precision, by α and resolution in pixels.

    Raises `MnsweepError` on an unknown source.
    """
    if isinstance(source, RunAccuracies):
        of_run = _of_run(source).items()
        return {(d.alpha, d.resolution): q for (of, d), q in of_run if of == precision and is_plain(Cell(d), source)}
    _check(source)
    return {
        (design.alpha, design.resolution): quality
        for (of, design), quality in _published()[source].items()
        if of == precision and is_plain(Cell(design))
    }


@cache
def _of_run(source: RunAccuracies) -> dict[tuple[str, Design], Quality]:
    return {(precision, design): quality for precision, design, quality in source.qualities}


def _check(source: str) -> None:
    if source.startswith(RUN_PREFIX):
        what = f"`quality_source` {source}: accuracies of a training run are for cells that are measured"
        raise MnsweepError(what, "use it with 'mnsweep grid', 'explore' or 'pick'")
    if source not in _published():
        raise MnsweepError(f"`quality_source` {source!r} is unknown", f"choose from {', '.join(sources())}")


def sources() -> tuple[str, ...]:
    """Names of the published sources, the default one first."""
    return tuple(sorted(_published(), key=lambda name: name != DEFAULT_SOURCE))


def weights_note(provenance: str | None) -> str:
    """Whether the weights behind a quality are available, in words; `provenance` is as in `Quality.provenance`."""
    words, _, source = (provenance or "").rpartition(": ")
    if words == PREDICTED:
        return _TO_TRAIN
    if words.endswith(TRAINED):
        return "its weights are those of the training run: measure it with them ('mnsweep grid --quality-source trained:NAME')"
    note = _WEIGHTS.get(source, "where to get its weights is unknown")
    is_quantized = any(words == precision.provenance for precision in PRECISIONS.values() if precision.quantized)
    return f"{_QUANTIZED}; {note}" if is_quantized else note


@cache
def _tasks(source: str) -> frozenset[str]:
    """The tasks for which a source printed a quality."""
    return frozenset(design.task for _, design in _published()[source])


@cache
def _published() -> dict[str, dict[tuple[str, Design], Quality]]:
    """The printed qualities: by source, then by precision and design."""
    by_source: dict[str, dict[tuple[str, Design], Quality]] = {}
    with (files("mnsweep") / "accuracy/data/published.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            design = Design.of(float(row["alpha"]), int(row["resolution"]), variant=row["variant"], task=row["task"])
            top5 = float(row["top5_pct"]) if row["top5_pct"] else None
            quality = Quality(
                metric=row["metric"],
                quality_pct=float(row["quality_pct"]),
                top5_pct=top5,
                source=row["source"],
                reference=row["reference"],
                precision=row["precision"],
            )
            by_source.setdefault(row["source"], {})[row["precision"], design] = quality
    return by_source
