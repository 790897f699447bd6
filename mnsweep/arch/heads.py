"""What stands behind the last map of a MobileNet, task by task.

`classify`, `dogs` (fine-grained breeds) and `planet` (cells of the globe, Weyand et al. 2016) are one linear layer with so many
classes; `attributes` (several true at once) adds a sigmoid; `embedding` (of faces, as FaceNet has it: Schroff et al. 2015)
has unit length. `ssd` and `faster-rcnn` are in `detection.py`.
"""

from collections.abc import Callable, Sequence

from mnsweep.arch.detection import faster_rcnn, ssd
from mnsweep.arch.layer import Layer
from mnsweep.cell import Design
from mnsweep.names import TASKS

Head = Callable[[Design, Sequence[Layer]], tuple[Layer, ...]]  # from the rows of the body to those of the network


def outputs(design: Design, body: Sequence[Layer]) -> tuple[Layer, ...]:
    """The mean of the last map, and a linear layer with what the task wants behind it."""
    channels, size = body[-1].out_channels, body[-1].out_size
    pool = Layer("pool", "global_pool", (body[-1].name,), channels, channels, size, 1, size)
    activation = TASKS[design.task].activation
    classifier = Layer("classifier", "linear", ("pool",), channels, design.classes, 1, 1, bias=True, activation=activation)
    return (*body, pool, classifier)


HEADS: dict[str, Head] = {"classifier": outputs, "ssd": ssd, "faster-rcnn": faster_rcnn}
