"""Files as the operating system has them: errors in one line, and appending to nothing but what is ours."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from mnsweep.errors import StoreError

FIXES = {  # what to do about an error of the operating system
    errno.ENOENT: "put the file back, or measure the sweep again",
    errno.ENOSPC: "free some space and run the same command again: nothing that was measured is lost",
    errno.EACCES: "make it readable and writable, or put results into another folder",
    errno.EROFS: "put results into another folder",
    errno.ENOTDIR: "put results into another folder",
    errno.ELOOP: "put the file itself there: nothing is written through a link",
}


def never_through_a_link(path: str, flags: int) -> int:
    """Open a file that is there itself: what a link leads to may be anybody's."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o644)


def end_of_lines(file: FileIO) -> int:
    """Where the last whole line ends."""
    end = file.seek(0, os.SEEK_END)
    while end > 0:
        start = max(0, end - 65536)
        file.seek(start)
        cut = file.read(end - start).rfind(b"\n")
        if cut >= 0:
            return start + cut + 1
        end = start
    return 0


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn an `OSError` into a one-line `StoreError` that names the path."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"{path}: {error.strerror}", FIXES.get(error.errno or 0, "nothing that was measured is lost")
        ) from None


def replace_file(path: Path, content: bytes) -> None:
    """Replace one file with `content` atomically: a reader finds the old one or the new one whole. Raises `StoreError`."""
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
