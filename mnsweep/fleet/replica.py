"""One side's copy of a sweep's records: lines of the other side are added once they are valid, in order, each once.

Both sides keep the same bytes, so a size and a hash tell whether one has the beginning of what the other has.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
from filelock import FileLock, Timeout

from mnsweep.decoding import DamagedError
from mnsweep.errors import StoreError
from mnsweep.fleet.messages import CHUNK, MOST_BYTES, Kept, Lines
from mnsweep.record import from_line
from mnsweep.sweep.consistency import Consistency
from mnsweep.sweep.disk import naming
from mnsweep.sweep.store import BLOCKS, SweepFolder

LOCK = ".following.lock"
AT_ONCE = 1 << 20  # bytes that are read at once


class Replica:
    """The records in a folder, as a context manager; nobody else adds lines through a `Replica` meanwhile.

    Raises `StoreError` where the folder is damaged, or another mnsweep follows the same sweep of the same machine.
    """

    def __init__(self, folder: SweepFolder) -> None:
        self.folder, self.size = folder, 0
        self._hash, self._consistency = hashlib.sha256(), Consistency()
        self._open = ExitStack()
        self._append: Callable[[bytes], None] | None = None

    def __enter__(self) -> Self:
        with naming(self.folder.path):
            self.folder.path.mkdir(parents=True, exist_ok=True)
            try:
                self._open.enter_context(FileLock(self.folder.path / LOCK, timeout=0))
            except Timeout:
                fix = "wait for it, or stop it"
                raise StoreError(f"{self.folder.path}: another mnsweep is following this sweep", fix) from None
        try:
            self._read()
        except BaseException:
            self._open.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._open.close()

    def _read(self) -> None:
        if not self.folder.has(BLOCKS):
            return
        self._append = self._open.enter_context(self.folder.appending_lines())  # sets a line aside that was cut short
        with naming(self.path), self.path.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    self._take(line[:-1])
                except DamagedError as error:
                    raise StoreError(f"{self.path}: line {number}: {error}", "nothing was changed") from None

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder.path / BLOCKS

    @property
    def kept(self) -> Kept:
        """What is here."""
        return Kept(self.size, self._hash.hexdigest())

    def begins_with(self, other: Kept) -> bool:
        """Whether the first bytes here are all that the other side has."""
        return other == kept_of(self.path, other.size)

    def add(self, lines: Lines) -> int:
        """Add the lines that are new here, and return how many bytes they have once they are on disk.

        Raises `DamagedError` for a line that can't stand there, or that leaves a gap; those before it are kept.
        """
        if lines.at > self.size:
            raise DamagedError(f"lines from byte {lines.at:,} on, where {self.size:,} are known: some are missing")
        at, before, good = lines.at, self.size, []
        try:
            for raw in lines.lines:
                line = bytes(raw)
                if at >= self.size:
                    self._check(line)
                    self._take(line)
                    good.append(line)
                at += len(line) + 1
        finally:
            if good:
                self._write(b"\n".join([*good, b""]), before)
        return self.size - before

    def _check(self, line: bytes) -> None:
        if self.size + len(line) > MOST_BYTES:
            raise DamagedError(f"more than {MOST_BYTES:,} bytes of records")
        if b"\n" in line or not line.isascii():
            raise DamagedError("a record that mnsweep would have written otherwise")

    def _take(self, line: bytes) -> None:
        self._consistency.check(from_line(line))
        self._hash.update(line + b"\n")
        self.size += len(line) + 1

    def _write(self, content: bytes, before: int) -> None:
        if self._append is None:
            self._append = self._open.enter_context(self.folder.appending_lines())
        with naming(self.path):
            if self.path.stat().st_size != before:
                raise StoreError(f"{self.path}: another program writes to it", "wait for it, and run the same command again")
        self._append(content)

    def after(self, size: int) -> Iterator[Lines]:
        """The lines from a byte on, in messages of at most about `CHUNK` bytes."""
        tail = Tail(self.path, size)
        yield from iter(tail.new, None)


class Tail:
    """Follows a file of lines from a byte on, as it grows."""

    def __init__(self, path: Path, at: int) -> None:
        self.path, self.at = path, at

    def new(self) -> Lines | None:
        """The next whole lines, about `CHUNK` bytes; None where there are none yet."""
        try:
            with self.path.open("rb") as file:
                file.seek(self.at)
                found = file.read(CHUNK)
                if b"\n" not in found:
                    found += file.readline()
        except FileNotFoundError:
            return None
        whole = found[: found.rfind(b"\n") + 1]
        if not whole:
            return None
        at, self.at = self.at, self.at + len(whole)
        return Lines(at, tuple(msgspec.Raw(line) for line in whole[:-1].split(b"\n")))


def kept_of(path: Path, size: int | None = None) -> Kept:
    """What a file of lines holds: its first `size` bytes, or else all whole lines; fewer where it is shorter."""
    told, total, last = hashlib.sha256(), 0, b""
    try:
        with naming(path), path.open("rb") as file:
            while size is None or total < size:
                part = file.read(AT_ONCE if size is None else min(AT_ONCE, size - total))
                if not part:
                    break
                if size is None:  # hash behind the last line end only once the next one is read
                    end = part.rfind(b"\n") + 1
                    last, part = (part[end:], last + part[:end]) if end else (last + part, b"")
                told.update(part)
                total += len(part)
    except StoreError:
        if path.exists():
            raise
    return Kept(total, told.hexdigest())
