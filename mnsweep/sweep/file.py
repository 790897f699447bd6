"""Sweep files: the cells of a sweep in TOML, with the names of the flags as keys.

name = "paper"
alpha = [0.25, 0.5, 0.75, 1.0]      # a list, a number, or a range as a string: "0.25:1.0:0.05"
res = "128,160,192,224"
designs = [[0.33, 200]]             # single designs, in addition to the axes
cells = ["a0.25_r96_t2"]            # single cells, by their ids
[weights."a0.25_r128"]              # trained weights of a design, by its id: file (from the folder of this file) and SHA-256
file = "weights.safetensors"
[scored."a0.25_r128"]               # what its file scored on pictures: from then on the sweep's accuracies are scores
data = "validation"
[trained."a0.25_r64_c16"]           # what the networks of a training run scored, where `quality_source` names one
data = "validation"
[items."model-3f2a9c1b"]            # what 'mnsweep time' timed, in place of cells: a file, or one side of a comparison
what = "model.onnx"
[prediction]                        # predict unmeasured cells
extrapolate = false                 # true: also predict accuracies beyond the range of the source
prior = "2026-11"                   # fit the latency models with a prior from other machines
[prediction.like]                   # or with the models of one sweep of another machine (`prediction/like.py`)
machine = "amd-epyc-2c-156cc3b9"
"""

import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
import tomli_w

from mnsweep.accuracy.published import DEFAULT_SOURCE, RUN_PREFIX, Quality, RunAccuracies, Source, sources
from mnsweep.cell import Cell, Design, parse_cell
from mnsweep.decoding import DamagedError, from_builtins, to_builtins
from mnsweep.errors import MnsweepError
from mnsweep.names import is_choice
from mnsweep.prediction.like import Like
from mnsweep.prediction.prior_table import names as priors
from mnsweep.space import MAX_DESIGNS, SPACE_KEYS, Space

SCHEMA_VERSION = 1
SWEEP_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
OF_95_PCT = 1.96  # standard deviations on each side of a 95 % interval
TOP1 = "top1"  # the metric of classes
OLD_SCORE = "top1_pct"  # the key of a quality before there were other metrics
MOST_MB = 20  # a million cells
MOST_PARTS, MOST_LETTERS = 16, 1_000  # of a key, of a word or a number; a TOML parser's time grows with their squares
SCORES = ("scored", "trained")  # keys whose values are scores by cell
_PART = r"(?:[A-Za-z0-9_-]++|\"[^\"\n]*+\"|'[^'\n]*+')[ \t]*+"
_LONG_KEY = re.compile(rf"(?<![A-Za-z0-9_-])(?:{_PART}\.[ \t]*+){{{MOST_PARTS}}}")
_LONG_WORD = re.compile(rf"(?<![A-Za-z0-9_])[A-Za-z0-9_]{{{MOST_LETTERS}}}")


