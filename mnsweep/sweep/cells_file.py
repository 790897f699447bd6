"""Results as text: `cells.csv`, one row for each cell, and the JSON document that `--json` prints."""

import csv
import io
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from operator import attrgetter
from typing import get_type_hints

import msgspec

from mnsweep.cell import Cell
from mnsweep.errors import MnsweepError, StoreError
from mnsweep.result import COLUMNS, Result

SCHEMA_VERSION = 1
_VERSION = "schema_version"
_NUMBERS = [name for name, hint in get_type_hints(Result).items() if hint in (int, float, int | None, float | None)]
_REBUILD = "recreate it with 'mnsweep rebuild'"


def to_csv(results: Iterable[Result]) -> str:
    """Write `cells.csv`: the columns of `Result`, then the schema version; an unknown value is empty."""
    text_of_bools = {True: "true", False: "false"}
    rows = map(attrgetter(*COLUMNS), results)
    return _csv([text_of_bools[value] if isinstance(value, bool) else value for value in row] for row in rows)


def counts_to_csv(rows: Iterable[Mapping[str, object]]) -> str:
    """What `to_csv` writes of rows with these columns alone, none of them true or false."""
    return _csv(list(map(row.get, COLUMNS)) for row in rows)


def _csv(rows: Iterable[list[object]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")  # writes None as nothing, and a number as `str` does
    writer.writerow([*COLUMNS, _VERSION])
    for row in rows:
        row.append(SCHEMA_VERSION)
        writer.writerow(row)
    return out.getvalue()


def from_csv(text: str, source: object) -> list[Result]:
    """Read the results that `to_csv` wrote; columns that this version does not know are ignored.

    Raises `StoreError`, which names `source` and the line, for a missing column or value, a value of the wrong type, a number
    that is not finite, settings that describe no valid cell, and a cell id that does not match its settings.
    """
    rows = csv.reader(io.StringIO(text), strict=True)
    try:
        header = next(rows, [])
        if missing := [name for name in (*COLUMNS, _VERSION) if name not in header]:
            raise MnsweepError(f"column {missing[0]} is missing", _REBUILD)
        return [_result(header, row) for row in rows if row]
    except csv.Error as error:
        raise StoreError(f"{source}: line {rows.line_num}: is damaged ({error})", _REBUILD) from None
    except MnsweepError as error:
        raise StoreError(f"{source}: line {rows.line_num}: {error.what}", error.fix) from None


def _result(header: Sequence[str], row: Sequence[str]) -> Result:
    if len(row) != len(header):
        raise MnsweepError(f"has {len(row)} of {len(header)} values", _REBUILD)
    values = {name: text for name, text in zip(header, row, strict=True) if text}
    _check_version(values.pop(_VERSION, ""))
    if "alpha" not in values and "cell" in values and "runtime" in values:
        raise MnsweepError("has timed files, which are no designs to choose from", "compare them: 'mnsweep compare A B'")
    result = _convert(values)
    _check_numbers(result)
    _check_cell(result)
    return result


def _check_version(text: str) -> None:
    if text != str(SCHEMA_VERSION):
        fix = "upgrade mnsweep" if text.isdecimal() else _REBUILD
        raise MnsweepError(f"schema version {text!r:.40} is not the one that this mnsweep reads: {SCHEMA_VERSION}", fix)


def _convert(values: Mapping[str, str]) -> Result:
    try:
        return msgspec.convert(values, Result, strict=False)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).replace("`", "").partition(" - at $.")  # backticks are for names of settings
        said = f"{path} {values[path]!r:.40} does not fit: " if path else ""
        raise MnsweepError(f"{said}{reason[0].lower()}{reason[1:]}", _REBUILD) from None


def _check_numbers(result: Result) -> None:
    for name in _NUMBERS:
        value = getattr(result, name)
        if value is not None and not -sys.float_info.max <= value <= sys.float_info.max:
            raise MnsweepError(f"{name} is not a finite number", _REBUILD)
        if value is not None and value < 0:
            raise MnsweepError(f"{name} {value:g} is below 0", _REBUILD)
    if result.quality_pct is not None and result.quality_pct > 100:
        raise MnsweepError(f"quality_pct {result.quality_pct:g} is above 100", _REBUILD)
    low, middle, high = result.latency_ci_low_ms, result.latency_p50_ms, result.latency_ci_high_ms
    ends = [ms for ms in (low, middle, high) if ms is not None]
    if ends != sorted(ends) or (middle is not None and middle <= 0) or (middle is None and ends):
        raise MnsweepError(f"a latency of {middle} ms with an interval from {low} to {high}", _REBUILD)


def _check_cell(result: Result) -> None:
    try:
        cell = Cell(result.design, result.deployment)
    except MnsweepError as error:
        raise MnsweepError(error.what, _REBUILD) from None
    if result.cell != cell.id:
        raise MnsweepError(f"cell {result.cell!r:.80} has the settings of {cell.id}", _REBUILD)


def to_document(results: Iterable[Result], **about: object) -> str:
    """One JSON document: the schema version, the caller's fields `about` the cells, and the cells."""
    document = {_VERSION: SCHEMA_VERSION, **about, "cells": [asdict(result) for result in results]}
    return json.dumps(document, indent=2, allow_nan=False)
