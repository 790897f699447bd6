"""Detect what disturbed a block from operating-system counters, read before and after the block, never during it.

Steal is time that the hypervisor gave to another guest. An involuntary switch means that the scheduler
gave the CPU to another process. Systems without these counters report no disturbance.
"""

import contextlib
import os
from collections import Counter as Tally
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Self

try:
    import resource
except ImportError:  # Windows

    def _switches() -> int:
        return 0
else:

    def _switches() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


MS_PER_SWITCH = 10.0  # more than one involuntary switch per 10 ms is more than kernel housekeeping on an idle machine


@dataclass(frozen=True, slots=True)
class Counters:
    """Steal in clock ticks over all usable CPUs, involuntary switches of this process, and the usable CPUs."""

    steal_ticks: int
    switches: int
    cpus: frozenset[int]

    @classmethod
    def read(cls) -> Self:
        """Read the counters now."""
        cpus = usable_cpus()
        switches = _switches()
        return cls(_steal_ticks(cpus), switches, cpus)

    def disturbed_since(self, before: "Counters", elapsed_ms: float) -> tuple[str, ...]:
        """Describe the disturbances between `before` and these counters, `elapsed_ms` later; empty if there were none."""
        disturbances = []
        if (ticks := self.steal_ticks - before.steal_ticks) > 0:
            disturbances.append(f"steal {ticks} ticks")
        if (switches := self.switches - before.switches) > max(1.0, elapsed_ms / MS_PER_SWITCH):
            disturbances.append(f"{switches} involuntary switches")
        if self.cpus != before.cpus:
            disturbances.append(f"affinity changed from {_named(before.cpus)} to {_named(self.cpus)}")
        return tuple(disturbances)


def _named(cpus: frozenset[int]) -> str:
    """The CPUs as text, with ranges as the kernel writes them: `CPU 3`, or `CPUs 0-3,8`."""
    numbers = sorted(cpus)
    starts = [cpu for cpu in numbers if cpu - 1 not in cpus]
    ends = [cpu for cpu in numbers if cpu + 1 not in cpus]
    ranges = (str(start) if start == end else f"{start}-{end}" for start, end in zip(starts, ends, strict=True))
    return f"CPU{'s' * (len(numbers) != 1)} {','.join(ranges)}"


def usable_cpus() -> frozenset[int]:
    """The CPUs that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def pin(threads: int) -> None:
    """Pin this process to `threads` CPUs: the fastest, and one per core before any core gets a second.

    Among equal CPUs the highest-numbered come first, because the lowest serve interrupts. Does nothing if the
    system has no affinity or forbids changing it.
    """
    if hasattr(os, "sched_setaffinity"):
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, preferred_cpus(usable_cpus())[:threads])


def preferred_cpus(cpus: Collection[int], root: Path = Path("/sys/devices/system/cpu")) -> list[int]:
    """`cpus`, best first: performance before efficiency cores, then one CPU of each core before its siblings."""
    seen: Tally[str] = Tally()
    ranked = []
    for cpu in sorted(cpus, reverse=True):
        folder = root / f"cpu{cpu}"
        core = _text(folder / "topology/thread_siblings_list") or str(cpu)
        speed = _text(folder / "cpufreq/cpuinfo_max_freq") or _text(folder / "cpu_capacity") or "0"
        ranked.append((-int(speed), seen[core], -cpu))
        seen[core] += 1
    return [-cpu for _, _, cpu in sorted(ranked)]


def _text(path: Path) -> str:
    try:
        return path.read_text("ascii").strip()
    except OSError:
        return ""


def _steal_ticks(cpus: frozenset[int]) -> int:
    rows = [line.split() for line in _text(Path("/proc/stat")).splitlines() if line.startswith("cpu")]
    return sum(int(row[8]) for row in rows if row[0][3:].isdigit() and int(row[0][3:]) in cpus and len(row) > 8)
