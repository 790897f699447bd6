"""From a request to its cells on this machine."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import msgspec

from mnsweep.accuracy.published import DEFAULT_SOURCE, RUN_PREFIX, Source
from mnsweep.accuracy.surface import quality_of, surface_for
from mnsweep.app.like import like_of
from mnsweep.app.requests import ExploreRequest, GridRequest
from mnsweep.app.weights import OF_DESIGN, check_shape, with_designs_of
from mnsweep.cell import Cell, Deployment, parse_cell
from mnsweep.errors import MnsweepError
from mnsweep.importing.trained import Trained
from mnsweep.machine.fingerprint import Machine
from mnsweep.options import changed
from mnsweep.prediction.latency_model import FEWEST
from mnsweep.prediction.like import FEWEST_LIKE
from mnsweep.prediction.prior_table import CURRENT
from mnsweep.space import Space
from mnsweep.sweep.file import Held, Prediction, Sweep, read_sweep
from mnsweep.sweep.find import find_sweep_file
from mnsweep.sweep.runs import Run
from mnsweep.sweep.store import SweepFolder
from mnsweep.wording import count_of


def asked_cells(space: Space, machine: Machine) -> tuple[Cell, ...]:
    """The cells of a space on this machine; raises `MnsweepError` where one needs more threads than this process may use."""
    cells = replace(space, auto_threads=machine.usable_threads).cells()
    check_threads((cell.deployment for cell in cells), machine)
    return cells


def the_cell(space: Space, machine: Machine) -> Cell:
    """The only cell of a space; raises `MnsweepError`, which names the axis, where the space has several."""
    cells = asked_cells(space, machine)
    for name in cells[0].settings():
        if (values := len({cell.settings()[name] for cell in cells})) > 1:
            axis = "res" if name == "resolution" else name
            asked = "" if getattr(space, axis) is None else f" {getattr(space, axis)}"
            raise MnsweepError(f"`{axis}`{asked}: takes one value, not {values}", "give one value")
    return cells[0]


def check_threads(deployments: Iterable[Deployment], machine: Machine) -> None:
    """Raise `MnsweepError` where a deployment needs more threads than this process may use."""
    most = max(deployment.threads for deployment in deployments)
    if most > machine.usable_threads:
        text = f"`threads` {most}: this process may use {count_of(machine.usable_threads, 'CPU')} here"
        raise MnsweepError(text, "'auto' uses all of them")


def asked_sweep(
    request: GridRequest,
    results_dir: Path,
    machine: Machine,
    networks: Mapping[Path, Trained] | None = None,
    run: Run | None = None,
) -> Sweep:
    """The sweep from a file, or else the grid of the axes; `name` and `quality_source` override those of the file.

    Cells of a size that trained `networks` have are of their designs; with a training `run`, all are of its kind. Raises
    `MnsweepError` when both a file and axes are given, or when a cell needs more threads than this process may use.
    """
    source = None if run else request.accuracies.quality_source
    if request.sweep is None:
        cells = asked_cells(request.space, machine)
        sweep = with_run(Sweep(request.name or "grid", cells, source or DEFAULT_SOURCE), run, changed(request.space))
        return with_networks(sweep, networks or {}, changed(request.space), results_dir, machine)
    axes = [name for name in changed(request.space) if name != "max_designs"]
    if axes:
        text = f"`sweep` {request.sweep} and `{axes[0]}` contradict each other"
        raise MnsweepError(text, "put the value into the file, or drop `sweep`")
    path = find_sweep_file(request.sweep, results_dir)
    sweep = read_sweep(path, request.space.max_designs, machine.usable_threads)
    check_threads((cell.deployment for cell in sweep.cells), machine)
    sweep = replace(sweep, name=request.name or sweep.name, quality_source=source or sweep.quality_source)
    sweep = with_run(sweep, run, ())
    return with_networks(sweep, networks or {}, (), results_dir, machine)


def with_run(sweep: Sweep, run: Run | None, asked: Iterable[str]) -> Sweep:
    """The sweep with the accuracies of a training run: its cells are of the run's kind, but for settings `asked` for.

    Raises `MnsweepError` where no cell is one of the run's.
    """
    if run is None:
        return sweep
    kind = parse_cell(next(iter(run.records))).design
    own = {name: getattr(kind, name) for name in OF_DESIGN if name not in set(asked)}
    cells = tuple(dict.fromkeys(replace(cell, design=replace(cell.design, **own)) for cell in sweep.cells))
    return replace(sweep, cells=cells, quality_source=f"{RUN_PREFIX}{run.name}", trained=run.scores)


def with_networks(
    sweep: Sweep, networks: Mapping[Path, Trained], asked: Iterable[str], results_dir: Path, machine: Machine
) -> Sweep:
    """The sweep with trained networks: cells of their sizes are of their designs, except for settings that were `asked` for.

    Raises `MnsweepError` where no cell is of the size of any network.
    """
    if not networks:
        return sweep
    for trained in networks.values():
        check_shape(trained)
    cells = with_designs_of(sweep.cells, networks.values(), asked)
    designs = {cell.design for cell in cells}
    folder = results_dir / sweep.name / machine.key
    held = {
        Cell(trained.design).id: Held(
            Path(os.path.relpath(path, folder)).as_posix(),
            trained.provenance.sha256,
            trained.provenance.family,
            trained.is_quantized,
        )
        for path, trained in networks.items()
        if trained.design in designs
    }
    if not held:
        sizes = ", ".join(trained.cell.id for trained in networks.values())
        fix = "ask for their `alpha` and `res`, and for no other design"
        raise MnsweepError(f"`weights`: none of the cells asked for is of {sizes}", fix)
    return replace(sweep, cells=cells, weights=held)


def asked_space(request: ExploreRequest, results_dir: Path, machine: Machine, run: Run | None = None) -> Sweep:
    """The sweep to explore on this machine; raises `MnsweepError` where designs are too few or have no accuracy.

    Models that it starts from (`like`) are read from the results; `app/like.py` says which errors there are.
    """
    source = request.accuracies.quality_source or DEFAULT_SOURCE
    prediction = Prediction(extrapolate=request.extrapolate, prior=CURRENT)
    name = DEFAULT_SOURCE if run else source
    sweep = with_run(Sweep(request.name, asked_cells(request.space, machine), name, prediction), run, ())
    deployments, least = list(dict.fromkeys(cell.deployment for cell in sweep.cells)), fewest_of(request)
    for deployment in deployments:
        designs = sum(cell.deployment == deployment for cell in sweep.cells)
        if designs <= least:
            text = f"{count_of(designs, 'design')} to explore: a model needs {least} measured ones, and more to predict"
            raise MnsweepError(text, "widen `alpha` and `res`, or measure them all with 'mnsweep grid'")
    for cell in sweep.cells:
        if quality_of(cell, sweep.accuracies, request.extrapolate) is None:
            raise _no_quality(cell, sweep.accuracies, source)
    if request.like is None:
        return sweep
    like = like_of(request.like, deployments, results_dir, SweepFolder(results_dir / request.name / machine.key))
    return replace(sweep, prediction=msgspec.structs.replace(prediction, like=like))


def fewest_of(request: ExploreRequest) -> int:
    """The fewest designs that may be measured to learn from."""
    return FEWEST if request.like is None else FEWEST_LIKE


def _no_quality(cell: Cell, accuracies: Source, source: str) -> MnsweepError:
    if (surface := surface_for(cell, accuracies)) is None:
        precision = cell.deployment.precision
        return MnsweepError(f"`quality_source` {source}: has no accuracies in {precision} to predict others from")
    design = cell.design
    if surface.covers(design.alpha, design.resolution):
        text = f"{cell.id}: {source} has no accuracies of networks with such settings"
        return MnsweepError(text, "explore plain designs, or use 'mnsweep grid'")
    (low, high), (least, most) = surface.alphas, surface.resolutions
    return MnsweepError(
        f"α {design.alpha} at {design.resolution} px is outside of {source}, which has α {low:g} to {high:g} at {least} to "
        f"{most} px",
        "stay within, or let `extrapolate` predict accuracies beyond it",
    )
