"""`mnsweep profile`: where the time of one cell goes, as a JSON document and a plot."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mnsweep.app.asking import the_cell
from mnsweep.app.requests import ProfileRequest
from mnsweep.arch.channel_padding import to_text
from mnsweep.cell import Cell
from mnsweep.machine.fingerprint import read_machine
from mnsweep.machine.lock import measuring
from mnsweep.plots.figure import drawn
from mnsweep.plots.roofline import collect, draw
from mnsweep.profiling.lint import Finding
from mnsweep.profiling.measure import Profile
from mnsweep.profiling.measure import profile as profile_cell
from mnsweep.profiling.roofline import Row
from mnsweep.sweep.find import results_dir_or_default
from mnsweep.sweep.store import SweepFolder
from mnsweep.wording import count_of
from mnsweep.worker.proxy import NewWorker, WorkerProcess

SCHEMA_VERSION = 1
FOLDER = "profile"  # in the results folder, beside the sweeps


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileOutcome:
    """A profile, and the names of its files in `folder`."""

    profile: Profile
    folder: SweepFolder
    files: tuple[str, ...]


def cell_to_profile(request: ProfileRequest) -> Cell:
    """The requested cell; raises `MnsweepError` where the request has several."""
    return the_cell(request.space, read_machine())


def profile(request: ProfileRequest, new_worker: NewWorker | None = None) -> ProfileOutcome:
    """Measure where the time of one cell goes, and write the files; about ten seconds.

    Raises `UnavailableError` where the cell does not run here or, without `wait`, while another process measures.
    """
    machine = read_machine()
    cell = the_cell(request.space, machine)
    folder = SweepFolder(results_dir_or_default(request.place.results_dir) / FOLDER / machine.key)
    with measuring(request.turn.wait):
        folder.check_writable()
        measured = profile_cell(cell, machine, new_worker or WorkerProcess)
    return ProfileOutcome(profile=measured, folder=folder, files=tuple(write(measured, folder)))


def write(found: Profile, folder: SweepFolder) -> list[str]:
    """Write `CELL.json`, and the roofline plot as `CELL_roofline.png` and `.svg`; return their names."""
    flagged = {name for finding in found.findings for name in finding.layers}
    name = f"{found.cell.id}_roofline"
    plots = drawn(name, lambda: draw(collect(found.rows, flagged), found.roof, _caption(found), name, found.rate_unit))
    names = [f"{found.cell.id}.json", *plots]
    text = json.dumps(to_document(found, names), indent=2, allow_nan=False) + "\n"
    for name, content in {names[0]: text.encode(), **plots}.items():
        folder.replace(name, content)
    return names


def to_document(found: Profile, files: Sequence[str]) -> dict[str, Any]:
    """The profile as one JSON object; unknown values are null."""
    missing_ms = found.latency_ms - found.profiled_ms
    return {
        "schema_version": SCHEMA_VERSION,
        "cell": found.cell.id,
        "machine": found.machine.key,
        "runtime_version": found.runtime_version,
        "padding": to_text(found.channels),
        "latency_ms": found.latency_ms,
        "profiled_ms": found.profiled_ms,
        "not_attributed_ms": missing_ms if missing_ms > 0 else None,
        "gflops": found.gflops,
        "peak_gflops": found.roof.peak_gflops,
        "bandwidth_gb_per_s": found.roof.bandwidth_gb_per_s,
        "blocks": found.blocks,
        "disturbed_blocks": found.disturbed_blocks,
        "kinds": [asdict(kind) for kind in found.kinds],
        "layers": [_layer(row, found) for row in found.rows],
        "lint": [_remark(finding) for finding in found.findings],
        "files": list(files),
    }


def _layer(row: Row, found: Profile) -> dict[str, Any]:
    return {
        "name": row.name,
        "kind": row.kind,
        "ms": row.ms,
        "time_pct": 100 * row.ms / (found.profiled_ms or 1.0),
        "deployed_mult_adds": row.mult_adds,
        "bytes": row.moved_bytes,
        "gflops": row.gflops,
        "flops_per_byte": row.intensity,
        "peak_pct": row.peak_pct(found.roof),
        "bound": row.bound(found.roof),
        "roof_pct": row.roof_pct(found.roof),
        "operators": [{"name": o.name, "op": o.op, "implementation": o.implementation, "ns": o.ns} for o in row.operators],
    }


def _remark(finding: Finding) -> dict[str, Any]:
    fix = finding.fix or None
    # `mend` repeats `fix` for scripts written for earlier versions.
    return {"rule": finding.rule, "text": finding.text, "mend": fix, "layers": list(finding.layers), "fix": fix}


def _caption(found: Profile) -> str:
    how = found.cell.deployment
    threads, images = count_of(how.threads, "thread"), count_of(how.batch, "image")
    return (
        f"{found.cell.id}: {found.latency_ms:.3g} ms for {images}. {found.machine.title}; {how.runtime} "
        f"{found.runtime_version}; {how.precision}; {threads}. Time of layers is by the runtime's own profiler.\n"
        "Both roofs were measured here: a 1024³ matrix product in the same runtime, and a copy of memory. Bytes are maps in "
        "and out and weights, once each.\n"
        "A layer above the memory roof reads what a cache still holds: caches are faster. Area is the share of the time."
    )
