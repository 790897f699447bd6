"""Pixels as a network's input. Imports numpy alone, since the process that times models loads it too."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from mnsweep.pictures.preprocessing import Preprocessing

Pixels: TypeAlias = NDArray[np.uint8]  # (pictures, R, R, 3) RGB from 0 to 255


def normalized(pixels: Pixels, preprocessing: Preprocessing) -> NDArray[np.float32]:
    """(batch, R, R, 3) pixels as a network's input: float32 (batch, 3, R, R)."""
    values = (pixels.astype(np.float32) - np.float32(preprocessing.mean)) / np.float32(preprocessing.std)
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2))
