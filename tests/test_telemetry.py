"""What the machine was doing during a block, from made-up files in /proc and /sys."""

import errno
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from mnsweep.cell import Deployment
from mnsweep.decoding import DamagedError
from mnsweep.estimate.circumstances import what_happened
from mnsweep.estimate.fit import fit
from mnsweep.machine.cycles import CycleCounter
from mnsweep.machine.telemetry import TICKS_PER_S, TOLD, Snapshot, Telemetry
from mnsweep.record import Block, from_line, to_line
from mnsweep.worker.proxy import WorkerProcess
from tests.test_runtimes import model

STAT = "cpu  {busy} 0 0 1000 0 0 0 {steal} 0 0\ncpu0 1 2 3\n"


def write(root: Path, files: Mapping[str, object]) -> None:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{content}\n")


@pytest.fixture
def system(tmp_path: Path) -> Path:
    cpu = "sys/devices/system/cpu/cpu"
    write(
        tmp_path,
        {
            f"{cpu}0/cpufreq/scaling_cur_freq": 3_400_000,
            f"{cpu}1/cpufreq/scaling_cur_freq": 3_000_000,
            f"{cpu}1/thermal_throttle/core_throttle_count": 7,
            "sys/class/hwmon/hwmon0/name": "nvme",
            "sys/class/hwmon/hwmon0/temp1_input": 99_000,
            "sys/class/hwmon/hwmon1/name": "k10temp",
            "sys/class/hwmon/hwmon1/temp1_input": 61_500,
            "proc/pressure/cpu": "some avg10=0.00 avg60=0.00 avg300=0.00 total=1000000\nfull avg10=0.00 total=5",
            "proc/stat": STAT.format(busy=100, steal=0),
        },
    )
    return tmp_path


def at(told: Mapping[str, float], at_s: float, **now: float) -> Snapshot:
    return Snapshot(at_s, told, now)


def test_files_of_the_system_are_read(system: Path) -> None:
    telemetry = Telemetry((0, 1), system)
    seen = telemetry.read()
    assert seen.now == {"mhz": 3200.0, "celsius": 61.5}, "the disk's temperature is not the processor's"
    assert {k: v for k, v in seen.counted.items() if k != "own"} == {
        "throttled": 7,
        "stalled": 1.0,
        "busy": 100 / TICKS_PER_S,
        "steal": 0,
    }
    assert telemetry.names() == ["mhz", "celsius", "throttled", "steal_pct", "stalled_pct", "others_pct"]
    write(system, {"sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count": 9})
    assert telemetry.read().counted["throttled"] == 9, "files are read again, not once"
    telemetry.close()


def test_a_system_that_tells_nothing_is_no_trouble(tmp_path: Path) -> None:
    telemetry = Telemetry((0,), tmp_path)
    assert telemetry.names() == []
    assert telemetry.told(6, telemetry.read(), telemetry.read()) == {}
    telemetry.close()
    telemetry.close()


@pytest.mark.parametrize("content", ["", "garbage", "some total=x", "cpu 1 2", "-5", "cpu  a b c d e f g h"])
def test_files_of_another_form_are_left_out(system: Path, content: str) -> None:
    for path in (p for p in system.rglob("*") if p.is_file() and p.name != "name"):
        path.write_text(content)
    telemetry = Telemetry((0, 1), system)
    assert telemetry.names() == []
    telemetry.close()


def test_shares_are_of_the_time_that_passed_and_little_is_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    telemetry = Telemetry((0,), tmp_path)
    before = at({"busy": 10.0, "own": 5.0, "steal": 0.0, "stalled": 0.0, "throttled": 1, "cycles": 0.0}, 100.0)
    after = at({"busy": 10.5, "own": 5.2, "steal": 0.1, "stalled": 0.05, "throttled": 3, "cycles": 6e9}, 100.5, mhz=3211.7)
    assert telemetry.told(6, before, after) == {
        "mhz": 3212, "steal_pct": 10.0, "stalled_pct": 10.0, "others_pct": 30.0, "throttled": 2, "cycles": 1e9,
    }  # fmt: skip
    calm = at({"busy": 10.2, "own": 5.2, "steal": 0.0, "stalled": 0.0, "throttled": 1}, 100.5)
    assert telemetry.told(6, before, calm) == {}


