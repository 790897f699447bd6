"""A sweep to be killed: `python -m tests.killable FOLDER ACKNOWLEDGED [--real]`.

Runs a small sweep into FOLDER, with a worker that times nothing (or a real one), and notes each record in the
file ACKNOWLEDGED once the store has said that it is on the disk.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mnsweep.machine.fingerprint import read_machine
from mnsweep.measure.rounds import Rules
from mnsweep.record import Record, to_line
from mnsweep.session import Session
from mnsweep.space import Space
from mnsweep.sweep.derive import derive
from mnsweep.sweep.file import Sweep
from mnsweep.sweep.store import SweepFolder
from tests.fakes import FakeWorker

CELLS = Space(alpha="0.25,0.5", res="32,48,64").cells()
RULES = Rules(least_rounds=30, most_rounds=30, process_rounds=10, block_ms=1, warmup_ms=1)


def take_a_while(verb: str, *arguments: object) -> None:
    time.sleep(0.002 if verb == "time" else 0.0)


class AcknowledgingFolder(SweepFolder):
    @contextmanager
    def appending(self) -> Iterator[Callable[[Record], None]]:
        noted = os.open(os.environ["ACKNOWLEDGED"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        with SweepFolder.appending(self) as append:

            def append_and_note(record: Record) -> None:
                append(record)
                os.write(noted, to_line(record).encode())

            yield append_and_note


def main(path: str, acknowledged: str, *real: str) -> None:
    os.environ["ACKNOWLEDGED"] = acknowledged
    machine = read_machine()
    folder = AcknowledgingFolder(Path(path) / "grid" / machine.key)
    new_worker = None if real else FakeWorker(before=take_a_while)
    session = Session(sweep=Sweep("grid", CELLS), folder=folder, machine=machine, rules=RULES, new_worker=new_worker)
    session.measure(session.asked)
    derive(folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
