"""A design, expanded to rows that anyone can print.

One description, many readers: cost, torch module, ONNX graph and latency features all read the rows
that `expand` returns. They are in running order; each names the rows it reads, so that branches need no second form.
"""

from mnsweep.arch.comparison import NETWORKS_AS_TEXT, network
from mnsweep.arch.heads import HEADS
from mnsweep.arch.layer import Layer, pad_and_size
from mnsweep.arch.mobilenet import BLOCKS, STEM_CHANNELS, WIDTH_RULES, body
from mnsweep.cell import Design

__all__ = ["BLOCKS", "STEM_CHANNELS", "WIDTH_RULES", "Layer", "expand", "pad_and_size"]


def expand(design: Design) -> tuple[Layer, ...]:
    """The rows of `design`, input to output: of a MobileNet stem, 13 × (depthwise, pointwise), pool, classifier.

    Raises `MnsweepError` when the task's head can't take the resolution.
    """
    if design.variant in NETWORKS_AS_TEXT:
        return network(design)
    return HEADS[design.task](design, body(design))
