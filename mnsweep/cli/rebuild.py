"""`mnsweep rebuild`: recreate all derived files."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mnsweep.cli import options as o
from mnsweep.options import at_home
from mnsweep.wording import count_of

if TYPE_CHECKING:
    from mnsweep.result import Result

EXAMPLE = "Example: mnsweep rebuild results/grid"


def rebuild(
    folders: Annotated[
        list[Path] | None, typer.Argument(help="Folders of sweeps, or any folder above them. Default: all results.")
    ] = None,
    forget: Annotated[
        str, typer.Option("--forget", metavar="CELLS", help="Remove these cells first, e.g. a0.25_r64; a copy is set aside.")
    ] = "",
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Recreate cells.csv and the plots of every sweep in the folders from blocks.jsonl.

    Text files are reproduced byte for byte. So are plots, with the same
    versions of the plotting library and fonts.
    """
    from mnsweep.app.rebuild import rebuild as rebuild_folders
    from mnsweep.cli.show import advise, advise_pick, print_json
    from mnsweep.sweep.find import results_dir_or_default

    rebuilt: list[str] = []
    results: tuple[Result, ...] = ()
    where = [at_home(folder) for folder in folders or [results_dir_or_default(None)]]
    for outcome in rebuild_folders(where, list(filter(None, forget.split(",")))):
        rebuilt.append(str(outcome.folder.path))
        results = results or outcome.results
        advise(f"{outcome.folder.path}: {count_of(len(outcome.results), 'cell')}", quiet or json)
    if json:
        print_json({"rebuilt": rebuilt})
    advise_pick(rebuilt[0], results, quiet)
