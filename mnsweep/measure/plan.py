"""Plan a measurement: which cells are open together, which one is the canary, and how long it takes."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Generic, TypeVar

from mnsweep.cell import Cell, Deployment
from mnsweep.counting import count
from mnsweep.measure.rounds import Rules

GROUP_CELLS = 64  # in a longer round the machine's speed would change
REFERENCES = 3  # cells shared by every group, so that groups can be compared
TYPICAL_MULT_ADDS_PER_S = 3e10  # one core of a recent CPU; only for time estimates before the first block
OPEN_S = 0.05  # to build, send and open one model
CANARIES = 1.25  # blocks for each that a cell needs


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """What is timed like a cell without being one: a model file, or a cell in one of two environments.

    `memory_bytes` is an upper estimate of an open session, `run_s` a rough one of the time of a run in seconds.
    """

    id: str
    deployment: Deployment
    memory_bytes: int
    run_s: float


Timed = TypeVar("Timed", Cell, Item)


@dataclass(frozen=True, slots=True)
class Group(Generic[Timed]):
    """Cells open at once in one process; references are timed in every round, and the middle reference is the canary."""

    cells: tuple[Timed, ...]
    references: tuple[Timed, ...]

    @property
    def canary(self) -> Timed:
        """The cell that tracks the machine's speed."""
        return self.references[len(self.references) // 2]

    @property
    def all(self) -> tuple[Timed, ...]:
        """Cells and references, without duplicates."""
        return tuple(dict.fromkeys(self.cells + self.references))


def groups(
    pending: Sequence[Timed],
    cells: Sequence[Timed],
    *,
    measured: Collection[str],
    memory_bytes: float,
    beside: Sequence[Timed] = (),
) -> list[Group[Timed]]:
    """Divide `pending` into groups whose sessions fit in `memory_bytes`, all with the same references.

    References are chosen from the `cells` whose ids are already `measured`, so that old and new rounds share them, or
    from all `cells` if none is. If cells to measure `beside` the others are given, they are the references instead.
    """
    if not pending:
        return []
    references: tuple[Timed, ...] = tuple(beside) or _references([cell for cell in cells if cell.id in measured] or cells)
    start = memory_bytes - sum(map(session_bytes, references))
    packed: list[list[Timed]] = []
    free = 0.0
    for cell in pending:
        if not packed or len(packed[-1]) >= GROUP_CELLS or session_bytes(cell) > free:
            packed.append([])
            free = start
        packed[-1].append(cell)
        free -= session_bytes(cell)
    return [Group(tuple(group), references) for group in packed]


def _references(cells: Sequence[Timed]) -> tuple[Timed, ...]:
    """A small, a medium and a large cell: the middle of each third by mult-adds."""
    by_work = sorted(cells, key=_work)
    picked = [by_work[len(cells) * (2 * i + 1) // (2 * REFERENCES)] for i in range(REFERENCES)]
    return tuple(dict.fromkeys(picked))


def _work(cell: Timed) -> float:
    """What the references are chosen by: mult-adds, or for what has none the time of a run."""
    if isinstance(cell, Item):
        return cell.run_s
    return next(count([cell.design])).mult_adds


def session_bytes(cell: Timed) -> int:
    """Memory of one open session in bytes, an upper estimate: the weights as read and as packed, and the activations."""
    if isinstance(cell, Item):
        return cell.memory_bytes
    cost = next(count([cell.design]))
    return 3 * cost.onnx_bytes + 2 * cost.peak_activation_bytes * cell.deployment.batch + 4_000_000


def seconds(cell: Timed, rounds: int, rules: Rules) -> float:
    """Estimated time of `rounds` rounds of a cell in seconds, from its mult-adds before anything is timed."""
    return rounds * CANARIES * _block_s(cell, rules) + rules.least_processes * _opened_s(cell, rules)


def process_seconds(cell: Timed, rules: Rules) -> float:
    """The same of a cell's share in one process that times as many rounds as a process does."""
    return rules.process_rounds * CANARIES * _block_s(cell, rules) + _opened_s(cell, rules)


def _opened_s(cell: Timed, rules: Rules) -> float:
    run_s = run_seconds(cell)
    return OPEN_S + 2 * run_s + max(rules.warmup_runs * run_s, rules.warmup_ms / 1e3)


def _block_s(cell: Timed, rules: Rules) -> float:
    run_s = run_seconds(cell)
    return run_s + max(rules.block_runs * run_s, rules.block_ms / 1e3)


def run_seconds(cell: Timed) -> float:
    """Estimated time of one run of the whole batch in seconds, before anything is timed."""
    if isinstance(cell, Item):
        return cell.run_s
    mult_adds = next(count([cell.design])).mult_adds * cell.deployment.batch
    return mult_adds / TYPICAL_MULT_ADDS_PER_S / cell.deployment.threads


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run of a `sweep` would do: groups of cells that are open together, and the estimated time in seconds.

    `kept` is the number of cells that were done before, `begun` of those that have some rounds. `began_at` is the time of the
    first block (UTC), None if there is none.
    """

    sweep: str
    groups: tuple[Group[Any], ...]
    seconds: float
    kept: int
    begun: int
    began_at: str | None

    @property
    def pending(self) -> list[Any]:
        """The cells that have not settled yet."""
        return list(chain.from_iterable(group.cells for group in self.groups))
