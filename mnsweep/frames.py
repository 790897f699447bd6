"""Data frames whose column types depend on what a column means, never on which values are missing.

Columns have pandas' nullable types: Int64, Float64, string or boolean. An unknown value is `pandas.NA`.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import MISSING, fields
from typing import Any, get_args, get_type_hints

import pandas as pd

from mnsweep.errors import MnsweepError
from mnsweep.options import plain
from mnsweep.result import COLUMNS, Result

NOWHERE: Mapping[str, Any] = {"sweep": None, "machine": None, "results_dir": None}  # `attrs` where nothing is stored
_DTYPES: Mapping[Any, Any] = {int: "Int64", float: "Float64", str: "string", bool: "boolean"}


def frame_of_rows(columns: Mapping[str, type], rows: Collection[Mapping[str, Any]], about: Mapping[str, Any]) -> pd.DataFrame:
    """One row for each mapping by column name; `columns` gives the plain type of each. `about` becomes the frame's `attrs`."""
    frame = pd.DataFrame({name: pd.Series([r[name] for r in rows], dtype=_DTYPES[kind]) for name, kind in columns.items()})
    frame.attrs.update(about)
    return frame


def frame_of(results: Iterable[Result], about: Mapping[str, Any]) -> pd.DataFrame:
    """One row for each result, with the columns of `Result` and the types of its annotations."""
    rows = [{name: getattr(result, name) for name in COLUMNS} for result in results]
    return frame_of_rows(_columns(), rows, about)


def stacked(frames: Mapping[str, pd.DataFrame], troubles: Mapping[str, Exception]) -> pd.DataFrame:
    """The rows of several hosts, with the column `host` in front; by host, `attrs` hold those of each frame, and `troubles`."""
    parts = [frame.assign(host=pd.Series([host] * len(frame), dtype="string")) for host, frame in frames.items()]
    for part in parts:
        part.attrs = {}
    rows = pd.concat(parts, ignore_index=True)
    rows = rows[["host", *(name for name in rows.columns if name != "host")]]
    rows.attrs.update({"machines": {host: dict(frame.attrs) for host, frame in frames.items()}})
    rows.attrs["troubles"] = {host: str(error) for host, error in troubles.items()}
    return rows


def results_of(frame: pd.DataFrame) -> list[Result]:
    """The results of a frame made by `frame_of`, or of some of its rows. Raises `MnsweepError` for any other frame."""
    if not isinstance(frame, pd.DataFrame):
        raise MnsweepError(f"{frame!r:.80} is not a data frame", "pass one of `grid`, `explore`, `predict` or `count`")
    required = [f.name for f in fields(Result) if f.default is MISSING]
    if missing := [name for name in required if name not in frame.columns]:
        raise MnsweepError(f"a frame without the column `{missing[0]}`", "pass one of `grid`, `explore`, `predict` or `count`")
    known = [name for name in COLUMNS if name in frame.columns]
    columns = ([None if pd.isna(value) else _plain(value) for value in frame[name]] for name in known)
    return [Result(**dict(zip(known, row, strict=True))) for row in zip(*columns, strict=True)]


def _plain(value: Any) -> Any:
    return bool(value) if type(value).__name__.startswith("bool") else plain(value)  # numpy has its own booleans


def _columns() -> dict[str, type]:
    hints = get_type_hints(Result)
    return {name: (get_args(hints[name]) or (hints[name],))[0] for name in COLUMNS}
