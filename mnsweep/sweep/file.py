"""Sweep files: what to sweep, in TOML, with the names of the flags as keys.

    name = "paper"
    alpha = [0.25, 0.5, 0.75, 1.0]      # a list, a number, or a range as a string: "0.25:1.0:0.05"
    res = "128,160,192,224"
    designs = [[0.33, 200]]             # single designs beside the axes
    cells = ["a0.25_r96_t2"]            # single cells, by their ids
    [prediction]                        # predict what is not measured
    extrapolate = false                 # accuracies beyond the range of the source too

A sweep is named by a path, or by a name that is looked up in ./sweeps, then among the files bundled with
the package, then in the results folder.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import tomli_w

from mnsweep.accuracy.published import DEFAULT_SOURCE, sources
from mnsweep.cell import Cell, Design, parse_cell
from mnsweep.errors import MnsweepError
from mnsweep.space import MAX_DESIGNS, SPACE_KEYS, WORDS, Space
from mnsweep.sweep.store import is_file

SCHEMA_VERSION = 1
KEYS = ("schema_version", "name", *SPACE_KEYS, "designs", "cells", "quality_source", "prediction")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, slots=True)
class Prediction:
    """Cells of the sweep that are not measured are predicted.

    `extrapolate` predicts accuracies beyond the range of their source as well. Cells `verified` were measured because they
    were believed to be on the frontier. No model is fitted to the cells `held_out`, so that they can tell how good it is.
    """

    extrapolate: bool = False
    held_out: tuple[str, ...] = ()
    verified: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sweep:
    """A named set of cells, in order, each once; with a `prediction`, not all of them need be measured."""

    name: str
    cells: tuple[Cell, ...]
    quality_source: str = DEFAULT_SOURCE
    prediction: Prediction | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise MnsweepError(f"sweep name {self.name!r}: use at most 100 letters, digits, '.', '_' and '-'")
        if self.quality_source not in sources():
            raise MnsweepError(f"--quality-source {self.quality_source}: unknown; choose from {', '.join(sources())}")


def ask_for_sweep(
    sweep: str | None,
    name: str | None,
    axes: Mapping[str, Any],
    quality_source: str | None,
    results_dir: Path,
    max_designs: int = MAX_DESIGNS,
    usable_threads: int | None = None,
) -> Sweep:
    """The sweep of a file or its name, or else the grid that `axes` span; `name` and `quality_source` win over the file.

    `usable_threads` are this machine's: what `auto` threads come to, and the most there may be. Raises
    `MnsweepError` when a file and axes are both given, or when a cell wants more threads.
    """
    asked = _ask_for_sweep(sweep, name, axes, quality_source, results_dir, max_designs, usable_threads)
    most = max(cell.deployment.threads for cell in asked.cells)
    if usable_threads is not None and most > usable_threads:
        raise MnsweepError(f"--threads {most}: this process may use {usable_threads} CPUs here; 'auto' takes as many as that")
    return asked


def _ask_for_sweep(
    sweep: str | None,
    name: str | None,
    axes: Mapping[str, Any],
    quality_source: str | None,
    results_dir: Path,
    max_designs: int,
    usable_threads: int | None,
) -> Sweep:
    if sweep is None:
        space = Space(**axes, max_designs=max_designs, auto_threads=usable_threads)
        return Sweep(name or "grid", space.cells(), quality_source or DEFAULT_SOURCE)
    if axes:
        flag = "--" + next(iter(axes)).replace("_", "-")
        raise MnsweepError(f"--sweep {sweep} and {flag} contradict each other: put the value into the file, or drop --sweep")
    read = read_sweep(find_sweep_file(sweep, results_dir), max_designs, usable_threads)
    return replace(read, name=name or read.name, quality_source=quality_source or read.quality_source)


def find_sweep_file(name: str, results_dir: Path) -> Path:
    """The file that `name` stands for; raises `MnsweepError` that says where it looked."""
    if name.endswith(".toml") or "/" in name or "\\" in name:
        if is_file(Path(name)):
            return Path(name)
        raise MnsweepError(f"--sweep {name}: no such file")
    folders = [Path("sweeps"), *bundled_folders()]
    if _NAME.fullmatch(name):
        kept = sorted((results_dir / name).glob("*/sweep.toml"))
        for candidate in [*(folder / f"{name}.toml" for folder in folders), *kept]:
            if candidate.is_file():
                return candidate
    known = sorted({path.stem for folder in folders for path in folder.glob("*.toml")})
    raise MnsweepError(
        f"--sweep {name}: no such sweep in ./sweeps, in the package or in {results_dir}; known: {', '.join(known)}"
    )


def bundled_folders() -> list[Path]:
    """Where the package's own sweep files are: inside an installed wheel, beside the package in a checkout."""
    package = Path(str(files("mnsweep")))
    return [folder for folder in (package / "sweeps", package.parent / "sweeps") if folder.is_dir()]


