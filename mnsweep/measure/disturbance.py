"""What the operating system says disturbed a block: read before and after, never during.

Steal is time that the hypervisor gave to another guest; an involuntary switch is time that the scheduler
gave to another process. Where a system does not tell, nothing is reported.
"""

import contextlib
import os
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


MS_PER_SWITCH = 10.0  # one involuntary switch in 10 ms is more than kernel housekeeping on an idle machine


@dataclass(frozen=True, slots=True)
class Counters:
    """Steal in clock ticks over all CPUs we may use, involuntary switches, and the CPUs we may use."""

    steal_ticks: int
    switches: int
    cpus: frozenset[int]

    @classmethod
    def read(cls) -> Self:
        """The counters now."""
        cpus = usable_cpus()
        switches = _switches()
        return cls(_steal_ticks(cpus), switches, cpus)

    def disturbed_since(self, before: "Counters", elapsed_ms: float) -> tuple[str, ...]:
        """In words, what disturbed the time between `before` and these; empty where nothing did."""
        found = []
        if (ticks := self.steal_ticks - before.steal_ticks) > 0:
            found.append(f"steal {ticks} ticks")
        if (switches := self.switches - before.switches) > max(1.0, elapsed_ms / MS_PER_SWITCH):
            found.append(f"{switches} involuntary switches")
        if self.cpus != before.cpus:
            found.append(f"affinity changed from {len(before.cpus)} to {len(self.cpus)} CPUs")
        return tuple(found)


def usable_cpus() -> frozenset[int]:
    """The CPUs that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def pin(threads: int) -> None:
    """Keep this process on as many CPUs as it has threads, the last ones: the first serve interrupts.

    Where the system has no affinity, or forbids it, nothing happens.
    """
    cpus = sorted(usable_cpus())
    if hasattr(os, "sched_setaffinity"):
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, cpus[-threads:])


def _steal_ticks(cpus: frozenset[int]) -> int:
    try:
        rows = [line.split() for line in Path("/proc/stat").read_text("ascii").splitlines() if line.startswith("cpu")]
    except OSError:
        return 0
    return sum(int(row[8]) for row in rows if row[0][3:].isdigit() and int(row[0][3:]) in cpus and len(row) > 8)
