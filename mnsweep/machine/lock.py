"""The lock that allows one measuring process per machine: two at once would disturb each other."""

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

PATIENCE_S = 0.2  # long enough for a holder that is just exiting


class LockedError(UnavailableError):
    """Another mnsweep is measuring: process `pid`, since `since` (UTC, ISO 8601); both None if unknown."""

    def __init__(self, pid: int | None = None, since: str | None = None) -> None:
        holder = f" (process {pid}, since {since})" if pid is not None else ""
        super().__init__(f"another mnsweep is measuring on this machine{holder}", "wait for it with `wait`, or stop it")
        self.pid, self.since = pid, since


def lock_path() -> Path:
    """The path of the lock file, the same for all users of a machine regardless of their settings."""
    shared = Path("/tmp")  # noqa: S108 - must be the same folder for every user
    return (shared if shared.is_dir() else Path(tempfile.gettempdir())) / "mnsweep-measuring.lock"


@contextmanager
def measuring(wait: bool, path: Path | None = None) -> Iterator[None]:
    """Hold the machine's lock; the system releases it when this process ends, even by a crash.

    Raises `LockedError` if another process holds it and `wait` is false; `UnavailableError` if the lock file can't be used.
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
    """Note who holds the lock; this is optional and fails silently, e.g. when another user owns the file."""
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
