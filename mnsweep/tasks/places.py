"""Places: where on the globe was a picture taken? Labels in CSV: `picture`, `latitude`, `longitude`, in degrees.

The network chooses one of some cells of the globe. Cells are S2 cells that are split until none has more than √n of the n
training pictures, and dropped below a 200th of that: for the 91 million pictures of Weyand et al. 2016 (PlaNet, arXiv
1602.05314, section 3.1) this gives their 10,000 and 50. The answer is the mean place of the pictures in the cell, which is what
the outputs are called: whoever runs the file needs no S2.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from mnsweep.accuracy.great_circle import great_circle_km, shares_within
from mnsweep.errors import MnsweepError, UnavailableError
from mnsweep.tasks.kind import Examples, Outputs, Split, TaskScore, halves, held_out, no_label_file
from mnsweep.tasks.table import Row, read_rows, table_in
from mnsweep.wording import count_of

Numbers = NDArray[np.float64]
FILE = "places.csv"
LATITUDE, LONGITUDE = ("latitude", "lat"), ("longitude", "lon", "lng")
MOST_SHARE, FEWEST_SHARE = 0.5, 200  # most pictures in a cell: n to this power; fewest: that divided by this
FEWEST = 2  # pictures in a cell
FINEST_LEVEL = 16  # of S2: some 150 m
NOWHERE = -1  # the cell of a picture outside of all
WITHIN_KM = 25
CONFIDENCE = 0.95


class Places:
    """Pictures with a place; the quality is the share within 25 km (the paper's Table 11)."""

    metric, what, chooses, names_outputs = "within_25km", "cells", True, True

    def split(self, data: Path, seed: int) -> Split:
        """See `Kind`: `places.csv` in each of train/ and val/, or one file, of which a fifth is held out."""
        if own := halves(data):
            train, validation = (self.read(half, None, ()) for half in own)
        else:
            every = self.read(data, None, ())
            kept, held = held_out(len(every.paths), seed)
            train, validation = every.part(kept), every.part(held)
        cells = Cells(train.truths)
        if len(cells.names) < 2:
            pictures = count_of(len(train.paths), "picture")
            what = f"`data` {data}: its {pictures} to train on fill {count_of(len(cells.names), 'cell')}"
            raise MnsweepError(what, "add pictures of other places")
        train = cells.number(train)
        return Split(
            train.part(np.flatnonzero(train.truths[:, 2] != NOWHERE).tolist()),
            cells.number(validation),
            is_own=own is not None,
        )

    def read(self, data: Path, labels: Path | None, names: Sequence[str]) -> Examples:
        """See `Kind`. A truth is a latitude, a longitude, and the number of a cell."""
        no_label_file(labels, "places")
        path = table_in(data, FILE)
        rows = read_rows(path, (LATITUDE, LONGITUDE))
        places = [[_degrees(row, name, most) for name, most in (("latitude", 90), ("longitude", 180))] for row in rows]
        return Examples(
            name=path.resolve().parent.name if path.name == FILE else path.stem,
            paths=tuple(row.picture for row in rows),
            truths=np.array([(*place, NOWHERE) for place in places], np.float64),
            names=tuple(names),
        )

    def score(self, outputs: Outputs, examples: Examples) -> TaskScore:
        """See `Kind`."""
        distances = distances_km(outputs, examples)
        right = int((distances <= WITHIN_KM).sum())
        ends = binomtest(right, len(distances)).proportion_ci(CONFIDENCE, method="wilson")
        return TaskScore(
            metric=self.metric,
            images=len(distances),
            quality_pct=100 * right / len(distances),
            ci_low_pct=100 * float(ends.low),
            ci_high_pct=100 * float(ends.high),
            details={**shares_within(distances), "median_km": float(np.median(distances)), "cells": len(examples.names)},
        )


def answered_places(outputs: Outputs, names: Sequence[str]) -> Numbers:
    """The latitude and longitude of each answer, (n, 2). Raises `MnsweepError` where outputs are not called after places."""
    centres = [_place_of(name) for name in names]
    if not centres or len(centres) != outputs.shape[1]:
        raise MnsweepError("the network's outputs are not called after places", "train it with `task` planet")
    found: Numbers = np.array(centres, np.float64)[outputs.argmax(1)]
    return found


def distances_km(outputs: Outputs, examples: Examples) -> Numbers:
    """How far the answers are from the places of the pictures, in km."""
    found = great_circle_km(answered_places(outputs, examples.names), examples.truths[:, :2])
    return np.asarray(found, np.float64)


class Cells:
    """The cells that the places (n, 2 or more) of training pictures fill. Raises `UnavailableError` without s2geometry."""

    def __init__(self, truths: Numbers) -> None:
        self.numbers: dict[int, int] = {}
        names: list[str] = []
        leaves = [_leaf(latitude, longitude) for latitude, longitude in truths[:, :2]]
        most = max(FEWEST, round(len(truths) ** MOST_SHARE))
        for cell, members in _split(leaves, most):
            if len(members) >= max(FEWEST, most // FEWEST_SHARE):
                self.numbers[cell] = len(names)
                names.append(_called(truths[members, :2]))
        self.names = tuple(names)

    def number(self, examples: Examples) -> Examples:
        """The same pictures, with the numbers of their cells."""
        truths = examples.truths.copy()
        truths[:, 2] = [self._number_of(_leaf(latitude, longitude)) for latitude, longitude in truths[:, :2]]
        lost = int((truths[:, 2] == NOWHERE).sum())
        remark = f"{examples.name}: {count_of(lost, 'picture')} in no cell, or in one with too few others"
        return Examples(
            name=examples.name,
            paths=examples.paths,
            truths=truths,
            names=self.names,
            remarks=(remark,) if lost else (),
        )

    def _number_of(self, leaf: Any) -> int:
        for level in range(FINEST_LEVEL + 1):
            if (found := self.numbers.get(leaf.parent(level).id())) is not None:
                return found
        return NOWHERE


def _split(leaves: Sequence[Any], most: int) -> list[tuple[int, list[int]]]:
    """Cells by id with the places in the list of those in them: the largest cells that hold at most so many."""
    done, waiting = [], [(0, list(range(len(leaves))))]
    while waiting:
        level, members = waiting.pop()
        of: dict[int, list[int]] = {}
        for member in members:
            of.setdefault(leaves[member].parent(level).id(), []).append(member)
        for cell, inside in of.items():
            if len(inside) > most and level < FINEST_LEVEL:
                waiting.append((level + 1, inside))
            else:
                done.append((cell, inside))
    return sorted(done)


def _leaf(latitude: float, longitude: float) -> Any:
    try:
        import s2geometry
    except ImportError:
        raise UnavailableError("cells of the globe need s2geometry", "pip install 'mnsweep[tasks]'") from None
    return s2geometry.S2CellId(s2geometry.S2LatLng.FromDegrees(latitude, longitude))


def _called(places: Numbers) -> str:
    """The mean place on the globe, e.g. `48.8566 2.3522`: that of the sum of unit vectors, also across the date line."""
    latitudes, longitudes = np.radians(places).T
    x, y = (float((np.cos(latitudes) * part(longitudes)).sum()) for part in (np.cos, np.sin))
    z = float(np.sin(latitudes).sum())
    return f"{math.degrees(math.atan2(z, math.hypot(x, y))):.4f} {math.degrees(math.atan2(y, x)):.4f}"


def _place_of(name: str) -> tuple[float, float]:
    try:
        latitude, longitude = map(float, name.split())
    except ValueError:
        raise MnsweepError(
            f"the network's output {name!r:.40} is not called after a place", "train it with `task` planet"
        ) from None
    return latitude, longitude


def _degrees(row: Row, name: str, most: float) -> float:
    try:
        found = float(row.values[name])
    except ValueError:
        raise MnsweepError(f"{row.where}: {name} is {row.values[name]!r:.40}", "write it in degrees, e.g. 48.8566") from None
    if not abs(found) <= most:
        raise MnsweepError(f"{row.where}: {name} {found:g} is outside of −{most} to {most} degrees")
    return found
