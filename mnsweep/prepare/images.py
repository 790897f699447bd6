"""Images for calibration, preprocessed as network input."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mnsweep.errors import MnsweepError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
MOST_IMAGES = 200  # more hardly change the ranges
CROP = 0.875  # of the shorter side, from the centre: TF-slim's evaluation preprocessing
SYNTHETIC_IMAGES = 4  # enough to fill the range of every feature map: with random weights, sampling more means nothing
COARSE_PX = 8


def synthetic_images(resolution: int, seed: int = 0) -> list[NDArray[np.float32]]:
    """Seeded coarse and fine colour noise from −1 to 1, the input range: float32 (1, 3, resolution, resolution) each."""
    rng, images = np.random.default_rng(seed), []
    for _ in range(SYNTHETIC_IMAGES):
        coarse = rng.uniform(-1, 1, (1, 3, *[-(-resolution // COARSE_PX)] * 2)).repeat(COARSE_PX, 2).repeat(COARSE_PX, 3)
        fine = rng.uniform(-1, 1, (1, 3, resolution, resolution))
        images.append(((coarse[..., :resolution, :resolution] + fine) / 2).astype(np.float32))
    return images


def read_images(folder: Path, resolution: int) -> list[NDArray[np.float32]]:
    """Read the first `MOST_IMAGES` pictures of a folder, by name: float32 RGB (1, 3, resolution, resolution) each.

    Pixels are scaled to −1 to 1: (x / 255 − 0.5) / 0.5. Raises `MnsweepError` if there is no picture or one can't be read.
    """
    if not folder.is_dir():
        raise MnsweepError(f"`calibration` {folder}: no such folder")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)[:MOST_IMAGES]
    if not paths:
        raise MnsweepError(f"`calibration` {folder}: holds no pictures ({', '.join(SUFFIXES)})")
    return [_read(path, resolution) for path in paths]


def _read(path: Path, resolution: int) -> NDArray[np.float32]:
    try:
        with Image.open(path) as opened:
            image = opened.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # Pillow raises any of these
        raise MnsweepError(f"`calibration` {path}: is not a picture that can be read") from None
    side = CROP * min(image.size)
    left, top = ((length - side) / 2 for length in image.size)
    resized = image.resize((resolution, resolution), Image.Resampling.BILINEAR, (left, top, left + side, top + side))
    pixels = np.asarray(resized, np.float32).transpose(2, 0, 1)[None]
    return ((pixels / 255 - 0.5) / 0.5).astype(np.float32)
