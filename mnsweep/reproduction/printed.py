"""The paper's printed values, row by row, and their known errors and omissions: data files in the package.

`data/paper_tables.csv` holds Tables 1 to 14 as printed, errors included (`11-text` is the paragraph beside Table 11).
`data/paper_errata.csv` has a line for each number that our networks do not reproduce. `value` is our value; `reason` gives the
arithmetic that explains the printed one, or says that none does.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

TITLES = {
    1: "The body of MobileNet",
    2: "Resource per layer type",
    3: "Changes to one layer: 14 × 14 maps, 3 × 3, 512 channels",
    4: "Depthwise separable against full convolutions",
    5: "Narrow against shallow",
    6: "Width multiplier",
    7: "Resolution",
    8: "Against popular networks",
    9: "Smaller MobileNet against popular networks",
    10: "Stanford Dogs (120 classes)",
    11: "PlaNet (26,263 cells)",
    12: "Face attributes (40 assumed)",
    13: "COCO object detection",
    14: "Face embedding distilled from FaceNet (128 dimensions)",
}


@dataclass(frozen=True, slots=True)
class Printed:
    """One number or shape of the paper: `text` as printed, in `unit` (%, M, B; empty for shapes of Table 1)."""

    table: int
    model: str
    alpha: float | None
    resolution: int | None
    metric: str
    text: str
    unit: str


@dataclass(frozen=True, slots=True)
class Erratum:
    """Why a printed value differs from ours: `verdict` is erratum or assumption, `value` is ours in the row's unit."""

    id: str
    verdict: str
    value: str
    reason: str


@cache
def printed() -> tuple[Printed, ...]:
    """Every row of every table, in the paper's order."""
    return tuple(
        Printed(
            table=int(row["table"].partition("-")[0]),
            model=row["model"],
            alpha=float(row["alpha"]) if row["alpha"] else None,
            resolution=int(row["resolution"]) if row["resolution"] else None,
            metric=row["metric"],
            text=row["value"],
            unit=row["unit"],
        )
        for row in _lines("paper_tables.csv")
    )


@cache
def errata() -> dict[tuple[int, str, str], Erratum]:
    """The explained differences, by table, model and metric."""
    return {(int(row["table"]), row["model"], row["metric"]): _erratum(row) for row in _lines("paper_errata.csv")}


def _erratum(row: dict[str, str]) -> Erratum:
    return Erratum(id=row["id"], verdict=row["verdict"], value=row["value"], reason=row["reason"])


def _lines(name: str) -> Iterator[dict[str, str]]:
    with (files("mnsweep") / "reproduction/data" / name).open(encoding="utf-8") as file:
        yield from csv.DictReader(file)
