"""Decode a picture and bring it to a network's input size, with Pillow.

Whatever the file holds becomes RGB: grey and 16-bit pictures, CMYK, palettes, transparency (on white), the first frame of an
animation; a camera's rotation is applied.
"""

from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageOps

from mnsweep.errors import MnsweepError
from mnsweep.pictures.pixels import Pixels
from mnsweep.pictures.preprocessing import Preprocessing

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm")
MOST_PIXELS = 100_000_000  # a larger picture is refused before it is decoded
WHITE_16 = 2**16 - 1  # of a picture with 16 bits a pixel, which Pillow would clip at 255 instead of scaling
MIDDLE = 0.875  # of a side or of both: the evaluation of TF-slim and MLPerf
_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "nearest": Image.Resampling.NEAREST,
}

Box: TypeAlias = tuple[float, float, float, float]


def is_picture(path: Path) -> bool:
    """Whether a file is a picture by its name. Hidden files (macOS writes `._cat.jpg` beside `cat.jpg`) and pipes are none."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def decode(path: Path, resolution: int, preprocessing: Preprocessing) -> Pixels:
    """The picture as (resolution, resolution, 3) RGB pixels from 0 to 255. Raises `MnsweepError` if it can't be read."""
    return np.asarray(scaled(opened(path), resolution, preprocessing))


def opened(path: Path) -> Image.Image:
    """The picture in RGB, as it is to be shown. Raises `MnsweepError` if it can't be read."""
    try:
        with Image.open(path) as image:
            if image.width * image.height > MOST_PIXELS:
                raise MnsweepError(f"{path}: has {image.width * image.height / 1e6:,.0f} million pixels")
            ImageOps.exif_transpose(image, in_place=True)
            picture = _to_rgb(_to_8_bits(image))
            picture.load()
    except MnsweepError:
        raise
    except Exception:  # Pillow's plugins raise nearly anything for a damaged file
        raise MnsweepError(f"{path}: is not a picture that can be read") from None
    return picture


def scaled(picture: Image.Image, resolution: int, preprocessing: Preprocessing) -> Image.Image:
    """The picture cropped and scaled to (resolution, resolution) by the rule of `preprocessing`."""
    way, (width, height) = _FILTERS[preprocessing.interpolation], picture.size
    if preprocessing.crop == "timm":
        return _cut_after_scaling(picture, resolution, way)
    box = {
        "squash": (0, 0, width, height),
        "slim": _middle(width, height, MIDDLE * width, MIDDLE * height),
        "centre": _middle(width, height, MIDDLE * min(width, height), MIDDLE * min(width, height)),
    }[preprocessing.crop]
    return picture.resize((resolution, resolution), way, box)


def _middle(width: float, height: float, wide: float, high: float) -> Box:
    return (width - wide) / 2, (height - high) / 2, (width + wide) / 2, (height + high) / 2


def _cut_after_scaling(picture: Image.Image, resolution: int, way: Image.Resampling) -> Image.Image:
    """Timm's evaluation: the shorter side becomes floor(resolution / 0.875) pixels, then the middle is cut out."""
    side = int(resolution / MIDDLE)
    shorter = min(picture.size)
    width, height = (max(resolution, int(side * length / shorter)) for length in picture.size)
    large = picture.resize((width, height), way)
    left, top = (round((length - resolution) / 2) for length in large.size)
    return large.crop((left, top, left + resolution, top + resolution))


def _to_8_bits(image: Image.Image) -> Image.Image:
    """A grey picture of 16 bits scaled to 8, others as they are; raises `ValueError` where the value of white is unknown."""
    if not image.mode.startswith(("I", "F")):  # 16 or 32 bits, floating point
        return image
    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > WHITE_16:
        raise ValueError(f"no known value of white in mode {image.mode}")
    return Image.fromarray(np.round(values * (255 / WHITE_16)).astype(np.uint8))


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        with_alpha = image.convert("RGBA")
        white = Image.new("RGBA", with_alpha.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, with_alpha).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")
