"""`mnsweep predict`: predict any cells from the models of an exploration."""

from mnsweep.app.requests import PredictRequest
from mnsweep.cli import options as o

EXAMPLE = "Example: mnsweep predict --alpha 0.3:0.4:0.01 --res 200"


@o.takes(PredictRequest)
def predict(request: PredictRequest, json: o.Json = False, quiet: o.Quiet = False) -> None:
    """Predict latency and accuracy of any cells from the models of `mnsweep explore`; nothing is measured.

    The latency of a cell is unknown if its deployment was not explored.
    """
    from mnsweep.app.predict import predict as predict_cells
    from mnsweep.cli.show import advise, cells_of, console, print_json, results_table
    from mnsweep.options import changed

    outcome = predict_cells(request)
    if json:
        folder = outcome.folder
        about = {"sweep": folder.sweep, "machine": folder.machine, "results_dir": str(folder.path)}
        print_json({**about, "cells": cells_of(outcome.results)})
    else:
        console().print(results_table(outcome.results, measured=True))
    advise(f"next: mnsweep grid {o.as_flags(changed(request.space))}", quiet)
