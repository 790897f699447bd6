"""Read the current state of the machine in half a second; `conditions.py` judges it."""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from mnsweep.errors import UnavailableError
from mnsweep.machine.cycles import CycleCounter
from mnsweep.machine.disturbance import Counters, usable_cpus
from mnsweep.machine.facts import Facts, memory_bytes, read_facts, read_text
from mnsweep.machine.fingerprint import Machine
from mnsweep.machine.lock import measuring
from mnsweep.machine.telemetry import Telemetry

WINDOW_S = 0.5  # 50 clock ticks, so one stolen tick is 2 %


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """The machine's facts and current state; None means unknown.

    `load` is the number of runnable processes, averaged over a minute. `steal_pct` and `switches_per_s` are
    measured while a process keeps one CPU busy. `power` is `none` (no battery), `mains` or `battery`.
    `told` is what the system tells of each block (`telemetry.py`), `cycles_obstacle` why it does not count cycles.
    `other_measurer` describes the other mnsweep that holds the machine's lock. `told_apart` is false if two
    machines of the same model would have the same key. `pinnable`: whether the system can pin processes to CPUs.
    """

    system: str
    architecture: str
    logical_cpus: int
    facts: Facts
    told_apart: bool = True
    pinnable: bool = True
    load: float | None = None
    steal_pct: float | None = None
    steal_since_boot_pct: float | None = None
    switches_per_s: float | None = None
    memory_free_gib: float | None = None
    power: str | None = None
    told: tuple[str, ...] = ()
    cycles_obstacle: str = ""
    other_measurer: str | None = None


def spin(seconds: float) -> None:
    """Keep one CPU busy: only a runnable process can lose time to steal or involuntary switches."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def read_conditions(
    machine: Machine,
    root: Path = Path("/"),
    *,
    spend: Callable[[float], None] = spin,
    clock: Callable[[], float] = time.perf_counter,
    counters: Callable[[], Counters] = Counters.read,
) -> Readings:
    """Read the state of the machine; `spend` passes the given seconds while steal and switches are counted."""
    before, began = counters(), clock()
    spend(WINDOW_S)
    after, seconds = counters(), clock() - began
    facts = read_facts(root)
    counts_steal = (root / "proc/stat").exists()
    return Readings(
        system=str(machine.checked["os"]),
        architecture=str(machine.checked["architecture"]),
        logical_cpus=int(machine.checked["logical_cpus"]),
        facts=facts,
        told_apart=machine.checked["machine_id"] != "none",
        pinnable=hasattr(os, "sched_setaffinity"),
        load=_load(root),
        steal_pct=100 * (after.steal_ticks - before.steal_ticks) / _ticks(seconds) if counts_steal else None,
        steal_since_boot_pct=_steal_since_boot_pct(root),
        switches_per_s=None if sys.platform == "win32" else (after.switches - before.switches) / seconds,
        memory_free_gib=_memory_free_gib(root, facts.memory_limit_gib),
        power=_power(),
        told=_told(root),
        cycles_obstacle=_cycles_obstacle(),
        other_measurer=_other_measurer(),
    )


def _ticks(seconds: float) -> float:
    return seconds * (os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100)


def _load(root: Path) -> float | None:
    if words := read_text(root / "proc/loadavg").split():
        return float(words[0])
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def _steal_since_boot_pct(root: Path) -> float | None:
    """Steal in percent of the time in which a process was runnable. Columns: proc(5), /proc/stat."""
    words = read_text(root / "proc/stat").partition("\n")[0].split()
    if len(words) <= 8:
        return None
    user, nice, system, _, _, irq, softirq, steal = map(int, words[1:9])
    wanted = user + nice + system + irq + softirq + steal
    return 100 * steal / wanted if wanted else 0.0


def _memory_free_gib(root: Path, limit: float | None) -> float:
    free = memory_bytes(root, "MemAvailable") or psutil.virtual_memory().available
    return min(free / 2**30, float("inf") if limit is None else limit)


def _power() -> str | None:
    try:
        battery: Any = psutil.sensors_battery()
    except (AttributeError, OSError, RuntimeError):  # a system that psutil does not support
        return None
    plugged_in: dict[bool | None, str | None] = {True: "mains", False: "battery"}
    return "none" if battery is None else plugged_in.get(battery.power_plugged)


def _told(root: Path) -> tuple[str, ...]:
    telemetry = Telemetry(usable_cpus(), root)
    try:
        return tuple(telemetry.names())
    finally:
        telemetry.close()


def _cycles_obstacle() -> str:
    try:
        CycleCounter()
    except OSError as error:
        return str(error)
    return ""


def _other_measurer() -> str | None:
    try:
        with measuring(wait=False):
            return None
    except UnavailableError as error:
        return error.what
