"""Informative facts about the machine: they are recorded, but are not part of its key.

Sources are Linux's /proc and /sys (kernel documentation: cgroup-v1, cgroup-v2, cpufreq, ABI/testing) and
/etc/os-release, on other systems psutil and the standard library. Unknown facts are None. No fact
names a host, a user or a path.
"""

import platform
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path, PurePosixPath

import psutil

from mnsweep.machine.disturbance import usable_cpus
from mnsweep.names import RUNTIMES

CPUS, CGROUPS = "sys/devices/system/cpu", "sys/fs/cgroup"
NO_LIMIT_BYTES = 2**60  # cgroup v1 writes "no limit" as a number near 2⁶³
GUEST_CLOCKS = {"kvm-clock": "KVM", "hyperv": "Hyper-V", "xen": "Xen"}  # clock sources that only guests have, by hypervisor
CACHE_TYPES = {"Data": "d", "Instruction": "i"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """CPUs, cores, container limits, caches, frequency policy, hypervisor, memory, versions; None means unknown.

    `cpu_quota` (in CPUs) and `memory_limit_gib` are the smallest limits of all cgroups that contain this process.
    `runtimes` maps the names of installed runtimes to their versions.
    """

    usable_cpus: int
    physical_cores: int | None = None
    smt: str | None = None
    cpu_quota: float | None = None
    cpu_part: str | None = None
    caches: str | None = None
    frequency_driver: str | None = None
    frequency_governor: str | None = None
    energy_preference: str | None = None
    turbo: str | None = None
    hypervisor: str | None = None
    memory_gib: float | None = None
    memory_limit_gib: float | None = None
    os_name: str | None = None
    os_release: str | None = None
    python: str | None = None
    mnsweep: str | None = None
    runtimes: Mapping[str, str] = field(default_factory=dict)

    @property
    def usable_threads(self) -> int:
        """Threads that affinity and the container's CPU quota allow; a larger pool would be throttled."""
        quota = self.usable_cpus if self.cpu_quota is None else max(1, int(self.cpu_quota))
        return min(self.usable_cpus, quota)

    def known(self) -> dict[str, str | int | float]:
        """The known facts by name, including the version of each runtime under the runtime's name."""
        facts = {name: value for name, value in asdict(self).items() if value is not None and name != "runtimes"}
        return {**facts, **self.runtimes}


def read_facts(root: Path = Path("/")) -> Facts:
    """Read the facts of this machine, in a few milliseconds; `root` is the folder that contains proc, sys and etc."""
    cpuinfo = read_text(root / "proc/cpuinfo")
    siblings = _each(root / CPUS, "cpu[0-9]*/topology/thread_siblings_list")
    return Facts(
        usable_cpus=len(usable_cpus()),
        physical_cores=len(set(siblings)) or psutil.cpu_count(logical=False),
        smt=_switch(root / CPUS / "smt/active"),
        cpu_quota=min(_cpu_quotas(root), default=None),
        cpu_part=_arm_parts(cpuinfo),
        caches=_caches(root),
        frequency_driver=_all_of(root, "scaling_driver"),
        frequency_governor=_all_of(root, "scaling_governor"),
        energy_preference=_all_of(root, "energy_performance_preference"),
        turbo=_turbo(root),
        hypervisor=_hypervisor(root, cpuinfo),
        memory_gib=_gib(memory_bytes(root, "MemTotal") or psutil.virtual_memory().total),
        memory_limit_gib=_gib(min(_memory_limits(root), default=None)),
        os_name=_os_name(root),
        os_release=platform.release(),
        python=platform.python_version(),
        mnsweep=_version_of("mnsweep"),
        runtimes={name: version for name, row in RUNTIMES.items() if (version := _version_of(row.package))},
    )


def read_text(path: Path) -> str:
    """The text of a file; empty if it can't be read."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def cpuinfo_field(cpuinfo: str, name: str) -> str:
    """The first value of a field in the text of /proc/cpuinfo; empty if there is none."""
    match = re.search(rf"^{name}\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return match[1].strip() if match else ""


def memory_bytes(root: Path, name: str) -> int | None:
    """A value of /proc/meminfo in bytes, e.g. MemTotal or MemAvailable; None if there is none."""
    match = re.search(rf"^{name}:\s*(\d+) kB$", read_text(root / "proc/meminfo"), re.MULTILINE)
    return int(match[1]) * 1024 if match else None


def _gib(size_bytes: int | None) -> float | None:
    return None if size_bytes is None else round(size_bytes / 2**30, 1)


def _each(folder: Path, pattern: str) -> list[str]:
    return [text for path in sorted(folder.glob(pattern)) if (text := read_text(path).strip())]


def _all_of(root: Path, name: str) -> str | None:
    return ", ".join(sorted(set(_each(root / CPUS, f"cpufreq/policy*/{name}")))) or None


def _switch(path: Path) -> str | None:
    return {"1": "on", "0": "off"}.get(read_text(path).strip())


def _turbo(root: Path) -> str | None:
    forbidden = _switch(root / CPUS / "intel_pstate/no_turbo")
    return {"on": "off", "off": "on"}[forbidden] if forbidden else _switch(root / CPUS / "cpufreq/boost")


def _arm_parts(cpuinfo: str) -> str | None:
    """Implementer and part of each kind of core, because ARM's /proc/cpuinfo has no model name."""
    parts = re.findall(r"^CPU implementer\s*:\s*(\S+)$.*?^CPU part\s*:\s*(\S+)$", cpuinfo, re.MULTILINE | re.DOTALL)
    return ", ".join(sorted({"/".join(part) for part in parts})) or None


def _caches(root: Path) -> str | None:
    caches = []
    for index in sorted((root / CPUS).glob("cpu0/cache/index[0-9]*")):
        level, kind, size = (read_text(index / name).strip() for name in ("level", "type", "size"))
        caches.append(f"L{level}{CACHE_TYPES.get(kind, '')} {re.sub('K$', ' KiB', size)}")
    return ", ".join(caches) or None


def _hypervisor(root: Path, cpuinfo: str) -> str | None:
    """The hypervisor of this virtual machine; `none` on bare metal, as the processor's flags show; None if unknown."""
    vendor = read_text(root / "sys/class/dmi/id/sys_vendor").strip()
    clocks = read_text(root / "sys/devices/system/clocksource/clocksource0/available_clocksource")
    by_clock = next((name for clock, name in GUEST_CLOCKS.items() if clock in clocks), None)
    if flags := cpuinfo_field(cpuinfo, "flags").split():  # x86
        return vendor or by_clock or "unnamed" if "hypervisor" in flags else "none"
    tree = read_text(root / "proc/device-tree/hypervisor/compatible").rstrip("\0")
    return tree or (vendor if vendor == "QEMU" else None)


def _cgroup_folders(root: Path) -> Iterator[Path]:
    """Folders of this process's cgroups and all their parents, versions 1 and 2; each may set a limit."""
    for line in (read_text(root / "proc/self/cgroup") or "0::/").splitlines():
        _, controllers, path = line.split(":", 2)
        names = PurePosixPath(path).parts[1:]
        parts = () if ".." in names else names  # a cgroup namespace shows paths outside it with ".."
        for mount in [controllers] if controllers else ["", "unified"]:
            yield from (root / CGROUPS / mount / Path(*parts[:depth]) for depth in range(len(parts) + 1))


def _cpu_quotas(root: Path) -> Iterator[float]:
    """CPU quotas in CPUs: the allowed CPU time divided by the period."""
    for folder in _cgroup_folders(root):
        v1 = (read_text(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period"))
        allowed, period = (*read_text(folder / "cpu.max").split(), *v1, "", "")[:2]
        if allowed.isdigit() and period.isdigit():  # neither "max" nor "-1"
            yield int(allowed) / int(period)


def _memory_limits(root: Path) -> Iterator[int]:
    for folder in _cgroup_folders(root):
        for name in ("memory.max", "memory.limit_in_bytes"):
            limit = read_text(folder / name).strip()
            if limit.isdigit() and int(limit) < NO_LIMIT_BYTES:
                yield int(limit)


def _os_name(root: Path) -> str | None:
    match = re.search(r'^PRETTY_NAME="?([^"\n]+)"?$', read_text(root / "etc/os-release"), re.MULTILINE)
    return match[1] if match else None


def _version_of(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
