"""`places`: generated "photographs" of made-up landscapes, whose looks follow latitude and longitude.

A small task of geolocation that any machine can train on in minutes. Photographs are taken around some towns. Sky, ground and
their texture are smooth functions of the place; the town's own pattern, in small tiles, tells it from its neighbours and needs
resolution. No picture shows a real place.
"""

import csv
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mnsweep.pictures.generated import Wanted, drawn_by, new_folder, seeded

TOWNS = 60
AROUND_KM = 6.0  # standard deviation of a photograph's distance from its town, to the north and to the east
KM_A_DEGREE = 111.2
NORTHMOST = 65.0  # degrees
TILES = 8  # a side, of a town's pattern
WAVES = 6  # of a smooth function of the place
NOISE = 14.0
FILE = "places.csv"
Numbers = NDArray[np.float64]


def write_places(folder: Path, wanted: Wanted, processes: int) -> Iterator[int]:
    """Write FOLDER/train and /val: pictures, and places.csv with their latitudes and longitudes; yields how many are done.

    Raises `MnsweepError` where the folder holds something else already, or can't be written.
    """
    new_folder(folder)
    yield from drawn_by(_draw, folder, wanted, processes)
    for split, count in wanted.counts.items():
        with (folder / split / FILE).open("w", newline="", encoding="utf-8") as file:
            lines = csv.writer(file, lineterminator="\n")
            lines.writerow(["picture", "latitude", "longitude"])
            for number in range(count):
                latitude, longitude = place_of(wanted, split, number)
                lines.writerow([f"{number:05}.png", f"{latitude:.5f}", f"{longitude:.5f}"])


def _draw(folder: Path, wanted: Wanted, split: str, numbers: range) -> None:
    for number in numbers:
        landscape(wanted, split, number).save(folder / split / f"{number:05}.png")


def towns(seed: int) -> Numbers:
    """(60, 2) latitudes and longitudes, evenly distributed over the globe below the northmost latitude."""
    rng = np.random.default_rng((seed, 3))
    most = math.sin(math.radians(NORTHMOST))
    latitudes = np.degrees(np.arcsin(rng.uniform(-most, most, TOWNS)))
    return np.column_stack([latitudes, rng.uniform(-180, 180, TOWNS)])


def place_of(wanted: Wanted, split: str, number: int) -> tuple[float, float]:
    """Latitude and longitude of a picture."""
    rng = seeded(wanted, split, number)
    latitude, longitude = towns(wanted.seed)[number % TOWNS]
    north, east = rng.normal(0, AROUND_KM / KM_A_DEGREE, 2)
    longitude += east / math.cos(math.radians(latitude))
    return float(latitude + north), float((longitude + 180) % 360 - 180)


def looks(latitude: float, longitude: float, seed: int, count: int) -> Numbers:
    """Numbers from −1 to 1 that change smoothly with the place, also across the date line."""
    rng = np.random.default_rng((seed, 4))
    lat, lon = math.radians(latitude), math.radians(longitude)
    point = np.array([math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon), math.sin(lat)])
    waves, phases = rng.normal(0, 4, (count, WAVES, 3)), rng.uniform(0, 2 * math.pi, (count, WAVES))
    found: Numbers = np.sin(waves @ point + phases).mean(1) * 1.8
    return np.clip(found, -1, 1)


def landscape(wanted: Wanted, split: str, number: int) -> Image.Image:
    """One picture: sky above hills, and a wall with the town's pattern."""
    place = place_of(wanted, split, number)
    rng = np.random.default_rng((wanted.seed, number, len(split), 5))
    size, look = wanted.size, looks(*place, wanted.seed, 12)
    across, down = np.meshgrid(np.linspace(0, 1, size), np.linspace(0, 1, size))
    slope, frequency = look[0] * 0.15, 3 + 2 * look[1]
    ridge = 0.42 + 0.1 * look[2] + slope * (across - 0.5) + 0.05 * np.sin(2 * math.pi * (frequency * across + rng.random()))
    sky = np.array([120 + 60 * look[3], 160 + 40 * look[4], 200 + 40 * look[5]])
    ground = np.array([120 + 70 * look[6], 120 + 60 * look[7], 70 + 50 * look[8]])
    stripes = np.sin(2 * math.pi * (8 + 4 * look[9]) * (across * math.cos(look[10] * 2) + down * math.sin(look[10] * 2)))
    pixels = np.where((down < ridge)[..., None], sky + 50 * (0.5 - down)[..., None], ground + 18 * stripes[..., None])
    _wall(pixels, number % TOWNS, wanted.seed, rng)
    pixels *= rng.uniform(0.7, 1.2)
    pixels += rng.normal(0, NOISE * rng.uniform(0.3, 1), pixels.shape) + rng.normal(0, 6, 3)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _wall(pixels: Numbers, town: int, seed: int, rng: np.random.Generator) -> None:
    """Put the town's pattern of tiles somewhere into the lower half."""
    own = np.random.default_rng((seed, town, 6))
    pattern = own.random((TILES, TILES)) < 0.5
    light, dark = own.uniform(150, 230, 3), own.uniform(20, 110, 3)
    size = len(pixels)
    side = int(size * rng.uniform(0.3, 0.5))
    left, top = int(rng.integers(0, size - side)), int(rng.integers(size // 2 - side // 4, size - side))
    tile = np.arange(side) * TILES // side
    chosen = pattern[np.ix_(tile, tile)][..., None]
    pixels[top : top + side, left : left + side] = np.where(chosen, light, dark)
