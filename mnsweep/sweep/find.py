"""Find the results of a sweep on this machine, and sweep files."""

import os
from collections.abc import Callable
from importlib.resources import files
from itertools import islice
from pathlib import Path

from mnsweep.errors import MnsweepError, StoreError
from mnsweep.options import at_home
from mnsweep.sweep.file import SWEEP_NAME
from mnsweep.sweep.store import ASIDE, BLOCKS, CELLS, SWEEP, SweepFolder

PLOTS, NO_PLOTS = "MNSWEEP_PLOTS", "none"  # an environment variable, and its value where plots are left to others
HEAD_LINES = 8  # of a sweep.toml, in which it says what it holds


def results_dir_or_default(results_dir: str | Path | None) -> Path:
    """`results_dir`, or else $MNSWEEP_RESULTS, or else ./results; `~` is the home folder."""
    return at_home(results_dir or os.environ.get("MNSWEEP_RESULTS") or "results")


def find_results(results_dir: Path, machine_key: str, name: str | None = None) -> SweepFolder:
    """The folder of sweep `name` on this machine, or of its newest sweep.

    `name` may be a path to the folder of any machine, with `~` for the home folder. Committed reference runs are one level
    deeper, and are found only by name. If there is no such folder, raises `StoreError`, which says what to run.
    """
    return _newest(results_dir, machine_key) if name is None else _named(results_dir, machine_key, name)


def on_all_machines(results_dir: Path, name: str, machine_key: str) -> list[SweepFolder]:
    """The folders of a sweep by name or path, one for each machine that measured it: this one first, then by key.

    Raises `StoreError` where there are none.
    """
    roots = [root for root in (at_home(name), results_dir / name) if name and is_directory(root)]
    found = {
        path.parent.resolve(): path.parent
        for root in roots
        for path in root.glob(f"*/{BLOCKS}")
        if ASIDE not in path.parent.name
    }
    if not found:
        raise StoreError(f"no results of a sweep {name!r:.120} in {results_dir}", "measure it on some machines: `on`")
    return [SweepFolder(path) for path in sorted(found.values(), key=lambda path: (path.name != machine_key, path.name))]


def _newest(results_dir: Path, machine_key: str) -> SweepFolder:
    """The newest sweep of networks: timed files have nothing to choose from."""
    finished = [path.parent for path in results_dir.glob(f"*/{machine_key}/{CELLS}") if not _has_items(path.parent)]
    if finished:
        return SweepFolder(max(finished, key=lambda path: (path / CELLS).stat().st_mtime))
    for blocks in sorted(results_dir.glob(f"*/{machine_key}/{BLOCKS}")):
        raise _unfinished(blocks.parent)
    _check_readable(results_dir, *results_dir.glob("*"), *results_dir.glob(f"*/{machine_key}"))
    raise StoreError(f"no sweep of this machine in {results_dir}", "run 'mnsweep grid' first, or name one with `sweep`")


def _has_items(folder: Path) -> bool:
    """Whether the sweep in the folder has items in place of cells (`sweep/file.py`)."""
    try:
        with (folder / SWEEP).open(encoding="utf-8") as file:
            return any(line.startswith("[items.") for line in islice(file, HEAD_LINES))
    except (OSError, UnicodeDecodeError):
        return False


def _named(results_dir: Path, machine_key: str, name: str) -> SweepFolder:
    named = at_home(name)
    for path in (named, results_dir / name / machine_key):
        if name and is_file(path / CELLS):
            return SweepFolder(path)
    roots = [root for root in (named, results_dir / name) if name and is_directory(root)]
    tables = [path for root in roots for path in root.glob(f"*/{CELLS}") if is_file(path) and ASIDE not in path.parent.name]
    elsewhere = sorted(path.parent for path in tables if path.parent.name != machine_key)
    if elsewhere:
        fix = f"to choose for that one: `sweep` {elsewhere[0]}"
        raise StoreError(f"sweep {name} was measured on another machine only", fix)
    for path in (named, results_dir / name / machine_key):
        if name and is_file(path / BLOCKS):
            raise _unfinished(path)
    _check_readable(results_dir, results_dir / name, results_dir / name / machine_key)
    names = sorted({path.parent.parent.name for path in results_dir.glob(f"*/{machine_key}/{CELLS}")})
    fix = f"choose from {', '.join(names)}" if names else "run 'mnsweep grid' first"
    raise StoreError(f"no results of a sweep {name!r} in {results_dir}", fix)


def _unfinished(folder: Path) -> StoreError:
    fix = f"run the same 'mnsweep grid' again to continue, or 'mnsweep rebuild {folder}' to use what is there"
    return StoreError(f"{folder}: has no table yet", fix)


def _check_readable(*folders: Path) -> None:
    """Raise `StoreError` for a folder that is there and can't be read: what it holds is unknown."""
    for folder in folders:
        try:
            next(folder.iterdir(), None)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise StoreError(f"{folder}: {error.strerror}", "make it readable, or use another `results_dir`") from None


def is_file(path: Path) -> bool:
    """Whether `path` is a file; False for a name that is not valid on the file system."""
    return _holds(path.is_file)


def is_directory(path: Path) -> bool:
    """Whether `path` is a folder; False for a name that is not valid on the file system."""
    return _holds(path.is_dir)


def _holds(question: Callable[[], bool]) -> bool:
    try:
        return question()
    except (OSError, ValueError):
        return False


def find_sweep_file(name: str, results_dir: Path) -> Path:
    """The sweep file for `name`: a path, or a name in ./sweeps, in the package or among the results.

    If there is none, raises `MnsweepError`, which says where it looked.
    """
    if name.endswith(".toml") or "/" in name or "\\" in name:
        if is_file(path := at_home(name)):
            return path
        raise MnsweepError(f"`sweep` {name}: no such file, or not a file")
    folders = [Path("sweeps"), *bundled_folders()]
    if SWEEP_NAME.fullmatch(name):
        kept = sorted((results_dir / name).glob(f"*/{SWEEP}"))
        for candidate in [*(folder / f"{name}.toml" for folder in folders), *kept]:
            if candidate.is_file():
                return candidate
    text = f"`sweep` {name}: no such sweep in ./sweeps, in the package or in {results_dir}"
    raise MnsweepError(text, f"known: {', '.join(sweep_files())}")


def sweep_files() -> list[str]:
    """The names of the sweep files in ./sweeps and in the package."""
    return sorted({path.stem for folder in (Path("sweeps"), *bundled_folders()) for path in folder.glob("*.toml")})


def measured_sweeps(results_dir: Path) -> list[str]:
    """The names of the sweeps among the results, of any machine."""
    return sorted({path.parents[1].name for path in results_dir.glob(f"*/*/{BLOCKS}") if ASIDE not in path.parent.name})


def measured_last(results_dir: Path, machine_key: str) -> str:
    """The name of the sweep that was measured last on a machine; '' where there is none."""
    found = list(results_dir.glob(f"*/{machine_key}/{BLOCKS}"))
    return max(found, key=lambda path: path.stat().st_mtime).parents[1].name if found else ""


def bundled_folders() -> list[Path]:
    """Folders of the package's sweep files: inside the package in a wheel, next to it in a checkout."""
    package = Path(str(files("mnsweep")))
    return [folder for folder in (package / "sweeps", package.parent / "sweeps") if folder.is_dir()]
