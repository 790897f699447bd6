"""`mnsweep import`: read a trained network from somebody else's file."""

from typing import TYPE_CHECKING

import typer

from mnsweep.app.requests import ImportRequest
from mnsweep.cli import options as o

if TYPE_CHECKING:
    from mnsweep.app.importing import Imported

EXAMPLE = "Example: mnsweep import mobilenet_v1_0.25_128_quant.tflite --out weights.safetensors"


@o.takes(ImportRequest)
def import_(request: ImportRequest, json: o.Json = False, quiet: o.Quiet = False) -> None:
    """Import a trained MobileNet: TensorFlow Lite, Keras, timm, Hugging Face, PyTorch, TF-slim or ONNX.

    The network is recognized by its graph, not by names; what does not fit is
    listed. A network that was trained with quantization keeps its integers.
    Nothing in the file is executed. The result is a safetensors file that
    'export', 'grid', 'classify' and 'evaluate' take as --weights.
    """
    from mnsweep.app.importing import import_weights
    from mnsweep.cli.show import advise, print_json

    imported = import_weights(request)
    document = imported.trained.document()
    if json:
        print_json({"weights": imported.path and str(imported.path), **document})
    else:
        _print(imported)
    for assumed in document["assumed"]:
        advise(f"assumed, since the file does not say it: {assumed}", quiet)
    if imported.path is None:
        advise(f"next: mnsweep import {request.file} --out weights.safetensors", quiet)
    else:
        precision = imported.trained.cell.deployment.precision
        advise(f"next: mnsweep export --weights {imported.path} --precision {precision} --out model.onnx", quiet)


def _print(imported: "Imported") -> None:
    trained = imported.trained
    about, pixels = trained.provenance, trained.preprocessing
    low, high = pixels.range
    offset = {None: "", 0: "", 1: ", the first of them a background"}.get(
        about.label_offset, f", {about.label_offset} before the first"
    )
    lines = {
        "cell": trained.cell.id,
        "from": f"{about.file} ({about.family}, SHA-256 {about.sha256[:12]}…)",
        "weights": "integers of a network that was trained with quantization" if trained.is_quantized else "floats",
        "classes": f"{trained.design.classes:,}{offset}" if trained.has_classifier else "none: it has no classifier",
        "padding": trained.design.conv_padding,
        "pictures": f"RGB, {pixels.crop}, {pixels.interpolation}, values from {low:g} to {high:g}",
        **({"license": about.license} if about.license else {}),
        **({"file": str(imported.path)} if imported.path else {}),
    }
    for name, text in lines.items():
        typer.echo(f"{name:10} {text}")
