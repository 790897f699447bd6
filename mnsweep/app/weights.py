"""Trained networks that a user names: one file, or a folder of those that `mnsweep import` wrote."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mnsweep.app.requests import Accuracies
from mnsweep.app.writing import check_target
from mnsweep.arch.expand import expand
from mnsweep.cell import Cell, Design
from mnsweep.errors import MnsweepError
from mnsweep.importing.read import import_file
from mnsweep.importing.trained import SUFFIX, Trained, is_ours
from mnsweep.result import Result
from mnsweep.space import Space
from mnsweep.sweep.kept import kept_sweep
from mnsweep.sweep.runs import Run, run_named
from mnsweep.sweep.store import SweepFolder
from mnsweep.sweep.trained import design_id
from mnsweep.wording import count_of

SHOWN = 5  # files in a message
OF_DESIGN = ("task", "variant", "classes", "width_rule", "conv_padding", "activation")  # what weights decide unless given


def read_weights(path: Path) -> dict[Path, Trained]:
    """The trained networks by file: one, or all of a folder that mnsweep wrote, by name.

    Raises `MnsweepError` for a folder without any, and for two files of one design.
    """
    if not path.exists():
        raise MnsweepError(f"`weights` {path}: no such file or folder")
    if not path.is_dir():
        return {path: import_file(path)}
    files = [file for file in sorted(path.glob(f"*{SUFFIX}")) if is_ours(file)]
    if others := [repr(file.name) for file in sorted(path.glob(f"*{SUFFIX}")) if not files]:
        what = f"`weights` {path}: none of its files was written by mnsweep, or they are damaged: {', '.join(others[:SHOWN])}"
        raise MnsweepError(what, "import them again")
    if not files:
        raise MnsweepError(f"`weights` {path}: holds no weights of mnsweep", f"mnsweep import FILE --out {path / 'w'}{SUFFIX}")
    found = {file: import_file(file) for file in files}
    first: dict[Design, Path] = {}
    for file, trained in found.items():
        if (other := first.setdefault(trained.design, file)) != file:
            what = f"`weights` {path}: {other.name} and {file.name} are both of {Cell(trained.design).id}"
            raise MnsweepError(what, "name one of them, or move the other away")
    return found


def run_of(accuracies: Accuracies, results_dir: Path) -> Run | None:
    """The training run that the accuracies are of; None for published ones. Raises `StoreError` where there is none."""
    return run_named(results_dir, accuracies.quality_source)


def networks_of(weights: Path | None, run: Run | None) -> dict[Path, Trained]:
    """The trained networks that a user names, or else those of the training run whose accuracies are asked for."""
    if weights is not None:
        return read_weights(weights)
    return {path: import_file(path) for path in run.weights} if run else {}


def by_design(networks: Iterable[Trained]) -> dict[Design, Trained]:
    """The networks by design."""
    return {trained.design: trained for trained in networks}


def space_of(trained: Trained, space: Space, asked: Mapping[str, object]) -> Space:
    """The space with the design of the weights where the user `asked` for nothing else.

    Raises `MnsweepError` where the weights are of another design.
    """
    own: dict[str, Any] = {"alpha": trained.design.alpha, "res": trained.design.resolution}
    own |= {name: getattr(trained.design, name) for name in OF_DESIGN}
    filled = replace(space, **{name: value for name, value in own.items() if name not in asked})
    designs = {cell.design for cell in filled.cells()}
    if designs != {trained.design}:
        name = next((name for name in asked if name in own and str(asked[name]) != str(own[name])), "alpha")
        what = f"`{name}` {asked.get(name)}: the weights are of {trained.cell.id}, with {name} {own.get(name)}"
        raise MnsweepError(what, f"leave out `{name}`, or name other weights")
    return filled


def with_designs_of(cells: Sequence[Cell], networks: Iterable[Trained], asked: Iterable[str]) -> tuple[Cell, ...]:
    """The cells, those of a width and resolution that weights have with the design of the weights.

    Settings that the user `asked` for stay. A cell whose width and resolution several networks have becomes several cells.
    """
    kept = [name for name in OF_DESIGN if name in set(asked)]
    found = list(networks)

    def designs(cell: Cell) -> list[Design]:
        design = cell.design
        size = (design.alpha, design.resolution)
        of_size = [t.design for t in found if (t.design.alpha, t.design.resolution) == size]
        fitting = [d for d in of_size if all(getattr(d, name) == getattr(design, name) for name in kept)]
        return fitting or [design]

    return tuple(dict.fromkeys(Cell(design, cell.deployment) for cell in cells for design in designs(cell)))


def check_shape(trained: Trained) -> None:
    """Raise `MnsweepError` for weights that give no answer."""
    if not trained.has_classifier:
        layers = count_of(len(expand(trained.design)) - 2, "layer")
        what = f"{trained.provenance.file}: has no classifier, only the {layers} before it"
        raise MnsweepError(what, "train one, or import a file with its top")


def measured_weights(result: Result, folder: SweepFolder, target: Path | None = None) -> Trained | None:
    """The weights that a cell of a sweep was measured with; None if it had random ones.

    Raises `MnsweepError` where their file is gone or has changed, or is the `target` that is to be written.
    """
    if result.weights is None:
        return None
    sweep = kept_sweep(folder, folder.read())
    held = sweep.weights.get(design_id(result)) if sweep else None
    path = Path(os.path.normpath(folder.path / (held.file if held else result.weights)))
    if held is None or not path.is_file():
        raise MnsweepError(f"{path}: the weights of {result.cell} are no longer there", "name them with `weights`")
    if target is not None:
        check_target("export", target, [path])
    trained = import_file(path)
    if trained.provenance.sha256 != held.sha256:
        raise MnsweepError(f"{path}: are other weights than those that were measured", "name the ones to use with `weights`")
    return trained
