"""The table of priors, `data/priors.csv`: one row for each run and deployment of another machine. Needs no numpy."""

import csv
from functools import cache
from importlib.resources import files

CURRENT = "2026-11"  # the prior of new explorations; earlier ones keep theirs, so that they are rebuilt as they were fitted


@cache
def table() -> tuple[dict[str, str], ...]:
    """All rows, by column name."""
    with (files("mnsweep") / "prediction/data/priors.csv").open(encoding="utf-8") as file:
        return tuple(csv.DictReader(file))


def names() -> tuple[str, ...]:
    """The names of all priors that this version knows."""
    return tuple(dict.fromkeys(row["prior"] for row in table()))
