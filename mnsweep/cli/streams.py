"""stdout and stderr: no character makes them fail, and an output that can't be written has an exit status of its own.

A lost reader of stdout ends the program quietly, as it ends other programs in a pipe. A lost stderr ends nothing: the
remarks are dropped, and measuring goes on.
"""

import codecs
import contextlib
import errno
import io
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn, TextIO, cast

UNWRITABLE, READER_LEFT = 74, 141  # EX_IOERR of sysexits.h; 128 + SIGPIPE
INSTEAD = str.maketrans("–−─×±●○▲α→…²³’“”", '---x~*o!a>.23\'""')  # one character each, so that columns stay aligned
REPLACE = "mnsweep.replace"


class OutputError(Exception):
    """A write to stdout failed; not an `OSError`, so that no library on the way takes it for one of its own."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error.strerror)
        self.reader_left = error.errno in (errno.EPIPE, errno.EINVAL if os.name == "nt" else errno.EPIPE)


class _Stream:
    """A text stream that replaces characters that its encoding lacks, and has no `buffer` to write around that."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = _buffered(stream)
        if hasattr(self._stream, "reconfigure"):
            self._stream.reconfigure(errors=REPLACE)

    def __getattr__(self, name: str) -> Any:
        if name == "buffer":
            raise AttributeError(name)
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write text."""
        try:
            return self._stream.write(text)
        except OSError as error:
            self._fail(error)
            return len(text)

    def flush(self) -> None:
        """Write what is buffered."""
        try:
            self._stream.flush()
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        """Send everything else to nowhere: what is still buffered, and what libraries and children write."""
        with contextlib.suppress(OSError):  # not a file
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


def _buffered(stream: TextIO) -> TextIO:
    """The same stream with a buffer: without one (`python -u`), what a pipe does not take at once is lost without an error."""
    if not isinstance(getattr(stream, "buffer", None), io.RawIOBase):
        return stream
    return open(stream.fileno(), "w", encoding=stream.encoding, closefd=False)


class Answers(_Stream):
    """stdout; `used` once something was written. A write that fails raises `OutputError`, and so does every later one."""

    used = False
    failed: OutputError | None = None

    def write(self, text: str) -> int:
        """Write text."""
        self._check()
        written = super().write(text)
        self.used = self.used or bool(text)
        return written

    def flush(self) -> None:
        """Write what is buffered."""
        self._check()
        super().flush()

    def _check(self) -> None:
        if self.failed:  # whoever caught it has not told
            raise self.failed

    def _fail(self, error: OSError) -> NoReturn:
        super()._fail(error)
        self.failed = OutputError(error)
        raise self.failed


def replaced(error: UnicodeError) -> tuple[str, int]:
    """Handle characters that an encoding lacks (see `codecs.register_error`): a similar character, otherwise `?`.

    >>> codecs.register_error(REPLACE, replaced)
    >>> "± 0.2 % → ü ●".encode("ascii", REPLACE)
    b'~ 0.2 % > ? *'
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    similar = error.object[error.start : error.end].translate(INSTEAD)
    return "".join(c if c.isascii() else "?" for c in similar), error.end


def guarded(program: Callable[[Answers], int]) -> int:
    """The exit status of `program`, which runs with guarded streams and receives the one that is stdout."""
    codecs.register_error(REPLACE, replaced)
    _open_closed_descriptors()
    remarks = _Stream(sys.stderr or open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123 - open until the end
    with contextlib.redirect_stderr(cast(TextIO, remarks)):
        if sys.stdout is None:
            return _unwritable("it is closed")
        answers = Answers(sys.stdout)
        with contextlib.redirect_stdout(cast(TextIO, answers)):
            try:
                status = program(answers)
                answers.flush()
            except OutputError as error:
                return READER_LEFT if error.reader_left else _unwritable(str(error))
    return status


def _open_closed_descriptors() -> None:
    """Let no other file become the descriptor of a standard stream that was closed."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest that is free


def _unwritable(why: str) -> int:
    fix = "write it to a file on a disk with space, or to a program; what was measured is kept"
    print(f"mnsweep: stdout can't be written: {why}; {fix}", file=sys.stderr)  # noqa: T201
    return UNWRITABLE
