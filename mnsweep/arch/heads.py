"""Heads: the layers after the last feature map of a MobileNet, by the kind of head that a task names.

`classifier` is a global average pool and a linear layer with one output per class and the task's activation; `ssd` and
`faster-rcnn` are in `detection.py`.
"""

from collections.abc import Callable, Sequence

from mnsweep.arch.detection import faster_rcnn, ssd
from mnsweep.arch.layer import Layer
from mnsweep.cell import Design
from mnsweep.names import TASKS

Head = Callable[[Design, Sequence[Layer]], tuple[Layer, ...]]  # layers of the body -> layers of the network


def classifier(design: Design, body: Sequence[Layer]) -> tuple[Layer, ...]:
    """The body, a global average pool, and a linear layer followed by the task's activation."""
    pool = body[-1].global_pool("pool")
    return (*body, pool, pool.linear("classifier", design.classes, activation=TASKS[design.task].activation))


HEADS: dict[str, Head] = {"classifier": classifier, "ssd": ssd, "faster-rcnn": faster_rcnn}
