"""Ctrl-C and SIGTERM: raised where the program is, and again later if that place could not pass the exception on."""

import signal
from typing import NoReturn

STOPPED = {signal.SIGINT: ("interrupted", 130), signal.SIGTERM: ("terminated", 143)}
_received: list[int] = []


class StoppedError(BaseException):
    """Ctrl-C or SIGTERM; not an `Exception`, so that no handler on the way catches it."""


def listen() -> None:
    """Turn both signals into `StoppedError`."""
    for number in STOPPED:
        signal.signal(number, _stop)


def check() -> None:
    """Raise `StoppedError` where a signal came before: Python drops an exception that it meets in a destructor."""
    if _received:
        raise StoppedError(_received[0])


def _stop(signum: int, frame: object) -> NoReturn:
    _received.append(signum)
    raise StoppedError(signum)
