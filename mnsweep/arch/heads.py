"""What stands behind the last feature map of a MobileNet, by the kind of head that a task names.

`classifier` is one linear layer with as many outputs as the task has classes and the activation that it asks for; `ssd` and
`faster-rcnn` are in `detection.py`.
"""

from collections.abc import Callable, Sequence

from mnsweep.arch.detection import faster_rcnn, ssd
from mnsweep.arch.layer import Layer
from mnsweep.cell import Design
from mnsweep.names import TASKS

Head = Callable[[Design, Sequence[Layer]], tuple[Layer, ...]]  # from the layers of the body to those of the network


def classifier(design: Design, body: Sequence[Layer]) -> tuple[Layer, ...]:
    """The mean of the last feature map, and a linear layer with the task's activation behind it."""
    pool = body[-1].global_pool("pool")
    return (*body, pool, pool.linear("classifier", design.classes, activation=TASKS[design.task].activation))


HEADS: dict[str, Head] = {"classifier": classifier, "ssd": ssd, "faster-rcnn": faster_rcnn}
