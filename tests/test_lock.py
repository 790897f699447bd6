"""The machine's lock: one for all users, whatever somebody put in its place, and nothing that others wrote is trusted."""

import errno
import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mnsweep.errors import UnavailableError
from mnsweep.machine import lock
from mnsweep.machine.lock import NAME, LockedError, measuring

UNMENDED = lock.lock_path  # conftest gives each test its own
NOBODY = 65534

needs_flock = pytest.mark.skipif(not lock.HAS_FLOCK, reason="this system has no flock")
needs_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can be other users")


@pytest.fixture
def path() -> Path:
    return lock.lock_path()


def refused(path: Path, wait: bool = False) -> UnavailableError:
    """The error of whoever wants the lock now; it is told at once."""
    began_s = time.monotonic()
    with pytest.raises(UnavailableError) as error, measuring(wait, path):
        pass
    assert time.monotonic() - began_s < 2
    return error.value


def as_nobody(task: Callable[[], None]) -> None:
    """Run `task` in a child that belongs to nobody; its errors are this test's."""
    child = os.fork()
    if child == 0:  # pragma: no cover
        try:
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            task()
        except BaseException as error:
            os.write(2, f"{error!r}\n".encode())
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def shared_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o1777)
    for parent in list(folder.parents)[:-2]:
        if parent.stat().st_uid == os.geteuid():
            parent.chmod(parent.stat().st_mode | 0o111)
    return folder


@needs_flock
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
def test_every_user_may_open_it_whatever_the_umask(path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        with measuring(wait=False):
            assert stat.S_IMODE(path.stat().st_mode) == 0o666
    finally:
        os.umask(before)


@needs_flock
@needs_root
def test_one_user_after_the_other(tmp_path: Path) -> None:
    path = shared_folder(tmp_path) / NAME

    def take() -> None:
        with measuring(False, path):
            pass

    def find_it_held() -> None:
        assert refused(path).args[0] == f"another mnsweep is measuring on this machine{holder}"

    as_nobody(take)
    assert path.stat().st_uid == NOBODY
    with measuring(False, path):
        holder = " (process {pid}, since {since})".format(**json.loads(path.read_text()))
        assert str(os.getpid()) in holder
        as_nobody(find_it_held)
    as_nobody(take)


@needs_flock
@needs_root
@pytest.mark.parametrize("mode", [0o644, 0o444])
def test_a_file_that_only_its_owner_may_write_to_can_be_taken(tmp_path: Path, mode: int) -> None:
    """An earlier mnsweep left such files."""
    path = shared_folder(tmp_path) / NAME
    path.touch()
    path.chmod(mode)

    def take() -> None:
        with measuring(False, path):
            assert isinstance(refused(path), LockedError)

    as_nobody(take)


@needs_flock
def test_nothing_is_written_through_a_link(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "of somebody else"
    target.write_text("theirs")
    path.symlink_to(target)
    error = refused(path, wait=True)
    assert "can't be taken: it is a symbolic link" in error.what and "MNSWEEP_LOCK_DIR" in error.fix
    path.unlink()
    path.hardlink_to(target)
    assert "it is not a plain file with one name" in refused(path).what
    path.unlink()
    path.symlink_to(tmp_path / "is not there")
    assert "it is a symbolic link" in refused(path).what
    assert target.read_text() == "theirs" and not (tmp_path / "is not there").exists()


@needs_flock
@pytest.mark.parametrize("wait", [False, True])
def test_a_pipe_or_a_folder_in_its_place_does_not_hang(path: Path, wait: bool) -> None:
    os.mkfifo(path)
    assert "can't be taken" in refused(path, wait).what
    path.unlink()
    path.mkdir()
    assert os.strerror(errno.EISDIR) in refused(path, wait).what


@needs_flock
@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"{}",
        b"[" * 200_000,
        b'{"pid": 1, "since": "\x1b[2J"}',
        b'{"pid": "1", "since": "2025"}',
        b'{"pid": 99999999999999999999, "since": "2025"}',
        b'{"pid": 1, "since": "' + b"1" * 5000 + b'"}',
        b"\xff\xfe",
    ],
)
def test_a_note_that_no_mnsweep_wrote_is_not_repeated(path: Path, note: bytes) -> None:
    with measuring(wait=False):
        path.write_bytes(note)
        error = refused(path)
    assert isinstance(error, LockedError) and (error.pid, error.since) == (None, None)
    assert error.what == "another mnsweep is measuring on this machine"


@needs_flock
def test_nothing_of_an_earlier_holder_is_left(path: Path) -> None:
    path.write_bytes(b"x" * 5000)
    with measuring(wait=False):
        assert json.loads(path.read_text())["pid"] == os.getpid()
    assert path.read_bytes() == b""


@needs_flock
def test_a_file_that_was_replaced_is_no_longer_the_lock(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever opened the old one must not measure beside the holder of the new one."""
    path.touch()
    opened = lock._open_or_create

    def replaced(where: Path) -> int:
        monkeypatch.setattr(lock, "_open_or_create", opened)
        old = opened(where)
        path.unlink()
        path.touch()
        return old

    monkeypatch.setattr(lock, "_open_or_create", replaced)
    with measuring(wait=False):
        assert json.loads(path.read_text())["pid"] == os.getpid()


@needs_flock
def test_children_do_not_inherit_it(path: Path) -> None:
    with measuring(wait=False):
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False)
    with measuring(wait=False):
        pass
    child.communicate(b"\n")


def test_without_flock_a_library_locks(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "HAS_FLOCK", False)
    with measuring(wait=False):
        assert isinstance(refused(path), LockedError)
    with measuring(wait=True):
        pass
    path.unlink(missing_ok=True)
    path.mkdir()
    assert "can't be taken" in refused(path).what


def test_the_folder_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MNSWEEP_LOCK_DIR", str(tmp_path))
    assert UNMENDED() == tmp_path / NAME
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MNSWEEP_LOCK_DIR", "~/locks")
    assert UNMENDED() == tmp_path / "locks" / NAME
    error = refused(UNMENDED())
    assert os.strerror(errno.ENOENT) in error.what and "MNSWEEP_LOCK_DIR" in error.fix


def test_all_users_look_in_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one that every user can write to, whoever asks and whatever their own settings are."""
    monkeypatch.delenv("MNSWEEP_LOCK_DIR", raising=False)
    folders = [tmp_path / name for name in ("missing", "file", "of root", "shared", "too")]
    folders[1].touch()
    for folder, mode in zip(folders[2:], (0o755, 0o1777, 0o1777), strict=True):
        folder.mkdir()
        folder.chmod(mode)
    monkeypatch.setattr(lock, "SHARED_FOLDERS", tuple(map(str, folders)))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert UNMENDED() == tmp_path / "shared" / NAME


def test_where_no_folder_is_shared_the_users_own_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MNSWEEP_LOCK_DIR", raising=False)
    monkeypatch.setattr(lock, "SHARED_FOLDERS", ())
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert UNMENDED() == tmp_path / NAME
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "missing"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    assert UNMENDED() == tmp_path / "temporary" / NAME

    def none() -> str:
        raise FileNotFoundError

    monkeypatch.setattr("tempfile.gettempdir", none)
    with pytest.raises(UnavailableError, match="MNSWEEP_LOCK_DIR"):
        UNMENDED()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="these are Linux's folders")
def test_the_lock_of_this_machine_is_in_a_folder_for_all() -> None:
    assert str(UNMENDED().parent) in lock.SHARED_FOLDERS or "MNSWEEP_LOCK_DIR" in os.environ
