"""`mnsweep classify`: what pictures show."""

import typer

from mnsweep.app.requests import ClassifyRequest
from mnsweep.cli import options as o

EXAMPLE = "Example: mnsweep classify model.onnx cat.jpg"
UNREADABLE = 3  # some pictures were not read; the others were


@o.takes(ClassifyRequest)
def classify(request: ClassifyRequest, json: o.Json = False, quiet: o.Quiet = False) -> None:
    """Classify pictures with an ONNX or TensorFlow Lite file, or with weights.

    Pictures are cropped and scaled as the file's metadata says; a file that
    says nothing needs --mean and --std. Labels are those of the file, or
    ImageNet's.
    """
    from mnsweep.app.classify import classify as classify_pictures
    from mnsweep.cli.show import advise, print_json, warn

    classified = classify_pictures(request)
    if json:
        answers = [
            {
                "picture": str(path),
                "top": [{"label": a.label, "class": a.number, "probability": a.probability} for a in top],
            }
            for path, top in classified.pictures.items()
        ]
        print_json({"pictures": answers, "broken": [str(path) for path in classified.broken]})
    else:
        for path, top in classified.pictures.items():
            typer.echo(str(path))
            for answer in top:
                typer.echo(f"  {100 * answer.probability:5.1f} %  {answer.label}")
    for reason in classified.broken.values():
        warn(reason)
    advise(f"next: mnsweep evaluate {request.model} --data FOLDER", quiet)
    if classified.broken:
        raise typer.Exit(UNREADABLE)
