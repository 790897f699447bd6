"""`mnsweep doctor`, with a worker whose network takes made-up times."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

import pytest

import mnsweep.app.doctor
from mnsweep.app.doctor import MOST_THREADS, WITHOUT_TIMING, Diagnosis, diagnose, runtime_obstacle, thread_limit
from mnsweep.cli.main import app
from mnsweep.errors import UnavailableError
from mnsweep.estimate.fit import Movement
from mnsweep.machine import lock
from mnsweep.machine.conditions import Finding, find
from mnsweep.machine.facts import Facts
from mnsweep.machine.fingerprint import read_machine
from mnsweep.measure.repeatability import (
    FEWEST_ROUNDS,
    MOST_ROUNDS,
    PROCESSES,
    Repeatability,
    ThreadCount,
    measure_repeatability,
)
from mnsweep.worker.proxy import CellError, WorkerLostError, WorkerProcess
from tests.fakes import FakeClock, FakeWorker
from tests.test_conditions import quiet

ONE_MS = 2.0
SPEED_UPS = {1: 1.0, 2: 1.8, 3: 2.0, 4: 2.9}


@dataclass
class Lab:
    """A made-up machine, on which one network takes `ONE_MS`, and as much less as `speed_ups` says on more threads."""

    speed_ups: Mapping[int, float] = field(default_factory=lambda: SPEED_UPS)
    before: Callable[..., None] = lambda verb, *arguments: None
    disturbed: str = ""
    noise_pct: float = 0.2
    ticks: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        self.clock = FakeClock(stopped=not self.ticks)
        self.worker = FakeWorker(
            ms_of=lambda key, deployment: ONE_MS / self.speed_ups[deployment.threads],
            clock=self.clock,
            noise_pct=self.noise_pct,
            seed=self.seed,
            before=self.before,
            disturbed=(self.disturbed,),
        )

    @property
    def pinned(self) -> list[int]:
        return [threads for (threads,) in self.worker.arguments_of("pin")]

    def measure(self, most_threads: int) -> Repeatability:
        return measure_repeatability(
            b"network", [b"small", b"large"], most_threads=most_threads, new_worker=self.worker, clock=self.clock.s
        )


def failing(verb: str, key: str = "", error: Exception | None = None) -> Callable[..., None]:
    """What a worker does before it answers: raises at a verb, of one key or of all."""

    def fail(asked: str, *arguments: object) -> None:
        if asked == verb and key in (arguments[0], ""):
            raise error or CellError("broke")

    return fail


def test_each_number_of_threads_has_its_latency_and_speed_up() -> None:
    found = Lab().measure(4)
    assert [t.threads for t in found.by_threads] == [1, 2, 3, 4]
    for t in found.by_threads:
        assert t.latency_ms == pytest.approx(ONE_MS / SPEED_UPS[t.threads], rel=0.01)
        assert t.speed_up == pytest.approx(SPEED_UPS[t.threads], rel=0.01)
        assert t.efficiency == pytest.approx(SPEED_UPS[t.threads] / t.threads, rel=0.01)


@pytest.mark.parametrize(
    ("speed_ups", "threads"),
    [
        ({1: 1.0}, 1),
        ({1: 1.0, 2: 1.5}, 2),
        ({1: 1.0, 2: 1.3}, 1),
        ({1: 1.0, 2: 1.8, 3: 2.0, 4: 2.9}, 4),  # three are not worth it, four are
        ({1: 1.0, 2: 1.9, 3: 2.5, 4: 2.6}, 3),
        ({1: 1.0, 2: 0.5, 3: 0.4}, 1),  # more threads than CPUs that are free
    ],
)
def test_the_most_threads_that_are_worthwhile_are_recommended(speed_ups: dict[int, float], threads: int) -> None:
    assert Lab(speed_ups).measure(len(speed_ups)).recommended_threads == threads


def test_a_lone_core_has_companions_to_compare_with() -> None:
    found = Lab({1: 1.0}).measure(1)
    assert found.pct is not None and 0 < found.pct < 2


def test_noise_widens_what_a_sweep_can_expect() -> None:
    calm, wide = (Lab(noise_pct=noise).measure(2).pct for noise in (0.1, 1.0))
    assert calm and wide and 5 < wide / calm < 20


def test_what_a_sweep_can_expect_does_not_depend_on_the_rounds_timed_here() -> None:
    few, many = (
        [Lab({1: speed_up}, noise_pct=1.0, ticks=ticks, seed=seed).measure(1) for seed in range(8)]
        for speed_up, ticks in ((1e-3, True), (1.0, False))
    )
    assert few[0].rounds * 10 == many[0].rounds
    ratio = mean(found.pct or 0.0 for found in few) / mean(found.pct or 0.0 for found in many)
    assert 1 / 2.5 < ratio < 2.5  # not the root of ten, and more for the wider quantile of few rounds


def test_the_network_is_timed_no_more_often_than_a_cell_of_a_sweep() -> None:
    """The canary gets more blocks, and so a narrower interval than cells have."""
    lab = Lab()
    lab.measure(2)
    assert lab.worker.blocks["1 threads"] == lab.worker.blocks["2 threads"] < lab.worker.blocks["companion 0"]


def test_disturbed_blocks_are_counted() -> None:
    assert Lab().measure(2).disturbed_blocks == 0
    found = Lab(disturbed="2 threads").measure(2)
    assert found.disturbed_blocks == 2 * found.rounds  # each is repeated once


def test_it_takes_about_four_seconds_in_as_many_processes_as_a_sweep() -> None:
    lab = Lab()
    found = lab.measure(4)
    assert 4.0 <= lab.clock.now_s <= 5.0
    assert lab.pinned == [4] * PROCESSES
    assert found.blocks > found.rounds * 6  # four counts, two companions, canaries


def test_a_slow_machine_takes_a_few_rounds_all_the_same() -> None:
    lab = Lab({1: 1e-3})  # two seconds a run
    assert lab.measure(1).rounds == PROCESSES * FEWEST_ROUNDS


def test_a_clock_that_stands_still_is_no_endless_loop() -> None:
    assert Lab({1: 1.0}, ticks=False).measure(1).rounds == PROCESSES * MOST_ROUNDS


def test_a_number_of_threads_that_fails_is_left_out() -> None:
    found = Lab(before=failing("time", "2 threads")).measure(4)
    assert [t.threads for t in found.by_threads] == [1, 3, 4]


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        (failing("open", error=CellError("not today")), "not today"),
        (failing("time", "1 threads"), "broke"),
        (failing("time", error=WorkerLostError("the worker process ended with exit status 9")), "exit status 9"),
    ],
    ids=["at opening", "at timing", "the worker"],
)
def test_where_nothing_can_be_timed_the_reason_is_named(before: Callable[..., None], reason: str) -> None:
    with pytest.raises(UnavailableError, match=reason):
        Lab(before=before).measure(2)


@pytest.mark.parametrize(
    ("facts", "threads"),
    [
        (Facts(usable_cpus=1), 1),
        (Facts(usable_cpus=6), 6),
        (Facts(usable_cpus=64), MOST_THREADS),
        (Facts(usable_cpus=6, cpu_quota=2.5), 2),
        (Facts(usable_cpus=6, cpu_quota=0.3), 1),
        (Facts(usable_cpus=2, cpu_quota=6.0), 2),
    ],
)
def test_no_more_threads_than_there_are_cpus_for(facts: Facts, threads: int) -> None:
    assert thread_limit(facts) == threads


def seen(lab: Lab, obstacle: UnavailableError | None = None, **changes: Any) -> partial[Diagnosis]:
    """`diagnose` of a machine of two CPUs with a made-up worker; its clock is the real one."""
    changes = {"usable_cpus": 2, "logical_cpus": 2, **changes}
    return partial(diagnose, new_worker=lab.worker, why_not=lambda: obstacle, read=lambda machine, root: quiet(**changes))


def test_a_diagnosis_has_machine_findings_and_repeatability() -> None:
    lab = Lab()
    found = seen(lab)()
    assert found.machine.checked and found.findings and found.obstacle is None
    assert found.repeatability and found.repeatability.recommended_threads == 2


def test_without_timing_no_worker_starts() -> None:
    lab = Lab()
    found = seen(lab, obstacle=UnavailableError("made up"))(timing=False)
    assert (found.repeatability, found.obstacle, lab.pinned) == (None, None, [])


def test_what_keeps_it_from_timing_is_said_beside_the_findings() -> None:
    lab = Lab()
    broken = UnavailableError("onnxruntime is broken")
    found = seen(lab, obstacle=broken)()
    assert (found.repeatability, found.obstacle, lab.pinned) == (None, broken, [])
    assert found.findings


def test_while_another_mnsweep_measures_it_does_not_time() -> None:
    lab = Lab()
    with lock.measuring(wait=False):
        found = seen(lab)()
    assert found.repeatability is None and not lab.pinned
    assert found.obstacle and "another mnsweep is measuring" in found.obstacle.what
    assert "--no-timing" in found.obstacle.fix and "wait" not in str(found.obstacle)


def test_a_fix_that_fits_is_kept_and_one_that_does_not_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads it has run `mnsweep doctor` already, as an error of the worker would recommend."""
    lost = seen(Lab())(new_worker=partial(WorkerProcess, command=["/bin/false"])).obstacle
    assert lost and "could not start" in lost.what and lost.fix == WITHOUT_TIMING
    broken = seen(Lab(before=failing("open")))().obstacle
    assert broken and "a small network could not be timed: broke" in broken.what and broken.fix == WITHOUT_TIMING
    monkeypatch.setattr(lock, "lock_path", lambda: tmp_path)  # a folder
    taken = seen(Lab())().obstacle
    assert taken and "can't be taken" in taken.what and taken.fix.startswith("if no mnsweep of another user is measuring")
    assert taken.fix.endswith(f"; or {WITHOUT_TIMING}")


