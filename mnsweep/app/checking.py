"""Check a file with trained weights before it is handed over: its answers against an independent computation."""

import numpy as np

from mnsweep.cell import Cell
from mnsweep.graph.integers import Integers
from mnsweep.graph.reference import float_logits, integer_logits
from mnsweep.names import PRECISIONS
from mnsweep.pictures.pixels import normalized
from mnsweep.prepare.images import synthetic_pictures
from mnsweep.prepare.models import Prepared
from mnsweep.worker.classify import softmax
from mnsweep.worker.proxy import CellError, NewWorker

KEY = "file"
MOST_APART = {  # probabilities
    "float": 1e-4,  # 28 layers in float32 against float64
    "integer": 40 / 256,  # two right implementations of an int8 network differ by up to 19 of 256 steps
}


def check_file(content: bytes, cell: Cell, prepared: Prepared, new_worker: NewWorker) -> float | None:
    """The largest difference of probabilities on synthetic pictures; raises `CellError` where the file gives other answers.

    None for what has no reference: a float network that was quantized after training (how far off it is, `mnsweep evaluate`
    tells), and tasks other than classification.
    """
    layers, weights = prepared.network(cell)
    quantized_afterwards = PRECISIONS[cell.deployment.precision].quantized and not isinstance(weights, Integers)
    if quantized_afterwards or layers[-1].op != "linear" or layers[-1].activation != "none":
        return None
    preprocessing = prepared.trained[cell.design].preprocessing
    pictures = synthetic_pictures(cell.design.resolution)
    with new_worker() as worker:
        worker.pin(1)
        worker.classifier(KEY, content, cell.deployment.runtime, PRECISIONS[cell.deployment.precision].file, 1)
        found = worker.classify(KEY, pictures, preprocessing, has_softmax=False).probabilities
    images = normalized(pictures, preprocessing)
    if isinstance(weights, Integers):
        kind, wanted = "integer", np.stack([integer_logits(layers, weights, image) for image in images])
    else:
        kind, wanted = "float", np.stack([float_logits(layers, weights, image) for image in images])
    apart = float(np.max(np.abs(np.subtract(found, softmax(wanted)))))
    if not apart <= MOST_APART[kind]:
        why = f"its probabilities are {apart:.2g} apart from the network's own, more than {MOST_APART[kind]:.2g}"
        raise CellError(f"the file is not written: run here on {cell.deployment.runtime}, {why}")
    return apart