class Prediction(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Cells of the sweep that are not measured are predicted.

    With `extrapolate`, accuracies beyond the range of their source are predicted too. Cells `verified` were measured because
    they were predicted to be on the frontier. No model is fitted to cells `held_out`, so that they can validate the models.
    `prior` names the prior from other machines that the models are fitted with; empty for none. `like` is one machine's, and
    comes before it for the deployments that it has.
    """

    extrapolate: bool = False
    held_out: tuple[str, ...] = ()
    verified: tuple[str, ...] = ()
    prior: str = ""
    like: Like | None = None


class Held(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of trained weights: its path from the folder of the sweep file, its SHA-256, and what kind of weights it has.

    `family` is one of `importing/families.py`; `quantized` says that the network was trained with quantization.
    """

    file: str
    sha256: str
    family: str
    quantized: bool = False


class Listed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is timed without being a cell: a model file by its name, or a cell in one of two environments.

    `precision`, `runtime` and `threads` are as in a deployment; `size_bytes` and `sha256` are those of the file.
    """

    what: str
    precision: str
    runtime: str
    threads: int
    size_bytes: int
    sha256: str = ""

    def __post_init__(self) -> None:
        if not (is_choice("precision", self.precision) and is_choice("runtime", self.runtime) and self.threads > 0):
            raise ValueError("a deployment that this version of mnsweep does not know")


def renewed(scores: Any) -> Any:
    """Scores by cell as they are written now, from ones of either time."""
    if not isinstance(scores, dict):
        return scores
    names = {OLD_SCORE: "quality_pct"}
    return {
        cell: {names.get(key, key): value for key, value in score.items()} if isinstance(score, dict) else score
        for cell, score in scores.items()
    }


class Scored(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a cell's own file scored on labelled pictures, in % of `metric`, with a 95 % interval.

    `images` pictures of `data`, a name. `top5_pct` is for classes alone.
    """

    data: str
    images: int
    quality_pct: float
    ci_low_pct: float
    ci_high_pct: float
    top5_pct: float | None = None
    metric: str = TOP1

    def __post_init__(self) -> None:
        shares = (self.ci_low_pct, self.quality_pct, self.ci_high_pct, self.top5_pct or 0.0)
        if self.images < 1 or not all(0 <= share <= 100 for share in shares) or list(shares[:3]) != sorted(shares[:3]):
            raise ValueError("a score is no share of pictures, or lies outside of its interval")

    @property
    def deviation_pct(self) -> float:
        """The standard deviation that the interval stands for, in points."""
        return (self.ci_high_pct - self.ci_low_pct) / 2 / OF_95_PCT


@dataclass(frozen=True, slots=True)
class Sweep:
    """A named set of cells, in order, each once; with a `prediction`, unmeasured cells are predicted.

    `weights` are the trained networks of designs, by the id of the design's plain cell. Once cells are `scored` (by their ids),
    the accuracies of the sweep are those scores. `trained` are the scores of a training run, by cell id, where `quality_source`
    names one. A sweep of `items` has no cells: they are what was timed, by their ids.
    """

    name: str
    cells: tuple[Cell, ...]
    quality_source: str = DEFAULT_SOURCE
    prediction: Prediction | None = None
    weights: Mapping[str, Held] = field(default_factory=dict)
    scored: Mapping[str, Scored] = field(default_factory=dict)
    trained: Mapping[str, Scored] = field(default_factory=dict)
    items: Mapping[str, Listed] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not SWEEP_NAME.fullmatch(self.name):
            raise MnsweepError(f"sweep name {self.name!r}: use at most 100 letters, digits, '.', '_' and '-'")
        if self.quality_source.startswith(RUN_PREFIX) and not self.trained:
            text = f"`quality_source` {self.quality_source}: names a training run, whose accuracies are not in the file"
            raise MnsweepError(text, "leave it out of the file and add `quality_source` to the command")
        if self.quality_source not in sources() and not self.trained:
            text = f"`quality_source` {self.quality_source}: is unknown"
            raise MnsweepError(text, f"choose from {', '.join(sources())}")
        if self.prediction and self.prediction.prior not in ("", *priors()):
            text = f"`prior` {self.prediction.prior!r:.40}: is unknown to this version"
            raise MnsweepError(text, f"choose from {', '.join(priors())}, or drop it")

    @property
    def accuracies(self) -> Source:
        """The source of the sweep's accuracies: the name of a publication, or a training run."""
        if not self.trained:
            return self.quality_source
        scores = ((parse_cell(cell), score) for cell, score in self.trained.items())
        known = ((cell.deployment.precision, cell.design, _quality(score, self.quality_source)) for cell, score in scores)
        return RunAccuracies(self.quality_source, tuple(known))

    def without(self, ids: Collection[str]) -> "Sweep":
        """The sweep less some of its cells."""
        scored = {cell: score for cell, score in self.scored.items() if cell not in ids}
        items = {item: listed for item, listed in self.items.items() if item not in ids}
        return replace(self, cells=tuple(cell for cell in self.cells if cell.id not in ids), scored=scored, items=items)


def _quality(score: Scored, source: str) -> Quality:
    return Quality(
        metric=score.metric,
        quality_pct=score.quality_pct,
        top5_pct=score.top5_pct,
        source=source,
        reference=f"{score.images} pictures of {score.data}",
        deviation_pct=score.deviation_pct,
    )


class _Beside(msgspec.Struct, frozen=True):
    """Keys of a sweep file in addition to the settings of a `Space`."""

    schema_version: int = SCHEMA_VERSION
    name: str | None = None
    designs: tuple[tuple[float, int], ...] | None = None
    cells: tuple[str, ...] | None = None
    quality_source: str = DEFAULT_SOURCE
    prediction: Prediction | None = None
    weights: dict[str, Held] | None = None
    scored: dict[str, Scored] | None = None
    trained: dict[str, Scored] | None = None
    items: dict[str, Listed] | None = None


_SETTINGS: list[tuple[str, Any, Any]] = [
    (name, hint | msgspec.UnsetType, msgspec.UNSET) for name, hint in get_type_hints(Space).items() if name in SPACE_KEYS
]
# The keys of a sweep file: any setting added to `Space` becomes a key.
_File: Any = msgspec.defstruct("_File", _SETTINGS, bases=(_Beside,), frozen=True, kw_only=True, forbid_unknown_fields=True)
KEYS = tuple(sorted(_File.__struct_fields__, key=lambda name: name in SPACE_KEYS))
_OF_DESIGNS = tuple(f.name for f in fields(Design) if f.name not in ("alpha", "resolution"))


def read_sweep(path: Path, max_designs: int = MAX_DESIGNS, auto_threads: int | None = None) -> Sweep:
    """Read a sweep file. Raises `MnsweepError`, which names the file, as `parse_sweep` does."""
    try:
        with path.open("rb") as file:
            text = file.read(MOST_MB * 10**6 + 1).decode()
    except OSError as error:
        raise MnsweepError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise MnsweepError(f"{path}: is not text") from None
    return parse_sweep(text, path, max_designs, auto_threads)


def parse_sweep(text: str, path: Path, max_designs: int = MAX_DESIGNS, auto_threads: int | None = None) -> Sweep:
    """The sweep that `text` describes; the name defaults to the stem of `path`.

    Raises `MnsweepError`, which names `path` and the key, for invalid TOML, an unknown key, a wrong type or a bad value, and
    before parsing it for a text that would take minutes to parse.
    """
    _check_size(text, path)
    try:
        content = tomllib.loads(text)
    except (ValueError, OverflowError, RecursionError) as error:  # TOMLDecodeError is a ValueError
        raise MnsweepError(f"{path}: is not TOML: {error}") from None
    try:
        return _sweep(_checked(content), path.stem, max_designs, auto_threads)
    except MnsweepError as error:
        raise MnsweepError(f"{path}: {error.what}", error.fix) from None


def _check_size(text: str, path: Path) -> None:
    if len(text) > MOST_MB * 10**6:
        raise MnsweepError(f"{path}: is larger than {MOST_MB} MB", "write axes instead of single cells, or several sweeps")
    for pattern, what in (
        (_LONG_KEY, f"a key has more than {MOST_PARTS} parts"),
        (_LONG_WORD, f"a word or a number has {MOST_LETTERS:,} letters or more"),
    ):
        if found := pattern.search(text):
            line = text.count("\n", 0, found.start()) + 1
            raise MnsweepError(f"{path}: line {line}: {what}", f"known keys are {', '.join(KEYS)}")


def _checked(content: Mapping[str, Any]) -> Any:
    """The content, checked to have only known keys and the right types."""
    if (version := content.get("schema_version", SCHEMA_VERSION)) != SCHEMA_VERSION:
        raise MnsweepError(f"schema_version {version!r} is not the {SCHEMA_VERSION} that this mnsweep reads", "upgrade mnsweep")
    if unknown := [key for key in content if key not in KEYS]:
        raise MnsweepError(f"unknown key {unknown[0]!r}", f"known keys are {', '.join(KEYS)}")
    try:
        return from_builtins({**content, **{key: renewed(content[key]) for key in SCORES if key in content}}, _File)
    except DamagedError as error:
        raise MnsweepError(error.what) from None


def _sweep(content: Any, stem: str, max_designs: int, auto_threads: int | None) -> Sweep:
    if content.items:
        return Sweep(stem if content.name is None else content.name, (), items=content.items)
    settings = {key: value for key in SPACE_KEYS if (value := getattr(content, key)) is not msgspec.UNSET}
    space = Space(**settings, max_designs=max_designs, auto_threads=auto_threads)
    if () in (content.designs, content.cells):
        raise MnsweepError("the list of designs or cells is empty", "leave it out to span the axes")
    listed = [*_designs(content.designs or (), settings, space), *map(parse_cell, content.cells or ())]
    spans_axes = not listed or not {"alpha", "res"}.isdisjoint(settings)
    cells = tuple(dict.fromkeys([*(space.cells() if spans_axes else ()), *listed]))
    for cell in (*content.prediction.held_out, *content.prediction.verified) if content.prediction else ():
        parse_cell(cell)
    name = stem if content.name is None else content.name
    for cell in (*(content.weights or ()), *(content.scored or ()), *(content.trained or ())):
        parse_cell(cell)
    return Sweep(
        name,
        cells,
        content.quality_source,
        content.prediction,
        content.weights or {},
        content.scored or {},
        content.trained or {},
    )


def _designs(pairs: tuple[tuple[float, int], ...], settings: Mapping[str, Any], space: Space) -> list[Cell]:
    of_designs = {key: settings[key] for key in _OF_DESIGNS if key in settings}
    designs = [Design.of(alpha, resolution, **of_designs) for alpha, resolution in pairs]
    return [Cell(design, deployment) for design in designs for deployment in space.deployments()]


def write_sweep(sweep: Sweep) -> str:
    """The resolved sweep as TOML, with every cell listed; `parse_sweep` reads back the same sweep."""
    if sweep.items:
        items = {item: to_builtins(listed) for item, listed in sweep.items.items()}
        return tomli_w.dumps({"schema_version": SCHEMA_VERSION, "name": sweep.name, "items": items}, indent=2)
    content: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "name": sweep.name,
        "quality_source": sweep.quality_source,
        "cells": [cell.id for cell in sweep.cells],
    }
    if sweep.prediction:
        content["prediction"] = _without_none(to_builtins(sweep.prediction))
    if sweep.weights:
        content["weights"] = to_builtins(sweep.weights)
    for name, scores in zip(SCORES, (sweep.scored, sweep.trained), strict=True):
        if scores:
            content[name] = {cell: _without_none(to_builtins(score)) for cell, score in scores.items()}
    return tomli_w.dumps(content, indent=2)


def _without_none(table: Mapping[str, Any]) -> dict[str, Any]:
    """TOML has no word for nothing."""
    return {key: value for key, value in table.items() if value is not None}
