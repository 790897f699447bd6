"""`mnsweep compare`: sweeps against the first of them."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mnsweep.app.requests import CompareRequest
from mnsweep.cell import parse_cell
from mnsweep.comparing.phones import phone, phones
from mnsweep.comparing.side import Network, Side
from mnsweep.comparing.verdicts import Comparison, compare
from mnsweep.errors import MnsweepError, StoreError
from mnsweep.estimate.level import quiet_level
from mnsweep.estimate.ratio import Verdicts
from mnsweep.machine.fingerprint import Machine, read_machine
from mnsweep.options import at_home, changed
from mnsweep.result import Result
from mnsweep.sweep.derive import read, tabulate
from mnsweep.sweep.find import find_results, is_directory, on_all_machines, results_dir_or_default
from mnsweep.sweep.knowledge import Knowledge
from mnsweep.sweep.store import BLOCKS, SweepFolder

OF_THE_RUN = ("seed", "sustain_s")  # settings that are no versions
OF_SWEEPS = (
    "sweeps",
    "all_machines",
    "same_pct",
    "fail_if_slower",
    "budgets_ms",
    "results_dir",
)  # what comparing stored sweeps takes


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareOutcome:
    """Each sweep but the first against the first, and the cells that are slower than `fail_if_slower` allows, by sweep."""

    comparisons: tuple[Comparison, ...]
    too_slow: Mapping[str, Sequence[str]]


def compare_sweeps(request: CompareRequest) -> CompareOutcome:
    """Compare sweeps, or published latencies of phones, with the first. Raises `MnsweepError` where no two cells correspond."""
    if idle := [name for name in changed(request) if name not in OF_SWEEPS]:
        raise MnsweepError(f"`{idle[0]}` requires `interleave`", "add it, or leave both out")
    if len(request.sweeps) < 2 and not request.all_machines:
        given = "only one is named" if request.sweeps else "none is named"
        raise MnsweepError(f"a comparison needs two sweeps, {given}", "name two sweeps or folders: mnsweep compare A B")
    budgets_ms = _budgets(request.budgets_ms)
    directory, key = results_dir_or_default(request.place.results_dir), read_machine().key
    first, *others = _sides(request, directory, key)
    comparisons = tuple(compare(first, other, same_pct=request.same_pct, budgets_ms=budgets_ms) for other in others)
    return outcome_of(comparisons, request.fail_if_slower)


def _sides(request: CompareRequest, directory: Path, key: str) -> Iterator[Side]:
    if not request.all_machines:
        for name in request.sweeps:
            yield side_of(name, directory, key)
        return
    if len(request.sweeps) != 1:
        raise MnsweepError(f"`all_machines` takes one sweep, not {len(request.sweeps)}", "name the sweep that they all have")
    folders = on_all_machines(directory, request.sweeps[0], key)
    if len(folders) < 2:
        raise StoreError(f"sweep {request.sweeps[0]}: was measured on {folders[0].machine} only", "measure it on others: `on`")
    for folder in folders:
        yield side_of(str(folder.path), directory, key)


def outcome_of(comparisons: tuple[Comparison, ...], limit: float | None) -> CompareOutcome:
    """The comparisons, with what is slower by more than `limit` %."""
    slow = {c.b.sweep: c.slower_by_more_than(limit) for c in comparisons} if limit is not None else {}
    return CompareOutcome(comparisons=comparisons, too_slow={name: cells for name, cells in slow.items() if cells})


def _budgets(text: str | None) -> list[float]:
    if text is None:
        return []
    try:
        budgets = [float(part) for part in text.split(",")]
    except ValueError:
        budgets = []
    if not budgets or not all(0 < ms < sys.float_info.max for ms in budgets):
        raise MnsweepError(f"`budgets_ms` {text!r:.80}: expected milliseconds above 0", "write something like 2,5,10")
    return budgets


def side_of(name: str, results_dir: Path, machine_key: str) -> Side:
    """The sweep of that name or folder, or the published latencies of that name.

    Raises `StoreError` where there is none, and where nothing in it was measured.
    """
    if name in phones() and not is_directory(at_home(name)) and not is_directory(results_dir / name):
        return phone(name)
    folder = folder_named(name, results_dir, machine_key)
    known, machine = read(folder), folder.read_machine()
    return side_of_known(folder, known, machine, tabulate(known, machine))


def folder_named(name: str, results_dir: Path, machine_key: str) -> SweepFolder:
    """The folder of a sweep; one that was not finished will do."""
    path = at_home(name)
    if is_directory(path) and (path / BLOCKS).is_file():
        return SweepFolder(path)
    only = [found.parent for found in path.glob(f"*/{BLOCKS}")] if is_directory(path) else []
    if len(only) == 1:
        return SweepFolder(only[0])
    return find_results(results_dir, machine_key, name)


def side_of_known(folder: SweepFolder, known: Knowledge, machine: Machine, results: Sequence[Result]) -> Side:
    """The sweep of a folder as a side. Raises `StoreError` where nothing in it was measured."""
    if not known.estimates:
        raise StoreError(f"{folder.path}: no cell of it was measured", "measure some first: 'mnsweep grid'")
    records = known.records
    return Side(
        sweep=folder.sweep,
        machine=folder.machine,
        title=f"{folder.sweep} on {machine.title}",
        estimates={cell: known.estimates[cell] for cell in sorted(known.estimates)},
        networks={} if known.sweep.items else {cell: _network(cell) for cell in known.estimates},
        level=quiet_level(known.records.blocks, known.estimates),
        results=tuple(results),
        checked=machine.checked,
        settings={name: value for name, value in records.settings.items() if name not in OF_THE_RUN},
        padding=records.padding,
        started_at=records.processes[0].started_at if records.processes else None,
    )


def _network(cell_id: str) -> Network:
    cell = parse_cell(cell_id)
    design = cell.design
    return Network(alpha=design.alpha, resolution=design.resolution, precision=cell.deployment.precision, design=design)


def remarks(comparison: Comparison) -> list[str]:
    """What a reader must know of a comparison: other versions, one machine that changed, and how cells were matched."""
    a, b, matched = comparison.a, comparison.b, comparison.matched
    said = [f"{side.sweep}: {side.note}" for side in (a, b) if side.note]
    if matched.by != "cell":
        said.append(f"no cell is in both: matched by {matched.by}")
    both = a.settings.keys() & b.settings.keys()
    differ = [name for name in sorted(both) if a.settings[name] != b.settings[name]]
    said += [f"{name} {a.settings[name]} against {b.settings[name]}" for name in differ]
    differing = [name for name, value in a.checked.items() if name in b.checked and b.checked[name] != value]
    same_machine = a.checked.get("machine_id", "none") == b.checked.get("machine_id") != "none"
    if differing and same_machine:
        facts = ", ".join(f"{name} {a.checked[name]} against {b.checked[name]}" for name in differing)
        said.append(f"the same machine, but it changed: {facts}")
    padded = [one for one, other in matched.pairs if a.padding.get(one, "") != b.padding.get(other, "")]
    if padded and a.padding and b.padding:
        said.append(f"channels are padded otherwise in {len(padded)} of {len(matched.pairs)} cells, e.g. {padded[0]}")
    return said


def to_document(outcome: CompareOutcome) -> dict[str, Any]:
    """What `compare --json` prints: the first comparison, and those of further sweeps under `others`."""
    first, *others = map(_document, outcome.comparisons)
    return {**first, "others": others, "too_slow": {name: list(cells) for name, cells in outcome.too_slow.items()}}


def _document(comparison: Comparison) -> dict[str, Any]:
    overall = comparison.verdicts.overall
    return {
        "a": _about(comparison.a),
        "b": _about(comparison.b),
        "matched_by": comparison.matched.by,
        "same_pct": comparison.same_pct,
        "overall_ratio": overall.ratio,
        "overall_ci_low": overall.ci_low,
        "overall_ci_high": overall.ci_high,
        "overall_verdict": overall.verdict,
        "rank_correlation": comparison.rank_correlation,
        "cells": cell_rows(comparison.verdicts),
        "swaps": [{"first": s.first, "second": s.second, "certain": s.certain} for s in comparison.swaps],
        "picks": [{"max_latency_ms": p.max_latency_ms, "a": p.a, "b": p.b} for p in comparison.picks],
        "remarks": remarks(comparison),
    }


def cell_rows(verdicts: Verdicts) -> list[dict[str, Any]]:
    """A row for each cell: ratio, interval and verdict."""
    return [asdict(ratio) for ratio in verdicts.cells]


def _about(side: Side) -> dict[str, Any]:
    return {"sweep": side.sweep, "machine": side.machine, "started_at": side.started_at}
