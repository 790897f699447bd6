"""`mnsweep count`: the paper side alone."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from mnsweep.cli import options as o
from mnsweep.space import MAX_DESIGNS

if TYPE_CHECKING:
    from mnsweep.cell import Cell
    from mnsweep.result import Result

EXAMPLE = "Example: mnsweep count --alpha 0.33 --res 200 --layers"


def count(
    alpha: o.Alpha = None,
    res: o.Res = None,
    precision: o.Precision = None,
    pad: o.CountPad = None,
    layers: Annotated[bool, typer.Option("--layers", help="One design, layer by layer.")] = False,
    csv: Annotated[
        bool, typer.Option("--csv", help="Print CSV, with the columns of cells.csv.", rich_help_panel=o.OUTPUT)
    ] = False,
    variant: o.Variant = None,
    task: o.Task = None,
    classes: o.Classes = None,
    width_rule: o.WidthRule = None,
    conv_padding: o.ConvPadding = None,
    activation: o.Activation = None,
    quality_source: o.QualitySource = None,
    max_designs: o.MaxDesigns = MAX_DESIGNS,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Count params, mult-adds, file size and activation memory; nothing is built or run.

    Mult-adds are multiply-accumulates per image of convolutions and the classifier; params include batch
    norm's scale and shift; both are of the logical network. File size and activations, the most that is alive
    at once for one image, are of the deployed one, where --pad and --precision say which.
    """
    from mnsweep.accuracy.published import DEFAULT_SOURCE
    from mnsweep.cli.show import advise, console, results_table
    from mnsweep.errors import MnsweepError
    from mnsweep.space import Space
    from mnsweep.sweep.cells_file import to_csv, to_document
    from mnsweep.sweep.table import count_table

    axes = o.given(
        alpha=alpha,
        res=res,
        precision=precision,
        pad=pad,
        variant=variant,
        task=task,
        classes=classes,
        width_rule=width_rule,
        conv_padding=conv_padding,
        activation=activation,
    )
    cells = Space(**axes, max_designs=max_designs).cells()  # type: ignore[arg-type]
    results = count_table(cells, quality_source or DEFAULT_SOURCE)
    if layers and len(cells) > 1:
        raise MnsweepError(f"--layers shows one design, this grid has {len(cells)}: give one --alpha and one --res")
    about = {"sweep": None, "machine": None, "results_dir": None}
    if layers:
        _print_layers(cells[0], results, json, csv)
    elif json:
        typer.echo(to_document(results, **about))
    elif csv:
        typer.echo(to_csv(results), nl=False)
    else:
        console().print(results_table(results, measured=False))
        advise(f"next: mnsweep grid {o.as_flags(axes)}".rstrip(), quiet)


def _print_layers(cell: "Cell", results: "Sequence[Result]", json: bool, csv: bool) -> None:
    from mnsweep.cli.show import console, layers_table
    from mnsweep.sweep.cells_file import to_document
    from mnsweep.sweep.table import layer_rows

    rows = layer_rows(cell)
    if json:
        typer.echo(to_document(results, sweep=None, machine=None, results_dir=None, layers=rows))
    elif csv:
        typer.echo(",".join(rows[0]))
        for row in rows:
            typer.echo(",".join(map(str, row.values())))
    else:
        console().print(layers_table(cell.id, rows))