def read_sweep(path: Path, max_designs: int = MAX_DESIGNS, auto_threads: int | None = None) -> Sweep:
    """The sweep in a file; raises `MnsweepError` that names the file, as `parse_sweep` does."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise MnsweepError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise MnsweepError(f"{path}: is not text") from None
    return parse_sweep(text, path, max_designs, auto_threads)


def parse_sweep(text: str, path: Path, max_designs: int = MAX_DESIGNS, auto_threads: int | None = None) -> Sweep:
    """The sweep that `text` describes; its name is the file's unless it says otherwise.

    Raises `MnsweepError` that names `path` and the key on TOML that does not parse, an unknown key,
    a wrong type or a bad value.
    """
    try:
        return _sweep(tomllib.loads(text), path.stem, max_designs, auto_threads)
    except (ValueError, OverflowError, RecursionError) as error:  # TOMLDecodeError is a ValueError
        raise MnsweepError(f"{path}: is not TOML: {error}") from None
    except MnsweepError as error:
        raise MnsweepError(f"{path}: {error}") from None


def _sweep(content: Mapping[str, Any], stem: str, max_designs: int, auto_threads: int | None) -> Sweep:
    for key in content:
        if key not in KEYS:
            raise MnsweepError(f"unknown key {key!r}; known keys are {', '.join(KEYS)}")
    if (version := content.get("schema_version", SCHEMA_VERSION)) != SCHEMA_VERSION:
        raise MnsweepError(f"schema_version {version!r} is not the {SCHEMA_VERSION} that this mnsweep reads")
    settings = {key: _checked(key, value) for key, value in content.items() if key in SPACE_KEYS}
    settings["auto_threads"] = auto_threads
    listed = [*_designs(content, settings), *_cells(content)]
    spans_axes = "alpha" in content or "res" in content or not listed
    cells = [*(Space(**settings, max_designs=max_designs).cells() if spans_axes else ()), *listed]
    name, source = _checked("name", content.get("name", stem)), content.get("quality_source", DEFAULT_SOURCE)
    return Sweep(name, tuple(dict.fromkeys(cells)), source, _prediction(content))


def _prediction(content: Mapping[str, Any]) -> Prediction | None:
    if (value := content.get("prediction")) is None:
        return None
    known = {"extrapolate": False, "held_out": [], "verified": []} | (value if isinstance(value, dict) else {"": value})
    extrapolate, *lists = known.values()
    if len(lists) != 2 or not isinstance(extrapolate, bool) or not all(isinstance(cells, list) for cells in lists):
        raise MnsweepError(
            f"prediction = {value!r:.60}: expected a table of extrapolate (true or false), and held_out and verified "
            "(lists of cells)"
        )
    return Prediction(extrapolate, *(tuple(parse_cell(str(text)).id for text in cells) for cells in lists))


_AXES = ("alpha", "res", "threads", "batch", *WORDS)


def _checked(key: str, value: object) -> Any:
    """The value, of the type that `Space` takes for `key`."""
    if key == "classes":
        fits, expected = type(value) is int, "a whole number"
    elif key in _AXES:
        fits, expected = (
            isinstance(value, str | int | float | list) and not isinstance(value, bool),
            "a number, a list or a string",
        )
    else:
        fits, expected = isinstance(value, str), "a string"
    if not fits:
        raise MnsweepError(f"{key} = {value!r} is not {expected}")
    return value


def _list(content: Mapping[str, Any], key: str) -> list[Any]:
    value = content.get(key, [])
    if not isinstance(value, list):
        raise MnsweepError(f"{key} = {value!r} is not a list")
    return value


def _designs(content: Mapping[str, Any], settings: Mapping[str, Any]) -> list[Cell]:
    others = {key: settings[key] for key in settings if key not in (*_AXES, "auto_threads")}
    deployments = Space(**settings).deployments()
    cells = []
    for pair in _list(content, "designs"):
        match pair:
            case [int() | float() as alpha, int() as resolution] if bool not in map(type, pair):
                cells += [Cell(Design.of(float(alpha), resolution, **others), d) for d in deployments]
            case _:
                raise MnsweepError(f"designs: {pair!r} is not a pair [alpha, resolution]")
    return cells


def _cells(content: Mapping[str, Any]) -> list[Cell]:
    return [parse_cell(str(text)) for text in _list(content, "cells")]


def write_sweep(sweep: Sweep) -> str:
    """The resolved sweep as TOML, cell by cell: a sweep file that reads back to the same sweep."""
    content: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "name": sweep.name,
        "quality_source": sweep.quality_source,
        "cells": [cell.id for cell in sweep.cells],
    }
    if sweep.prediction:
        content["prediction"] = asdict(sweep.prediction)
    return tomli_w.dumps(content, indent=2)
