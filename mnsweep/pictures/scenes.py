"""`scenes`: generated pictures with some letters in each, and their boxes in COCO's format.

A small task of detection that any machine can train on in minutes. Letters vary in size, place, colour and turn, among the same
clutter as the letters of `glyphs`; small ones are hard to see at low resolution. Everything is made up.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from mnsweep.pictures.generated import SPLITS, Wanted, drawn_by, new_folder, seeded
from mnsweep.pictures.glyphs import CLUTTER, CONTRAST, NOISE, clutter, letter_mask, shaded

LETTERS = "AHSX"
SMALLEST, LARGEST = 0.18, 0.5  # height of a letter, as a share of the picture's side
MOST = 3  # letters in a picture
TRIES = 20  # places for a letter until it overlaps no other by much
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
        for letter, (left, top, right, bottom) in scene(wanted, split, number, pixels=False)[1]:
            box = [left, top, right - left, bottom - top]
            boxes.append(
                {
                    "id": len(boxes) + 1,
                    "image_id": number,
                    "category_id": LETTERS.index(letter) + 1,
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                }
            )
    categories = [{"id": i, "name": letter} for i, letter in enumerate(LETTERS, 1)]
    return {
        "info": {"description": "generated scenes of letters"},
        "images": images,
        "annotations": boxes,
        "categories": categories,
    }


Placed = tuple[str, tuple[int, int, int, int]]  # a letter, and its box: left, top, right, bottom in pixels


def scene(wanted: Wanted, split: str, number: int, *, pixels: bool = True) -> tuple[Image.Image, list[Placed]]:
    """One picture and its letters; without `pixels` the picture is blank, and the letters the same."""
    rng, size = seeded(wanted, split, number), wanted.size
    placed: list[tuple[Placed, Image.Image]] = []
    for _ in range(int(rng.integers(1, MOST + 1))):
        letter = str(rng.choice(list(LETTERS)))
        mask = letter_mask(letter, size * rng.uniform(SMALLEST, LARGEST), rng)
        for _ in range(TRIES):
            left, top = (int(rng.integers(0, max(1, size - length + 1))) for length in mask.size)
            box = left, top, min(size, left + mask.width), min(size, top + mask.height)
            if all(_shared(box, other) <= OVERLAP for (_, other), _ in placed):
                placed.append(((letter, box), mask))
                break
    letters = [letter for letter, _ in placed]
    if not pixels:
        return Image.new("RGB", (size, size)), letters
    ground = rng.integers(0, 256, 3)
    picture = Image.fromarray(shaded(ground, size, rng))
    draw = ImageDraw.Draw(picture)
    for _ in range(int(rng.integers(2, CLUTTER + 1))):
        clutter(draw, size, rng)
    for (_, box), mask in placed:
        ink = rng.integers(0, 256, 3)
        while abs(float(ink.mean() - ground.mean())) < CONTRAST:
            ink = rng.integers(0, 256, 3)
        picture.paste(tuple(map(int, ink)), box[:2], mask)
    noisy = np.asarray(picture, np.float32) + rng.normal(0, NOISE * rng.random(), (size, size, 3))
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)), letters


def _shared(box: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> float:
    """The part of the smaller box that both cover."""
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    least = min((b[2] - b[0]) * (b[3] - b[1]) for b in (box, other))
    return max(0, width) * max(0, height) / max(1, least)
