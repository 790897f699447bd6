"""What a user hears of a fleet meanwhile."""

from pathlib import Path


class Watcher:
    """Hears what hosts say; does nothing by default."""

    def said(self, host: str, text: str) -> None:
        """The command on a host, or a task of that name, said something."""

    def aside(self, folder: Path) -> None:
        """Earlier results were renamed to `folder`."""
