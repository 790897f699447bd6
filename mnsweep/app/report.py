"""`mnsweep report`: one page about one sweep or several, as a file that needs no network."""

import base64
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnsweep.app.compare import OF_THE_RUN, folder_named, side_of_known
from mnsweep.app.paper import check_paper
from mnsweep.app.requests import PaperRequest, ReportRequest
from mnsweep.app.writing import check_target
from mnsweep.choice.reasons import budget_to_suggest
from mnsweep.comparing.side import Side
from mnsweep.comparing.verdicts import Comparison, compare
from mnsweep.errors import MnsweepError, StoreError
from mnsweep.machine.fingerprint import Machine, read_machine
from mnsweep.page.document import Figure, SweepOnPage, page
from mnsweep.result import Result
from mnsweep.sweep.cells_file import to_csv
from mnsweep.sweep.derive import read, tabulate
from mnsweep.sweep.disk import replace_file
from mnsweep.sweep.find import find_results, on_all_machines, results_dir_or_default
from mnsweep.sweep.knowledge import Knowledge
from mnsweep.sweep.store import SWEEP, SweepFolder
from mnsweep.version import VERSION
from mnsweep.wording import count_of

PAGE = "report.html"
MOST_FIGURE_BYTES, MOST_FIGURES_BYTES = 90_000, 150_000  # pictures beyond that stay files
FIGURES = {  # by a part of a file's name
    "cliffs": "Cliffs: latency against the width multiplier",
    "prediction": "Predicted against measured latency",
    "figure4": "Figure 4 of the paper, redrawn",
    "figure5": "Figure 5 of the paper, redrawn",
    "roofline": "Profile of one cell: what limits each layer",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOutcome:
    """The page that was written, its size, and the sweeps on it."""

    path: Path
    size_bytes: int
    sweeps: tuple[str, ...]


def report(request: ReportRequest) -> ReportOutcome:
    """Write the page of the sweeps, or of the newest one of this machine; from the second on, each is compared with the first.

    Raises `StoreError` where there are no results, `MnsweepError` for a place that can't be written to.
    """
    directory, machine = results_dir_or_default(request.place.results_dir), read_machine()
    names = [*request.sweeps, *([request.sweep] if request.sweep else [])]
    folders = list(_folders(names, directory, machine.key, request.all_machines))
    if twice := [f.path for f in folders if folders.count(f) > 1]:
        raise MnsweepError(f"{twice[0]}: is named twice", "leave one out")
    knowns = [_known(folder) for folder in folders]
    machines = [folder.read_machine() for folder in folders]
    results = [tabulate(known, its) for known, its in zip(knowns, machines, strict=True)]
    sides = [side_of_known(*each) for each in zip(folders, knowns, machines, results, strict=True)]
    parts = [_part(*each, directory) for each in zip(folders, knowns, machines, results, strict=True)]
    text = page(parts, list(_comparisons(sides, request.same_pct)), _paper() if request.paper else [], VERSION)
    path = request.out or folders[0].path / PAGE
    if request.out:
        check_target("out", request.out, [folder.path / SWEEP for folder in folders])
    content = text.encode()
    try:
        replace_file(path, content)
    except StoreError as error:
        raise MnsweepError(error.what, "name a file in a folder that can be written to with `out`") from None
    return ReportOutcome(path=path, size_bytes=len(content), sweeps=tuple(folder.sweep for folder in folders))


def _folders(names: Sequence[str], directory: Path, key: str, all_machines: bool) -> Iterator[SweepFolder]:
    newest = find_results(directory, key) if not names else None
    for name in [newest.sweep if all_machines else str(newest.path)] if newest else names:
        if all_machines:
            yield from on_all_machines(directory, name, key)
        else:
            yield folder_named(name, directory, key)


def _known(folder: SweepFolder) -> Knowledge:
    known = read(folder)
    if known.sweep.items:
        raise MnsweepError(f"{folder.path}: has timed files, not networks", "compare them: 'mnsweep compare A B'")
    return known


def _comparisons(sides: Sequence[Side], same_pct: float) -> Iterator[Comparison]:
    first, *others = sides
    for other in others:
        with suppress(MnsweepError):  # no cell in common: each has a part of its own
            yield compare(first, other, same_pct=same_pct)


def _part(folder: SweepFolder, known: Knowledge, machine: Machine, results: Sequence[Result], results_dir: Path) -> SweepOnPage:
    from mnsweep.plots.caption import caption

    budget = budget_to_suggest(results)
    return SweepOnPage(
        name=known.sweep.name,
        machine=folder.machine,
        title=f"{known.sweep.name} on {machine.title}",
        results=tuple(results),
        caption=caption(known.sweep.name, results, known.records, machine=machine, movement=known.movement),
        facts=tuple(_facts(known, machine)),
        reproduce=f"mnsweep grid --sweep {folder.sweep}.toml   # the file below\nmnsweep report --sweep {folder.sweep}",
        csv=to_csv(results),
        sweep_file=folder.read_text(SWEEP) if folder.has(SWEEP) else "",
        default_budget_ms=float(budget) if budget else None,
        figures=tuple(_figures(folder, results_dir)),
    )


def _facts(known: Knowledge, machine: Machine) -> Iterator[tuple[str, str]]:
    records, movement = known.records, known.movement
    for name in ("cpu", "instruction_sets", "logical_cpus", "architecture", "os"):
        if name in machine.checked:
            yield name.replace("_", " "), str(machine.checked[name])
    yield "software", ", ".join(f"{name} {value}" for name, value in records.settings.items() if name not in OF_THE_RUN)
    yield "measured", f"{records.processes[0].started_at} to {records.processes[-1].started_at}"
    yield "protocol", f"{count_of(known.rounds, 'interleaved round')} in {count_of(len(records.processes), 'process')}"
    samples = sum(len(block.samples_ns) for block in records.blocks)
    disturbed = sum(bool(block.disturbed) for block in records.blocks)
    yield "samples", f"{samples:,} in {count_of(len(records.blocks), 'block')}, {disturbed:,} of them marked as disturbed"
    moved = f"{movement.faster_pct:.1f} % faster to {movement.slower_pct:.1f} % slower than typical"
    yield "machine’s speed", f"{moved} in 95 % of the rounds"
    if known.failures:
        yield "failed", "; ".join(f"{cell}: {reason}" for cell, reason in list(known.failures.items())[:10])


def _figures(folder: SweepFolder, results_dir: Path) -> Iterator[Figure]:
    """The pictures of the sweep that the page does not draw itself, as far as they are small."""
    left = MOST_FIGURES_BYTES
    paths = [*sorted(folder.path.glob("*.svg")), *sorted((results_dir / "profile" / folder.machine).glob("*.svg"))]
    for path in paths:
        title = next((title for part, title in FIGURES.items() if part in path.stem), None)
        if title and (size := path.stat().st_size) <= min(left, MOST_FIGURE_BYTES):
            left -= size
            yield Figure(title=title, svg=f"data:image/svg+xml;base64,{base64.b64encode(path.read_bytes()).decode()}")


def _paper() -> list[dict[str, Any]]:
    rows = [row for rows in check_paper(PaperRequest()).values() for row in rows if not isinstance(row.paper, str)]
    return [
        {
            "table": row.table,
            "model": row.model,
            "what": f"{row.metric} ({row.unit})" if row.unit else row.metric,
            "paper": row.text,
            "computed": "–" if row.computed is None else str(row.computed),
            "verdict": row.verdict,
        }
        for row in rows
    ]
