"""Findings, from readings that were made up; and the reader, on counters that do not wait."""

import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from mnsweep.machine import lock
from mnsweep.machine.conditions import CHECKS, Finding, find
from mnsweep.machine.disturbance import Counters
from mnsweep.machine.facts import Facts
from mnsweep.machine.fingerprint import read_machine
from mnsweep.machine.readings import WINDOW_S, Readings, read_conditions
from tests.fakes import FakeClock
from tests.test_machine import X86, write_root

QUIET = Readings(
    system="Linux",
    architecture="x86_64",
    logical_cpus=4,
    facts=Facts(
        usable_cpus=4,
        physical_cores=4,
        smt="off",
        frequency_driver="acpi-cpufreq",
        frequency_governor="performance",
        turbo="off",
        hypervisor="none",
    ),
    load=0.1,
    steal_pct=0.0,
    steal_since_boot_pct=0.0,
    switches_per_s=2.0,
    memory_free_gib=16.0,
    power="none",
)


def quiet(**changes: Any) -> Readings:
    """A machine where nothing disturbs, but for `changes` of readings or facts."""
    of_facts = {name: changes.pop(name) for name in list(changes) if hasattr(QUIET.facts, name)}
    return replace(QUIET, facts=replace(QUIET.facts, **of_facts), **changes)


TABLE: list[tuple[dict[str, Any], str, str]] = [
    ({"architecture": "AMD64"}, "platform", "good"),
    ({"architecture": "aarch64"}, "platform", "fair"),
    ({"system": "Darwin", "architecture": "arm64"}, "platform", "fair"),
    ({"system": "Windows", "architecture": "AMD64"}, "platform", "fair"),
    ({"hypervisor": "KVM"}, "virtual machine", "fair"),
    ({"hypervisor": None}, "virtual machine", "unknown"),
    ({"usable_cpus": 2, "logical_cpus": 2}, "CPUs", "good"),
    ({"usable_cpus": 1, "logical_cpus": 1}, "CPUs", "fair"),
    ({"usable_cpus": 3}, "affinity", "fair"),
    ({"cpu_quota": 4.0}, "container's CPU quota", "good"),
    ({"cpu_quota": 2.5}, "container's CPU quota", "fair"),
    ({"cpu_quota": 0.5}, "container's CPU quota", "poor"),
    ({"cpu_quota": 2.0, "usable_cpus": 2, "logical_cpus": 2}, "container's CPU quota", "good"),
    ({"pinnable": False}, "pinning", "fair"),
    ({"told": ("others_pct",), "cycles_obstacle": "no counter"}, "record of each block", "fair"),
    ({"told": ("mhz",), "cycles_obstacle": "no counter"}, "record of each block", "good"),
    ({"told": (), "cycles_obstacle": ""}, "record of each block", "good"),
    ({"smt": "on"}, "simultaneous multithreading", "fair"),
    ({"smt": None}, "simultaneous multithreading", "unknown"),
    ({"turbo": "on"}, "turbo", "fair"),
    ({"turbo": None}, "turbo", "unknown"),
    ({"frequency_governor": None}, "frequency policy", "unknown"),
    ({"frequency_governor": "schedutil"}, "frequency policy", "fair"),
    ({"frequency_governor": "ondemand"}, "frequency policy", "fair"),
    ({"frequency_governor": "powersave"}, "frequency policy", "poor"),
    ({"frequency_governor": "performance, powersave"}, "frequency policy", "poor"),
    ({"frequency_governor": "powersave", "frequency_driver": "intel_pstate"}, "frequency policy", "fair"),
    (
        {"frequency_governor": "powersave", "frequency_driver": "intel_pstate", "energy_preference": "balance_performance"},
        "frequency policy",
        "fair",
    ),
    (
        {"frequency_governor": "powersave", "frequency_driver": "amd-pstate-epp", "energy_preference": "balance_power"},
        "frequency policy",
        "poor",
    ),
    ({"power": "mains"}, "power", "good"),
    ({"power": "battery"}, "power", "poor"),
    ({"power": None}, "power", "unknown"),
    ({"load": 0.6}, "load", "good"),
    ({"load": 1.0}, "load", "fair"),
    ({"load": 2.1}, "load", "poor"),
    ({"load": None}, "load", "unknown"),
    ({"steal_pct": 2.0}, "steal", "fair"),
    ({"steal_pct": 5.5}, "steal", "poor"),
    ({"steal_since_boot_pct": 1.0}, "steal", "fair"),
    ({"steal_pct": None, "steal_since_boot_pct": None}, "steal", "unknown"),
    ({"switches_per_s": 50.0}, "involuntary switches", "fair"),
    ({"switches_per_s": 101.0}, "involuntary switches", "poor"),
    ({"switches_per_s": None}, "involuntary switches", "unknown"),
    ({"memory_free_gib": 1.0}, "memory", "fair"),
    ({"memory_free_gib": 0.4}, "memory", "poor"),
    ({"memory_free_gib": None}, "memory", "unknown"),
    ({"other_measurer": "another mnsweep is measuring (process 7)"}, "other mnsweep", "poor"),
    ({"told_apart": False}, "identity", "fair"),
]


def found_in(readings: Readings) -> dict[str, Finding]:
    return {finding.name: finding for finding in find(readings)}


