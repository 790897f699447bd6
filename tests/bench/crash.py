"""Crash: 200 kills at random times with a worker that times nothing, 20 with real sessions; nothing acknowledged is lost."""

import tempfile
from pathlib import Path
from random import Random

from tests.bench.figure import Figures
from tests.crash import survive

if __name__ == "__main__":
    figures = Figures()
    for kind, kills, longest_s in (("fake", 200, 4.0), ("real", 20, 6.0)):
        with tempfile.TemporaryDirectory() as scratch:
            hits = survive(Path(scratch), kills, Random(kills), kind == "real", longest_s)
        print(f"holds      {kills} kills of {kind} sessions, {hits} of them while blocks were being written: nothing was lost")
    figures.finish()
