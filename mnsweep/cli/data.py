"""`mnsweep data`: generate a data set to train on."""

import typer

from mnsweep.app.requests import DataRequest
from mnsweep.cli import options as o
from mnsweep.wording import count_of

EXAMPLE = "Example: mnsweep data glyphs glyphs"


@o.takes(DataRequest)
def data(request: DataRequest, json: o.Json = False, quiet: o.Quiet = False) -> None:
    """Generate a small data set of made-up pictures, to train and validate on.

    glyphs: sixteen letters, for --task classify. scenes: some signs in each
    picture with their boxes, for ssd and faster-rcnn. faces: drawings with
    identities and attributes, for embedding and attributes. places: landscapes
    with latitude and longitude, for planet. The same seed gives the same pictures.
    """
    from mnsweep.app.data import DATA_SETS, make_data
    from mnsweep.cli.progress import counting
    from mnsweep.cli.show import advise, print_json

    with counting(quiet) as progress:
        folder = make_data(request, progress)
    if json:
        print_json({"data": str(folder), "images": request.images, "validation": request.validation, "size": request.size})
    else:
        typer.echo(f"{folder}: {count_of(request.images, 'picture')} to train on, {request.validation:,} to validate on")
    for task in DATA_SETS[request.name].tasks:
        advise(f"next: mnsweep train --task {task} --alpha 0.25 --res 96 --data {folder} --name {task}", quiet)