def test_a_quiet_machine_is_good_throughout() -> None:
    assert {finding.verdict for finding in find(QUIET)} == {"good"}
    assert len(found_in(QUIET)) == len(CHECKS), "every finding has a name of its own"


@pytest.mark.parametrize(("changes", "name", "verdict"), TABLE)
def test_each_disturbance_is_found_and_is_the_only_one(changes: dict[str, Any], name: str, verdict: str) -> None:
    found = found_in(quiet(**changes))
    assert found[name].verdict == verdict
    assert {n for n, finding in found.items() if finding.verdict != "good"} <= {name}


def test_every_condition_is_in_the_table() -> None:
    not_good = {name for _, name, verdict in TABLE if verdict != "good"}
    assert not_good == {finding.name for finding in find(QUIET)}


@pytest.mark.parametrize("changes", [changes for changes, _, _ in TABLE])
def test_what_is_not_good_has_a_fix_in_one_line_and_what_is_good_has_none(changes: dict[str, Any]) -> None:
    for finding in find(quiet(**changes)):
        assert bool(finding.fix) == (finding.verdict != "good"), finding
        assert finding.why and finding.value and "\n" not in finding.fix + finding.why


def test_the_fix_of_a_quota_names_the_threads_that_fit() -> None:
    assert "at most 2 threads" in found_in(quiet(cpu_quota=2.5))["container's CPU quota"].fix
    assert "threads" not in found_in(quiet(cpu_quota=0.5))["container's CPU quota"].fix


def test_a_quota_counts_against_the_cpus_that_may_be_used() -> None:
    assert found_in(quiet(cpu_quota=2.0, usable_cpus=2, logical_cpus=8))["container's CPU quota"].verdict == "good"


def test_who_measures_is_named_and_how_grid_waits() -> None:
    (finding,) = [f for f in find(quiet(other_measurer="another mnsweep (process 7)")) if f.verdict == "poor"]
    assert finding.value == "another mnsweep (process 7)" and "--wait" in finding.fix


class Window:
    """Time that passes only when it is spent, with counters that then move."""

    def __init__(self, steal_ticks: int, switches: int) -> None:
        self.clock, self.after = FakeClock(), Counters(1000 + steal_ticks, 50 + switches, frozenset({0}))

    def counters(self) -> Counters:
        return self.after if self.clock.now_s else Counters(1000, 50, frozenset({0}))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_root(tmp_path / "root", X86)


def read(root: Path, window: Window) -> Readings:
    return read_conditions(read_machine(root), root, spend=window.clock.advance, clock=window.clock.s, counters=window.counters)


def test_steal_and_switches_are_of_the_window(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sysconf", lambda name: 100)
    readings = read(root, Window(steal_ticks=3, switches=9))
    assert readings.steal_pct == pytest.approx(3 / (100 * WINDOW_S) * 100)
    assert readings.switches_per_s == pytest.approx(9 / WINDOW_S)
    assert readings.steal_since_boot_pct == pytest.approx(10.0)  # 100 of 600 + 200 + 100 + 100 ticks


def test_load_memory_and_identity_are_read(root: Path) -> None:
    readings = read(root, Window(0, 0))
    assert (readings.load, readings.memory_free_gib, readings.told_apart) == (0.25, 8.0, True)
    assert readings.facts.frequency_governor == "powersave"
    assert readings.other_measurer is None
    (root / "etc/machine-id").unlink()
    assert read(root, Window(0, 0)).told_apart is False


def test_a_container_has_no_more_memory_than_its_limit(root: Path) -> None:
    write_root(root, {"sys/fs/cgroup/memory.max": str(2**30)})
    assert read(root, Window(0, 0)).memory_free_gib == 1.0


def test_a_system_that_tells_nothing(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_setaffinity", raising=False)
    readings = read(tmp_path / "nothing", Window(0, 0))
    assert (readings.steal_pct, readings.steal_since_boot_pct, readings.pinnable) == (None, None, False)
    verdicts = {finding.name: finding.verdict for finding in find(readings)}
    assert (verdicts["pinning"], verdicts["steal"], verdicts["identity"]) == ("fair", "unknown", "fair")
    assert verdicts["frequency policy"] == verdicts["turbo"] == verdicts["virtual machine"] == "unknown"


@pytest.mark.parametrize(
    ("battery", "power"),
    [(None, "none"), (SimpleNamespace(power_plugged=True), "mains"), (SimpleNamespace(power_plugged=False), "battery"),
     (SimpleNamespace(power_plugged=None), None)],
)  # fmt: skip
def test_the_battery(root: Path, monkeypatch: pytest.MonkeyPatch, battery: object, power: str | None) -> None:
    monkeypatch.setattr(psutil, "sensors_battery", lambda: battery, raising=False)
    assert read(root, Window(0, 0)).power == power


def test_a_system_without_a_word_on_batteries(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(psutil, "sensors_battery", raising=False)
    assert read(root, Window(0, 0)).power is None


def test_another_mnsweep_that_measures_is_seen(root: Path) -> None:
    with lock.measuring(wait=False):
        readings = read(root, Window(0, 0))
    assert f"process {os.getpid()}" in found_in(readings)["other mnsweep"].value
