"""The fingerprint, read from made-up /proc, /sys and /etc."""

import getpass
import json
import os
import platform
import re
import socket
import time
from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest

from mnsweep.machine.facts import read_facts
from mnsweep.machine.fingerprint import read_machine
from mnsweep.sweep.store import MACHINE, SweepFolder

CPU = "sys/devices/system/cpu"
X86 = {
    "proc/cpuinfo": "processor\t: 0\nmodel name\t: Abacus 9000\nflags\t\t: fpu avx2 avx512f avx512_vnni amx_tile\n",
    "proc/meminfo": "MemTotal:       16777216 kB\nMemFree: 1 kB\nMemAvailable:    8388608 kB\n",
    "proc/loadavg": "0.25 0.5 0.75 1/100 4242\n",
    "proc/stat": "cpu  600 0 200 9000 0 0 100 100 0 0\ncpu0 600 0 200 9000 0 0 100 100 0 0\n",
    "proc/self/cgroup": "0::/\n",
    "etc/machine-id": "0123456789abcdef0123456789abcdef\n",
    "etc/os-release": 'PRETTY_NAME="Made-up Linux 7"\nNAME="Made-up"\n',
    **{f"{CPU}/cpu{i}/topology/thread_siblings_list": f"{i % 2},{i % 2 + 2}\n" for i in range(4)},
    f"{CPU}/smt/active": "1\n",
    f"{CPU}/cpufreq/policy0/scaling_governor": "powersave\n",
    f"{CPU}/cpufreq/policy1/scaling_governor": "powersave\n",
    f"{CPU}/cpufreq/policy0/scaling_driver": "intel_pstate\n",
    f"{CPU}/cpufreq/policy0/energy_performance_preference": "balance_performance\n",
    f"{CPU}/intel_pstate/no_turbo": "0\n",
    f"{CPU}/cpu0/cache/index0/level": "1\n",
    f"{CPU}/cpu0/cache/index0/type": "Data\n",
    f"{CPU}/cpu0/cache/index0/size": "48K\n",
    f"{CPU}/cpu0/cache/index1/level": "2\n",
    f"{CPU}/cpu0/cache/index1/type": "Unified\n",
    f"{CPU}/cpu0/cache/index1/size": "2048K\n",
}
ARM_CORE = "CPU implementer\t: 0x41\nFeatures\t: fp asimd asimddp sve\nCPU variant\t: 0x1\nCPU part\t: 0xd40\n"
ARM = {"proc/cpuinfo": f"processor\t: 0\n{ARM_CORE}\nprocessor\t: 1\n{ARM_CORE}", "etc/machine-id": "abc\n"}


def write_root(folder: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def be(monkeypatch: pytest.MonkeyPatch, system: str, architecture: str, cpus: int) -> None:
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: architecture)
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(os, "cpu_count", lambda: cpus)


