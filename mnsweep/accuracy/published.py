"""Published accuracies, each with its source.

A frontier uses one source at a time. Top-1 depends on the crop and the training recipe: the same
architecture differs by 0.6 to 2.6 points between sources, more than neighbours on a grid differ.

An int8 cell has the accuracy of a network trained with quantization, never that of the float network. A bf16 cell
inherits the accuracy of its fp32 twin: rounding to 8 bits of mantissa moves top-1 by less than the printed precision.
"""

import csv
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files

from mnsweep.cell import Cell, Design
from mnsweep.errors import MnsweepError
from mnsweep.names import PRECISIONS, choices

DEFAULT_SOURCE = "slim-2018-08"
PAPER = "paper"
CHECKPOINT_OUTPUTS = 1001  # of the networks of the default source
PLAIN_WIDTHS = choices("width_rule")[0]
PREDICTED = "predicted"
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
    predicted: bool = False  # from the source's published accuracies, by `surface.py`

    @property
    def provenance(self) -> str:
        """Provenance and source as columns show them, e.g. `published: paper`. Never show a quality without it."""
        if self.predicted:
            return f"{PREDICTED}: {self.source}"
        return f"{PRECISIONS[self.precision].provenance}: {self.source}"


def published(cell: Cell, source: str = DEFAULT_SOURCE) -> Quality | None:
    """The accuracy that `source` printed for exactly the network of `cell`; None if it printed none.

    For a task that the source does not cover, the paper's accuracies are used: no other source has any.
    Raises `MnsweepError` on an unknown source.
    """
    _check(source)
    design, precision = cell.design, cell.deployment.precision
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


def is_plain(cell: Cell) -> bool:
    """Whether the design differs from the default MobileNet in α, resolution and width rule at most.

    The width rule is ignored because both rules give the same channels at every published α.
    """
    design = cell.design
    return replace(design, width_rule=PLAIN_WIDTHS) == Design.of(design.alpha, design.resolution)


def anchors(source: str, precision: str) -> dict[tuple[float, int], Quality]:
    """Accuracies that `source` printed for plain networks at one precision, by α and resolution in pixels.

    Raises `MnsweepError` on an unknown source.
    """
    _check(source)
    return {
        (design.alpha, design.resolution): quality
        for (of, design), quality in _published()[source].items()
        if of == precision and is_plain(Cell(design))
    }


def _check(source: str) -> None:
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