def test_a_runtime_that_breaks_on_import_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('made up')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    obstacle = runtime_obstacle()
    assert obstacle and "ImportError: made up" in obstacle.what and "pip install" in obstacle.fix
    (tmp_path / "onnxruntime.py").write_text("InferenceSession = None\n")
    assert runtime_obstacle() is None


TIMED = Repeatability(
    by_threads=(
        ThreadCount(threads=1, latency_ms=2.0, speed_up=1.0, repeatability_pct=0.5),
        ThreadCount(threads=2, latency_ms=1.25, speed_up=1.6, repeatability_pct=None),
    ),
    movement=Movement(slower_pct=3.0, faster_pct=1.0),
    rounds=12,
    blocks=60,
    disturbed_blocks=2,
)


def diagnosis(
    findings: tuple[Finding, ...] = find(quiet()), repeatability: Repeatability | None = None, **more: Any
) -> Diagnosis:
    return Diagnosis(machine=read_machine(), findings=findings, repeatability=repeatability, **more)


def say(monkeypatch: pytest.MonkeyPatch, *arguments: str, found: Diagnosis | None = None, **changes: Any) -> list[bool]:
    """Run `mnsweep doctor` on a diagnosis; whether each call asked for timing."""
    made_up = found or diagnosis(find(quiet(**changes)), TIMED)
    asked: list[bool] = []

    def diagnosed(timing: bool) -> Diagnosis:
        asked.append(timing)
        return made_up

    monkeypatch.setattr(mnsweep.app.doctor, "diagnose", diagnosed)
    app(["doctor", *arguments], standalone_mode=False)
    return asked


