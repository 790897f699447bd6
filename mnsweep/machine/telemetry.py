"""What the machine was doing while a block was timed, as far as the system tells. It is read before and after, never during.

Files are opened once and read at their start, some twenty microseconds each. What a system does not tell is left out.
"""

import os
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mnsweep.machine.cycles import CycleCounter

LEAST = {"others_pct": 1.0, "steal_pct": 0.1, "stalled_pct": 1.0, "throttled": 1.0}  # less is unremarkable, and not kept
DIGITS = {"mhz": 0, "celsius": 0, "throttled": 0, "cycles": 0}
LONGEST = 65536  # bytes of a file in /proc or /sys that are read
TICKS_PER_S = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
TOLD = {
    "mhz": "clock frequency",
    "celsius": "temperature",
    "throttled": "times that the processor throttled",
    "steal_pct": "time taken by the host",
    "stalled_pct": "time that programs waited for a CPU (PSI)",
    "others_pct": "CPU time of other processes",
    "cycles": "cycles of a run",
}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Counters at one moment: seconds of a monotonic clock, then seconds and counts since some start; missing if unknown."""

    at_s: float
    counted: Mapping[str, float]
    now: Mapping[str, float]  # `mhz` and `celsius` at this moment


@dataclass(slots=True)
class Telemetry:
    """The files of this system for some `cpus`; `root` holds /proc and /sys."""

    cpus: Collection[int]
    root: Path = Path("/")
    cycles: CycleCounter | None = None
    _files: dict[str, list[int]] = field(init=False)

    def __post_init__(self) -> None:
        cpu = self.root / "sys/devices/system/cpu"
        paths = {
            "mhz": [cpu / f"cpu{n}/cpufreq/scaling_cur_freq" for n in self.cpus],
            "celsius": sorted((self.root / "sys/class/thermal").glob("thermal_zone*/temp")) + self._hwmon(),
            "throttled": [cpu / f"cpu{n}/thermal_throttle/core_throttle_count" for n in self.cpus],
            "stalled": [self.root / "proc/pressure/cpu"],
            "stat": [self.root / "proc/stat"],
        }
        self._files = {name: [fd for path in some if (fd := _opened(path)) is not None] for name, some in paths.items()}

    def _hwmon(self) -> list[Path]:
        """Sensors of the processor; others, e.g. of a disk, tell nothing about the clock."""
        names = {path: _read(fd) for path in self.root.glob("sys/class/hwmon/*/name") if (fd := _opened(path)) is not None}
        processors = (path.parent for path, name in names.items() if name.strip() in ("coretemp", "k10temp", "zenpower"))
        return sorted(temp for folder in processors for temp in folder.glob("temp*_input"))

    def close(self) -> None:
        """Close the files."""
        for fds in self._files.values():
            for fd in fds:
                os.close(fd)
        self._files = {name: [] for name in self._files}

    def read(self) -> Snapshot:
        """Read the counters now."""
        counted = {
            "throttled": _total(self._numbers("throttled")),
            "stalled": self._stalled_s(),
            **self._cpu_times_s(),
            "own": time.process_time(),
            "cycles": self.cycles.read() if self.cycles else None,
        }
        khz, millidegrees = self._numbers("mhz"), self._numbers("celsius")
        now = {"mhz": sum(khz) / len(khz) / 1e3 if khz else None, "celsius": max(millidegrees, default=0) / 1e3 or None}
        return Snapshot(time.perf_counter(), _known(counted), _known(now))

    def told(self, runs: int, before: Snapshot, after: Snapshot) -> dict[str, float]:
        """What happened between two snapshots in which a model ran so many times: rounded, by the names in `TOLD`."""
        passed_s = max(after.at_s - before.at_s, 1e-9)
        spent = {name: after.counted[name] - was for name, was in before.counted.items() if name in after.counted}
        told: dict[str, float] = dict(after.now)
        cpus_s = passed_s * (os.cpu_count() or 1)
        for name, of_s in (("steal", cpus_s), ("stalled", passed_s)):
            if name in spent:
                told[f"{name}_pct"] = 100 * spent[name] / of_s
        if "busy" in spent and cpus_s * TICKS_PER_S >= 2:  # else a tick more or less is most of it
            told["others_pct"] = 100 * (spent["busy"] - spent["own"]) / cpus_s
        if "throttled" in spent:
            told["throttled"] = spent["throttled"]
        if "cycles" in spent:
            told["cycles"] = spent["cycles"] / runs
        return {k: round(v, DIGITS.get(k, 1)) for k, v in told.items() if v >= LEAST.get(k, 0.0)}

    def names(self) -> list[str]:
        """What this system tells, by the names in `TOLD`."""
        snapshot = self.read()
        of = {"stalled_pct": "stalled", "steal_pct": "steal", "others_pct": "busy"}
        return [name for name in TOLD if of.get(name, name) in {**snapshot.counted, **snapshot.now}]

    def _numbers(self, name: str) -> list[float]:
        return [float(text) for fd in self._files[name] if (text := _read(fd).strip()).isdigit()]

    def _stalled_s(self) -> float | None:
        """Seconds in which some process waited for a CPU, from `some avg10=… total=…` in microseconds."""
        for line in "".join(map(_read, self._files["stalled"])).splitlines():
            kind, *fields = line.split()
            totals = [text.removeprefix("total=") for text in fields if text.startswith("total=")]
            if kind == "some" and totals and totals[0].isdigit():
                return int(totals[0]) / 1e6
        return None

    def _cpu_times_s(self) -> dict[str, float]:
        """Seconds over all CPUs: `busy` with any process, and `steal`."""
        first = "".join(map(_read, self._files["stat"])).partition("\n")[0].split()
        if len(first) < 9 or first[0] != "cpu" or not all(text.isdigit() for text in first[1:9]):
            return {}
        user, nice, system, _, _, irq, softirq, steal = (int(text) / TICKS_PER_S for text in first[1:9])
        return {"busy": user + nice + system + irq + softirq, "steal": steal}


def _opened(path: Path) -> int | None:
    try:
        return os.open(path, os.O_RDONLY)
    except OSError:
        return None


def _read(fd: int) -> str:
    try:
        return os.pread(fd, LONGEST, 0).decode("ascii", "replace")
    except OSError:
        return ""


def _total(values: Collection[float]) -> float | None:
    return sum(values) if values else None


def _known(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in values.items() if value is not None}