@pytest.fixture
def x86(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    be(monkeypatch, "Linux", "x86_64", 4)
    return write_root(tmp_path, X86)


def test_an_x86_machine(x86: Path) -> None:
    machine = read_machine(x86)
    assert machine.title == "Abacus 9000 (4 CPUs)"
    assert machine.checked == {
        "cpu": "Abacus 9000",
        "architecture": "x86_64",
        "instruction_sets": "AVX2, AVX-512, AVX-512 VNNI, AMX",
        "logical_cpus": 4,
        "os": "Linux",
        "machine_id": "98d96767e6af0a41",
    }
    told = {
        "physical_cores": 2,
        "smt": "on",
        "caches": "L1d 48 KiB, L2 2048 KiB",
        "frequency_driver": "intel_pstate",
        "frequency_governor": "powersave",
        "energy_preference": "balance_performance",
        "turbo": "on",
        "hypervisor": "none",
        "memory_gib": 16.0,
        "os_name": "Made-up Linux 7",
    }
    assert {name: machine.informative.get(name) for name in told} == told
    assert {"usable_cpus", "os_release", "python", "mnsweep", "onnxruntime"} <= set(machine.informative)
    assert not {"cpu_quota", "memory_limit_gib", "cpu_part"} & set(machine.informative), "what is not told is left out"


def test_the_key_of_a_machine_stays_what_it_was(x86: Path) -> None:
    """Committed results are filed under it; this one was made by the first version of the fingerprint."""
    assert read_machine(x86).key == "abacus-9000-4c-804fc83a"


def test_an_arm_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    be(monkeypatch, "Linux", "aarch64", 2)
    machine = read_machine(write_root(tmp_path, ARM))
    assert (machine.checked["cpu"], machine.checked["instruction_sets"]) == ("aarch64", "NEON, NEON dot product, SVE")
    assert machine.informative["cpu_part"] == "0x41/0xd40"
    assert "hypervisor" not in machine.informative, "an ARM processor does not say whether it is virtual"


def test_a_system_without_proc_and_sys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    be(monkeypatch, "Darwin", "arm64", 8)
    machine = read_machine(tmp_path)
    assert machine.checked == {
        "cpu": "arm64",
        "architecture": "arm64",
        "instruction_sets": "",
        "logical_cpus": 8,
        "os": "Darwin",
        "machine_id": "none",
    }
    assert machine.informative["memory_gib"] == round(psutil.virtual_memory().total / 2**30, 1)
    assert not {"smt", "caches", "turbo", "frequency_governor", "hypervisor", "os_name"} & set(machine.informative)


def test_one_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    be(monkeypatch, "Linux", "x86_64", 1)
    machine = read_machine(write_root(tmp_path, {**X86, f"{CPU}/smt/active": "0\n"}))
    assert "-1c-" in machine.key and machine.title == "Abacus 9000 (1 CPU)"
    assert machine.informative["smt"] == "off"


QUOTAS = {
    "v2": ({"sys/fs/cgroup/cpu.max": "150000 100000\n"}, 1.5),
    "v2 without a limit": ({"sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
    "v2, the parent is narrower": (
        {
            "proc/self/cgroup": "0::/a/b\n",
            "sys/fs/cgroup/a/cpu.max": "50000 100000\n",
            "sys/fs/cgroup/a/b/cpu.max": "200000 100000\n",
        },
        0.5,
    ),
    "v2, a neighbour does not count": (
        {"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/b/cpu.max": "50000 100000\n"},
        None,
    ),
    "v2, outside the namespace": (
        {
            "proc/self/cgroup": "0::/../x\n",
            "sys/fs/cgroup/cpu.max": "300000 100000\n",
            "sys/fs/cpu.max": "100000 100000\n",
        },
        3.0,
    ),
    "v1": (
        {
            "proc/self/cgroup": "3:cpuset:/\n2:cpu,cpuacct:/docker/0a1b\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "200000\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        },
        2.0,
    ),
    "v1 without a limit": (
        {
            "proc/self/cgroup": "2:cpu:/\n0::/\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        },
        None,
    ),
    "v2 beside v1": (
        {"proc/self/cgroup": "1:memory:/\n0::/\n", "sys/fs/cgroup/unified/cpu.max": "100000 100000\n"},
        1.0,
    ),
    "no cgroups": ({"proc/self/cgroup": ""}, None),
}


@pytest.mark.parametrize(("files", "cpus"), QUOTAS.values(), ids=QUOTAS)
def test_the_narrowest_cpu_quota_counts(tmp_path: Path, files: dict[str, str], cpus: float | None) -> None:
    assert read_facts(write_root(tmp_path, {**X86, **files})).cpu_quota == cpus


@pytest.mark.parametrize(
    ("files", "gib"),
    [
        ({"sys/fs/cgroup/memory.max": "2147483648\n"}, 2.0),
        ({"sys/fs/cgroup/memory.max": "max\n"}, None),
        ({"proc/self/cgroup": "1:memory:/\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "1073741824\n"}, 1.0),
        ({"proc/self/cgroup": "1:memory:/\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, None),
    ],
)
def test_the_memory_limit_of_a_container(tmp_path: Path, files: dict[str, str], gib: float | None) -> None:
    assert read_facts(write_root(tmp_path, {**X86, **files})).memory_limit_gib == gib


@pytest.mark.parametrize(
    ("file", "text", "turbo"),
    [("intel_pstate/no_turbo", "0", "on"), ("intel_pstate/no_turbo", "1", "off"), ("cpufreq/boost", "1", "on"),
     ("cpufreq/boost", "0", "off"), ("cpufreq/boost", "", None)],
)  # fmt: skip
def test_turbo(tmp_path: Path, file: str, text: str, turbo: str | None) -> None:
    assert read_facts(write_root(tmp_path, {f"{CPU}/{file}": text})).turbo == turbo


GUEST = {"proc/cpuinfo": "flags\t: fpu hypervisor\n"}
CLOCKS = "sys/devices/system/clocksource/clocksource0/available_clocksource"


@pytest.mark.parametrize(
    ("files", "host"),
    [
        (GUEST, "unnamed"),
        (GUEST | {CLOCKS: "tsc kvm-clock acpi_pm\n"}, "KVM"),
        (GUEST | {CLOCKS: "tsc kvm-clock\n", "sys/class/dmi/id/sys_vendor": "Amazon EC2\n"}, "Amazon EC2"),
        ({"proc/cpuinfo": "flags\t: fpu\n", "sys/class/dmi/id/sys_vendor": "Made-up Inc.\n"}, "none"),
        ({"proc/cpuinfo": ARM_CORE, "sys/class/dmi/id/sys_vendor": "QEMU\n"}, "QEMU"),
        ({"proc/cpuinfo": ARM_CORE, "proc/device-tree/hypervisor/compatible": "linux,kvm\0"}, "linux,kvm"),
        ({}, None),
    ],
)
def test_who_hosts_a_virtual_machine(tmp_path: Path, files: dict[str, str], host: str | None) -> None:
    assert read_facts(write_root(tmp_path, files)).hypervisor == host


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("proc/loadavg", "9.0 9.0 9.0 9/100 4242\n"),
        ("proc/meminfo", "MemTotal: 1048576 kB\n"),
        ("proc/cpuinfo", X86["proc/cpuinfo"].replace("fpu", "fpu hypervisor") + "cpu MHz\t: 1234.5\n"),
        ("sys/fs/cgroup/cpu.max", "50000 100000\n"),
        (f"{CPU}/cpufreq/policy0/scaling_governor", "performance\n"),
        (f"{CPU}/intel_pstate/no_turbo", "1\n"),
        ("etc/os-release", 'PRETTY_NAME="Made-up Linux 8"\n'),
    ],
)
def test_what_only_informs_leaves_the_key_alone(x86: Path, name: str, text: str) -> None:
    before = read_machine(x86)
    write_root(x86, {name: text})
    after = read_machine(x86)
    assert (after.key, after.checked) == (before.key, before.checked)
    assert name == "proc/loadavg" or after.informative != before.informative


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("proc/cpuinfo", X86["proc/cpuinfo"].replace("9000", "9001")),
        ("proc/cpuinfo", X86["proc/cpuinfo"].replace(" amx_tile", "")),
        ("etc/machine-id", "fedcba\n"),
        ("etc/machine-id", ""),
    ],
)
def test_a_checked_fact_that_differs_is_another_machine(x86: Path, name: str, text: str) -> None:
    before = read_machine(x86).key
    write_root(x86, {name: text})
    assert read_machine(x86).key != before


@pytest.mark.parametrize("it", [("Linux", "x86_64", 8), ("Linux", "i686", 4), ("FreeBSD", "x86_64", 4)])
def test_other_cpus_architecture_or_system_is_another_machine(
    x86: Path, monkeypatch: pytest.MonkeyPatch, it: tuple[str, str, int]
) -> None:
    before = read_machine(x86).key
    be(monkeypatch, *it)
    assert read_machine(x86).key != before


def test_machine_json_names_no_host_no_user_and_no_path(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path / "sweep" / "machine")
    folder.write_machine(read_machine())
    text = (folder.path / MACHINE).read_text().lower()
    for name in (socket.gethostname(), getpass.getuser(), str(Path.home()), str(tmp_path)):
        assert not re.search(rf"(?<!\w){re.escape(name.lower())}(?!\w)", text), name
    content = json.loads(text)
    values = [*content["checked"].values(), *content["informative"].values()]
    assert not [value for value in values if re.match(r"/|[a-z]:\\", str(value))]


def test_the_machine_id_itself_is_nowhere(x86: Path) -> None:
    machine = read_machine(x86)
    assert X86["etc/machine-id"].strip()[:8] not in json.dumps([dict(machine.checked), dict(machine.informative)])


def test_reading_takes_less_than_thirty_milliseconds_with_many_cpus(tmp_path: Path) -> None:
    """`pick` reads the machine each time, and must answer at once."""
    many = {f"{CPU}/cpu{i}/topology/thread_siblings_list": f"{i}\n" for i in range(128)}
    many |= {f"{CPU}/cpufreq/policy{i}/scaling_governor": "powersave\n" for i in range(128)}
    root = write_root(tmp_path, {**X86, **many})
    taken = []
    for _ in range(5):
        began = time.perf_counter()
        read_machine(root)
        taken.append(time.perf_counter() - began)
    assert min(taken) < 0.03
