"""The curve of a training as CSV: a line for each epoch."""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, fields

from mnsweep.training.loop import Epoch

DIGITS = 6  # significant ones


def curve_csv(epochs: Sequence[Epoch]) -> str:
    """Columns as in `Epoch`."""
    out = io.StringIO()
    writer = csv.DictWriter(out, [f.name for f in fields(Epoch)], lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _text(value) for name, value in asdict(epoch).items()} for epoch in epochs)
    return out.getvalue()


def _text(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.{DIGITS}g}"
