"""Is what a sweep calls certain true? Twenty default sweeps of the 16 cells against one that takes ten times as long.

Of the places on the frontier that a default sweep calls certain, at least 95 % are those of the long sweep.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.bench.figure import Figures

PROGRAM = str(Path(sys.executable).with_name("mnsweep"))
SWEEPS, LONG = 20, 10


def sweep(*options: str) -> tuple[dict[str, Any], float]:
    """The JSON document of `mnsweep grid` in a fresh folder, and its wall time in s."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        command = [PROGRAM, "grid", "--sweep", "paper", "--json", "-q", *options]
        done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
        return json.loads(done.stdout), time.perf_counter() - began


def frontier(document: dict[str, Any]) -> set[str]:
    return {cell["cell"] for cell in document["cells"] if cell["on_frontier"]}


def main() -> None:
    figures, certain, wrong, walls = Figures(), 0, 0, list[float]()
    short = [sweep() for _ in range(SWEEPS // 2)]
    typical_s = sorted(wall_s for _, wall_s in short)[len(short) // 2]
    true = frontier(sweep("--ci-pct", "0.05", "--time-budget-s", str(LONG * typical_s))[0])
    short += [sweep() for _ in range(SWEEPS - len(short))]
    for document, wall_s in short:
        places = set(document["places"]["certain"])
        certain += len(places)
        wrong += len(places & (true ^ frontier(document)))
        walls.append(wall_s)
    figures.report("certain places", 100 * certain / (SWEEPS * len(short[0][0]["cells"])), "%")
    figures.at_least("of them as in the long sweep", 100 * (1 - wrong / certain), 95, "%")
    figures.report("wall time of a default sweep, median", sorted(walls)[SWEEPS // 2], "s")
    figures.report("the slowest", max(walls), "s")
    figures.finish()


if __name__ == "__main__":
    main()
