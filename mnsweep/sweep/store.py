"""Measurements on disk: one folder for each sweep and machine.

`blocks.jsonl` is the source of truth: append-only, one line per record, each fsynced. All other files are replaced atomically
(write a temporary file, fsync, rename), so that a crash never leaves a partial file.
"""

import errno
import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Any

import msgspec

from mnsweep.decoding import DamagedError, from_json
from mnsweep.errors import StoreError
from mnsweep.machine.fingerprint import Machine
from mnsweep.record import Record, Records, from_line, to_line
from mnsweep.sweep.consistency import Consistency
from mnsweep.sweep.disk import end_of_lines, naming, never_through_a_link, replace_file

BLOCKS, MACHINE, SWEEP, CELLS, MODEL = "blocks.jsonl", "machine.json", "sweep.toml", "cells.csv", "model.json"
SCHEMA_VERSION = 1
ASIDE = ".aside-"  # in the names of folders that were set aside


class _MachineFile(msgspec.Struct):
    """`machine.json`."""

    schema_version: int
    checked: dict[str, str | int]
    informative: dict[str, str | int | float]
    key: str = ""


_NEEDED: dict[str, type] = {"cpu": str, "logical_cpus": int}  # checked facts that every machine has


@dataclass(frozen=True, slots=True)
class SweepFolder:
    """The folder `results/SWEEP/MACHINE`. It is not created before the first write.

    Every method raises a one-line `StoreError` if the operating system reports an error or a file is not valid.
    """

    path: Path

    @property
    def sweep(self) -> str:
        """The name of the sweep."""
        return self.path.parent.name

    @property
    def machine(self) -> str:
        """The key of the machine."""
        return self.path.name

    def has(self, name: str) -> bool:
        """Whether the folder holds a file of that name."""
        return (self.path / name).exists()

    def read(self) -> Records:
        """Read all records. A last line without a line end was cut short by a crash: it is left out, with a warning."""
        records = Records()
        for record in self.records():
            records.add(record)
        return records

    def records(self) -> Iterator[Record]:
        """Yield each record, checked against those before it, as `read` does."""
        blocks, consistency = self.path / BLOCKS, Consistency()
        for number, line in enumerate(self._lines(BLOCKS) if self.has(BLOCKS) else (), 1):
            if not line.endswith(b"\n"):
                warnings.warn(f"{blocks}: the last line was cut short by a crash and is left out", stacklevel=2)
                return
            try:
                record = from_line(line[:-1])
                consistency.check(record)
            except DamagedError as error:
                raise StoreError(f"{blocks}: line {number}: {error}", "nothing was changed") from None
            yield record

    @contextmanager
    def appending(self) -> Iterator[Callable[[Record], None]]:
        """Yield a function that appends one record, and returns when it is on disk."""
        with self.appending_lines() as append:
            yield lambda record: append(to_line(record).encode())

    @contextmanager
    def appending_lines(self) -> Iterator[Callable[[bytes], None]]:
        """Yield a function that appends whole lines as they are, and returns when they are on disk."""
        blocks = self.path / BLOCKS
        with naming(blocks):
            self.path.mkdir(parents=True, exist_ok=True)
            file = FileIO(blocks, "a+", opener=never_through_a_link)
        with file:

            def append(lines: bytes) -> None:
                with naming(blocks):
                    if os.fstat(file.fileno()).st_nlink == 0:
                        raise StoreError(f"{blocks}: was removed during the sweep", "run the same command again")
                    while lines:  # a disk that is filling up may write only a part
                        lines = lines[file.write(lines) :]
                    os.fsync(file.fileno())

            with naming(blocks):
                self._set_torn_line_aside(file)
            yield append

    def read_text(self, name: str) -> str:
        """The text of one file in the folder."""
        try:
            return self._read_bytes(name).decode()
        except UnicodeDecodeError:
            raise StoreError(f"{self.path / name}: is not text", "nothing was changed") from None

    def _read_bytes(self, name: str) -> bytes:
        return b"".join(self._lines(name))

    def _lines(self, name: str) -> Iterator[bytes]:
        """The lines of one file, with their ends; one at a time, since a file may be larger than what is kept of it."""
        path = self.path / name
        with naming(path):
            if path.exists() and not path.is_file():
                raise StoreError(f"{path}: is not a file", "nothing was changed")
            with path.open("rb") as file:
                yield from file

    def _set_torn_line_aside(self, file: FileIO) -> None:
        """End the file behind its last line end; what stands behind that moves to a file of its own."""
        end, total = end_of_lines(file), file.seek(0, os.SEEK_END)
        if end == total:
            return
        file.seek(end)
        self.replace(f"{BLOCKS}{ASIDE}{_stamp()}", file.read(total - end))
        file.truncate(end)

    def replace(self, name: str, content: str | bytes) -> None:
        """Replace one derived file with `content` atomically."""
        replace_file(self.path / name, content.encode() if isinstance(content, str) else content)

    def set_aside(self) -> Path | None:
        """Rename the folder, with the time in the new name. Returns the new path, or None if there is no folder."""
        if not self.path.exists():
            return None
        aside = self._aside()
        with naming(self.path):
            self.path.rename(aside)
        return aside

    def check_writable(self) -> None:
        """Raise `StoreError` where nothing can be written into the folder, before time is spent on what belongs there."""
        with naming(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            if not os.access(self.path, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    def copy_aside(self) -> Path:
        """Copy the folder to where `set_aside` would move it; return the path of the copy."""
        aside = self._aside()
        with naming(aside):
            shutil.copytree(self.path, aside)
        return aside

    def replace_records(self, records: Iterable[Record]) -> None:
        """Replace all records atomically; copy the folder aside before."""
        self.replace(BLOCKS, "".join(map(to_line, records)))

    def _aside(self) -> Path:
        return self.path.with_name(f"{self.path.name}{ASIDE}{_stamp()}")

    def check_machine(self, machine: Machine) -> None:
        """Raise `StoreError` if the folder belongs to another machine."""
        if self.has(MACHINE) and (kept := self.read_machine()).checked != machine.checked:
            differing = [name for name in machine.checked if machine.checked[name] != kept.checked.get(name)]
            text = f"{self.path}: was measured on another machine (differs in {', '.join(differing)})"
            raise StoreError(text, "give this sweep another `name`")

    def write_machine(self, machine: Machine) -> None:
        """Write `machine.json`. Raises `StoreError` if the folder belongs to another machine."""
        self.check_machine(machine)
        content: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "key": machine.key, **asdict(machine)}
        self.replace(MACHINE, json.dumps(content, indent=2) + "\n")

    def read_machine(self) -> Machine:
        """The machine that `machine.json` describes."""
        path = self.path / MACHINE
        try:
            content = from_json(self._read_bytes(MACHINE), _MachineFile)
        except DamagedError as error:
            raise StoreError(f"{path}: {error}", "nothing was changed") from None
        if content.schema_version > SCHEMA_VERSION:
            raise StoreError(f"{path}: its schema version is newer than this mnsweep reads", "upgrade mnsweep")
        try:
            return machine_of(content.checked, content.informative)
        except DamagedError as error:
            raise StoreError(f"{path}: {error}", "nothing was changed") from None


def machine_of(checked: Mapping[str, str | int], informative: Mapping[str, str | int | float]) -> Machine:
    """The machine that these facts describe. Raises `DamagedError` where one lacks that every machine has."""
    for name, kind in _NEEDED.items():
        if not isinstance(checked.get(name), kind):
            raise DamagedError(f"checked.{name}: expected {kind.__name__}")
    return Machine(checked, informative)


def _stamp() -> str:
    """The time, as part of the name of what is set aside."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