def test_others_are_not_told_apart_in_a_block_shorter_than_a_tick(tmp_path: Path) -> None:
    telemetry = Telemetry((0,), tmp_path)
    short_s = 0.5 / TICKS_PER_S / (os.cpu_count() or 1)
    before, after = at({"busy": 1.0, "own": 0.0}, 0.0), at({"busy": 1.0 + 1 / TICKS_PER_S, "own": 0.0}, short_s)
    assert telemetry.told(6, before, after) == {}


def test_a_real_worker_tells_only_what_has_a_name() -> None:
    with WorkerProcess() as worker:
        worker.pin(1)
        worker.open("a", model(), Deployment())
        assert worker.time("a", 5, 20).machine.keys() <= TOLD.keys()


@pytest.mark.parametrize(
    ("code", "said"),
    [(errno.EACCES, "sudo sysctl kernel.perf_event_paranoid"), (errno.ENOENT, "virtual machines"), (errno.EINVAL, "Invalid")],
)
def test_why_cycles_are_not_counted_is_said(monkeypatch: pytest.MonkeyPatch, code: int, said: str) -> None:
    class Libc:
        def syscall(self, *_: object) -> int:
            return -1

    monkeypatch.setattr("mnsweep.machine.cycles.ctypes.CDLL", lambda *_, **__: Libc())
    monkeypatch.setattr("mnsweep.machine.cycles.ctypes.get_errno", lambda: code)
    monkeypatch.setattr("mnsweep.machine.cycles.platform.machine", lambda: "x86_64")
    monkeypatch.setattr("mnsweep.machine.cycles.sys.platform", "linux")
    with pytest.raises(OSError, match=said):
        CycleCounter()


def test_cycles_are_counted_or_it_is_said_why_not() -> None:
    try:
        counter = CycleCounter()
    except OSError as error:
        assert str(error)
        return
    before = counter.read()
    total = sum(range(10**6))
    after = counter.read()
    assert before is not None and after is not None and total and after - before > 10**5


def block(i: int, **machine: float) -> Block:
    return Block(cell="a", process=1, round=i, at_s=i, first_ns=1, samples_ns=(10**6 + i,), machine=machine)


@pytest.mark.parametrize(
    ("machines", "said"),
    [
        ([{"others_pct": 40.0}, {"others_pct": 2.0}] * 3, "other processes took 40 % of the CPU time in 50 % of its blocks"),
        ([{"steal_pct": 8.0}] * 4, "the host took 8 % of the CPU time in 100 % of its blocks"),
        ([{"stalled_pct": 20.0}] * 4, "programs waited 20 % of the time in 100 % of its blocks"),
        ([{"mhz": 3400.0}] * 5 + [{"mhz": 2100.0}] * 5, "the clock moved between 2.1 and 3.4 GHz"),
        ([{"mhz": 3400.0, "celsius": 97.0, "throttled": 2.0}], "the processor throttled 2 times; up to 97 °C"),
        ([{"mhz": 3400.0, "celsius": 60.0, "others_pct": 2.0}] * 4, ""),
    ],
)
def test_what_happened_is_said_in_a_few_words(machines: list[dict[str, float]], said: str) -> None:
    assert what_happened([block(i, **machine) for i, machine in enumerate(machines)]) == said


def test_an_unstable_cell_says_what_happened_and_a_stable_one_nothing() -> None:
    def blocks(spread: float) -> list[Block]:
        machine = {"others_pct": 40.0}
        return [
            Block(
                cell=cell,
                process=process,
                round=i,
                at_s=i,
                first_ns=1,
                samples_ns=(round(1e6 * (1 + spread * ((7 * process + 5 * i + 3 * ord(cell) + i * ord(cell)) % 7 - 3))),),
                machine=machine,
            )
            for process in (1, 2)
            for i in range(1, 5)
            for cell in ("a", "b", "c")
        ]

    unstable, stable = (fit(blocks(spread)).estimates.values() for spread in (0.1, 1e-5))
    assert all("other processes took 40 %" in e.stability_reason for e in unstable)
    assert all("other processes" not in e.stability_reason for e in stable)


def test_a_record_holds_it_and_refuses_what_no_machine_tells() -> None:
    line = to_line(block(1, mhz=3400.0))
    assert from_line(line) == block(1, mhz=3400.0)
    assert "machine" not in to_line(block(1)), "files stay small"
    for machine in ('{"mhz":-1.0}', '{"mhz":1e300}', '{"mood":1.0}', '{"mhz":"fast"}', "[]"):
        with pytest.raises(DamagedError):
            from_line(line.replace('{"mhz":3400.0}', machine))
