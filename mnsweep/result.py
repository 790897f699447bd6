"""All that is known of one cell: one row of `cells.csv`, one object of `--json`."""

import csv
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from math import isfinite
from typing import Any, get_args, get_type_hints

from mnsweep.errors import StoreError

SCHEMA_VERSION = 1
MEASURED, PREDICTED = "measured", "predicted"  # in `latency_source`
UNPADDED = "unpadded"  # in `deployed_channels`: padding changed nothing
_MEND = "recreate it with 'mnsweep rebuild'"


@dataclass(frozen=True, slots=True)
class Result:
    """A cell, its counts, and what was found out about it; None where nothing was.

    `params` and `mult_adds` are of the logical network (what the paper counts, per image),
    `deployed_mult_adds`, `onnx_bytes` and `peak_activation_bytes` of what runs. Latencies are per batch.
    `latency_source` is `measured` or `predicted` (its interval is then the prediction's); `quality_source` names a
    publication, and `quality_sd_pct` is in points. `on_frontier` is decided among measured cells, `predicted_on_frontier`
    among all where some were predicted. `deployed_channels` says what channel padding
    came to, as `9>12 19>20`, or `unpadded`; None where `auto` was not found out. `warning` says
    why a deployment gains nothing.
    """

    cell: str
    alpha: float
    resolution: int
    variant: str
    task: str
    classes: int
    width_rule: str
    conv_padding: str
    activation: str
    precision: str
    runtime: str
    threads: int
    batch: int
    pad: str
    params: int
    mult_adds: int
    deployed_mult_adds: int
    onnx_bytes: int
    peak_activation_bytes: int
    latency_p50_ms: float | None = None
    latency_ci_low_ms: float | None = None
    latency_ci_high_ms: float | None = None
    relative_ci_pct: float | None = None
    latency_p90_ms: float | None = None
    latency_p99_ms: float | None = None
    samples: int | None = None
    rounds: int | None = None
    stability: str | None = None
    latency_source: str | None = None
    quality_metric: str | None = None
    quality_pct: float | None = None
    quality_sd_pct: float | None = None
    quality_source: str | None = None
    top5_pct: float | None = None
    on_frontier: bool | None = None
    stability_reason: str | None = None
    images_per_s: float | None = None
    deployed_channels: str | None = None
    warning: str | None = None
    predicted_on_frontier: bool | None = None


COLUMNS = tuple(f.name for f in fields(Result))
_TYPES = {name: get_args(hint)[0] if get_args(hint) else hint for name, hint in get_type_hints(Result).items()}
_REQUIRED = {name for name, hint in get_type_hints(Result).items() if not get_args(hint)}


def ms_text(ms: float | None) -> str:
    """Milliseconds in three significant digits, for people."""
    return "–" if ms is None else f"{ms:#.3g}" if ms < 100 else f"{ms:.0f}"


def quality_text(result: Result) -> str:
    """A quality in percent, for people: as it was published, or with its standard deviation."""
    if result.quality_pct is None:
        return "–"
    if result.quality_sd_pct is None:
        return f"{result.quality_pct:g} %"
    return f"{result.quality_pct:.1f} ± {result.quality_sd_pct:.1f} %"


def to_csv(results: Iterable[Result]) -> str:
    """`cells.csv`: the columns, and the schema version behind them; an unknown value is empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*COLUMNS, "schema_version"])
    for result in results:
        writer.writerow([_text(value) for value in asdict(result).values()] + [SCHEMA_VERSION])
    return out.getvalue()


def _text(value: object) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def from_csv(text: str, source: object) -> list[Result]:
    """The results that `to_csv` wrote. Raises `StoreError`, naming `source`, on anything else."""
    rows = csv.DictReader(io.StringIO(text))
    try:
        return list(_results(rows, source))
    except csv.Error as error:
        raise StoreError(f"{source}: is damaged ({error}); {_MEND}") from None


def _results(rows: "csv.DictReader[str]", source: object) -> Iterator[Result]:
    if missing := [name for name in (*COLUMNS, "schema_version") if name not in (rows.fieldnames or ())]:
        raise StoreError(f"{source}: column {missing[0]} is missing; {_MEND}")
    for number, row in enumerate(rows, 2):
        try:
            if int(row["schema_version"]) > SCHEMA_VERSION:
                raise StoreError(f"{source}: schema version {row['schema_version']} is newer than this mnsweep: upgrade it")
            yield Result(**{name: _value(name, row[name]) for name in COLUMNS})
        except (ValueError, KeyError, TypeError, AttributeError):
            raise StoreError(f"{source}: line {number} is damaged; {_MEND}") from None


def _value(name: str, text: str) -> Any:
    if text == "" and name not in _REQUIRED:
        return None
    if _TYPES[name] is bool:
        return {"true": True, "false": False}[text]
    value = _TYPES[name](text)
    if isinstance(value, float) and not isfinite(value):
        raise ValueError(text)
    return value


def to_document(results: Iterable[Result], **about: object) -> str:
    """One JSON document: schema version, what the caller says of it, and the cells."""
    document = {"schema_version": SCHEMA_VERSION, **about, "cells": [asdict(result) for result in results]}
    return json.dumps(document, indent=2, allow_nan=False)
