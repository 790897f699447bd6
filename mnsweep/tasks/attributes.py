"""Attributes: several may be true of a picture at once. Labels in CSV: `picture`, then a column of 1 and 0 for each."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.stats import bootstrap

from mnsweep.accuracy.average_precision import mean_average_precision
from mnsweep.errors import MnsweepError
from mnsweep.tasks.kind import Examples, Outputs, Split, TaskScore, check_names, halves, held_out, no_label_file
from mnsweep.tasks.table import read_rows, table_in

FILE = "attributes.csv"
VALUES = {"1": 1.0, "0": 0.0, "-1": 0.0, "true": 1.0, "false": 0.0, "": float("nan")}  # CelebA writes −1 for 0
RESAMPLED = 200  # times, for the interval
UNKNOWN = "has one value only, so that nothing can be learned of it"


class Attributes:
    """Multi-label pictures; the quality is the mean of the attributes' average precision (the paper's Table 12)."""

    metric, what, chooses, names_outputs = "mean_ap", "attributes", False, True

    def split(self, data: Path, seed: int) -> Split:
        """See `Kind`: `attributes.csv` in each of train/ and val/, or one file, of which a fifth is held out."""
        if own := halves(data):
            train, validation = (self.read(half, None, ()) for half in own)
            if train.names != validation.names:
                odd = sorted({*train.names} ^ {*validation.names} or {*train.names})[0]
                raise MnsweepError(
                    f"`data` {data}: train and val have other attributes, e.g. {odd!r:.80}", "name the same ones"
                )
        else:
            every = self.read(data, None, ())
            kept, held = held_out(len(every.paths), seed)
            train, validation = every.part(kept), every.part(held)
        for part, where in ((train, "to train on"), (validation, "to validate on")):
            for i, name in enumerate(part.names):
                if len(np.unique(part.truths[:, i][~np.isnan(part.truths[:, i])])) < 2:
                    raise MnsweepError(f"`data` {data}: the attribute {name!r:.80} {UNKNOWN}: {where}", "leave the column out")
        return Split(train, validation, is_own=own is not None)

    def read(self, data: Path, labels: Path | None, names: Sequence[str]) -> Examples:
        """See `Kind`."""
        no_label_file(labels, self.what)
        path = table_in(data, FILE)
        rows = read_rows(path)
        columns = list(rows[0].values)
        check_names(columns, names, path, self.what)
        wanted = tuple(names or columns)
        if not wanted:
            raise MnsweepError(f"`data` {path}: has no attributes", "add a column for each, of 1 and 0")
        truths = np.array([[_value(row.values[name], row.where, name) for name in wanted] for row in rows], np.float32)
        return Examples(name=_name(path), paths=tuple(row.picture for row in rows), truths=truths, names=wanted)

    def score(self, outputs: Outputs, examples: Examples) -> TaskScore:
        """See `Kind`. Attributes that no picture has do not count."""
        truths = examples.truths
        mean, each = mean_average_precision(truths, outputs)
        if np.isnan(mean):
            raise MnsweepError(f"{examples.name}: none of the attributes is true of any picture", "nothing can be scored")
        low, high = _interval(truths, outputs, mean)
        of = dict(zip(examples.names, each, strict=True))
        absent = [name for name, found in of.items() if np.isnan(found)]
        return TaskScore(
            metric=self.metric,
            images=len(outputs),
            quality_pct=100 * mean,
            ci_low_pct=100 * low,
            ci_high_pct=100 * high,
            details={"ap_pct": {name: None if np.isnan(found) else 100 * float(found) for name, found in of.items()}},
            remarks=tuple(f"no picture has the attribute {name!r:.80}; it does not count" for name in absent),
        )


def _value(text: str, where: str, name: str) -> float:
    if text.casefold() not in VALUES:
        raise MnsweepError(f"{where}: {name} is {text!r:.40}", "write 1 or 0, or nothing where it is unknown")
    return VALUES[text.casefold()]


def _name(path: Path) -> str:
    return path.resolve().parent.name if path.name == FILE else path.stem


def _interval(truths: Outputs, outputs: Outputs, mean: float) -> tuple[float, float]:
    """The 95 % interval over pictures drawn with replacement."""
    if len(truths) < 2:
        return 0.0, 1.0

    def drawn(places: Outputs) -> float:
        found = mean_average_precision(truths[places], outputs[places])[0]
        return mean if np.isnan(found) else found

    places = np.arange(len(truths))
    told = bootstrap((places,), drawn, n_resamples=RESAMPLED, vectorized=False, method="percentile", rng=0)
    ends = told.confidence_interval
    return min(float(ends.low), mean), max(float(ends.high), mean)
