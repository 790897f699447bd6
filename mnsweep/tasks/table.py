"""Labels in CSV files: a line for each picture, whose path is relative to the folder of the file."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mnsweep.errors import MnsweepError

PICTURE = ("picture", "image_id", "image", "file")  # the column of the path may be called any of these


@dataclass(frozen=True, slots=True)
class Row:
    """One line: where it stands, for messages, the picture, and the other columns by name."""

    where: str
    picture: Path
    values: dict[str, str]


def read_rows(path: Path, needed: Sequence[Sequence[str]] = ()) -> list[Row]:
    """The lines of a CSV file. Each of `needed` lists the names that one column may have; a row has it under the first.

    Raises `MnsweepError` where the file or a picture is missing, and for a file without these columns or without lines.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise MnsweepError(f"`data` {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise MnsweepError(f"`data` {path}: is no text in UTF-8") from None
    table = csv.DictReader(text.splitlines())
    header = [name.strip() for name in table.fieldnames or ()]
    table.fieldnames = header
    names = {wanted[0]: next((name for name in wanted if name in header), None) for wanted in (PICTURE, *needed)}
    if lacking := [first for first, found in names.items() if found is None]:
        what = f"`data` {path}: has no column {lacking[0]!r}"
        raise MnsweepError(what, f"its first line must name its columns: {','.join(names)}")
    try:
        rows = [_row(path, table.line_num, values, names) for values in table]
    except csv.Error as error:
        raise MnsweepError(f"`data` {path}: line {table.line_num}: is no CSV: {error}") from None
    if not rows:
        raise MnsweepError(f"`data` {path}: lists no pictures", "add a line for each below the first")
    return rows


def _row(path: Path, line: int, values: dict[str, str], names: dict[str, str | None]) -> Row:
    where = f"`data` {path}: line {line}"
    if None in values or None in values.values():
        raise MnsweepError(f"{where}: has another number of columns than the first line")
    own = {first: values.pop(str(found)) for first, found in names.items()}
    picture = path.parent / own.pop(PICTURE[0]).strip()
    if not picture.is_file():
        raise MnsweepError(f"{where}: {picture}: no such picture", "paths are relative to the folder of the CSV file")
    return Row(where, picture, {name: value.strip() for name, value in {**values, **own}.items()})


def table_in(data: Path, name: str) -> Path:
    """The CSV file `data`, or the one of this name in the folder `data`. Raises `MnsweepError` where there is none."""
    if data.is_file():
        return data
    if not data.is_dir():
        raise MnsweepError(f"`data` {data}: no such file or folder")
    if not (data / name).is_file():
        raise MnsweepError(f"`data` {data}: has no {name}", "put it there, or name a CSV file")
    return data / name
