"""The values that a network's maps take: what int8 scales are made from."""

from collections.abc import Sequence

import numpy as np

from mnsweep.graph.lowering import Range
from mnsweep.worker.base import Array
from mnsweep.worker.runtimes import load


def ranges(model: bytes, images: Sequence[Array]) -> dict[str, Range]:
    """Least and greatest value of every output of an fp32 `model`, and of the `image`, over batches of one."""
    session = load("onnxruntime").open(model, "fp32", threads=1)
    found: dict[str, Range] = {}
    for image in images:
        for name, values in {"image": image, **session.outputs(image)}.items():
            low, high = found.get(name, (np.inf, -np.inf))
            found[name] = (min(low, float(values.min())), max(high, float(values.max())))
    return found
