"""A design, expanded to layers that anyone can print.

One description, many readers: cost, torch module, ONNX graph and latency features all read the layers that `expand` returns.
They are in running order; each names the layers it reads, so that branches need no second form.
"""

from mnsweep.arch.comparison import network
from mnsweep.arch.heads import HEADS
from mnsweep.arch.layer import Layer
from mnsweep.arch.mobilenet import body
from mnsweep.cell import Design
from mnsweep.names import TASKS, VARIANTS

__all__ = ["Layer", "expand"]


def expand(design: Design) -> tuple[Layer, ...]:
    """The layers of `design`, input to output: of a MobileNet stem, blocks of depthwise and pointwise, pool, classifier.

    Raises `MnsweepError` when the task's head can't take the resolution.
    """
    if VARIANTS[design.variant].compares:
        return network(design)
    return HEADS[TASKS[design.task].head](design, body(design))
