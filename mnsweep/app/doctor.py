"""What this machine is, what would disturb timing on it, and what a sweep can expect: `mnsweep doctor`."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mnsweep.arch.expand import expand
from mnsweep.cell import Design
from mnsweep.errors import UnavailableError
from mnsweep.graph.onnx_file import build_onnx
from mnsweep.graph.weights import random_weights
from mnsweep.machine.conditions import Finding, find
from mnsweep.machine.facts import Facts
from mnsweep.machine.fingerprint import Machine, read_machine
from mnsweep.machine.lock import measuring
from mnsweep.machine.readings import Readings, read_conditions
from mnsweep.measure.repeatability import Repeatability, measure_repeatability
from mnsweep.prepare.models import SEED
from mnsweep.worker.proxy import NewWorker, WorkerProcess

NETWORK, COMPANIONS = Design.of(0.5, 128), (Design.of(0.25, 128), Design.of(0.75, 128))  # a millisecond each, or so
MOST_THREADS = 8  # beyond, a small network does not scale, and a round takes too long
IMPORT_TIMEOUT_S = 120.0  # from a cold disk


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The machine, a finding for all that may disturb timing, and what a sweep can expect here.

    `repeatability` is None where it was not asked for, or where `obstacle` says why it can't be measured.
    """

    machine: Machine
    findings: tuple[Finding, ...]
    repeatability: Repeatability | None = None
    obstacle: str | None = None


def runtime_obstacle() -> str | None:
    """Why onnxruntime can't be imported, in the words of a process that tried; None where it can."""
    command = [sys.executable, "-c", "import onnxruntime"]
    tried = subprocess.run(command, capture_output=True, text=True, timeout=IMPORT_TIMEOUT_S, check=False)
    if tried.returncode == 0:
        return None
    reason = (tried.stderr.strip().splitlines() or [f"exit status {tried.returncode}"])[-1]
    return f"onnxruntime can't be imported ({reason}): pip install --force-reinstall onnxruntime"


def diagnose(
    timing: bool = True,
    root: Path = Path("/"),
    new_worker: NewWorker = WorkerProcess,
    why_not: Callable[[], str | None] = runtime_obstacle,
    read: Callable[[Machine, Path], Readings] = read_conditions,
) -> Diagnosis:
    """Look at this machine for half a second, and with `timing` time small networks on it for four more.

    `root` is where /proc, /sys and /etc are, `new_worker` starts a worker process, `why_not` says what keeps
    it from timing, `read` tells what the machine does now (others in tests).
    """
    machine = read_machine(root)
    readings = read(machine, root)
    findings = find(readings)
    if not timing:
        return Diagnosis(machine, findings)
    if obstacle := why_not():
        return Diagnosis(machine, findings, obstacle=obstacle)
    try:
        with measuring(wait=False):
            repeatability = _measured(thread_limit(readings.facts), new_worker)
    except UnavailableError as error:
        return Diagnosis(machine, findings, obstacle=_without_other_commands(str(error)))
    return Diagnosis(machine, findings, repeatability)


def thread_limit(facts: Facts) -> int:
    """The most threads that are worth a try."""
    return min(facts.usable_threads, MOST_THREADS)


def _measured(most_threads: int, new_worker: NewWorker) -> Repeatability:
    return measure_repeatability(_model(NETWORK), [_model(design) for design in COMPANIONS], most_threads, new_worker)


def _model(design: Design) -> bytes:
    layers = expand(design)
    return build_onnx(layers, random_weights(layers, SEED), batch=1)


def _without_other_commands(error: str) -> str:
    """`doctor` has no --wait, and who reads this has run it already."""
    text = error.removesuffix(": wait for it with --wait, or stop it").removesuffix("; see 'mnsweep doctor'")
    return f"{text}; look at the machine without timing: mnsweep doctor --no-timing"
