"""The values that a network's maps take: what int8 scales are made from."""

from collections.abc import Sequence

import numpy as np

from mnsweep.arch.graph import Range
from mnsweep.runtimes import load
from mnsweep.runtimes.base import Array

SYNTHETIC_IMAGES = 4  # random weights have no meaning to sample well: this is to fill the range of every map
COARSE_PX = 8


def synthetic_images(resolution: int, seed: int = 0) -> list[Array]:
    """Seeded colour noise, coarse and fine, from −1 to 1, as images are scaled: (1, 3, resolution, resolution) each."""
    rng, images = np.random.default_rng(seed), []
    for _ in range(SYNTHETIC_IMAGES):
        coarse = rng.uniform(-1, 1, (1, 3, *[-(-resolution // COARSE_PX)] * 2)).repeat(COARSE_PX, 2).repeat(COARSE_PX, 3)
        fine = rng.uniform(-1, 1, (1, 3, resolution, resolution))
        images.append(((coarse[..., :resolution, :resolution] + fine) / 2).astype(np.float32))
    return images


def ranges(model: bytes, images: Sequence[Array]) -> dict[str, Range]:
    """Least and greatest value of every output of an fp32 `model`, and of the `image`, over batches of one."""
    session = load("onnxruntime").open(model, "fp32", threads=1)
    found: dict[str, Range] = {}
    for image in images:
        for name, values in {"image": image, **session.outputs(image)}.items():
            low, high = found.get(name, (np.inf, -np.inf))
            found[name] = (min(low, float(values.min())), max(high, float(values.max())))
    return found
