"""Which cells are open together, which of them is the canary, and how long it takes."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import chain

from mnsweep.cell import Cell
from mnsweep.counting import count
from mnsweep.measure.rounds import Rules

GROUP_CELLS = 64  # a round of more takes longer than the machine's speed stays the same
REFERENCES = 3  # cells that every group shares, so that groups can be compared
TYPICAL_MULT_ADDS_PER_S = 3e10  # of one core of a recent CPU: for the estimate of time before the first block
OPEN_S = 0.1  # to build and open one model


@dataclass(frozen=True, slots=True)
class Group:
    """Cells that are open at once in one process; references are timed in every round, the middle one is the canary."""

    cells: tuple[Cell, ...]
    references: tuple[Cell, ...]

    @property
    def canary(self) -> Cell:
        """The cell that shows the machine's speed."""
        return self.references[len(self.references) // 2]

    @property
    def all(self) -> tuple[Cell, ...]:
        """Cells and references, each once."""
        return tuple(dict.fromkeys((*self.cells, *self.references)))


def groups(
    pending: Sequence[Cell],
    cells: Sequence[Cell],
    *,
    measured: Collection[str],
    memory_bytes: float,
    beside: Sequence[Cell] = (),
) -> list[Group]:
    """`pending` in groups whose sessions fit in `memory_bytes`, each with the same references.

    References are taken from those of `cells` whose ids are `measured` already, so that old and new rounds
    share them; from all of them where none is. Cells to measure `beside` the others are the references instead.
    """
    if not pending:
        return []
    references = tuple(beside) or _references([cell for cell in cells if cell.id in measured] or cells)
    start = memory_bytes - sum(map(session_bytes, references))
    packed: list[list[Cell]] = []
    free = 0.0
    for cell in pending:
        if not packed or len(packed[-1]) >= GROUP_CELLS or session_bytes(cell) > free:
            packed.append([])
            free = start
        packed[-1].append(cell)
        free -= session_bytes(cell)
    return [Group(tuple(group), references) for group in packed]


def _references(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """A small, a middling and a large cell: at the middles of the thirds, by work."""
    costs = count(cell.design for cell in cells)
    by_work = [cell for _, cell in sorted(zip(costs, cells, strict=True), key=lambda pair: pair[0].mult_adds)]
    picked = [by_work[len(cells) * (2 * i + 1) // (2 * REFERENCES)] for i in range(REFERENCES)]
    return tuple(dict.fromkeys(picked))


def session_bytes(cell: Cell) -> int:
    """Memory of one open session in bytes, an upper estimate: weights as read, as packed, and activations."""
    cost = next(count([cell.design]))
    return 3 * cost.onnx_bytes + 2 * cost.peak_activation_bytes * cell.deployment.batch + 4_000_000


def seconds(cell: Cell, rounds: int, rules: Rules) -> float:
    """Seconds that `rounds` of a cell may take, guessed from its mult-adds before anything is timed."""
    mult_adds = next(count([cell.design])).mult_adds * cell.deployment.batch
    run_s = mult_adds / TYPICAL_MULT_ADDS_PER_S / cell.deployment.threads
    block_s = run_s + max(rules.block_runs * run_s, rules.block_ms / 1e3)
    return rounds * block_s + rules.least_processes * (rules.warmup_ms / 1e3 + OPEN_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run of a `sweep` would do: groups of cells that are open together, with an estimate of the time.

    `kept` cells have settled earlier; `began_at` is when the first of all blocks was taken (UTC), None where there is none.
    """

    sweep: str
    groups: tuple[Group, ...]
    seconds: float
    kept: int
    began_at: str | None

    @property
    def pending(self) -> list[Cell]:
        """The cells that have not settled yet."""
        return list(chain.from_iterable(group.cells for group in self.groups))
