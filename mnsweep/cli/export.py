"""`mnsweep export`: one network as an ONNX file."""

from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mnsweep.cli import options as o

if TYPE_CHECKING:
    from mnsweep.arch.channel_padding import Channels
    from mnsweep.cell import Cell

EXAMPLE = "Example: mnsweep export --alpha 0.5 --res 160 --out model.onnx"
RANDOM_WEIGHTS = "{path} has seeded random weights: it is for timing only, its answers mean nothing"
SEVEN_BITS = "{path} has weights of 7 bits: sums of 8-bit products saturate on this CPU (it has no VNNI)"
SYNTHETIC_IMAGES = "{path} is quantized for synthetic images: fit for timing alone; real ones: --calibration FOLDER"


def export(
    alpha: Annotated[float, typer.Option(help="Width multiplier.")],
    res: Annotated[int, typer.Option(help="Input resolution in pixels.")],
    out: Annotated[Path, typer.Option(help="File to write.")],
    batch: Annotated[str, typer.Option(help="Images per call, or 'symbolic' for any number.")] = "1",
    precision: Annotated[str, typer.Option(help="fp32, or int8: quantize/dequantize pairs.")] = "fp32",
    pad: Annotated[str, typer.Option(help="Channels: none, a multiple as 16, or auto: what pays on this CPU.")] = "none",
    runtime: Annotated[str, typer.Option(help="Whose liking 'auto' padding is.")] = "onnxruntime",
    calibration: o.Calibration = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random weights.")] = 0,
    variant: o.Variant = None,
    task: o.Task = None,
    classes: o.Classes = None,
    width_rule: o.WidthRule = None,
    conv_padding: o.ConvPadding = None,
    activation: o.Activation = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Write one MobileNet as an ONNX file, batch norm folded, with seeded random weights.

    Input `image`: (batch, 3, res, res) fp32, RGB scaled to −1 … 1. Output `logits`: (batch, classes) fp32; of some
    tasks `probabilities`, `embedding`, or `detections`: (1, 100, 6), box, probability and class of each.
    Padded channels change no logit. int8 scales come from the pictures in --calibration, or from synthetic ones.
    """
    from mnsweep.cell import Cell, Deployment, Design
    from mnsweep.cli.show import advise

    settings = o.given(
        variant=variant,
        task=task,
        classes=classes,
        width_rule=width_rule,
        conv_padding=conv_padding,
        activation=activation,
    )
    symbolic = batch == "symbolic"
    deployment = Deployment(precision, runtime, batch=1 if symbolic else _whole(batch), pad=pad)
    cell = Cell(Design(alpha, res, **settings), deployment)  # type: ignore[arg-type]
    path = write_random_network(cell, out, "--out", seed, symbolic, calibration=calibration)
    if json:
        about = {"schema_version": 1, "cell": cell.id, "onnx_path": str(path), "onnx_bytes": path.stat().st_size}
        typer.echo(dumps(about, indent=2))
    else:
        typer.echo(f"{path}: {cell.id}, {path.stat().st_size / 1e6:.2f} MB")
    asked = o.as_flags({"alpha": alpha, "res": res, **settings})
    advise(f"next: load it with onnxruntime.InferenceSession('{path}'), or measure it: mnsweep grid {asked}", quiet)


def _whole(batch: str) -> int:
    from mnsweep.errors import MnsweepError

    if not (batch.isascii() and batch.isdigit()):
        raise MnsweepError(f"--batch {batch}: a whole number of images, or 'symbolic'")
    return int(batch)


def write_random_network(
    cell: "Cell",
    path: Path,
    flag: str,
    seed: int = 0,
    symbolic: bool = False,
    channels: "Channels | None" = None,
    calibration: Path | None = None,
) -> Path:
    """Write the network of a cell with seeded random weights, and say on stderr what it is good for.

    `channels` are those that it was measured with, where it was; `flag` is the option that named `path`.
    """
    from mnsweep.errors import MnsweepError
    from mnsweep.prepare.deploy import prepare_export
    from mnsweep.worker.proxy import WorkerProcess

    if calibration and cell.deployment.precision != "int8":
        raise MnsweepError(f"--calibration {calibration}: only int8 is calibrated; add --precision int8")
    prepared = prepare_export(WorkerProcess, cell, seed, channels, calibration)
    try:
        path.write_bytes(prepared.model_of(cell, None if symbolic else 0))
    except OSError as error:
        raise MnsweepError(f"{flag} {path}: {error.strerror}") from None
    typer.echo(f"mnsweep: {RANDOM_WEIGHTS.format(path=path)}", err=True)
    if cell.deployment.precision == "int8" and prepared.weight_bits == 7:
        typer.echo(f"mnsweep: {SEVEN_BITS.format(path=path)}", err=True)
    if cell.deployment.precision == "int8" and calibration is None:
        typer.echo(f"mnsweep: {SYNTHETIC_IMAGES.format(path=path)}", err=True)
    return path
