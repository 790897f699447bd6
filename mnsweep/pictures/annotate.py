"""Draw boxes with labels into a copy of a picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from mnsweep.errors import MnsweepError
from mnsweep.pictures.decode import opened

COLOURS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#9a6324", "#800000", "#808000", "#000075")
SMALLEST_SIDE = 320  # pixels: smaller pictures are drawn larger, so that labels can be read


@dataclass(frozen=True, slots=True)
class Marked:
    """A box (left, top, right, bottom) in pixels, what it says, and the number of its colour."""

    box: tuple[int, int, int, int]
    label: str
    number: int


def size_of(path: Path) -> tuple[int, int]:
    """Width and height in pixels, as the picture is shown. Raises `MnsweepError` if it can't be read."""
    return opened(path).size


def write_marked(path: Path, marks: Sequence[Marked], target: Path) -> None:
    """Write a copy of a picture with boxes as a PNG; the first is drawn last, on top. Raises `MnsweepError`."""
    picture = opened(path)
    factor = max(1, -(-SMALLEST_SIDE // min(picture.size)))
    picture = picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    draw, line = ImageDraw.Draw(picture), max(2, min(picture.size) // 200)
    font = ImageFont.load_default(max(11, min(picture.size) // 28))
    for mark in reversed(marks):
        colour = COLOURS[mark.number % len(COLOURS)]
        left, top, right, bottom = (factor * value for value in mark.box)
        draw.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=colour, width=line)
        _, _, wide, high = draw.textbbox((0, 0), mark.label, font)
        x, y = max(0, min(left, picture.width - wide - 4)), top - high - 4 if top >= high + 4 else top
        draw.rectangle((x, y, x + wide + 4, y + high + 4), fill=colour)
        draw.text((x + 2, y + 1), mark.label, "white", font)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        picture.save(target)
    except OSError as error:
        raise MnsweepError(f"`draw` {target}: {error.strerror}") from None
