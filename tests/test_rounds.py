"""The measuring protocol, on a clock that does not wait."""

from collections import Counter
from random import Random

import pytest

from mnsweep.measure.proxy import CellError
from mnsweep.measure.record import Block, Failure
from mnsweep.measure.rounds import Rules, run_rounds
from mnsweep.measure.timing import Timing, time_block

RULES = Rules(rounds=6, processes=1, block_runs=5, block_ms=20, warmup_runs=3, warmup_ms=250)


class Machine:
    """A clock, and keys that each take a fixed time to run; some fail at a given call."""

    def __init__(self, run_ns: dict[str, int], fails_at: dict[str, int] | None = None) -> None:
        self.now_ns = 0
        self.run_ns, self.fails_at = run_ns, fails_at or {}
        self.calls: Counter[str] = Counter()
        self.asked: list[tuple[str, int, float]] = []

    def clock_ns(self) -> int:
        return self.now_ns

    def clock(self) -> float:
        return self.now_ns / 1e9

    def time(self, key: str, min_runs: int, min_ms: float) -> Timing:
        self.asked.append((key, min_runs, min_ms))
        self.calls[key] += 1
        if self.calls[key] == self.fails_at.get(key):
            raise CellError(f"{key} broke")

        def run() -> None:
            self.now_ns += self.run_ns[key]

        return time_block(run, min_runs, min_ms, self.clock_ns)


def rounds_of(machine: Machine, rules: Rules = RULES, seed: int = 0) -> list[Block | Failure]:
    records: list[Block | Failure] = []

    def unsettled() -> list[str]:
        taken = Counter(r.cell for r in records if isinstance(r, Block))
        return [key for key in machine.run_ns if taken[key] < rules.rounds]

    run_rounds(1, unsettled, machine.time, records.append, rules, Random(seed), machine.clock)
    return records


@pytest.mark.parametrize(("run_ms", "runs"), [(1, 20), (3, 7), (4, 5), (30, 5)])
def test_a_block_has_at_least_five_runs_and_twenty_milliseconds(run_ms: int, runs: int) -> None:
    machine = Machine({"a": run_ms * 1_000_000})
    timing = machine.time("a", 5, 20)
    assert timing.samples_ns == (run_ms * 1_000_000,) * runs


def test_the_first_run_of_a_block_is_dropped() -> None:
    ticks = iter([0, 900, 1000, 1100, 1100, 1300, 1300, 1600])
    timing = time_block(lambda: None, 3, 0, lambda: next(ticks))
    assert (timing.first_ns, timing.samples_ns) == (900, (100, 200, 300))


def test_every_round_visits_every_key_once_in_fresh_order() -> None:
    blocks = [r for r in rounds_of(Machine(dict.fromkeys("abcdef", 1000000))) if isinstance(r, Block)]
    orders = ["".join(b.cell for b in blocks if b.round == n) for n in range(1, RULES.rounds + 1)]
    assert all(sorted(order) == list("abcdef") for order in orders)
    assert len(set(orders)) > 1
    assert [b.at_s for b in blocks] == sorted(b.at_s for b in blocks)


def test_each_key_is_warmed_up_before_the_first_block() -> None:
    machine = Machine({"a": 1_000_000, "b": 1_000_000})
    rounds_of(machine)
    assert machine.asked[:2] == [("a", 3, 250), ("b", 3, 250)]
    assert all(asked[1:] == (5, 20) for asked in machine.asked[2:])


def test_other_seeds_give_other_orders_and_the_same_seed_the_same() -> None:
    run_ns = dict.fromkeys("abcdef", 1000000)
    first, same, other = (rounds_of(Machine(run_ns), seed=seed) for seed in (1, 1, 2))
    assert first == same != other


@pytest.mark.parametrize("call", [1, 2, 4])
def test_a_key_that_fails_is_reported_once_and_the_others_go_on(call: int) -> None:
    records = rounds_of(Machine(dict.fromkeys("abc", 1000000), fails_at={"b": call}))
    assert [r for r in records if isinstance(r, Failure)] == [Failure("b", 1, "b broke")]
    taken = Counter(r.cell for r in records if isinstance(r, Block))
    assert taken == Counter({"a": 6, "c": 6, "b": max(0, call - 2)})


def test_nothing_runs_between_the_sink_and_the_next_block() -> None:
    """The next block is asked for only when the sink has returned."""
    machine, order = Machine({"a": 1_000_000, "b": 1_000_000}), []
    time = machine.time

    def timing(key: str, min_runs: int, min_ms: float) -> Timing:
        order.append("time")
        return time(key, min_runs, min_ms)

    blocks: list[Block | Failure] = []

    def sink(record: Block | Failure) -> None:
        order.append("written")
        blocks.append(record)

    run_rounds(1, lambda: ["a", "b"] if len(blocks) < 8 else [], timing, sink, RULES, Random(0), machine.clock)
    assert order[2:] == ["time", "written"] * 8
