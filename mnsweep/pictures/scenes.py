"""`scenes`: generated pictures with some signs in each, and their boxes in COCO's format.

A small task of detection that any machine can train on in minutes. Signs (of the DejaVu fonts)
vary in size, place, colour and turn, among lines; small ones are hard to see at low resolution. Everything is made up.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from mnsweep.pictures.generated import SPLITS, Wanted, as_colour, drawn_by, new_folder, seeded
from mnsweep.pictures.glyphs import CONTRAST, NOISE, letter_mask, shaded

SIGNS = {"disc": "●", "square": "■", "triangle": "▲", "cross": "✚"}
FONT = ("DejaVuSans",)
TURN = 12.0  # degrees to each side
LINES = 6  # at most
SMALLEST, LARGEST = 0.18, 0.5  # height of a sign, as a share of the picture's side
MOST = 3  # signs in a picture
TRIES = 20  # places for a sign until it overlaps no other by much
OVERLAP = 0.15  # of the smaller box
ANNOTATIONS = "annotations"


def write_scenes(folder: Path, wanted: Wanted, processes: int) -> Iterator[int]:
    """Write FOLDER/train and /val, and FOLDER/annotations/instances_train.json and instances_val.json; yields the number done.

    Raises `MnsweepError` where the folder holds something else already, or can't be written.
    """
    new_folder(folder, (*SPLITS, ANNOTATIONS))
    yield from drawn_by(_draw, folder, wanted, processes)
    for split, count in wanted.counts.items():
        document = _document(wanted, split, count)
        (folder / ANNOTATIONS / f"instances_{split}.json").write_text(json.dumps(document), encoding="utf-8")


def _draw(folder: Path, wanted: Wanted, split: str, numbers: range) -> None:
    for number in numbers:
        scene(wanted, split, number)[0].save(folder / split / f"{number:05}.png")


def _document(wanted: Wanted, split: str, count: int) -> dict[str, object]:
    """The boxes of all pictures: they are drawn once more without pixels, since they follow from the seed."""
    images: list[dict[str, object]] = []
    boxes: list[dict[str, object]] = []
    for number in range(count):
        images.append({"id": number, "file_name": f"{number:05}.png", "width": wanted.size, "height": wanted.size})
        for sign, (left, top, right, bottom) in scene(wanted, split, number, pixels=False)[1]:
            box = [left, top, right - left, bottom - top]
            boxes.append(
                {
                    "id": len(boxes) + 1,
                    "image_id": number,
                    "category_id": [*SIGNS].index(sign) + 1,
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                }
            )
    categories = [{"id": i, "name": sign} for i, sign in enumerate(SIGNS, 1)]
    return {
        "info": {"description": "generated scenes of signs"},
        "images": images,
        "annotations": boxes,
        "categories": categories,
    }


Placed = tuple[str, tuple[int, int, int, int]]  # a sign, and its box: left, top, right, bottom in pixels


def scene(wanted: Wanted, split: str, number: int, *, pixels: bool = True) -> tuple[Image.Image, list[Placed]]:
    """One picture and its signs; without `pixels` the picture is blank, and the signs the same."""
    rng, size = seeded(wanted, split, number), wanted.size
    placed: list[tuple[Placed, Image.Image]] = []
    for _ in range(int(rng.integers(1, MOST + 1))):
        sign = str(rng.choice(list(SIGNS)))
        mask = letter_mask(SIGNS[sign], size * rng.uniform(SMALLEST, LARGEST), rng, FONT, TURN)
        for _ in range(TRIES):
            left, top = (int(rng.integers(0, max(1, size - length + 1))) for length in mask.size)
            box = left, top, min(size, left + mask.width), min(size, top + mask.height)
            if all(_shared(box, other) <= OVERLAP for (_, other), _ in placed):
                placed.append(((sign, box), mask))
                break
    signs = [sign for sign, _ in placed]
    if not pixels:
        return Image.new("RGB", (size, size)), signs
    ground = rng.integers(0, 256, 3)
    picture = Image.fromarray(shaded(ground, size, rng))
    draw = ImageDraw.Draw(picture)
    for _ in range(int(rng.integers(1, LINES + 1))):
        draw.line(tuple(rng.uniform(0, size, 4)), as_colour(rng.uniform(0, 255, 3)), int(rng.integers(1, 3)))
    for (_, box), mask in placed:
        ink = rng.integers(0, 256, 3)
        while abs(float(ink.mean() - ground.mean())) < CONTRAST:
            ink = rng.integers(0, 256, 3)
        picture.paste(tuple(map(int, ink)), box[:2], mask)
    noisy = np.asarray(picture, np.float32) + rng.normal(0, NOISE * rng.random(), (size, size, 3))
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)), signs


def _shared(box: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> float:
    """The part of the smaller box that both cover."""
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    least = min((b[2] - b[0]) * (b[3] - b[1]) for b in (box, other))
    return max(0, width) * max(0, height) / max(1, least)
