"""One side of a comparison: estimates of latencies, whatever they come from, and where they come from."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from mnsweep.cell import Design
from mnsweep.estimate.fit import Estimate
from mnsweep.estimate.level import Level
from mnsweep.record import Setting
from mnsweep.result import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """What a cell runs, as far as cells of other sweeps may correspond to it; `design` is None for a network of others."""

    alpha: float
    resolution: int
    precision: str
    design: Design | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """The timed cells of one sweep; mappings are by cell id.

    `networks` are those that a cell of another sweep may be matched with: a file has none. `results` are for choosing; they
    may be fewer. `checked` are the facts of the machine, `settings` those of the runs (versions of runtimes). `level` is the
    machine's quiet speed during the run. `note` is what a reader must know of these numbers.
    """

    sweep: str
    machine: str
    title: str
    estimates: Mapping[str, Estimate]
    networks: Mapping[str, Network]
    level: Level = field(default_factory=Level)
    results: tuple[Result, ...] = ()
    checked: Mapping[str, str | int] = field(default_factory=dict)
    settings: Mapping[str, Setting] = field(default_factory=dict)
    padding: Mapping[str, str] = field(default_factory=dict)
    started_at: str | None = None
    note: str = ""
