"""`mnsweep export`: write one network as an ONNX file."""

from typing import TYPE_CHECKING

import typer

from mnsweep.app.requests import ExportRequest
from mnsweep.cli import options as o
from mnsweep.options import changed

if TYPE_CHECKING:
    from mnsweep.app.export import Exported

LOADERS = {"onnx": "onnxruntime.InferenceSession", "tflite": "ai_edge_litert.interpreter.Interpreter"}
EXAMPLE = "Example: mnsweep export --alpha 0.5 --res 160 --out model.onnx"


@o.takes(ExportRequest)
def export(request: ExportRequest, json: o.Json = False, quiet: o.Quiet = False) -> None:
    """Write one MobileNet as an ONNX or TensorFlow Lite file, with the weights that --weights names, or random ones.

    Input `image`: (batch, 3, res, res) fp32, RGB scaled to −1 … 1. Output
    `logits`: (batch, classes) fp32. Some tasks have other outputs:
    `probabilities`, `embedding`, or `detections` (1, 100, 6) with box,
    probability and class. Channel padding does not change the logits. int8
    scales come from the images in --calibration, or from synthetic ones.
    """
    from mnsweep.app.export import export as export_network
    from mnsweep.cli.show import advise, print_json

    exported = export_network(request)
    if json:
        print_json({"cell": exported.cell.id, "onnx_path": str(exported.path), "onnx_bytes": exported.onnx_bytes})
    else:
        typer.echo(f"{exported.path}: {exported.cell.id}, {exported.onnx_bytes / 1e6:.2f} MB")
    warn_of(exported)
    asked = o.as_flags(_measurable(request, exported))
    advise(
        f"next: load it with {LOADERS[exported.file_format]}({str(exported.path)!r}), or measure it: mnsweep grid {asked}",
        quiet,
    )


def _measurable(request: ExportRequest, exported: "Exported") -> dict[str, object]:
    """The settings for `grid` to measure the same cell."""
    cell, settings = exported.cell, dict[str, object]()
    if request.trained.weights:  # which tell the size
        settings = {"weights": request.trained.weights, "alpha": cell.design.alpha, "res": cell.design.resolution}
    settings |= changed(request.space) | ({} if request.batch in ("1", "symbolic") else {"batch": request.batch})
    settings.pop("pad", None)
    if exported.file_format == "tflite" and not str(request.space.runtime).startswith("litert"):
        settings["runtime"] = "litert"
    return {**settings, "pad": request.space.pad} if request.space.pad != "auto" else settings


def warn_of(exported: "Exported") -> None:
    """Warn about the limitations of the file."""
    from mnsweep.cli.show import warn

    for note in exported.notes:
        warn(note)
