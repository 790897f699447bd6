"""One measurer per machine: two that time at once measure each other."""

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from mnsweep.errors import UnavailableError

PATIENCE_S = 0.2  # a holder that is just leaving has gone by then


class LockedError(UnavailableError):
    """Another mnsweep is measuring: process `pid`, since `since` (UTC, ISO 8601); both None where it left no note."""

    def __init__(self, pid: int | None = None, since: str | None = None) -> None:
        holder = f" (process {pid}, since {since})" if pid is not None else ""
        super().__init__(f"another mnsweep is measuring on this machine{holder}", "wait for it with `wait`, or stop it")
        self.pid, self.since = pid, since


def lock_path() -> Path:
    """Where all users of a machine look: one place, whatever their settings."""
    shared = Path("/tmp")  # noqa: S108 - a place that is the same for everyone is the point
    return (shared if shared.is_dir() else Path(tempfile.gettempdir())) / "mnsweep-measuring.lock"


@contextmanager
def measuring(wait: bool, path: Path | None = None) -> Iterator[None]:
    """Hold the machine's lock; the system releases it when this process dies, in whatever way.

    Raises `LockedError` where another process holds it, unless `wait`; `UnavailableError` where it can't be taken at all.
    """
    path = path or lock_path()
    note = path.with_suffix(".holder")
    lock = FileLock(path, mode=0o666)
    try:
        lock.acquire(timeout=-1 if wait else PATIENCE_S, poll_interval=0.1)
    except Timeout:
        raise LockedError(*_read_note(note)) from None
    except OSError as error:
        raise UnavailableError(
            f"the lock {path} can't be taken: {error.strerror}",
            "if no mnsweep of another user is measuring, remove the file",
        ) from None
    try:
        _write_note(note)
        yield
    finally:
        lock.release()


def _write_note(note: Path) -> None:
    """Say who holds the lock: a courtesy that another user's file may forbid."""
    since = datetime.now(UTC).isoformat(timespec="seconds")
    with contextlib.suppress(OSError):
        note.unlink(missing_ok=True)
        note.write_text(json.dumps({"pid": os.getpid(), "since": since}), encoding="utf-8")


def _read_note(note: Path) -> tuple[int | None, str | None]:
    try:
        holder = json.loads(note.read_text(encoding="utf-8"))
        return int(holder["pid"]), str(holder["since"])
    except (OSError, ValueError, KeyError, TypeError):
        return None, None
