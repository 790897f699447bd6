"""Ten thousand damaged folders and ten thousand argument lists: no traceback, an exit status of the table, nothing changed.

    python -m tests.bench.fuzz [number]

Half of the folders are of a grid, half of an exploration; about a quarter of an hour.
"""

import os
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path
from random import Random
from unittest import mock

from mnsweep.app.exploration import Aims, explore
from mnsweep.machine.fingerprint import read_machine
from mnsweep.measure.rounds import Rules
from mnsweep.session import Session
from mnsweep.space import Space
from mnsweep.sweep.derive import derive
from mnsweep.sweep.file import Prediction, Sweep
from mnsweep.sweep.store import SweepFolder
from tests.bench.figure import Figures
from tests.conftest import write_folder
from tests.fakes import FakeWorker
from tests.fuzz import check, odd_arguments, run, try_damaged_folder

NUMBER = 10_000
RULES = Rules(least_rounds=2, most_rounds=2, process_rounds=2, least_processes=1)


def folders(directory: Path) -> dict[str, Path]:
    """A measured grid and an exploration, by the name of the sweep."""
    machine = read_machine()
    grid, space = (SweepFolder(directory / name / machine.key) for name in ("grid", "explore"))
    write_folder(grid)
    sweep = Sweep("explore", Space("0.25:0.55:0.05", "128:224:32").cells(), prediction=Prediction())
    explore(
        Session(sweep=sweep, folder=space, machine=machine, rules=RULES, new_worker=FakeWorker()),
        Aims(measure=10, verify=2, validate=2),
    )
    derive(space)
    return {folder.sweep: folder.path for folder in (grid, space)}


def main(number: int) -> None:
    figures, statuses = Figures(), Counter[str]()
    with tempfile.TemporaryDirectory() as scratch, mock.patch("mnsweep.sweep.derive._plots", lambda *_: {}):
        os.chdir(scratch)
        kept = folders(Path("kept"))
        failures = 0
        for i in range(number):
            name = ("grid", "explore")[i % 2]
            shutil.rmtree("results", ignore_errors=True)
            try:
                ran = try_damaged_folder(kept[name], Path("results") / name / read_machine().key, Random(f"folder {i}"))
                statuses[f"folder: exit {ran.status}"] += 1
            except Exception as error:  # a traceback, or a check that does not hold
                failures += 1
                print(f"folder {i}: {type(error).__name__}: {str(error)[:400]}", flush=True)
        figures.at_most(f"of {number} damaged folders, those that were not one line, or changed something", failures, 0, "")
        failures = 0
        shutil.rmtree("results", ignore_errors=True)
        shutil.copytree("kept", "results")
        for i in range(number):
            try:
                ran = run(*odd_arguments(Random(f"arguments {i}")))
                check(ran)
                statuses[f"arguments: exit {ran.status}"] += 1
            except Exception as error:
                failures += 1
                print(f"arguments {i}: {type(error).__name__}: {str(error)[:400]}", flush=True)
        figures.at_most(f"of {number} argument lists, those that were not one line", failures, 0, "")
    for status, count in sorted(statuses.items()):
        print(f"           {status}: {count}")
    figures.finish()


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else NUMBER)
