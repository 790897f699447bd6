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


def lock_path() -> Path:
    """Where all users of a machine look: one place, whatever their settings."""
    shared = Path("/tmp")  # noqa: S108 - a place that is the same for everyone is the point
    return (shared if shared.is_dir() else Path(tempfile.gettempdir())) / "mnsweep-measuring.lock"


@contextmanager
def measuring(wait: bool, path: Path | None = None) -> Iterator[None]:
    """Hold the machine's lock; the system releases it when this process dies, in whatever way.

    Raises `UnavailableError` that says who holds it and since when, unless `wait`.
    """
    path = path or lock_path()
    holder = path.with_suffix(".holder")
    lock = FileLock(path, mode=0o666)
    try:
        lock.acquire(timeout=-1 if wait else PATIENCE_S, poll_interval=0.1)
    except Timeout:
        raise UnavailableError(
            f"another mnsweep is measuring on this machine{_described(holder)}: wait for it with --wait, or stop it"
        ) from None
    except OSError as error:
        raise UnavailableError(
            f"the lock {path} can't be taken: {error.strerror}; if no mnsweep of another user is measuring, remove the file"
        ) from None
    try:
        _sign(holder)
        yield
    finally:
        lock.release()


def _sign(holder: Path) -> None:
    """Write down who holds the lock: a courtesy that another user's file may forbid."""
    since = datetime.now(UTC).isoformat(timespec="seconds")
    with contextlib.suppress(OSError):
        holder.unlink(missing_ok=True)
        holder.write_text(json.dumps({"pid": os.getpid(), "since": since}), encoding="utf-8")


def _described(holder: Path) -> str:
    try:
        who = json.loads(holder.read_text(encoding="utf-8"))
        return f" (process {who['pid']}, since {who['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
