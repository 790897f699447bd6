"""A design, expanded to rows that anyone can print.

One description, many readers: cost, torch module, ONNX graph and latency features all read the rows
that `expand` returns. They are in running order; each names the rows it reads, so that branches need no second form.
"""

from mnsweep.arch.comparison import network
from mnsweep.arch.heads import HEADS
from mnsweep.arch.layer import Layer, pad_and_size
from mnsweep.arch.mobilenet import STEM_CHANNELS, WIDTH_RULES, body
from mnsweep.cell import Design
from mnsweep.names import TASKS, VARIANTS
from mnsweep.names.variants import BLOCKS

__all__ = ["BLOCKS", "STEM_CHANNELS", "WIDTH_RULES", "Layer", "expand", "pad_and_size"]


def expand(design: Design) -> tuple[Layer, ...]:
    """The rows of `design`, input to output: of a MobileNet stem, 13 × (depthwise, pointwise), pool, classifier.

    Raises `MnsweepError` when the task's head can't take the resolution.
    """
    if VARIANTS[design.variant].compares:
        return network(design)
    return HEADS[TASKS[design.task].head](design, body(design))
