"""Receive progress while measuring, e.g. to print it on the command line or in a notebook, or to count it in a test."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mnsweep.measure.plan import Plan
from mnsweep.measure.status import Status
from mnsweep.result import Result


class Listener:
    """Progress callbacks that do nothing by default; they are called between blocks, never while one is timed."""

    def set_aside(self, folder: Path) -> None:
        """Earlier results were renamed to `folder`."""

    def planned(self, plan: Plan) -> None:
        """The cells left to measure; called before the first measurement."""

    def stage(self, text: str) -> None:
        """A description of what is measured next, and why."""

    def skipped(self, reasons: Mapping[str, str], remarks: Mapping[str, str]) -> None:
        """By cell id: `reasons` why cells do not run on this machine, and `remarks` on the settings of others."""

    def status(self, status: Status) -> None:
        """Progress of the measurement, after each round."""

    def so_far(self, results: Callable[[], Sequence[Result]]) -> None:
        """A process has ended; `results` are those of the cells asked for, from all that was measured so far."""


SILENT = Listener()
