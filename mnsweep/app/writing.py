"""Write a file that the user names, and never over one that it is made from."""

from collections.abc import Iterable
from pathlib import Path

from mnsweep.errors import MnsweepError


def check_target(setting: str, path: Path, sources: Iterable[Path]) -> None:
    """Raise `MnsweepError` where `path` is one of the `sources`, by whatever name."""
    for source in sources:
        if path == source or (path.exists() and source.exists() and path.samefile(source)):
            raise MnsweepError(f"`{setting}` {path}: is the file that is read, and would be lost", "name another file")
