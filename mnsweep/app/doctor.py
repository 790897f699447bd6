"""`mnsweep doctor`: what this machine is, what may disturb timing on it, and how repeatable a sweep would be."""

import subprocess
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from mnsweep.arch.expand import expand
from mnsweep.cell import Design
from mnsweep.decoding import from_builtins
from mnsweep.errors import UnavailableError
from mnsweep.graph.onnx_file import build_onnx
from mnsweep.graph.weights import random_weights
from mnsweep.machine.conditions import Finding, find
from mnsweep.machine.facts import Facts
from mnsweep.machine.fingerprint import Machine, read_machine
from mnsweep.machine.lock import LockedError, measuring
from mnsweep.machine.readings import Readings, read_conditions
from mnsweep.measure.repeatability import SWEEP_ROUNDS, Repeatability, ThreadCount, measure_repeatability
from mnsweep.prepare.models import SEED
from mnsweep.worker.isolated import isolated
from mnsweep.worker.proxy import NewWorker, NotStartedError, WorkerProcess

NETWORK, COMPANIONS = Design.of(0.5, 128), (Design.of(0.25, 128), Design.of(0.75, 128))  # about 1 ms each
MOST_THREADS = 8  # with more threads, a small network does not scale and a round takes too long
IMPORT_TIMEOUT_S = 120.0  # enough for an import from a cold disk
WITHOUT_TIMING = "look at the machine without timing: mnsweep doctor --no-timing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """The machine, a finding for each check of its conditions, and the repeatability that a sweep can expect.

    `repeatability` is None if timing was not requested or failed; if it failed, `obstacle` is the error with the reason.
    """

    machine: Machine
    findings: tuple[Finding, ...]
    repeatability: Repeatability | None = None
    obstacle: UnavailableError | None = None

    @property
    def poor(self) -> tuple[str, ...]:
        """Names of the findings that should be fixed first."""
        return tuple(finding.name for finding in self.findings if finding.verdict == "poor")

    @property
    def next_command(self) -> str:
        """The command to run once no finding is poor."""
        threads = self.repeatability.recommended_threads if self.repeatability else 1
        return "mnsweep grid" + (f" --threads 1,{threads}" if threads > 1 else "")


def runtime_obstacle() -> UnavailableError | None:
    """Why onnxruntime can't be imported, as reported by a process that tries it; None where it can."""
    command = isolated("mnsweep.worker.ort")  # imports it, as the process that measures does
    try:
        tried = subprocess.run(command, capture_output=True, text=True, timeout=IMPORT_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return UnavailableError(f"the process that measures could not start: {error}", WITHOUT_TIMING)
    if tried.returncode == 0:
        return None
    reason = (tried.stderr.strip().splitlines() or [f"exit status {tried.returncode}"])[-1]
    return UnavailableError(f"onnxruntime can't be imported ({reason})", "pip install --force-reinstall onnxruntime")


def diagnose(
    timing: bool = True,
    *,
    root: Path = Path("/"),
    new_worker: NewWorker = WorkerProcess,
    why_not: Callable[[], UnavailableError | None] = runtime_obstacle,
    read: Callable[[Machine, Path], Readings] = read_conditions,
) -> Diagnosis:
    """Inspect this machine for half a second and, with `timing`, time small networks on it for four more seconds.

    Tests replace the other arguments: `root` holds /proc, /sys and /etc, `new_worker` starts a worker process, `why_not`
    returns the error that prevents timing (or None), and `read` reads the state of the machine.
    """
    machine = read_machine(root)
    readings = read(machine, root)
    findings = find(readings)
    if not timing:
        return Diagnosis(machine=machine, findings=findings)
    if obstacle := why_not():
        return Diagnosis(machine=machine, findings=findings, obstacle=obstacle)
    try:
        with measuring(wait=False):
            repeatability = _measured(thread_limit(readings.facts), new_worker)
    except UnavailableError as error:
        return Diagnosis(machine=machine, findings=findings, obstacle=_obstacle(error))
    return Diagnosis(machine=machine, findings=findings, repeatability=repeatability)


def thread_limit(facts: Facts) -> int:
    """The largest thread count worth timing."""
    return min(facts.usable_threads, MOST_THREADS)


def to_document(diagnosis: Diagnosis) -> dict[str, Any]:
    """The document of `--json`; `mend` repeats `fix` for scripts written for earlier versions."""
    machine, timed = diagnosis.machine, diagnosis.repeatability
    findings = [asdict(finding) | {"fix": finding.fix or None} for finding in diagnosis.findings]
    return {
        "schema_version": 1,
        "machine": machine.key,
        "checked": dict(machine.checked),
        "informative": dict(machine.informative),
        "findings": [{**finding, "mend": finding["fix"]} for finding in findings],
        "repeatability": timed and _repeatability(timed),
        "threads": timed and {"recommended": timed.recommended_threads, "timed": list(map(_threads, timed.by_threads))},
    }


def findings_of(document: Mapping[str, Any]) -> tuple[Finding, ...]:
    """The findings in what `doctor --json` printed on another machine. Raises `DamagedError` for what is none."""
    names = [f.name for f in fields(Finding)]
    rows = from_builtins(document.get("findings"), list[dict[str, str | None]])
    return tuple(Finding(**{name: row.get(name) or "" for name in names}) for row in rows)  # type: ignore[arg-type]


def _repeatability(timed: Repeatability) -> dict[str, Any]:
    return {
        "relative_ci_pct": timed.pct,
        "of_rounds": SWEEP_ROUNDS,
        "slower_pct": timed.movement.slower_pct,
        "faster_pct": timed.movement.faster_pct,
        "rounds": timed.rounds,
        "blocks": timed.blocks,
        "disturbed_blocks": timed.disturbed_blocks,
    }


def _threads(timed: ThreadCount) -> dict[str, Any]:
    return {
        "threads": timed.threads,
        "latency_ms": timed.latency_ms,
        "speed_up": timed.speed_up,
        "efficiency": timed.efficiency,
        "relative_ci_pct": timed.repeatability_pct,
    }


def _measured(most_threads: int, new_worker: NewWorker) -> Repeatability:
    companions = [_model(design) for design in COMPANIONS]
    return measure_repeatability(_model(NETWORK), companions, most_threads=most_threads, new_worker=new_worker)


def _model(design: Design) -> bytes:
    layers = expand(design)
    return build_onnx(layers, random_weights(layers, SEED), batch=1)


def _obstacle(error: UnavailableError) -> UnavailableError:
    """The error without fixes that do not apply: `doctor` can't wait, and the user has already run it."""
    unfit = isinstance(error, LockedError | NotStartedError) or not error.fix
    return UnavailableError(error.what, WITHOUT_TIMING if unfit else f"{error.fix}; or {WITHOUT_TIMING}")
