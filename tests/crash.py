"""Kill a sweep again and again, and hold what is left against what was acknowledged."""

import shutil
import subprocess
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

from mnsweep.machine.fingerprint import read_machine
from mnsweep.record import Block, from_line
from mnsweep.sweep.derive import derive
from mnsweep.sweep.store import BLOCKS, MACHINE, SWEEP, SweepFolder
from tests.killable import CELLS, RULES

DERIVED = ("cells.csv", "pareto.png", "pareto.svg", "latency_mult_adds.png", "latency_mult_adds.svg")


def blocks_of(text: str) -> Counter[str]:
    """The lines that are blocks, each with how often it stands there."""
    return Counter(line for line in text.splitlines() if isinstance(from_line(line), Block))


def survive(folder: Path, kills: int, rng: Random, real: bool, longest_s: float) -> int:
    """Start and kill `kills` times, then let it end; how many kills came while records were being written.

    Whenever a sweep ends by itself before `kills` are spent, another is begun in a new folder.
    """
    hits, number = 0, 0
    while kills > 0:
        here, number = folder / str(number), number + 1
        here.mkdir()
        ended = False
        while kills > 0 and not ended:
            before = _size(here / "acknowledged")
            ended = _start(here, real, rng.uniform(0.0, longest_s), once_it_writes=rng.random() < 0.7)
            kills -= not ended
            hits += not ended and _size(here / "acknowledged") > before
            _check(here)
        if not ended:
            assert _start(here, real, None, once_it_writes=False)
            _check(here)
        _check_complete(here)
    return hits


def _start(here: Path, real: bool, kill_after_s: float | None, once_it_writes: bool) -> bool:
    """Run the sweep; True when it ended by itself, False when it was killed: so long after it began, or wrote its first."""
    before = _size(here / "acknowledged")
    command = [sys.executable, "-m", "tests.killable", str(here / "results"), str(here / "acknowledged")]
    process = subprocess.Popen(command + ["--real"] * real, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    if once_it_writes:
        wait_until(lambda: _size(here / "acknowledged") > before or process.poll() is not None, 60)
    try:
        _, errors = process.communicate(timeout=kill_after_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return False
    assert process.returncode == 0, errors.decode()
    return True


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _sweep_folder(here: Path) -> SweepFolder:
    return SweepFolder(here / "results" / "grid" / read_machine().key)


def _check(here: Path) -> None:
    """Every acknowledged block is on disk exactly once, and nothing is there twice."""
    if not (here / "acknowledged").exists():
        return
    acknowledged = blocks_of((here / "acknowledged").read_text().rpartition("\n")[0])
    text = (_sweep_folder(here).path / BLOCKS).read_text()
    written = blocks_of(text[: text.rfind("\n") + 1])
    assert max(written.values(), default=1) == 1
    assert acknowledged <= written
    assert written.total() - acknowledged.total() <= 1 + _kills_seen(here)


def _kills_seen(here: Path) -> int:
    """A kill between the write and the note leaves one block on disk that was not acknowledged."""
    text = (_sweep_folder(here).path / BLOCKS).read_text()
    return text.count('"kind":"process"') + text.count('"kind":"mark"')


def _check_complete(here: Path) -> None:
    folder = _sweep_folder(here)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        taken = {(b.cell, b.process, b.round) for b in folder.read().blocks}
    rounds = Counter(cell for cell, _, _ in taken)
    assert all(rounds[cell.id] >= RULES.least_rounds for cell in CELLS)
    replay = SweepFolder(here / "replay" / "grid" / folder.machine)
    replay.path.mkdir(parents=True)
    for name in (BLOCKS, MACHINE, SWEEP):
        shutil.copy(folder.path / name, replay.path / name)
    derive(replay)
    for name in DERIVED:
        assert (folder.path / name).read_bytes() == (replay.path / name).read_bytes(), name


def wait_until(condition: Callable[[], object], seconds: float) -> bool:
    """Whether `condition()` comes true within `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False
