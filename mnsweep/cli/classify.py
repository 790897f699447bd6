"""`mnsweep classify`: what pictures show."""

from typing import TYPE_CHECKING

import typer

from mnsweep.app.requests import ClassifyRequest
from mnsweep.cli import options as o

if TYPE_CHECKING:
    from mnsweep.app.classify import Answer

EXAMPLE = "Example: mnsweep classify model.onnx cat.jpg"
UNREADABLE = 3  # some pictures were not read; the others were


@o.takes(ClassifyRequest)
def classify(request: ClassifyRequest, json: o.Json = False, quiet: o.Quiet = False) -> None:
    """What pictures show, by an ONNX or TensorFlow Lite file, or by weights.

    For a detector: its boxes, which --draw draws. For an embedding: the pictures
    that are most alike. For others the likeliest classes, attributes or places.

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
                "top": [_document(answer) for answer in top],
            }
            for path, top in classified.pictures.items()
        ]
        print_json({"pictures": answers, "broken": [str(path) for path in classified.broken]})
    else:
        for path, top in classified.pictures.items():
            typer.echo(str(path))
            for answer in top:
                typer.echo(f"  {_line(answer)}")
            if not top:
                typer.echo("  nothing")
    for reason in classified.broken.values():
        warn(reason)
    for path in classified.drawn[:1]:
        advise(f"boxes are drawn in {path.parent}", quiet)
    advise(f"next: mnsweep evaluate {request.model} --data FOLDER", quiet)
    if classified.broken:
        raise typer.Exit(UNREADABLE)


def _document(answer: "Answer") -> dict[str, object]:
    about: dict[str, object] = {"label": answer.label, "class": answer.number, "probability": answer.probability}
    about |= {"box": answer.box} if answer.box else {}
    return about | ({"distance": answer.distance} if answer.distance is not None else {})


def _line(answer: "Answer") -> str:
    if answer.distance is not None:
        return f"{answer.distance:5.3f} apart  {answer.label}"
    left, top, right, bottom = answer.box or (0, 0, 0, 0)
    where = f"  from ({left}, {top}) to ({right}, {bottom}) px" if answer.box else ""
    return f"{100 * (answer.probability or 0):5.1f} %  {answer.label}{where}"
