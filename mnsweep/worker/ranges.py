"""Measure the ranges of a network's feature maps, from which int8 scales are computed."""

from collections.abc import Sequence

import numpy as np

from mnsweep.graph.lowering import Range
from mnsweep.worker.base import Array
from mnsweep.worker.runtimes import load


def ranges(model: bytes, images: Sequence[Array]) -> dict[str, Range]:
    """(minimum, maximum) of every output of an fp32 `model`, and of `image`, over all `images` (1, 3, R, R) float32."""
    session = load("onnxruntime").open(model, "fp32", threads=1)
    extremes: dict[str, Range] = {}
    for image in images:
        for name, values in {"image": image, **session.outputs(image)}.items():
            low, high = extremes.get(name, (np.inf, -np.inf))
            extremes[name] = (min(low, float(values.min())), max(high, float(values.max())))
    return extremes
