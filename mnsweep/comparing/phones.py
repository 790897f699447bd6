"""Published latencies of MobileNets on phones, as sides that a sweep can be compared with by name.

`data/phones.csv` gives the source of each row. Nothing was published about their noise: only rounding is counted.
"""

import csv
from functools import cache
from importlib.resources import files

import numpy as np

from mnsweep.cell import Cell, Deployment, Design
from mnsweep.comparing.side import Network, Side
from mnsweep.errors import MnsweepError
from mnsweep.estimate.fit import Estimate
from mnsweep.wording import STABLE

PHONES = {  # by the first part of a name: the phone, and how the networks ran
    "pixel3-cpu": "Pixel 3, TensorFlow Lite, 4 threads",
    "pixel3-nnapi": "Pixel 3, TensorFlow Lite, NNAPI",
    "pixel3-gpu": "Pixel 3, TensorFlow Lite, GPU",
    "pixel1": "Pixel 1, TensorFlow Lite, one large core",
}
OURS = "mobilenet"  # the network whose cells are also ours
UNKNOWN_NOISE = "published without an interval: only the rounding of its digits is counted"
ROUNDED_ROUNDS = 1000  # as if known from many: rounding is no estimate


def phones() -> tuple[str, ...]:
    """The names of the published sets of latencies."""
    return tuple(_sides())


def phone(name: str) -> Side:
    """The published latencies of that name. Raises `MnsweepError` where there is none."""
    if name not in _sides():
        raise MnsweepError(f"{name}: no published latencies of that name", f"choose from {', '.join(phones())}")
    return _sides()[name]


@cache
def _sides() -> dict[str, Side]:
    by_name: dict[str, list[dict[str, str]]] = {}
    with (files("mnsweep") / "comparing/data/phones.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            by_name.setdefault(row["name"], []).append(row)
    return {name: _side(name, rows) for name, rows in by_name.items()}


def _side(name: str, rows: list[dict[str, str]]) -> Side:
    network, source = rows[0]["network"], rows[0]["source"]
    how = next(how for start, how in PHONES.items() if name.startswith(start))
    cells = {_id(row): row for row in rows}
    what = "" if network == OURS else f" of {network}, matched by size"
    return Side(
        sweep=name,
        machine=how,
        title=f"{how}{what} ({source})",
        estimates={cell: _estimate(row["latency_ms"]) for cell, row in cells.items()},
        networks={cell: _network(row) for cell, row in cells.items()},
        note=UNKNOWN_NOISE,
    )


def _id(row: dict[str, str]) -> str:
    design = Design.of(float(row["alpha"]), int(row["resolution"]))
    cell = Cell(design, Deployment(precision=row["precision"])).id
    return cell if row["network"] == OURS else f"{row['network']}_{cell}"


def _network(row: dict[str, str]) -> Network:
    alpha, resolution = float(row["alpha"]), int(row["resolution"])
    design = Design.of(alpha, resolution) if row["network"] == OURS else None
    return Network(alpha=alpha, resolution=resolution, precision=row["precision"], design=design)


def _estimate(printed: str) -> Estimate:
    """A printed latency, known to half a unit of its last digit."""
    ms, digits = float(printed), len(printed.partition(".")[2])
    half = 0.5 * 10.0**-digits
    return Estimate(
        p50_ms=ms,
        ci_low_ms=ms - half,
        ci_high_ms=ms + half,
        relative_ci_pct=100 * float(np.expm1(half / ms)),
        p90_ms=None,
        p99_ms=None,
        samples=1,
        rounds=ROUNDED_ROUNDS,
        stability=STABLE,
    )
