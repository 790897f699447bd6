"""The values that the feature maps of a network take: int8 scales are made from them."""

from collections.abc import Sequence

import numpy as np

from mnsweep.graph.lowering import Range
from mnsweep.worker.base import Array
from mnsweep.worker.runtimes import load


def ranges(model: bytes, images: Sequence[Array]) -> dict[str, Range]:
    """Least and greatest value of every output of an fp32 `model`, and of `image`, over `images` of (1, 3, R, R) float32."""
    session = load("onnxruntime").open(model, "fp32", threads=1)
    extremes: dict[str, Range] = {}
    for image in images:
        for name, values in {"image": image, **session.outputs(image)}.items():
            low, high = extremes.get(name, (np.inf, -np.inf))
            extremes[name] = (min(low, float(values.min())), max(high, float(values.max())))
    return extremes
