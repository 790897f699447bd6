"""Check a file before it is handed over: its answers against an independent computation."""

import numpy as np

from mnsweep.cell import Cell
from mnsweep.graph.integers import Integers
from mnsweep.graph.reference import float_logits, has_reference, integer_logits
from mnsweep.names import PRECISIONS
from mnsweep.pictures.pixels import normalized
from mnsweep.pictures.preprocessing import Preprocessing
from mnsweep.prepare.images import synthetic_pictures
from mnsweep.prepare.models import TFLITE, Prepared
from mnsweep.worker.classify import softmax
from mnsweep.worker.proxy import CellError, NewWorker

KEY, LITERT = "file", "litert"
MOST_APART = {  # probabilities
    "float": 1e-4,  # 28 layers in float32 against float64
    "integer": 40 / 256,  # two right implementations of an int8 network differ by up to 19 of 256 steps
}


def is_checked(content: bytes, cell: Cell, prepared: Prepared, file_format: str, new_worker: NewWorker) -> bool:
    """Whether the file was run and gave the network's own answers on synthetic pictures; raises `CellError` for others.

    It is run on the cell's runtime, a TensorFlow Lite file on LiteRT if that is installed. A float network that was quantized
    after training is run alone: how far off it is, `mnsweep evaluate` tells. So are networks without a reference.
    """
    layers, weights = prepared.network(cell)
    precision, tflite = PRECISIONS[cell.deployment.precision], file_format == TFLITE
    if not tflite and (not has_reference(layers) or (precision.quantized and not isinstance(weights, Integers))):
        return False
    trained = prepared.trained.get(cell.design)
    preprocessing = trained.preprocessing if trained else Preprocessing()
    pictures = synthetic_pictures(cell.design.resolution)
    with new_worker() as worker:
        worker.pin(1)
        if tflite and worker.offer(LITERT).obstacle:
            return False
        worker.classifier(KEY, content, LITERT if tflite else cell.deployment.runtime, precision.file, 1)
        has_softmax = tflite and isinstance(weights, Integers)
        found = worker.classify(KEY, pictures, preprocessing, has_softmax=has_softmax).probabilities
    if not has_reference(layers) or (precision.quantized and not isinstance(weights, Integers)):
        return bool(np.isfinite(found).all())
    images = normalized(pictures, preprocessing)
    if isinstance(weights, Integers):
        kind, wanted = "integer", np.stack([integer_logits(layers, weights, image) for image in images])
    else:
        kind, wanted = "float", np.stack([float_logits(layers, weights, image) for image in images])
    apart = float(np.max(np.abs(np.subtract(found, softmax(wanted)))))
    if not apart <= MOST_APART[kind]:
        why = f"its probabilities are {apart:.2g} apart from the network's own, more than {MOST_APART[kind]:.2g}"
        raise CellError(f"the file is not written: run here, {why}")
    return True
