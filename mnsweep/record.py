"""The records of `blocks.jsonl`: a probe, a process, a timed block, a mark on disturbed blocks, a failed cell, a twin.

Each line is one JSON object, `kind` first. A process record precedes its blocks, and holds the schema version and
everything that the blocks share. Files may come from untrusted sources, so every type is checked on reading.
"""

import json
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta, Struct

from mnsweep.arch.channel_padding import NARROW, WIDE, from_text
from mnsweep.decoding import DamagedError, from_json
from mnsweep.errors import MnsweepError
from mnsweep.machine.telemetry import TOLD

SCHEMA_VERSION = 2  # since it, blocks may say what the machine was doing, and cells may share a file
READABLE = (1, SCHEMA_VERSION)
LONGEST_NS = 10**13  # of one run: hours
LONGEST_S = 10**8  # of one process: years
Count: TypeAlias = Annotated[int, Meta(ge=0)]
Nanoseconds: TypeAlias = Annotated[int, Meta(ge=-LONGEST_NS, le=LONGEST_NS)]  # a clock may jump back
Setting: TypeAlias = str | int | float
Told: TypeAlias = Annotated[float, Meta(ge=0, le=LONGEST_NS)]


class Process(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="process"):
    """One worker process: `number` counts from 1 within a sweep, `started_at` is UTC in ISO 8601.

    `settings` must be the same for all processes in a file, e.g. each runtime's version (under its name) and the weight seed.
    `cells` are the ids of the open cells. `padding` is the resolved padding of padded cells by id, e.g. `9>12 19>20`.
    """

    number: Count
    started_at: str
    settings: Mapping[str, Setting]
    cells: tuple[str, ...]
    padding: Mapping[str, str] = {}
    schema_version: int = SCHEMA_VERSION

    def without(self, ids: Collection[str]) -> "Process":
        """The same process, as if it had not opened some cells."""
        cells = tuple(cell for cell in self.cells if cell not in ids)
        padding = {cell: text for cell, text in self.padding.items() if cell not in ids}
        return msgspec.structs.replace(self, cells=cells, padding=padding)


class Block(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="block", gc=False, omit_defaults=True
):
    """A few back-to-back runs of one cell, in nanoseconds; `first_ns` is not a sample, since the caches held another cell.

    `at_s` is the time in seconds since the process began, on a monotonic clock. `disturbed` lists what disturbed the machine
    during the block; a disturbed block is kept and repeated. A `canary` block was taken to track the machine's speed.
    `machine` is what the machine was doing meanwhile, by the names in `machine/telemetry.py`.
    """

    cell: str
    process: Count
    round: Count
    at_s: Annotated[float, Meta(ge=0, le=LONGEST_S)]
    first_ns: Nanoseconds
    samples_ns: Annotated[tuple[Nanoseconds, ...], Meta(min_length=1)]
    disturbed: tuple[str, ...] = ()
    canary: bool = False
    machine: Mapping[str, Told] = {}


class Mark(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="mark"):
    """Marks the blocks of `cells` in one round as disturbed, after the canary showed it; `disturbed` is the reason."""

    process: Count
    round: Count
    cells: tuple[str, ...]
    disturbed: str

    def without(self, ids: Collection[str]) -> "Mark":
        """The same mark, but not on some cells."""
        return msgspec.structs.replace(self, cells=tuple(cell for cell in self.cells if cell not in ids))


class Failure(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="failure"):
    """A cell that could not be measured, and the reason: the error message of the runtime or the worker."""

    cell: str
    process: Count
    reason: str


class Same(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="same"):
    """A cell whose file and deployment are those of another cell: it is timed once, as `timed_as`."""

    cell: str
    timed_as: str
    schema_version: int = SCHEMA_VERSION


class Probe(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="probe"):
    """Latency of short chains of layers in one runtime at one precision: milliseconds by channel count.

    `auto` padding is resolved from it (`arch/channel_padding.py`), even for cells that were never opened.
    """

    runtime: str
    precision: str
    chain_ms: Mapping[int, Annotated[float, Meta(gt=0, le=LONGEST_NS)]]


Record: TypeAlias = Probe | Same | Process | Block | Mark | Failure
Probes: TypeAlias = dict[tuple[str, str], Mapping[int, float]]  # by runtime and precision


_DECODER: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)  # once: sweeps may have a million lines


class _Version(Struct):
    schema_version: int = SCHEMA_VERSION


