"""`glyphs`: generated pictures of sixteen letters, a small task that any machine can train on in minutes.

Size, place, rotation, colours, clutter and noise vary, so that accuracy depends on resolution and width as it does on
photographs. The letters are of the DejaVu fonts that matplotlib ships (Bitstream Vera licence, public-domain changes). One
picture depends on the seed, its split and its number alone: the set is the same on every machine with the same Pillow.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import product
from pathlib import Path

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from mnsweep.pictures.generated import SPLITS, Wanted, drawn_by, new_folder
from mnsweep.pictures.pixels import Pixels

LETTERS = "ABDEGHKMNPQRSTXZ"
FONTS = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSansMono")
SMALLEST, LARGEST = 0.28, 0.75  # height of a letter, as a share of the picture's side
TURN, CLUTTER, NOISE = 25.0, 8, 10.0  # degrees to each side; shapes at most; standard deviation of a pixel
CONTRAST = 70.0  # between a letter and its ground, of 255, at least
WRONG = 7  # of the seeds: what decides which labels are wrong


def write_glyphs(folder: Path, wanted: Wanted, processes: int) -> Iterator[int]:
    """Write `folder`/train and /val with a folder for each letter; yields how many pictures are done.

    Raises `MnsweepError` where the folder holds something else already, or can't be written.
    """
    new_folder(folder, [f"{split}/{letter}" for split, letter in product(SPLITS, LETTERS)])
    yield from drawn_by(_draw, folder, wanted, processes)


def _draw(folder: Path, wanted: Wanted, split: str, numbers: range) -> None:
    for number in numbers:
        letter = LETTERS[number % len(LETTERS)]
        picture = glyph(letter, wanted.size, (wanted.seed, SPLITS.index(split), number))
        picture.save(folder / split / _label_of(letter, wanted, split, number) / f"{number:05}.png")


def _label_of(letter: str, wanted: Wanted, split: str, number: int) -> str:
    """The letter, or for some pictures to train on another one."""
    rng = np.random.default_rng((wanted.seed, number, WRONG))
    if split != SPLITS[0] or rng.random() >= wanted.wrong_labels:
        return letter
    return str(rng.choice([other for other in LETTERS if other != letter]))


def glyph(letter: str, size: int, key: Sequence[int]) -> Image.Image:
    """One picture (size, size) of a letter; `key` seeds everything that varies."""
    rng = np.random.default_rng(key)
    ground, ink = _colours(rng)
    picture = Image.fromarray(shaded(ground, size, rng))
    draw = ImageDraw.Draw(picture)
    for _ in range(rng.integers(2, CLUTTER + 1)):
        clutter(draw, size, rng)
    mask = letter_mask(letter, size * rng.uniform(SMALLEST, LARGEST), rng)
    free = (max(1, size - mask.width), max(1, size - mask.height))
    picture.paste(tuple(ink), tuple(int(rng.integers(0, f)) for f in free), mask)  # type: ignore[arg-type]
    pixels = np.asarray(picture, np.float32) + rng.normal(0, NOISE * rng.random(), (size, size, 3))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _colours(rng: np.random.Generator) -> tuple[NDArray[np.int64], list[int]]:
    """Of the ground and the letter: far enough apart to be told."""
    while True:
        ground, ink = rng.integers(0, 256, (2, 3))
        if abs(float(ground.mean() - ink.mean())) >= CONTRAST:
            return ground, [int(value) for value in ink]


def shaded(ground: NDArray[np.int64], size: int, rng: np.random.Generator) -> Pixels:
    """The ground with a gradient in a random direction."""
    across, along = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0, 30)
    shade = strength * (np.cos(angle) * across + np.sin(angle) * along)
    return np.asarray(np.clip(ground + shade[:, :, None], 0, 255), np.uint8)


def clutter(draw: ImageDraw.ImageDraw, size: int, rng: np.random.Generator) -> None:
    """A line, an ellipse or a rectangle, smaller than a letter."""
    x, y = rng.uniform(0, size, 2)
    width, height = rng.uniform(0.03, 0.2, 2) * size
    colour = tuple(int(value) for value in rng.integers(0, 256, 3))
    shape = rng.integers(3)
    if shape == 0:
        draw.line((x, y, x + 2 * width - 0.1 * size, y + 2 * height - 0.1 * size), colour, int(rng.integers(1, 3)))
    else:
        (draw.ellipse if shape == 1 else draw.rectangle)((x, y, x + width, y + height), colour)


def letter_mask(
    letter: str, height: float, rng: np.random.Generator, fonts: Sequence[str] = FONTS, most_turn: float = TURN
) -> Image.Image:
    """A mask of the letter, turned by up to so many degrees, without empty borders."""
    font = _font(str(rng.choice(fonts)), max(8, round(1.35 * height)))
    left, top, right, bottom = font.getbbox(letter)
    mask = Image.new("L", (int(right - left) + 4, int(bottom - top) + 4))
    ImageDraw.Draw(mask).text((2 - left, 2 - top), letter, 255, font)
    turned = mask.rotate(float(rng.uniform(-most_turn, most_turn)), Image.Resampling.BICUBIC, expand=True)
    return turned.crop(turned.getbbox())


@cache
def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(Path(mpl.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf"), size)
