"""Who hears how measuring goes: the command line prints it, a notebook may, a test counts it."""

from collections.abc import Mapping
from pathlib import Path

from mnsweep.measure.campaign import Status
from mnsweep.measure.plan import Plan


class Listener:
    """Every method does nothing until a subclass overrides it; all are called between blocks, never during one."""

    def set_aside(self, folder: Path) -> None:
        """Earlier results were renamed to `folder`."""

    def planned(self, plan: Plan) -> None:
        """What is left to measure, before anything is."""

    def stage(self, text: str) -> None:
        """What is measured next and why, in words."""

    def skipped(self, reasons: Mapping[str, str], remarks: Mapping[str, str]) -> None:
        """By cell id: why it does not run here, and what the user would want to know of a setting."""

    def status(self, status: Status) -> None:
        """How far the measuring is, after each round."""


SILENT = Listener()