def to_line(record: Record) -> str:
    """The record as one JSON object and a newline; ASCII only, so that no reader sees other line separators."""
    return json.dumps(msgspec.to_builtins(record, str_keys=True), separators=(",", ":")) + "\n"


def from_line(line: str | bytes) -> Record:
    """Parse a line of `to_line`; raises `DamagedError` with the reason if it is invalid or has a newer schema version."""
    try:
        record = _DECODER.decode(line)
    except (ValueError, RecursionError):
        _check_version(line)
        record = from_json(line, Record)  # type: ignore[arg-type]  # raises, with the reason; a union is a type to msgspec
    if isinstance(record, Process | Same) and record.schema_version not in READABLE:
        _check_version(line)
        raise DamagedError(f"schema version {record.schema_version} was never written by mnsweep")
    _check_values(record)
    return record


def _check_values(record: Record) -> None:
    """Raise `DamagedError` for values of the right type that nobody can have measured; keep one copy of each cell's name."""
    match record:
        case Block():
            if not record.disturbed and min(record.samples_ns) <= 0:
                raise DamagedError(f"samples_ns: {min(record.samples_ns)} ns is no time, and nothing disturbed the clock")
            if unknown := record.machine.keys() - TOLD.keys():
                raise DamagedError(f"machine: {min(unknown)!r:.80} is nothing that a machine tells")
            msgspec.structs.force_setattr(record, "cell", sys.intern(record.cell))  # a few names, in all the lines
        case Same(cell=cell, timed_as=timed_as) if cell == timed_as:
            raise DamagedError(f"{cell!r:.80} is timed as itself")
        case Probe(chain_ms=chain_ms):
            if chain_ms.keys() != {*NARROW, *WIDE}:
                raise DamagedError("chain_ms: these are not the channel counts that a probe times")
        case Process(padding=padding):
            for cell, text in padding.items():
                _check_padding(cell, text)


def _check_padding(cell: str, text: str) -> None:
    try:
        from_text(text)
    except MnsweepError as error:
        raise DamagedError(f"padding of {cell}: {error.what}") from None


def _check_version(line: str | bytes) -> None:
    try:
        version = from_json(line, _Version).schema_version
    except DamagedError:
        return
    if version > SCHEMA_VERSION:
        raise DamagedError(f"schema version {version} is newer than this mnsweep reads ({SCHEMA_VERSION}): upgrade mnsweep")


@dataclass(slots=True)
class Records:
    """All records of a sweep, in the order they were written; `revision` is the number of records."""

    processes: list[Process] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)  # cell id → reason, until the cell is measured
    padding: dict[str, str] = field(default_factory=dict)  # of every cell that was opened; empty if it was not padded
    probes: Probes = field(default_factory=dict)
    same: dict[str, str] = field(default_factory=dict)  # the cells that are timed under another name, and that name
    revision: int = 0

    @property
    def settings(self) -> dict[str, Setting]:
        """What all processes were measured with; a runtime may have joined later."""
        return {name: value for process in self.processes for name, value in process.settings.items()}

    def add(self, record: Record) -> None:
        """Add a record; a block of a cell that failed earlier removes the failure."""
        self.revision += 1
        match record:
            case Process():
                self.processes.append(record)
                self.padding |= {cell: record.padding.get(cell, "") for cell in record.cells}
            case Same():
                self.same[record.cell] = record.timed_as
            case Probe():
                self.probes.setdefault((record.runtime, record.precision), record.chain_ms)
            case Block():
                self.blocks.append(record)
                self.failures.pop(record.cell, None)
            case Mark():
                self._mark(record)
            case Failure():
                self.failures[record.cell] = record.reason

    def _mark(self, mark: Mark) -> None:
        """Add the disturbance to the blocks of this round so far; blocks that repeat them come after the mark."""
        for i in range(len(self.blocks) - 1, -1, -1):
            block = self.blocks[i]
            if block.process != mark.process:
                break
            if block.round == mark.round and block.cell in mark.cells and not block.canary:
                disturbed = (*block.disturbed, mark.disturbed)
                self.blocks[i] = msgspec.structs.replace(block, disturbed=disturbed)


def difference(earlier: Mapping[str, Setting], now: Mapping[str, Setting]) -> tuple[str, Setting, Setting] | None:
    """The first setting that both name with different values, and these; None where there is none."""
    return next(((name, earlier[name], value) for name, value in now.items() if earlier.get(name, value) != value), None)
