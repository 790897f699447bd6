"""The lock that allows one measuring process per machine: two at once would disturb each other.

The lock is an exclusive `flock` on a file that every user of the machine may open. Its folder is `MNSWEEP_LOCK_DIR`, or
else the first of `SHARED_FOLDERS` that all users can write to, or else a folder of this user. Who holds the lock is noted
inside the locked file. Whatever somebody else put in its place (a link, a pipe, a folder) is never written to or waited for.
"""

import contextlib
import errno
import json
import os
import re
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from mnsweep.errors import UnavailableError

try:
    import fcntl
except ImportError:  # Windows
    HAS_FLOCK = False
else:
    HAS_FLOCK = True

PATIENCE_S = 0.2  # long enough for a holder that is just exiting
POLL_S = 0.1
NAME = "mnsweep-measuring.lock"
FOLDER_VARIABLE = "MNSWEEP_LOCK_DIR"
SHARED_FOLDERS = ("/run/lock", "/dev/shm", "/tmp")  # noqa: S108 - /tmp may be private to a user or a service: it comes last
FOR_ALL = 0o666
NOTE = re.compile(rb'\{"pid": (\d{1,10}), "since": "([0-9T:+-]{1,32})"\}')
LONGEST_NOTE = 100  # bytes
# O_NONBLOCK: opening a pipe must not wait for its other end.
OPENING = sum(getattr(os, flag, 0) for flag in ("O_NOFOLLOW", "O_CLOEXEC", "O_NONBLOCK"))


class LockedError(UnavailableError):
    """Another mnsweep is measuring: process `pid`, since `since` (UTC, ISO 8601); both None if unknown."""

    def __init__(self, pid: int | None = None, since: str | None = None) -> None:
        holder = f" (process {pid}, since {since})" if pid is not None else ""
        super().__init__(f"another mnsweep is measuring on this machine{holder}", "wait for it with `wait`, or stop it")
        self.pid, self.since = pid, since


def lock_path() -> Path:
    """The path of the lock file: the same for all users of a machine, unless no folder is open to all of them.

    Raises `UnavailableError` if there is no writable folder at all.
    """
    if asked := os.environ.get(FOLDER_VARIABLE):
        with contextlib.suppress(RuntimeError):  # no home folder: `~` stays
            return Path(asked).expanduser() / NAME
        return Path(asked) / NAME
    shared = next((folder for folder in map(Path, SHARED_FOLDERS) if _is_open_to_all(folder)), None)
    return (shared or _folder_of_this_user()) / NAME


def _is_open_to_all(folder: Path) -> bool:
    """Whether every user can create files in it; the answer is the same for every user who asks."""
    try:
        mode = folder.stat().st_mode
        read_only = hasattr(os, "statvfs") and os.statvfs(folder).f_flag & os.ST_RDONLY
    except OSError:
        return False
    wanted = stat.S_IWOTH | stat.S_IXOTH
    return stat.S_ISDIR(mode) and mode & wanted == wanted and not read_only


def _folder_of_this_user() -> Path:
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and os.access(runtime, os.W_OK | os.X_OK):
        return Path(runtime)
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError:
        raise UnavailableError("no folder is writable for the lock", f"set {FOLDER_VARIABLE} to one that is") from None


def holder() -> str:
    """Who is measuring here now, in words; '' where nobody is, or where nobody can tell."""
    try:
        with measuring(wait=False):
            return ""
    except LockedError as error:
        return "somebody" if error.pid is None else f"process {error.pid}, since {error.since}"
    except UnavailableError:
        return ""


@contextmanager
def measuring(wait: bool, path: Path | None = None, *, shared: bool = False) -> Iterator[None]:
    """Hold the machine's lock; the system releases it when this process ends, even by a crash.

    Processes that hold it `shared`, which time nothing, hold it together; on systems without `flock` they take turns.
    Raises `LockedError` if another process holds it and `wait` is false; `UnavailableError` if the lock file can't be used.
    """
    path = path or lock_path()
    with _held(path, wait, shared) if HAS_FLOCK else _held_by_filelock(path, wait):
        yield


@contextmanager
def _held(path: Path, wait: bool, shared: bool) -> Iterator[None]:
    patient_until_s = float("inf") if wait else time.monotonic() + PATIENCE_S
    while True:
        with _opened(path) as lock:
            if _take(path, lock, shared):
                _write_note(lock)
                try:
                    yield
                finally:
                    with contextlib.suppress(OSError):
                        os.ftruncate(lock, 0)
                return
            if time.monotonic() > patient_until_s:
                raise LockedError(*_read_note(lock))
        time.sleep(POLL_S)


@contextmanager
def _held_by_filelock(path: Path, wait: bool) -> Iterator[None]:
    """The lock on systems without `flock`; the holder is unknown there, because a locked file can't be read."""
    lock = FileLock(path, mode=FOR_ALL)
    try:
        lock.acquire(timeout=-1 if wait else PATIENCE_S, poll_interval=POLL_S)
    except Timeout:
        raise LockedError from None
    except OSError as error:
        raise _unusable(path, error) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """A descriptor of the lock file, which is created if it is missing; it has to be a plain file with no other name."""
    try:
        lock = _open_or_create(path)
    except OSError as error:
        raise _unusable(path, error) from None
    try:
        status = os.fstat(lock)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            raise _unusable(path, OSError(errno.EINVAL, "it is not a plain file with one name"))
        yield lock
    finally:
        os.close(lock)


def _open_or_create(path: Path) -> int:
    """Open the file; an existing one without O_CREAT, which Linux forbids for files of others (`fs.protected_regular`)."""
    while True:
        with contextlib.suppress(FileNotFoundError):
            try:
                return os.open(path, os.O_RDWR | OPENING)
            except PermissionError:  # a file of another user that only its owner may write to can be locked all the same
                return os.open(path, os.O_RDONLY | OPENING)
        with contextlib.suppress(FileExistsError):
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | OPENING, FOR_ALL)
            os.fchmod(lock, FOR_ALL)  # whatever the umask
            return lock


def _take(path: Path, lock: int, shared: bool) -> bool:
    """Whether the lock is now ours; False if somebody holds it, or if the file was replaced meanwhile."""
    try:
        fcntl.flock(lock, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(lock), path.lstat())
    except (BlockingIOError, FileNotFoundError):
        return False
    except OSError as error:
        raise _unusable(path, error) from None


def _unusable(path: Path, error: OSError) -> UnavailableError:
    why = "it is a symbolic link" if error.errno == errno.ELOOP else error.strerror
    fix = f"if no mnsweep of another user is measuring, remove it, or set {FOLDER_VARIABLE} to another folder"
    return UnavailableError(f"the lock {path} can't be taken: {why}", fix)


def _write_note(lock: int) -> None:
    """Note who holds the lock; this is optional and fails silently, e.g. when only another user may write to the file."""
    since = datetime.now(UTC).isoformat(timespec="seconds")
    with contextlib.suppress(OSError):
        os.ftruncate(lock, 0)
        os.pwrite(lock, json.dumps({"pid": os.getpid(), "since": since}).encode(), 0)


def _read_note(lock: int) -> tuple[int | None, str | None]:
    """The holder's process and since when; None if there is no note that `_write_note` would have written."""
    try:
        note = NOTE.fullmatch(os.pread(lock, LONGEST_NOTE, 0))
    except OSError:
        return None, None
    return (int(note[1]), note[2].decode()) if note else (None, None)
