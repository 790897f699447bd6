"""Images for calibration, preprocessed as network input."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnsweep.errors import MnsweepError
from mnsweep.pictures.decode import SUFFIXES, decode, is_picture
from mnsweep.pictures.pixels import Pixels, normalized
from mnsweep.pictures.preprocessing import Preprocessing

MOST_IMAGES = 200  # more hardly change the ranges
CALIBRATING = Preprocessing(crop="centre")  # unless the weights come with their own
SYNTHETIC_IMAGES = 4  # enough to fill the range of every feature map: with random weights, sampling more means nothing
COARSE_PX = 8


def synthetic_images(resolution: int, preprocessing: Preprocessing = CALIBRATING, seed: int = 0) -> list[NDArray[np.float32]]:
    """Seeded coarse and fine colour noise over the input range: float32 (1, 3, resolution, resolution) each."""
    low, high = preprocessing.range
    middle, half = (low + high) / 2, (high - low) / 2
    return [(middle + half * noise).astype(np.float32) for noise in _noise(resolution, seed)]


def synthetic_pictures(resolution: int, seed: int = 0) -> Pixels:
    """The same noise as pixels (pictures, resolution, resolution, 3)."""
    images = np.concatenate(list(_noise(resolution, seed)))
    return np.rint(127.5 + 127.5 * images).astype(np.uint8).transpose(0, 2, 3, 1)


def _noise(resolution: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Noise from −1 to 1: (1, 3, resolution, resolution) each."""
    rng = np.random.default_rng(seed)
    for _ in range(SYNTHETIC_IMAGES):
        coarse = rng.uniform(-1, 1, (1, 3, *[-(-resolution // COARSE_PX)] * 2)).repeat(COARSE_PX, 2).repeat(COARSE_PX, 3)
        fine = rng.uniform(-1, 1, (1, 3, resolution, resolution))
        yield (coarse[..., :resolution, :resolution] + fine) / 2


def read_images(folder: Path, resolution: int, preprocessing: Preprocessing = CALIBRATING) -> list[NDArray[np.float32]]:
    """Read the first `MOST_IMAGES` pictures of a folder, by name: float32 RGB (1, 3, resolution, resolution) each.

    Raises `MnsweepError` if there is no picture or one can't be read.
    """
    try:
        paths = sorted(filter(is_picture, folder.iterdir()))[:MOST_IMAGES]
    except (FileNotFoundError, NotADirectoryError):
        raise MnsweepError(f"`calibration` {folder}: no such folder") from None
    except OSError as error:
        raise MnsweepError(f"`calibration` {folder}: {error.strerror}") from None
    if not paths:
        raise MnsweepError(f"`calibration` {folder}: holds no pictures ({', '.join(SUFFIXES)})")
    try:
        return [normalized(decode(path, resolution, preprocessing)[None], preprocessing) for path in paths]
    except MnsweepError as error:
        raise MnsweepError(f"`calibration` {error.what}", error.fix) from None
