"""The sweep that a folder holds: as its `sweep.toml` says, or else its records."""

import warnings
from collections.abc import Collection
from dataclasses import replace
from itertools import chain

import msgspec

from mnsweep.cell import parse_cell
from mnsweep.errors import MnsweepError, StoreError
from mnsweep.prediction.like import Like
from mnsweep.record import Block, Failure, Mark, Process, Record, Records, Same
from mnsweep.sweep.file import Prediction, Sweep, parse_sweep, write_sweep
from mnsweep.sweep.store import BLOCKS, SWEEP, SweepFolder
from mnsweep.wording import count_of


def kept_sweep(folder: SweepFolder, records: Records) -> Sweep | None:
    """The sweep that `folder` holds; None if it holds none.

    Without a `sweep.toml` the cells are those of the records, with a warning. Raises `MnsweepError` if a file is not valid.
    """
    if folder.has(SWEEP):
        return parse_sweep(folder.read_text(SWEEP), folder.path / SWEEP)
    ids = dict.fromkeys(chain((cell for process in records.processes for cell in process.cells), records.same))
    if not ids:
        return None
    warnings.warn(f"{folder.path}: has no {SWEEP}; {BLOCKS} names its {count_of(len(ids), 'cell')}", stacklevel=2)
    try:
        return Sweep(folder.sweep, cells=tuple(map(parse_cell, ids)))
    except MnsweepError as error:
        raise StoreError(f"{folder.path / BLOCKS}: {error.what}", f"put a {SWEEP} beside it") from None


def merged(sweep: Sweep, kept: Sweep | None) -> Sweep:
    """The sweep with the cells in front that its folder has `kept`; a folder that has predictions keeps them."""
    if kept is None:
        return sweep
    cells = tuple(dict.fromkeys((*kept.cells, *sweep.cells)))
    if bool(kept.items) != bool(sweep.items):
        what = "files" if kept.items else "networks"
        raise StoreError(f"sweep {kept.name}: holds timed {what}, and others can't join them", "use another `name`")
    weights, items = {**kept.weights, **sweep.weights}, {**kept.items, **sweep.items}
    scored = {} if sweep.trained else {**kept.scored, **sweep.scored}  # one family of accuracies at a time
    prediction = _merged(kept.prediction, sweep.prediction)
    return replace(sweep, cells=cells, prediction=prediction, weights=weights, scored=scored, items=items)


def _merged(kept: Prediction | None, asked: Prediction | None) -> Prediction | None:
    if kept is None or asked is None:
        return kept or asked
    return msgspec.structs.replace(
        kept, extrapolate=kept.extrapolate or asked.extrapolate, like=_merged_like(kept.like, asked.like)
    )


def _merged_like(kept: Like | None, asked: Like | None) -> Like | None:
    """What was kept, and models of further deployments. Raises `StoreError` where the two are of different sweeps."""
    if asked is None or kept == asked:
        return kept
    if kept is None or (kept.machine, kept.sweep) != (asked.machine, asked.sweep):
        before = f"like {kept.sweep} of {kept.machine}" if kept else "like no other"
        what = f"`like` {asked.sweep} of {asked.machine}: the sweep was explored {before}"
        raise StoreError(what, "use another `name`, or start over with `fresh`")
    known = {model.deployment for model in kept.models}
    models = (*kept.models, *(model for model in asked.models if model.deployment not in known))
    return msgspec.structs.replace(kept, models=models)


def forget(folder: SweepFolder, ids: Collection[str]) -> None:
    """Remove cells and their records from the folder; a copy of the whole folder is set aside first.

    Raises `MnsweepError` where the sweep does not hold one of the cells.
    """
    sweep = kept_sweep(folder, folder.read())
    known = {cell.id for cell in sweep.cells} | {*sweep.items} if sweep else set()
    if unknown := [cell for cell in ids if cell not in known]:
        raise MnsweepError(f"`forget` {unknown[0]}: no such cell in {folder.path}", "cells.csv lists them")
    if sweep is None:
        return
    records = [left for record in folder.records() if (left := _without(record, ids))]
    folder.copy_aside()
    folder.replace_records(records)
    folder.replace(SWEEP, write_sweep(sweep.without(ids)))


def _without(record: Record, ids: Collection[str]) -> Record | None:
    """The record less what it says of some cells; None where it says nothing else."""
    match record:
        case Block() | Failure():
            return None if record.cell in ids else record
        case Process() | Mark():
            return record.without(ids)
        case Same():
            return None if {record.cell, record.timed_as} & {*ids} else record
        case _:
            return record
