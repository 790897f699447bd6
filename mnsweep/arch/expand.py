"""A design, expanded to layers that anyone can print.

Cost, torch module, ONNX graph and latency features all read the layers that `expand` returns. The layers are in execution
order. Each names the layers that it reads, so branches need no special form.
"""

from mnsweep.arch.comparison import network
from mnsweep.arch.heads import HEADS
from mnsweep.arch.layer import Layer
from mnsweep.arch.mobilenet import body
from mnsweep.cell import Design
from mnsweep.names import TASKS, VARIANTS

__all__ = ["Layer", "expand"]


def expand(design: Design) -> tuple[Layer, ...]:
    """The layers of `design`, input to output; a MobileNet has stem, (depthwise, pointwise) blocks, pool and classifier.

    Raises `MnsweepError` when the resolution is too small for the task's head.
    """
    if VARIANTS[design.variant].compares:
        return network(design)
    return HEADS[TASKS[design.task].head](design, body(design))
