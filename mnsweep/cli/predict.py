"""`mnsweep predict`: predict any cells from the models of an exploration."""

from mnsweep.app.requests import PredictRequest
from mnsweep.cli import options as o
from mnsweep.cli import output

EXAMPLE = "Example: mnsweep predict --alpha 0.3:0.4:0.01 --res 200"


@o.takes(PredictRequest)
def predict(
    request: PredictRequest,
    json: o.Json = False,
    csv: output.Csv = False,
    markdown: output.Markdown = False,
    quiet: o.Quiet = False,
) -> None:
    """Predict latency and accuracy of any cells from the models of `mnsweep explore`; nothing is measured.

    The latency of a cell is unknown if its deployment was not explored.
    """
    from mnsweep.app.predict import predict as predict_cells
    from mnsweep.cli.show import advise, cells_of, print_json
    from mnsweep.options import changed

    form = output.form_of(json=json, csv=csv, markdown=markdown)
    outcome = predict_cells(request)
    if json:
        folder = outcome.folder
        about = {"sweep": folder.sweep, "machine": folder.machine, "results_dir": str(folder.path)}
        print_json({**about, "cells": cells_of(outcome.results)})
    else:
        output.print_results(outcome.results, form, measured=True)
    advise(f"next: mnsweep grid {o.as_flags(changed(request.space))}", quiet)
