"""What a line of `blocks.jsonl` says: a probe, a process that began, a block it timed, what disturbed it, a cell that failed.

One JSON object per line, `kind` first. A process line stands before the blocks of that process and
carries the schema version and everything the blocks share.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeAlias

from mnsweep.errors import StoreError

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Process:
    """One worker process: `number` counts from 1 within a sweep, `started_at` is UTC in ISO 8601.

    `settings` decides what may stand in one file: the version of each runtime under its name, the seed of the weights.
    `cells` are the ids it had open, `padding` says for those with padded channels what that came to, as `9>12 19>20`.
    """

    number: int
    started_at: str
    settings: Mapping[str, str | int | float]
    cells: tuple[str, ...]
    padding: Mapping[str, str] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True)
class Block:
    """A few back-to-back runs of one cell: `first_ns` is timed but dropped, the caches were another's.

    `at_s` is the time since the process began, on a clock that never jumps. `disturbed` names what
    disturbed the machine meanwhile; such a block is kept, and taken again. A `canary` block was taken
    to see the machine's speed.
    """

    cell: str
    process: int
    round: int
    at_s: float
    first_ns: int
    samples_ns: tuple[int, ...]
    disturbed: tuple[str, ...] = ()
    canary: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """What the canary says afterwards of the blocks of `cells` in one round: they were `disturbed`, and why."""

    process: int
    round: int
    cells: tuple[str, ...]
    disturbed: str


@dataclass(frozen=True, slots=True)
class Failure:
    """A cell that could not be measured, with the reason, in the words of whoever refused."""

    cell: str
    process: int
    reason: str


@dataclass(frozen=True, slots=True)
class Probe:
    """How long one runtime takes for short chains of layers at one precision: milliseconds by channel count.

    `auto` padding comes from it (`arch/channel_padding.py`), also of cells that were never opened.
    """

    runtime: str
    precision: str
    chain_ms: Mapping[int, float]

    def __post_init__(self) -> None:
        object.__setattr__(self, "chain_ms", {int(count): ms for count, ms in self.chain_ms.items()})  # JSON's keys are text


Record: TypeAlias = Probe | Process | Block | Mark | Failure
Probes: TypeAlias = dict[tuple[str, str], Mapping[int, float]]  # by runtime and precision
_KINDS: dict[str, Callable[..., Record]] = {
    "probe": Probe,
    "process": Process,
    "block": Block,
    "mark": Mark,
    "failure": Failure,
}
_NAMES = {Probe: "probe", Process: "process", Block: "block", Mark: "mark", Failure: "failure"}


def to_line(record: Record) -> str:
    """One JSON object and a line end."""
    return json.dumps({"kind": _NAMES[type(record)], **asdict(record)}, separators=(",", ":")) + "\n"


def from_line(line: str) -> Record:
    """The record that `to_line` wrote; raises `StoreError` when it is none, or of a newer schema."""
    try:
        fields: dict[str, Any] = json.loads(line)
        kind = _KINDS[fields.pop("kind")]
        if (version := fields.get("schema_version", SCHEMA_VERSION)) > SCHEMA_VERSION:
            raise StoreError(f"schema version {version} is newer than this mnsweep reads ({SCHEMA_VERSION}): upgrade mnsweep")
        return kind(**{name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()})
    except (ValueError, KeyError, TypeError, AttributeError):
        raise StoreError("not a record of mnsweep") from None


@dataclass(slots=True)
class Records:
    """All that a sweep holds, in the order it was written."""

    processes: list[Process] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)  # cell id → reason, until it is measured
    padding: dict[str, str] = field(default_factory=dict)  # of every cell that was opened; empty where it was not padded
    probes: Probes = field(default_factory=dict)

    def add(self, record: Record) -> None:
        """Take one more record; a block of a cell that failed earlier takes its failure back."""
        if isinstance(record, Process):
            self.processes.append(record)
            self.padding |= {cell: record.padding.get(cell, "") for cell in record.cells}
        elif isinstance(record, Probe):
            self.probes.setdefault((record.runtime, record.precision), record.chain_ms)
        elif isinstance(record, Block):
            self.blocks.append(record)
            self.failures.pop(record.cell, None)
        elif isinstance(record, Mark):
            self._mark(record)
        else:
            self.failures[record.cell] = record.reason

    def _mark(self, mark: Mark) -> None:
        """Note the disturbance on the blocks taken so far; what is repeated comes behind the mark."""
        for i in range(len(self.blocks) - 1, -1, -1):
            block = self.blocks[i]
            if (block.process, block.round) != (mark.process, mark.round):
                break
            if block.cell in mark.cells and not block.canary:
                self.blocks[i] = replace(block, disturbed=(*block.disturbed, mark.disturbed))
