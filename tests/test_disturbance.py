"""What disturbed a block, and which CPUs are best."""

from pathlib import Path

import pytest

from mnsweep.machine.disturbance import Counters, preferred_cpus, usable_cpus

CPUS = frozenset({0, 1})


@pytest.mark.parametrize(
    ("ticks", "switches", "cpus", "elapsed_ms", "found"),
    [
        (0, 0, CPUS, 20.0, ()),
        (1, 0, CPUS, 20.0, ("steal 1 ticks",)),
        (0, 1, CPUS, 5.0, ()),  # one switch is the kernel's own business
        (0, 2, CPUS, 5.0, ("2 involuntary switches",)),
        (0, 2, CPUS, 25.0, ()),
        (0, 3, CPUS, 25.0, ("3 involuntary switches",)),
        (0, 0, frozenset({0}), 20.0, ("affinity changed from CPUs 0-1 to CPU 0",)),
        (2, 9, frozenset({1}), 20.0, ("steal 2 ticks", "9 involuntary switches", "affinity changed from CPUs 0-1 to CPU 1")),
        (0, 0, frozenset({0, 2, 3, 4, 9}), 20.0, ("affinity changed from CPUs 0-1 to CPUs 0,2-4,9",)),
    ],
)
def test_what_disturbed_a_block(
    ticks: int, switches: int, cpus: frozenset[int], elapsed_ms: float, found: tuple[str, ...]
) -> None:
    before = Counters(10, 20, CPUS)
    assert Counters(10 + ticks, 20 + switches, cpus).disturbed_since(before, elapsed_ms) == found


def test_as_many_cpus_as_before_but_others_are_named() -> None:
    (said,) = Counters(0, 0, frozenset({1})).disturbed_since(Counters(0, 0, frozenset({0})), 20.0)
    assert said == "affinity changed from CPU 0 to CPU 1"


def test_counters_of_this_process_only_grow() -> None:
    before, after = Counters.read(), Counters.read()
    assert after.switches >= before.switches
    assert after.steal_ticks >= before.steal_ticks
    assert after.cpus == usable_cpus() != frozenset()


def fake_cpus(root: Path, siblings: dict[int, str], speeds: dict[int, int]) -> Path:
    for cpu, its in siblings.items():
        topology = root / f"cpu{cpu}" / "topology"
        topology.mkdir(parents=True)
        (topology / "thread_siblings_list").write_text(f"{its}\n")
        if cpu in speeds:
            (root / f"cpu{cpu}" / "cpufreq").mkdir()
            (root / f"cpu{cpu}" / "cpufreq" / "cpuinfo_max_freq").write_text(f"{speeds[cpu]}\n")
    return root


@pytest.mark.parametrize(
    ("siblings", "speeds", "expected"),
    [
        ({0: "0", 1: "1", 2: "2"}, {}, [2, 1, 0]),  # equal cores: the last ones, the first serve interrupts
        ({0: "0-1", 1: "0-1", 2: "2-3", 3: "2-3"}, {}, [3, 1, 2, 0]),  # one of each core before its siblings
        ({0: "0", 1: "1", 2: "2", 3: "3"}, {0: 5000, 1: 5000, 2: 3800, 3: 3800}, [1, 0, 3, 2]),  # performance cores first
    ],
)
def test_which_cpus_are_best(tmp_path: Path, siblings: dict[int, str], speeds: dict[int, int], expected: list[int]) -> None:
    assert preferred_cpus(siblings, fake_cpus(tmp_path, siblings, speeds)) == expected


def test_where_the_system_tells_nothing_the_last_cpus_are_taken(tmp_path: Path) -> None:
    assert preferred_cpus({4, 2, 7}, tmp_path) == [7, 4, 2]
