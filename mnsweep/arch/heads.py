"""What stands behind the last map of a MobileNet, task by task.

`classify`, `dogs` (fine-grained breeds) and `planet` (cells of the globe, Weyand et al. 2016) are one linear layer of as many
classes; `attributes` (several true at once) adds a sigmoid; `embedding` (faces, as FaceNet: Schroff et al. 2015) has unit length.
Detection networks are in `detection.py`.
"""

from collections.abc import Callable, Sequence

from mnsweep.arch.layer import Layer
from mnsweep.cell import Design

Head = Callable[[Design, Sequence[Layer]], tuple[Layer, ...]]
_ACTIVATIONS = {"attributes": "sigmoid", "embedding": "l2_norm"}


def outputs(design: Design, body: Sequence[Layer]) -> tuple[Layer, ...]:
    """The mean of the last map, and a linear layer with what the task wants behind it."""
    channels, size = body[-1].out_channels, body[-1].out_size
    pool = Layer("pool", "global_pool", (body[-1].name,), channels, channels, size, 1, size)
    activation = _ACTIVATIONS.get(design.task, "none")
    return pool, Layer("classifier", "linear", ("pool",), channels, design.classes, 1, 1, bias=True, activation=activation)


HEADS: dict[str, Head] = {task: outputs for task in ("classify", "dogs", "planet", "attributes", "embedding")}
