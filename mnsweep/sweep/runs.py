"""Training runs: the networks that were trained under one name, and what their files scored.

RESULTS/NAME/training/a0.25_r64_c16.json          what was trained, how, and the scores of its files
RESULTS/NAME/training/a0.25_r64_c16.safetensors   the weights with the best validation
RESULTS/NAME/training/a0.25_r64_c16.csv           the curve: a line for each epoch
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from mnsweep.accuracy.published import RUN_PREFIX
from mnsweep.cell import parse_cell
from mnsweep.decoding import DamagedError, from_builtins, from_json
from mnsweep.errors import MnsweepError, StoreError
from mnsweep.sweep.file import SWEEP_NAME, Scored, renewed

TRAINING = "training"  # the folder of a run, beside the folders of machines
SCHEMA_VERSION = 1
TRAINED_HERE = "mnsweep"  # the family of its weights


class TrainedRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One network of a run: `cell` is the id of its plain cell, `scores` are those of its files, by cell id.

    `key` tells trainings apart: another recipe, seed or data set has another one. `weights` and `curve` are files beside it.
    """

    schema_version: int = SCHEMA_VERSION
    cell: str
    key: str
    data: str
    weights: str
    sha256: str
    curve: str
    recipe: dict[str, Any]
    seed: int
    epochs: int
    best_epoch: int
    seconds: float
    images_per_s: float
    busy_share: float
    started_from: str = ""
    teacher: str = ""
    quantization: str = ""
    scores: dict[str, Scored] = {}


@dataclass(frozen=True, slots=True)
class Run:
    """A run: its folder, and its networks by the id of their plain cells."""

    name: str
    folder: Path
    records: Mapping[str, TrainedRecord]

    @property
    def scores(self) -> dict[str, Scored]:
        """What all files of the run scored, by cell id."""
        return {cell: score for record in self.records.values() for cell, score in record.scores.items()}

    @property
    def weights(self) -> tuple[Path, ...]:
        """The files of weights that are there."""
        return tuple(path for r in self.records.values() if (path := self.folder / r.weights).is_file())


def run_folder(results_dir: Path, name: str) -> Path:
    """The folder of a run. Raises `MnsweepError` for a name that is none."""
    if not SWEEP_NAME.fullmatch(name):
        raise MnsweepError(f"`name` {name!r:.120}: use at most 100 letters, digits, '.', '_' and '-'")
    return results_dir / name / TRAINING


def read_run(results_dir: Path, name: str) -> Run:
    """The run of a name; it may be empty. Raises `StoreError` for a damaged record."""
    folder = run_folder(results_dir, name)
    records = [_record(path) for path in sorted(folder.glob("*.json"))]
    return Run(name, folder, {record.cell: record for record in records})


def run_of_source(results_dir: Path, source: str) -> Run:
    """The run that a quality source `trained:NAME` names. Raises `StoreError` where there is none."""
    name = source.removeprefix(RUN_PREFIX)
    run = read_run(results_dir, name)
    if not run.scores:
        known = sorted({path.parents[1].name for path in results_dir.glob(f"*/{TRAINING}/*.json")})
        fix = f"known runs: {', '.join(known)}" if known else "train one: 'mnsweep train --data DIR --name NAME'"
        raise StoreError(f"`quality_source` {source}: no such training run in {results_dir}", fix)
    return run


def run_named(results_dir: Path, source: str | None) -> Run | None:
    """The run that a quality source names; None for a published one. Raises `StoreError` where there is no such run."""
    return run_of_source(results_dir, source) if source and source.startswith(RUN_PREFIX) else None


def _record(path: Path) -> TrainedRecord:
    try:
        content = from_json(path.read_bytes(), dict[str, Any])
        record = from_builtins({**content, "scores": renewed(content.get("scores", {}))}, TrainedRecord)
        parse_cell(record.cell)
        for cell in record.scores:
            parse_cell(cell)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from None
    except DamagedError as error:
        raise StoreError(f"{path}: is damaged: {error.what}", "remove it and train again") from None
    if record.schema_version != SCHEMA_VERSION:
        raise StoreError(f"{path}: has schema version {record.schema_version}, not {SCHEMA_VERSION}", "upgrade mnsweep")
    return record
