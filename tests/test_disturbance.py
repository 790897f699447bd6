"""What disturbed a block, and which CPUs are best."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from mnsweep.machine.disturbance import Counters, preferred_cpus, usable_cpus

CPUS = frozenset({0, 1})


@pytest.mark.parametrize(
    ("ticks", "switches", "cpus", "elapsed_ms", "found"),
    [
        (0, 0, CPUS, 20.0, ()),
        (1, 0, CPUS, 20.0, ("steal 1 tick",)),
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


PAIRS = {cpu: f"{cpu % 8},{cpu % 8 + 8}" for cpu in range(16)}  # hyper-threads numbered after all cores
TURNS = {cpu: cpu % 2 for cpu in range(16)}  # CPUs numbered in turns over two packages
HALVES = {cpu: cpu // 4 % 2 for cpu in range(16)}  # one package after the other


@pytest.mark.parametrize(
    ("cpus", "packages", "siblings", "speeds", "threads", "expected"),
    [
        (range(8), TURNS, {}, {}, 4, {7, 5, 3, 1}),
        (range(8), TURNS, {}, {}, 2, {7, 5}),
        (range(8), TURNS, {}, {}, 5, {7, 5, 3, 1, 6}),
        (range(8), HALVES, {}, {}, 4, {7, 6, 5, 4}),
        (range(16), TURNS, PAIRS, {}, 4, {15, 13, 11, 9}),
        (range(16), TURNS, PAIRS, {}, 8, set(range(8, 16))),  # cores of both packages before second threads of one
        (range(16), HALVES, PAIRS, {}, 4, {15, 14, 13, 12}),
        ([0, 1, 2, 4, 6], TURNS, {}, {}, 2, {6, 4}),  # of package 1 a container may use CPU 1 alone
        ([0, 2, 3, 5, 7], TURNS, {}, {}, 3, {7, 5, 3}),
        (range(8), TURNS, {}, {0: 4100, 1: 4100, **dict.fromkeys(range(2, 8), 4000)}, 4, {1, 3, 5, 7}),  # two boost higher
        (range(8), TURNS, {}, {0: 4100, 1: 4100, **dict.fromkeys(range(2, 8), 4000)}, 1, {1}),
        (range(8), HALVES, {}, {cpu: 3000 if cpu < 4 else 1800 for cpu in range(8)}, 4, {0, 1, 2, 3}),  # a big cluster first
        (range(8), dict.fromkeys(range(8), -1), {}, {}, 3, {7, 6, 5}),  # the package is unknown
    ],
)
def test_threads_share_a_package_where_they_fit(
    tmp_path: Path,
    cpus: Sequence[int],
    packages: dict[int, int],
    siblings: dict[int, str],
    speeds: dict[int, int],
    threads: int,
    expected: set[int],
) -> None:
    root = fake_cpus(tmp_path, {cpu: siblings.get(cpu, str(cpu)) for cpu in cpus}, speeds)
    for cpu in cpus:
        (root / f"cpu{cpu}" / "topology" / "physical_package_id").write_text(f"{packages[cpu]}\n")
    best = preferred_cpus(cpus, root)
    assert set(best[:threads]) == expected and sorted(best) == sorted(cpus)


def test_a_speed_that_is_no_number_is_unknown(tmp_path: Path) -> None:
    root = fake_cpus(tmp_path, {0: "0", 1: "1"}, {})
    (root / "cpu0" / "cpu_capacity").write_text("<unknown>\n")
    assert preferred_cpus({0, 1}, root) == [1, 0]


def test_where_the_system_tells_nothing_the_last_cpus_are_taken(tmp_path: Path) -> None:
    assert preferred_cpus({4, 2, 7}, tmp_path) == [7, 4, 2]
