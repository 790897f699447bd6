"""`mnsweep export`: one network as an ONNX file."""

from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mnsweep.cli import options as o

if TYPE_CHECKING:
    pass

EXAMPLE = "Example: mnsweep export --alpha 0.5 --res 160 --out model.onnx"
RANDOM_WEIGHTS = "{path} has seeded random weights: it is for timing only, its answers mean nothing"


def export(
    alpha: Annotated[float, typer.Option(help="Width multiplier.")],
    res: Annotated[int, typer.Option(help="Input resolution in pixels.")],
    out: Annotated[Path, typer.Option(help="File to write.")],
    batch: Annotated[str, typer.Option(help="Images per call, or 'symbolic' for any number.")] = "1",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random weights.")] = 0,
    classes: o.Classes = None,
    width_rule: o.WidthRule = None,
    conv_padding: o.ConvPadding = None,
    activation: o.Activation = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Write one MobileNet as an ONNX file, batch norm folded, with seeded random weights.

    Input `image`: (batch, 3, res, res) fp32, RGB scaled to −1 … 1. Output `logits`: (batch, classes) fp32.
    """
    from mnsweep.cell import Cell, Deployment, Design
    from mnsweep.cli.show import advise

    settings = o.given(classes=classes, width_rule=width_rule, conv_padding=conv_padding, activation=activation)
    symbolic = batch == "symbolic"
    deployment = Deployment(batch=1 if symbolic else _whole(batch))
    cell = Cell(Design(alpha, res, **settings), deployment)  # type: ignore[arg-type]
    path = write_random_network(cell.id, out, seed, symbolic)
    if json:
        about = {"schema_version": 1, "cell": cell.id, "onnx_path": str(path), "onnx_bytes": path.stat().st_size}
        typer.echo(dumps(about, indent=2))
    else:
        typer.echo(f"{path}: {cell.id}, {path.stat().st_size / 1e6:.2f} MB")
    advise(
        f"next: load it with onnxruntime.InferenceSession('{path}'), or measure it: mnsweep grid --alpha {alpha} --res {res}",
        quiet,
    )


def _whole(batch: str) -> int:
    from mnsweep.errors import MnsweepError

    if not (batch.isascii() and batch.isdigit()):
        raise MnsweepError(f"--batch {batch}: a whole number of images, or 'symbolic'")
    return int(batch)


def write_random_network(cell_id: str, path: Path, seed: int = 0, symbolic: bool = False, flag: str = "--out") -> Path:
    """Write the network of a cell with seeded random weights, and say on stderr what it is good for."""
    from mnsweep.arch.layers import expand
    from mnsweep.build.onnx_graph import build_onnx
    from mnsweep.build.weights import random_weights
    from mnsweep.cell import parse_cell
    from mnsweep.errors import MnsweepError

    cell = parse_cell(cell_id)
    layers = expand(cell.design)
    model = build_onnx(layers, random_weights(layers, seed), None if symbolic else cell.deployment.batch)
    try:
        path.write_bytes(model)
    except OSError as error:
        raise MnsweepError(f"{flag} {path}: {error.strerror}") from None
    typer.echo(f"mnsweep: {RANDOM_WEIGHTS.format(path=path)}", err=True)
    return path