def test_json_is_one_document(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert say(monkeypatch, "--json", smt="on") == [True]
    document = json.loads(capsys.readouterr().out)
    machine = read_machine()
    assert list(document) == ["schema_version", "machine", "checked", "informative", "findings", "repeatability", "threads"]
    assert (document["schema_version"], document["machine"], document["checked"]) == (1, machine.key, dict(machine.checked))
    assert document["informative"]["python"] == machine.informative["python"]
    findings = {finding["name"]: finding for finding in document["findings"]}
    assert findings["simultaneous multithreading"]["verdict"] == "fair"
    assert list(findings["load"]) == ["name", "value", "verdict", "why", "fix", "mend"]
    assert "at most 4 threads" in findings["simultaneous multithreading"]["fix"]
    assert findings["load"]["fix"] is None
    assert all(finding["mend"] == finding["fix"] for finding in findings.values())
    assert document["repeatability"] == {
        "relative_ci_pct": 0.5, "of_rounds": 16, "slower_pct": 3.0, "faster_pct": 1.0,
        "rounds": 12, "blocks": 60, "disturbed_blocks": 2,
    }  # fmt: skip
    assert document["threads"] == {
        "recommended": 2,
        "timed": [
            {"threads": 1, "latency_ms": 2.0, "speed_up": 1.0, "efficiency": 1.0, "relative_ci_pct": 0.5},
            {"threads": 2, "latency_ms": 1.25, "speed_up": 1.6, "efficiency": 0.8, "relative_ci_pct": None},
        ],
    }


def test_text_says_what_defines_the_machine_and_what_to_do_next(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    say(monkeypatch, hypervisor="Made [up] Inc.")
    out, err = capsys.readouterr()
    assert out.index("defines the machine") < out.index("for information")
    assert "memory (GiB)" in out and "Made [up] Inc." in out and "compare cells of one sweep" in out
    assert "± 0.5 % against other cells" in out and "2 of 60 blocks" in out
    assert "1.0 % faster to 3.0 % slower than typical" in out
    assert "milliseconds move with the machine's speed, latencies relative to each other do not" in out
    assert "threads        2 threads" in out and "× 1.60" in out
    assert err.splitlines()[-1] == "next: mnsweep grid --threads 1,2"


@pytest.mark.parametrize(("disturbed", "cautious"), [(15, False), (16, True)])
def test_much_disturbance_asks_to_look_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], disturbed: int, cautious: bool
) -> None:
    say(monkeypatch, found=diagnosis(repeatability=replace(TIMED, disturbed_blocks=disturbed)))
    assert ("look again when less is running" in capsys.readouterr().out) is cautious


def test_what_is_poor_is_to_be_fixed_next(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    say(monkeypatch, power="battery", load=4.0)
    assert capsys.readouterr().err.splitlines()[-1] == "next: fix what is poor (power, load), then mnsweep doctor again"


def test_quiet_has_no_advice(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    say(monkeypatch, "-q")
    assert capsys.readouterr().err == ""


def test_without_timing_it_only_looks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    looked = diagnosis()
    assert say(monkeypatch, "--no-timing", "--json", found=looked) == [False]
    document = json.loads(capsys.readouterr().out)
    assert document["repeatability"] is None and document["threads"] is None
    say(monkeypatch, "--no-timing", found=looked)
    out, err = capsys.readouterr()
    assert "milliseconds move with the machine's speed" in out and "repeatability" not in out
    assert err.splitlines()[-1] == "next: mnsweep grid"


def test_where_timing_is_impossible_it_says_all_it_saw_and_ends_with_four(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    blocked = diagnosis(obstacle=UnavailableError("made up"))
    with pytest.raises(UnavailableError, match="made up") as error:
        say(monkeypatch, "--json", found=blocked)
    assert error.value.exit_code == 4
    assert json.loads(capsys.readouterr().out)["findings"]
