"""`mnsweep count`: counts and sizes by arithmetic alone."""

from collections.abc import Iterable, Iterator
from typing import Annotated, Any

import typer

from mnsweep.app.requests import CountRequest
from mnsweep.cli import options as o
from mnsweep.cli import output
from mnsweep.options import changed
from mnsweep.wording import count_of

EXAMPLE = "Example: mnsweep count --alpha 0.33 --res 200 --layers"
ABOUT = {"sweep": None, "machine": None, "results_dir": None}


@o.takes(CountRequest)
def count(
    request: CountRequest,
    layers: Annotated[bool, typer.Option("--layers", help="One design, layer by layer.")] = False,
    json: o.Json = False,
    csv: output.Csv = False,
    markdown: output.Markdown = False,
    quiet: o.Quiet = False,
) -> None:
    """Count params, mult-adds, file size and activation memory; nothing is built or run.

    Params and mult-adds are those of the logical network, without padding.
    Mult-adds are multiply-accumulates per image in convolutions and the
    classifier. Params include batch norm's scale and shift. File size and peak
    activation memory (for one image) are those of the network as deployed with
    --pad and --precision.
    """
    from mnsweep.app.count import count as count_cells
    from mnsweep.app.count import count_columns
    from mnsweep.cli.show import advise, cells_of, print_json

    form = output.form_of(json=json, csv=csv, markdown=markdown)
    if layers:
        _print_layers(request, form)
        return
    if csv:
        from mnsweep.sweep.cells_file import counts_to_csv

        sizes: dict[str, int] = {}
        typer.echo(counts_to_csv(_noting(sizes, count_columns(request))), nl=False)
        _warn_of_sizes(sizes)
        return
    results = count_cells(request)
    _warn_of_sizes({r.cell: r.onnx_bytes for r in results})
    if json:
        print_json({**ABOUT, "cells": cells_of(results)})
    else:
        output.print_results(results, form, measured=False)
        advise(f"next: mnsweep grid {o.as_flags(changed(request.space))}".rstrip(), quiet)


def _noting(sizes: dict[str, int], rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The same rows; the size of each file is noted by the id of the cell."""
    for row in rows:
        sizes[row["cell"]] = row["onnx_bytes"]
        yield row


def _warn_of_sizes(sizes: dict[str, int]) -> None:
    """Say which cells have an ONNX file that cannot exist."""
    from mnsweep.cli.show import warn
    from mnsweep.graph.file_size import impossible

    if reasons := [(cell, reason) for cell, size in sizes.items() if (reason := impossible(size))]:
        (cell, reason), *others = reasons
        more = f" (and {count_of(len(others), 'more cell')} likewise)" if others else ""
        warn(f"{cell} can't be built: {reason}{more}")


def _print_layers(request: CountRequest, form: output.Form) -> None:
    from mnsweep.app.count import count_layers
    from mnsweep.cli.show import cells_of, layers_table, print_json

    results, rows = count_layers(request)
    _warn_of_sizes({r.cell: r.onnx_bytes for r in results})
    if form is output.Form.JSON:
        print_json({**ABOUT, "layers": rows, "cells": cells_of(results)})
    elif form is output.Form.CSV:
        typer.echo(",".join(rows[0]))
        for row in rows:
            typer.echo(",".join(map(str, row.values())))
    else:
        output.print_table(layers_table(results[0].cell, rows), form)
