"""The measuring protocol, on a clock that does not wait."""

from collections import Counter
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from mnsweep.estimate.fit import fit
from mnsweep.measure.rounds import CANARY_EVERY, STEADY_BLOCK_MS, STEADY_BLOCKS, STEADY_MOST, Rounds, Rules, Sink
from mnsweep.record import Block, Failure, Mark, Records
from mnsweep.worker.proxy import CellError
from mnsweep.worker.timing import Timing, time_block

RULES = Rules(block_runs=5, block_ms=20, warmup_runs=3, warmup_ms=8)
ROUNDS = 6


class Machine:
    """A clock, and keys that each take a time to run; keys fail or lose their CPU at a given call."""

    def __init__(
        self,
        run_ns: dict[str, int],
        fails_at: dict[str, int] | None = None,
        loses_cpu_at: dict[str, int] | None = None,
        slow: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        self.now_ns = 0
        self.run_ns, self.fails_at, self.loses_cpu_at = run_ns, fails_at or {}, loses_cpu_at or {}
        self.slow_from, self.slow_to = slow
        self.speed_up_ns: dict[str, int] = {}
        self.cold_ns: dict[str, list[int]] = {}
        self.calls: Counter[str] = Counter()
        self.runs: Counter[str] = Counter()
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
            self.runs[key] += 1
            took = self.run_ns[key] - self.runs[key] * self.speed_up_ns.get(key, 0)
            if self.cold_ns.get(key):
                took += self.cold_ns[key].pop(0)
            self.now_ns += took * 11 // 10 if self.slow_from <= self.clock() < self.slow_to else took

        lost = ("steal 2 ticks",) if self.calls[key] == self.loses_cpu_at.get(key) else ()
        return replace(time_block(run, min_runs, min_ms, self.clock_ns), disturbed=lost)


def rounds_on(machine: Machine, sink: Sink, **settings: Any) -> Rounds:
    defaults = {"time": machine.time, "rules": RULES, "rng": Random(0), "canary": "a"}
    return Rounds(process=1, sink=sink, clock=machine.clock, **{**defaults, **settings})


def rounds_of(machine: Machine, seed: int = 0, canary: str = "a") -> list[Block | Failure | Mark]:
    records: list[Block | Failure | Mark] = []
    rounds = rounds_on(machine, records.append, rng=Random(seed), canary=canary)
    rounds.run(list(machine.run_ns), lambda done: list(machine.run_ns) if done < ROUNDS else [])
    return records


def blocks_in(records: list[Block | Failure | Mark]) -> list[Block]:
    return [r for r in records if isinstance(r, Block) and not r.canary]


@pytest.mark.parametrize(("run_ms", "runs"), [(1, 20), (3, 7), (4, 5), (30, 5)])
def test_a_block_has_at_least_five_runs_and_twenty_milliseconds(run_ms: int, runs: int) -> None:
    machine = Machine({"a": run_ms * 1_000_000})
    timing = machine.time("a", 5, 20)
    assert timing.samples_ns == (run_ms * 1_000_000,) * runs


def test_the_first_run_of_a_block_is_dropped() -> None:
    ticks = iter([0, 900, 1000, 1100, 1100, 1300, 1300, 1600])
    timing = time_block(lambda: None, 3, 0, lambda: next(ticks))
    assert (timing.first_ns, timing.samples_ns) == (900, (100, 200, 300))


def test_a_block_on_a_clock_that_stands_still_ends_and_is_marked() -> None:
    timing = time_block(lambda: None, 5, 20, lambda: 7)
    assert len(timing.samples_ns) == 5
    assert timing.disturbed == ("the clock stood still or jumped back",)


def test_a_clock_that_jumps_back_marks_the_block() -> None:
    ticks = iter([0, 10, 20, 15, 30, 40, 50, 60])
    assert time_block(lambda: None, 3, 0, lambda: next(ticks)).disturbed


def test_every_round_visits_every_key_once_in_fresh_order() -> None:
    blocks = blocks_in(rounds_of(Machine(dict.fromkeys("abcdef", 1_000_000))))
    orders = ["".join(b.cell for b in blocks if b.round == n) for n in range(1, ROUNDS + 1)]
    assert all(sorted(order) == list("abcdef") for order in orders)
    assert len(set(orders)) > 1
    assert [b.at_s for b in blocks] == sorted(b.at_s for b in blocks)


def test_the_machine_is_warmed_up_once_and_each_key_hardly() -> None:
    machine = Machine({"a": 1_000_000, "b": 1_000_000})
    rounds_of(machine)
    steady = [("a", 1, STEADY_BLOCK_MS)] * STEADY_BLOCKS
    assert machine.asked[: STEADY_BLOCKS + 2] == [*steady, ("a", 3, 8), ("b", 3, 8)]
    assert all(asked[1:] == (5, 20) for asked in machine.asked[STEADY_BLOCKS + 2 :])


def test_the_machine_is_warm_when_the_canary_s_last_blocks_agree() -> None:
    """Each run takes so many ns longer than the one before, so relative changes shrink."""
    blocks = []
    for slower_ns in (0, 1_100, 20_000):
        machine = Machine({"a": 1_000_000, "b": 1_000_000})
        machine.speed_up_ns = {"a": -slower_ns}
        rounds_of(machine)
        blocks.append([ms for _, _, ms in machine.asked].count(STEADY_BLOCK_MS))
    at_once, soon, never = blocks
    assert at_once == STEADY_BLOCKS < soon < never == STEADY_MOST


def test_a_first_block_that_was_not_warm_is_marked_and_left_out_with_the_reason() -> None:
    keys = "abcdef"
    machine = Machine(dict.fromkeys(keys, 1_000_000))
    machine.cold_ns = {"c": [0] * 14 + [60_000] * 20}  # after opening and warm-up, in the first block
    records = Records()
    for record in rounds_of(machine):
        records.add(record)
    marked = [(b.cell, b.round, b.disturbed) for b in records.blocks if b.disturbed]
    assert marked == [("c", 1, ("cold: +6% against its later rounds",))]
    assert fit(records.blocks).estimates["c"].p50_ms == pytest.approx(1.0)


def test_other_seeds_give_other_orders_and_the_same_seed_the_same() -> None:
    run_ns = dict.fromkeys("abcdef", 1_000_000)
    first, same, other = (rounds_of(Machine(run_ns), seed) for seed in (1, 1, 2))
    assert first == same != other


@pytest.mark.parametrize("call", [1, 2, 4])
def test_a_key_that_fails_is_reported_once_and_the_others_go_on(call: int) -> None:
    records = rounds_of(Machine(dict.fromkeys("abc", 1_000_000), fails_at={"b": call}))
    assert [r for r in records if isinstance(r, Failure)] == [Failure("b", 1, "b broke")]
    taken = Counter(b.cell for b in blocks_in(records))
    assert taken == Counter({"a": 6, "c": 6, "b": max(0, call - 2)})


def test_rounds_go_on_when_the_canary_itself_fails() -> None:
    records = rounds_of(Machine(dict.fromkeys("abc", 1_000_000), fails_at={"a": 3}))
    assert Counter(b.cell for b in blocks_in(records))["c"] == ROUNDS


def test_the_canary_is_timed_before_after_and_within_every_round() -> None:
    keys = "abcdefghijklm"
    blocks = [r for r in rounds_of(Machine(dict.fromkeys(keys, 1_000_000))) if isinstance(r, Block) and r.round == 1]
    at = [i for i, b in enumerate(blocks) if b.canary]
    assert at == [0, CANARY_EVERY + 1, 2 * CANARY_EVERY + 2, len(blocks) - 1]
    assert {b.cell for b in blocks if b.canary} == {"a"}


def test_what_the_canary_saw_disturbed_is_kept_marked_and_repeated() -> None:
    """The machine is 10 % slower during one stretch of the second round."""
    machine = Machine(dict.fromkeys("abcdefghijklm", 4_000_000))
    calm = [b for b in rounds_of(machine) if isinstance(b, Block)]
    slow_from, slow_to = (b.at_s for b in [b for b in calm if b.round == 2][1:4:2])
    machine = Machine(dict.fromkeys("abcdefghijklm", 4_000_000), slow=(slow_from, slow_to + 0.2))
    seen = Records()
    for record in rounds_of(machine):
        seen.add(record)
    marked = {b.cell for b in seen.blocks if b.disturbed}
    assert marked and all(b.round == 2 for b in seen.blocks if b.disturbed)
    for cell in marked:
        its = [b for b in seen.blocks if b.cell == cell and b.round == 2 and not b.canary]
        assert [bool(b.disturbed) for b in its] == [True, False]
    slow = {b.cell for b in seen.blocks if not b.canary and min(b.samples_ns) > 4_100_000}
    assert slow <= marked


def test_a_block_that_lost_its_cpu_is_repeated_in_the_same_round() -> None:
    machine = Machine(dict.fromkeys("abc", 1_000_000), loses_cpu_at={"b": 3})
    its = [b for b in blocks_in(rounds_of(machine)) if b.cell == "b" and b.round == 2]
    assert [b.disturbed for b in its] == [("steal 2 ticks",), ()]


def test_the_next_block_is_asked_for_only_when_the_sink_has_returned() -> None:
    machine, order = Machine({"a": 1_000_000, "b": 1_000_000}), []

    def timing(key: str, min_runs: int, min_ms: float) -> Timing:
        order.append("time")
        return machine.time(key, min_runs, min_ms)

    rounds = rounds_on(machine, lambda record: order.append("written"), time=timing)
    rounds.run(["a", "b"], lambda done: ["a", "b"] if done < 3 else [])
    assert order[STEADY_BLOCKS + 2 :] == ["time", "written"] * 12


def test_no_block_begins_once_the_time_is_up() -> None:
    machine = Machine(dict.fromkeys("abcdef", 4_000_000))
    records: list[Block | Failure | Mark] = []
    rounds = rounds_on(machine, records.append, out_of_time=lambda: machine.clock() > 2)
    rounds.run(list("abcdef"), lambda done: list("abcdef") if machine.clock() <= 2 else [])
    assert 2 < machine.clock() < 2.05
    assert len(records) > 10
