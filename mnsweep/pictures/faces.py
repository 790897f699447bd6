"""`faces`: generated drawings of faces, with identities and attributes.

A small task of recognition and of attributes that any machine can train on in minutes. An identity fixes the shape of the face,
the eyes, nose, mouth and the colours; a picture of it varies in pose, light, noise, and what may change: glasses, a hat, a
smile, a beard, an earring, closed eyes. Identities to validate on are others than those to train on. Nobody is real.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from mnsweep.pictures.generated import SPLITS, Colour, Wanted, as_colour, drawn_by, new_folder, seeded

OF_EACH = 8  # pictures of an identity
ATTRIBUTES = ("glasses", "hat", "smile", "beard", "earring", "eyes_closed", "wide_face", "dark_hair")
CHANGING = 6  # the first of them: those of a picture, not of its identity
LARGER = 2  # drawn at so many times the size, then scaled down
NOISE = 8.0
FILE = "attributes.csv"


@dataclass(frozen=True, slots=True)
class Person:
    """What an identity fixes: lengths as shares of the picture's side, and colours."""

    width: float
    height: float
    eyes_apart: float
    eye_size: float
    eyes_high: float
    nose_long: float
    mouth_wide: float
    mouth_low: float
    brow: float
    skin: Colour
    hair: Colour
    eye: Colour
    lips: Colour
    mole: tuple[float, float]
    ears: float
    fringe: float

    @property
    def lasting(self) -> tuple[bool, bool]:
        """The attributes of an identity: a wide face, and dark hair."""
        return self.width / self.height > MIDDLE_SHAPE, sum(self.hair) < MIDDLE_HAIR


MIDDLE_SHAPE, MIDDLE_HAIR = 0.8, 240


