"""`mnsweep data`: generate a data set to train on."""

import typer

from mnsweep.app.requests import DataRequest
from mnsweep.cli import options as o
from mnsweep.wording import count_of

EXAMPLE = "Example: mnsweep data glyphs glyphs"


@o.takes(DataRequest)
def data(request: DataRequest, json: o.Json = False, quiet: o.Quiet = False) -> None:
    """Generate a small data set: glyphs, pictures of sixteen letters.

    Size, place, rotation, colours, clutter and noise vary. DIR/train and DIR/val
    have a folder for each letter, as 'mnsweep evaluate' reads them. The same seed
    gives the same pictures.
    """
    from mnsweep.app.data import make_data
    from mnsweep.cli.progress import counting
    from mnsweep.cli.show import advise, print_json

    with counting(quiet) as progress:
        folder = make_data(request, progress)
    if json:
        print_json({"data": str(folder), "images": request.images, "validation": request.validation, "size": request.size})
    else:
        typer.echo(f"{folder}: {count_of(request.images, 'picture')} to train on, {request.validation:,} to validate on")
    advise(f"next: mnsweep evaluate model.onnx --data {folder / 'val'}", quiet)
