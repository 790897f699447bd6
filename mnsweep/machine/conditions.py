"""Judge from readings what would disturb timing on this machine, and how to fix it.

Verdicts: `good`; `fair` (comparisons between cells hold, but milliseconds may shift or intervals widen);
`poor` (fix it before timing anything); `unknown`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from mnsweep.machine.readings import Readings
from mnsweep.machine.telemetry import TOLD
from mnsweep.wording import count_of

Verdict = Literal["good", "fair", "poor", "unknown"]

LOAD_GOOD, LOAD_POOR = 0.15, 0.5  # runnable processes per CPU: a few daemons; half the machine
STEAL_GOOD_PCT, STEAL_POOR_PCT = 0.5, 5.0  # too little to show in a block; more than cells of a grid differ
SWITCHES_GOOD, SWITCHES_POOR = 20.0, 100.0  # per second: kernel housekeeping; marks a block as disturbed
MEMORY_GOOD_GIB, MEMORY_POOR_GIB = 2.0, 0.5  # a group of sessions takes a quarter of it; the worker needs 0.2
HARDWARE_GOVERNED = ("intel_pstate", "amd-pstate-epp")  # the energy hint decides, not the governor
SLOW_HINTS = ("power", "balance_power")
X86 = ("x86_64", "AMD64")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A condition that may disturb timing: its value on this machine, the verdict, why it matters, how to fix it.

    `fix` is one line, empty when the verdict is `good`.
    """

    name: str
    value: str
    verdict: Verdict
    why: str
    fix: str = ""


def find(readings: Readings) -> tuple[Finding, ...]:
    """The finding of each check, in the order of `CHECKS`."""
    return tuple(check(readings) for check in CHECKS)


def _finding(name: str, value: str, verdict: Verdict, *, why: str, fix: str) -> Finding:
    return Finding(name=name, value=value, verdict=verdict, why=why, fix="" if verdict == "good" else fix)


def _graded(number: float | None, good: float, poor: float) -> Verdict:
    if number is None:
        return "unknown"
    return "good" if number <= good else "fair" if number <= poor else "poor"


def _platform(r: Readings) -> Finding:
    verdict: Verdict = "good" if r.system == "Linux" and r.architecture in X86 else "fair"
    why = "mnsweep is measured on Linux x86"
    fix = "rely on what is measured here: reference runs and their cliffs are of other kernels"
    if r.system != "Linux":
        why += "; here steal and frequency policy are unknown, and fast and slow cores are not told apart"
        fix = "measure under Linux where milliseconds must be right; comparisons between cells hold here too"
    return _finding("platform", f"{r.system} {r.architecture}", verdict, why=why, fix=fix)


def _cores(r: Readings) -> Finding:
    count = r.facts.usable_cpus
    why = "with one CPU, what is timed shares it with everything else"
    fix = "stop all that can be stopped, and expect wider intervals"
    return _finding("CPUs", str(count), "good" if count > 1 else "fair", why=why, fix=fix)


def _load(r: Readings) -> Finding:
    each = None if r.load is None else r.load / r.logical_cpus
    value = "unknown" if r.load is None else f"{r.load:.2f} on {count_of(r.logical_cpus, 'CPU')}"
    why = "other programs take CPU, caches and clock from what is timed"
    fix = "stop other programs ('top' or the task manager names them), wait a minute, look again"
    return _finding("load", value, _graded(each, LOAD_GOOD, LOAD_POOR), why=why, fix=fix)


def _steal(r: Readings) -> Finding:
    verdict = _graded(r.steal_pct, STEAL_GOOD_PCT, STEAL_POOR_PCT)
    if verdict == "good" and (r.steal_since_boot_pct or 0.0) > STEAL_GOOD_PCT:
        verdict = "fair"
    since = "" if r.steal_since_boot_pct is None else f", {r.steal_since_boot_pct:.1f} % since boot"
    value = "unknown" if r.steal_pct is None else f"{r.steal_pct:.1f} % now{since}"
    why = "the host gives our time to other guests"
    fix = "measure at a quieter hour, or on a machine with CPUs of its own"
    if r.steal_pct is None:
        fix = "nothing to set: rely on the intervals, which widen when it happens"
    return _finding("steal", value, verdict, why=why, fix=fix)


def _switches(r: Readings) -> Finding:
    verdict = _graded(r.switches_per_s, SWITCHES_GOOD, SWITCHES_POOR)
    value = "unknown" if r.switches_per_s is None else f"{r.switches_per_s:.0f} per second"
    why = "the scheduler gives our CPU to other processes"
    fix = "stop other programs; blocks that it hits are marked and repeated"
    return _finding("involuntary switches", value, verdict, why=why, fix=fix)


def _frequency(r: Readings) -> Finding:
    f = r.facts
    why = "the clock follows the load, so that a short block may run at another one than a long block"
    if f.frequency_governor is None:
        fix = "nothing to set here, host or firmware decide: trust comparisons more than milliseconds"
        return _finding("frequency policy", "unknown", "unknown", why=why, fix=fix)
    parts = (f.frequency_governor, f.frequency_driver, f.energy_preference)
    fix = "sudo cpupower frequency-set -g performance"
    return _finding("frequency policy", "; ".join(filter(None, parts)), _governed(r), why=why, fix=fix)


def _governed(r: Readings) -> Verdict:
    governors = (r.facts.frequency_governor or "").split(", ")
    hints = (r.facts.energy_preference or "").split(", ")
    if set(governors) == {"performance"}:
        return "good"
    if r.facts.frequency_driver in HARDWARE_GOVERNED:
        return "poor" if set(hints) & set(SLOW_HINTS) else "fair"
    return "poor" if "powersave" in governors else "fair"