def write_faces(folder: Path, wanted: Wanted, processes: int) -> Iterator[int]:
    """Write FOLDER/train and /val: a folder for each identity, and attributes.csv; yields how many pictures are done.

    Raises `MnsweepError` where the folder holds something else already, or can't be written.
    """
    new_folder(
        folder, [f"{split}/{name_of(split, n)}" for split, count in wanted.counts.items() for n in range(-(-count // OF_EACH))]
    )
    yield from drawn_by(_draw, folder, wanted, processes)
    for split, count in wanted.counts.items():
        with (folder / split / FILE).open("w", newline="", encoding="utf-8") as file:
            lines = csv.writer(file, lineterminator="\n")
            lines.writerow(["picture", *ATTRIBUTES])
            for number in range(count):
                lines.writerow([_path(split, number), *map(int, attributes_of(wanted, split, number))])


def name_of(split: str, identity: int) -> str:
    """The name of an identity: no two splits share one."""
    return f"{'t' if split == SPLITS[0] else 'v'}{identity:04}"


def _path(split: str, number: int) -> str:
    return f"{name_of(split, number // OF_EACH)}/{number % OF_EACH:02}.png"


def _draw(folder: Path, wanted: Wanted, split: str, numbers: range) -> None:
    for number in numbers:
        face(wanted, split, number).save(folder / split / _path(split, number))


def person(wanted: Wanted, split: str, identity: int) -> Person:
    """What an identity looks like."""
    rng = np.random.default_rng((wanted.seed, SPLITS.index(split), identity, 1))
    share = rng.uniform
    skin = np.array([235.0, 190.0, 160.0]) * share(0.35, 1.0) + rng.normal(0, 10, 3)
    hair = rng.uniform(10, 235, 3) * share(0.3, 1.0)
    return Person(
        width=share(0.22, 0.4),
        height=share(0.32, 0.45),
        eyes_apart=share(0.08, 0.18),
        eye_size=share(0.022, 0.06),
        eyes_high=share(0.0, 0.13),
        nose_long=share(0.06, 0.16),
        mouth_wide=share(0.06, 0.16),
        mouth_low=share(0.15, 0.24),
        brow=share(-0.035, 0.035),
        skin=as_colour(skin),
        hair=as_colour(hair),
        eye=as_colour(rng.uniform(20, 200, 3)),
        lips=as_colour(np.array([190.0, 60.0, 70.0]) * share(0.4, 1.2, 3)),
        mole=(share(-0.16, 0.16), share(0.02, 0.22)),
        ears=share(0.02, 0.09),
        fringe=share(0.08, 0.2),
    )


def attributes_of(wanted: Wanted, split: str, number: int) -> tuple[bool, ...]:
    """Which of the attributes are true of a picture."""
    rng = np.random.default_rng((wanted.seed, SPLITS.index(split), number, 2))
    changing = rng.random(CHANGING) < (0.4, 0.35, 0.5, 0.35, 0.3, 0.3)
    return (*map(bool, changing), *person(wanted, split, number // OF_EACH).lasting)


def face(wanted: Wanted, split: str, number: int) -> Image.Image:
    """One picture."""
    rng, side = seeded(wanted, split, number), wanted.size * LARGER
    who, has = (
        person(wanted, split, number // OF_EACH),
        dict(zip(ATTRIBUTES, attributes_of(wanted, split, number), strict=True)),
    )
    ground = as_colour(rng.uniform(30, 225, 3))
    picture = Image.new("RGB", (side, side), ground)
    _Drawing(ImageDraw.Draw(picture), side, who, rng).face(has)
    turned = picture.rotate(float(rng.uniform(-8, 8)), Image.Resampling.BICUBIC, fillcolor=ground)
    small = turned.resize((wanted.size, wanted.size), Image.Resampling.BOX)
    light = rng.uniform(0.8, 1.15) * (1 + np.linspace(-1, 1, wanted.size)[None, :, None] * rng.uniform(-0.12, 0.12))
    noisy = np.asarray(small, np.float32) * light + rng.normal(0, NOISE * rng.random(), (wanted.size, wanted.size, 3))
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


class _Drawing:
    """A face on a canvas; lengths are shares of its side, places from the middle of the face."""

    def __init__(self, draw: ImageDraw.ImageDraw, side: int, who: Person, rng: np.random.Generator) -> None:
        self.draw, self.side, self.who = draw, side, who
        self.x, self.y = 0.5 + rng.uniform(-0.05, 0.05), 0.52 + rng.uniform(-0.04, 0.04)
        self.scale = rng.uniform(0.9, 1.08)
        self.look = rng.uniform(-0.012, 0.012)
        self.extra = as_colour(rng.uniform(0, 255, 3))

    def _at(self, x: float, y: float) -> tuple[float, float]:
        return (self.x + x * self.scale) * self.side, (self.y + y * self.scale) * self.side

    def _oval(
        self, x: float, y: float, wide: float, high: float, colour: Colour, outline: Colour | None = None, line: float = 0
    ) -> None:
        box = *self._at(x - wide, y - high), *self._at(x + wide, y + high)
        if outline is None:
            self.draw.ellipse(box, colour)
        else:
            self.draw.ellipse(box, None, outline, max(1, round(line * self.side)))

    def _line(self, points: list[tuple[float, float]], colour: Colour, wide: float) -> None:
        self.draw.line([self._at(*point) for point in points], colour, max(1, round(wide * self.side)), joint="curve")

    def face(self, has: dict[str, bool]) -> None:
        """All of it."""
        who = self.who
        dark = as_colour(np.array(who.skin) * 0.6)
        self._oval(0, -0.04, who.width + 0.035, who.height + 0.01, who.hair)
        for sign in (-1, 1):
            self._oval(sign * who.width, 0.02, who.ears * 0.7, who.ears, who.skin)
        self._oval(0, 0, who.width, who.height, who.skin)
        if has["beard"]:
            self.draw.pieslice((*self._at(-who.width * 0.85, -0.1), *self._at(who.width * 0.85, who.height)), 20, 160, who.hair)
        self.draw.pieslice(
            (*self._at(-who.width, -who.height), *self._at(who.width, -who.height + 2.6 * who.fringe)), 180, 360, who.hair
        )
        for sign in (-1, 1):
            self._eye(sign * who.eyes_apart, -who.eyes_high, has)
        self._line(
            [
                (0, -who.eyes_high + 0.03),
                (0.02, -who.eyes_high + who.nose_long),
                (-0.015, -who.eyes_high + who.nose_long + 0.005),
            ],
            dark,
            0.012,
        )
        self._mouth(has["smile"])
        self._oval(*who.mole, 0.016, 0.016, (45, 25, 20))
        if has["earring"]:
            self._oval(-who.width, 0.06, 0.02, 0.028, (250, 215, 60))
        if has["hat"]:
            top, brim = -who.height * 0.62, who.width * 1.25
            self.draw.rectangle((*self._at(-who.width * 0.8, top - 0.16), *self._at(who.width * 0.8, top)), self.extra)
            self.draw.rectangle((*self._at(-brim, top - 0.01), *self._at(brim, top + 0.025)), self.extra)

    def _eye(self, x: float, y: float, has: dict[str, bool]) -> None:
        size = self.who.eye_size
        if has["eyes_closed"]:
            self._line([(x - size, y), (x, y + 0.012), (x + size, y)], (30, 20, 20), 0.012)
        else:
            self._oval(x, y, size * 1.25, size * 0.8, (245, 245, 240))
            self._oval(x + self.look, y, size * 0.6, size * 0.6, self.who.eye)
        self._line(
            [(x - size * 1.2, y - 0.06 - self.who.brow * np.sign(x)), (x + size * 1.2, y - 0.06 + self.who.brow * np.sign(x))],
            self.who.hair,
            0.014,
        )
        if has["glasses"]:
            self._oval(x, y, size * 1.25 + 0.025, size * 0.8 + 0.03, (0, 0, 0), (20, 20, 25), 0.012)
            self._line([(0, y - 0.01), (x - np.sign(x) * (size * 1.25 + 0.025), y - 0.01)], (20, 20, 25), 0.01)

    def _mouth(self, smiles: bool) -> None:
        wide, low = self.who.mouth_wide, self.who.mouth_low
        deep = 0.05 if smiles else 0.004
        points = [(wide * t, low + deep * (1 - t * t)) for t in np.linspace(-1, 1, 9)]
        self._line(points, self.who.lips, 0.024)
