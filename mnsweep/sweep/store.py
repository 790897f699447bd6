"""What was measured, on disk: one folder for each sweep and machine.

`blocks.jsonl` is the truth. It is append-only, one fsynced line a record; all other files are derived from
it, and replaced whole (write a temporary file, fsync, rename), so that no crash leaves half of one.
"""

import json
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path

from mnsweep.errors import StoreError
from mnsweep.machine.fingerprint import Machine
from mnsweep.measure.record import Record, Records, from_line, to_line

BLOCKS, MACHINE, SWEEP, CELLS, MODEL = "blocks.jsonl", "machine.json", "sweep.toml", "cells.csv", "model.json"
SCHEMA_VERSION = 1
_ASIDE = ".aside-"


@dataclass(frozen=True, slots=True)
class SweepFolder:
    """`results/SWEEP/MACHINE`. Creates nothing until it writes.

    Every method raises `StoreError`, in one line, when the disk refuses or a file is not what it should be.
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

    def read(self) -> Records:
        """Everything recorded. A last line without its end was cut short by a crash: dropped, with a warning."""
        blocks, records = self.path / BLOCKS, Records()
        text = self.read_text(BLOCKS) if blocks.exists() else ""
        *lines, torn = text.split("\n")
        if torn:
            warnings.warn(f"{blocks}: the last line was cut short by a crash and is dropped", stacklevel=2)
        for number, line in enumerate(lines, 1):
            try:
                records.add(from_line(line))
            except StoreError as error:
                raise StoreError(f"{blocks}: line {number}: {error}; nothing was changed") from None
        return records

    @contextmanager
    def appending(self) -> Iterator[Callable[[Record], None]]:
        """A function that writes one record and returns when it is on the disk."""
        blocks = self.path / BLOCKS
        with _naming(blocks):
            self.path.mkdir(parents=True, exist_ok=True)
            file = blocks.open("ab+", buffering=0)
        with file:

            def append(record: Record) -> None:
                with _naming(blocks):
                    if os.fstat(file.fileno()).st_nlink == 0:
                        raise StoreError(f"{blocks}: was removed during the sweep; run the same command again")
                    line = to_line(record).encode()
                    while line:  # a disk that fills up takes a part
                        line = line[file.write(line) :]
                    os.fsync(file.fileno())

            with _naming(blocks):
                _cut_torn_line(file)
            yield append

    def read_text(self, name: str) -> str:
        """The text of one file of the folder."""
        with _naming(self.path / name):
            data = (self.path / name).read_bytes()
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise StoreError(f"{self.path / name}: is not text; nothing was changed") from None

    def replace(self, name: str, content: str | bytes) -> None:
        """Put `content` in the place of one derived file, whole or not at all."""
        data = content.encode() if isinstance(content, str) else content
        with _naming(self.path / name):
            self.path.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=self.path, prefix=f".{name}.")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                os.chmod(temporary, 0o644)
                os.replace(temporary, self.path / name)
            except BaseException:
                os.unlink(temporary)
                raise

    def set_aside(self) -> Path | None:
        """Rename the folder out of the way, with the time in its name; None where there is nothing."""
        if not self.path.exists():
            return None
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        aside = self.path.with_name(f"{self.path.name}{_ASIDE}{stamp}")
        with _naming(self.path):
            self.path.rename(aside)
        return aside

    def write_machine(self, machine: Machine) -> None:
        """Write `machine.json`; raise `StoreError` where the folder is another machine's."""
        if (self.path / MACHINE).exists() and (kept := self.read_machine()).checked != machine.checked:
            differing = [name for name in machine.checked if machine.checked[name] != kept.checked.get(name)]
            raise StoreError(f"{self.path}: was measured on another machine (differs in {', '.join(differing)}); use --name")
        content = {"schema_version": SCHEMA_VERSION, "key": machine.key, **asdict(machine)}
        self.replace(MACHINE, json.dumps(content, indent=2) + "\n")

    def read_machine(self) -> Machine:
        """The machine that `machine.json` describes."""
        try:
            content = json.loads(self.read_text(MACHINE))
            if content["schema_version"] > SCHEMA_VERSION:
                raise StoreError(f"{self.path / MACHINE}: schema version is newer than this mnsweep reads: upgrade mnsweep")
            if not isinstance(content["checked"] | content["informative"], dict):
                raise TypeError
            return Machine(content["checked"], content["informative"])
        except (ValueError, KeyError, TypeError):
            raise StoreError(f"{self.path / MACHINE}: is damaged; nothing was changed") from None


def results_dir_or_default(results_dir: str | Path | None) -> Path:
    """`results_dir`, or else $MNSWEEP_RESULTS, or else ./results."""
    return Path(results_dir or os.environ.get("MNSWEEP_RESULTS") or "results")


def find_results(results_dir: Path, machine_key: str, name: str | None = None) -> SweepFolder:
    """The folder of sweep `name` on this machine, or of its newest sweep.

    `name` may be a path to the folder of any machine. Committed reference runs lie a level deeper and
    are found by name alone. Raises `StoreError` that says what to run when there is none.
    """
    if name is None:
        found = [path.parent for path in results_dir.glob(f"*/{machine_key}/{CELLS}")]
        if begun := sorted(results_dir.glob(f"*/{machine_key}/{BLOCKS}")) if not found else ():
            raise StoreError(
                f"{begun[0].parent} was interrupted before its table was written: run the same 'mnsweep grid' again to "
                f"continue, or 'mnsweep rebuild {begun[0].parent}' to use what is there"
            )
        if not found:
            raise StoreError(f"no sweep of this machine in {results_dir}; run 'mnsweep grid' first, or name one with --sweep")
        return SweepFolder(max(found, key=lambda path: (path / CELLS).stat().st_mtime))
    for path in (Path(name), results_dir / name / machine_key):
        if name and is_file(path / CELLS):
            return SweepFolder(path)
    roots = [root for root in (Path(name), results_dir / name) if name and is_directory(root)]
    found = [path.parent for root in roots for path in root.glob(f"*/{CELLS}")]
    if others := sorted(path for path in found if _ASIDE not in path.name):
        raise StoreError(f"sweep {name} was measured on another machine only; to choose for that one: --sweep {others[0]}")
    raise StoreError(f"no results of a sweep {name!r} in {results_dir}; run 'mnsweep grid --name {Path(name).name}' first")


def is_file(path: Path) -> bool:
    """Whether `path` is a file; a name that no file system takes is none."""
    return _holds(path.is_file)


def is_directory(path: Path) -> bool:
    """Whether `path` is a folder; a name that no file system takes is none."""
    return _holds(path.is_dir)


def _holds(question: Callable[[], bool]) -> bool:
    try:
        return question()
    except (OSError, ValueError):
        return False


def _cut_torn_line(file: FileIO) -> None:
    """End the file behind its last line end."""
    end = file.seek(0, os.SEEK_END)
    while end > 0:
        start = max(0, end - 65536)
        file.seek(start)
        cut = file.read(end - start).rfind(b"\n")
        if cut >= 0:
            end = start + cut + 1
            break
        end = start
    file.truncate(end)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turn what the operating system says into one line that names the path."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"{path}: {error.strerror}; nothing measured so far is lost; use --results-dir for another place"
        ) from None