def _turbo(r: Readings) -> Finding:
    why = "above its base frequency the clock depends on heat and on what other cores do"
    fix = "mnsweep grid --sustain-s 30 heats the machine up first; or switch turbo off in the firmware"
    return _switched("turbo", r.facts.turbo, why=why, fix=fix)


def _smt(r: Readings) -> Finding:
    cores = r.facts.physical_cores
    why = "two hardware threads share one core: work on the one slows the other"
    fix = f"at most {count_of(cores, 'thread') if cores else 'as many threads'}, one for each core, and no other programs"
    return _switched("simultaneous multithreading", r.facts.smt, why=why, fix=fix)


def _switched(name: str, switch: str | None, *, why: str, fix: str) -> Finding:
    verdicts: dict[str | None, Verdict] = {"off": "good", "on": "fair"}
    return _finding(name, switch or "unknown", verdicts.get(switch, "unknown"), why=why, fix=fix)


def _quota(r: Readings) -> Finding:
    quota = r.facts.cpu_quota
    why = "a container that has used up its share is stopped until the next period, a tenth of a second long"
    name = "container's CPU quota"
    if quota is None or quota >= r.facts.usable_cpus:
        return _finding(name, "none" if quota is None else count_of(quota, "CPU"), "good", why=why, fix="")
    fix = "give it whole CPUs instead (docker run --cpuset-cpus)"
    if quota >= 1:
        fix += f", or at most {count_of(int(quota), 'thread')}"
    value = f"{quota:g} of {count_of(r.facts.usable_cpus, 'CPU')}"
    return _finding(name, value, "fair" if quota >= 1 else "poor", why=why, fix=fix)


def _affinity(r: Readings) -> Finding:
    usable, there = r.facts.usable_cpus, r.logical_cpus
    why = "other CPUs of the machine do other work, on the same caches and memory"
    fix = "fine if you meant it; else start without taskset, or give the container all CPUs"
    return _finding("affinity", f"{usable} of {count_of(there, 'CPU')}", "fair" if usable < there else "good", why=why, fix=fix)


def _pinning(r: Readings) -> Finding:
    why = "a process that can't be kept on its CPUs moves between them, and between fast and slow cores"
    fix = "nothing to set: close other programs, keep the machine plugged in, expect wider intervals"
    verdict: Verdict = "good" if r.pinnable else "fair"
    return _finding("pinning", "possible" if r.pinnable else "not offered by this system", verdict, why=why, fix=fix)


def _record(r: Readings) -> Finding:
    told = [TOLD[name] for name in r.told] + ["cycles of a run"] * (not r.cycles_obstacle)
    sees_the_clock = "mhz" in r.told or not r.cycles_obstacle
    why = "it is kept with every block, and is the reason that an unstable cell is given"
    fix = f"a clock that changes shows only in the latencies; {r.cycles_obstacle}"
    return _finding(
        "record of each block", ", ".join(told) or "nothing", "good" if sees_the_clock else "fair", why=why, fix=fix
    )


def _memory(r: Readings) -> Finding:
    free = r.memory_free_gib
    verdict = _graded(None if free is None else -free, -MEMORY_GOOD_GIB, -MEMORY_POOR_GIB)
    value = "unknown" if free is None else f"{free:.1f} GiB free"
    fix = "stop other programs, or raise the container's limit; sweeps fall apart into more groups"
    why = "open networks must stay in memory: otherwise it is swapping that is timed"
    return _finding("memory", value, verdict, why=why, fix=fix)


def _power(r: Readings) -> Finding:
    verdicts: dict[str | None, Verdict] = {"none": "good", "mains": "good", "battery": "poor"}
    value = {"none": "no battery", "mains": "mains", "battery": "on battery"}.get(r.power or "", "unknown")
    why = "on battery the processor saves power"
    return _finding("power", value, verdicts.get(r.power, "unknown"), why=why, fix="plug it in, and look again")


def _virtual(r: Readings) -> Finding:
    host = r.facts.hypervisor
    verdict: Verdict = "unknown" if host is None else "good" if host == "none" else "fair"
    value = {None: "unknown", "none": "no"}.get(host, str(host))
    why = "the host's other guests share clock, caches and memory: milliseconds move, relative latencies hold"
    fix = "compare cells of one sweep; repeat what must hold in milliseconds"
    return _finding("virtual machine", value, verdict, why=why, fix=fix)


def _lock(r: Readings) -> Finding:
    verdict: Verdict = "good" if r.other_measurer is None else "poor"
    why = "two that time at once measure each other"
    fix = "wait until it is done (mnsweep grid --wait does), or stop it"
    return _finding("other mnsweep", r.other_measurer or "none", verdict, why=why, fix=fix)


def _identity(r: Readings) -> Finding:
    why = "results are filed under the machine, and without a machine id two of one model look the same"
    fix = "give each machine a results folder of its own: mnsweep grid --results-dir FOLDER"
    value = "machine id" if r.told_apart else "no machine id"
    return _finding("identity", value, "good" if r.told_apart else "fair", why=why, fix=fix)


CHECKS: tuple[Callable[[Readings], Finding], ...] = (
    _platform, _virtual, _cores, _affinity, _quota, _pinning, _smt, _frequency, _turbo,
    _power, _load, _steal, _switches, _record, _memory, _lock, _identity,
)  # fmt: skip
