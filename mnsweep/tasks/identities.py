"""Identities: which pictures show the same? A folder for each identity, or pairs in CSV: `picture`, `second`, `same`."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, bootstrap

from mnsweep.accuracy.verification import QUALITY_RATE, RATES, pairs_of, squared_distances, threshold_at, true_accepts
from mnsweep.errors import MnsweepError
from mnsweep.pictures.folders import find_pictures
from mnsweep.tasks.kind import Examples, Outputs, Split, TaskScore, halves, held_out, no_label_file
from mnsweep.tasks.table import read_rows
from mnsweep.wording import count_of

SAME = {"1": 1, "0": 0, "true": 1, "false": 0, "same": 1, "different": 0}
FEWEST = 2  # pictures of an identity, and identities
RESAMPLED = 1000
CONFIDENCE = 0.95
MOST_PICTURES = 20_000  # all their pairs: 200 million


class Identities:
    """Pictures of identities; the quality is the share of equal pairs accepted at a false-accept rate of 1e-2.

    A network's outputs are an embedding. Identities to validate on may be others than those to train on.
    """

    metric, what, chooses, names_outputs = "true_accepts_at_1e-2", "identities", False, False

    def split(self, data: Path, seed: int) -> Split:
        """See `Kind`: identity folders in train/ and val/, or one folder of them, of whose identities a fifth is held out."""
        if own := halves(data):
            train, validation = (self.read(half, None, ()) for half in own)
        else:
            every = self.read(data, None, ())
            identities = np.unique(every.truths)
            kept, held = held_out(len(identities), seed)
            if len(held) < FEWEST:
                raise MnsweepError(
                    f"`data` {data}: has too few identities to hold two out", "add some, or sort into train and val"
                )
            train, validation = (
                every.part(np.flatnonzero(np.isin(every.truths, identities[part])).tolist()) for part in (kept, held)
            )
        if train.pairs is not None:
            raise MnsweepError(
                f"`data` {data}: pairs are to validate on", "sort the pictures to train on into identity folders"
            )
        for part in (train, validation):
            if part.pairs is None:
                _check_enough(data, part)
        return Split(train, validation, is_own=own is not None)

    def read(self, data: Path, labels: Path | None, names: Sequence[str]) -> Examples:
        """See `Kind`. An identity is a number, and its folder's name its name."""
        no_label_file(labels, self.what)
        if data.is_file():
            return _pairs(data)
        found = find_pictures(data)
        if not found.is_labelled:
            raise MnsweepError(f"`data` {data}: its pictures are not sorted", "put them into a folder for each identity")
        labels_of = np.array(found.labels, np.int64)
        return Examples(name=found.name, paths=found.paths, truths=labels_of, names=found.classes)

    def score(self, outputs: Outputs, examples: Examples) -> TaskScore:
        """See `Kind`."""
        pairs, same = pairs_among(examples)
        if not same.any() or same.all():
            lacking = "equal" if not same.any() else "different"
            raise MnsweepError(f"{examples.name}: has no pair of {lacking} identities", "nothing can be scored")
        distances = squared_distances(outputs, pairs)
        shares = true_accepts(distances[same], distances[~same])
        accepted = distances[same] < threshold_at(distances[~same], QUALITY_RATE)
        low, high = _interval(accepted, None if examples.pairs is not None else examples.truths[pairs[same, 0]])
        quality = float(accepted.mean())
        different = int((~same).sum())
        few = f"{count_of(different, 'different pair')}: too few for a false-accept rate of {QUALITY_RATE:g}; it is 0 in effect"
        return TaskScore(
            metric=self.metric,
            images=len(outputs),
            quality_pct=100 * quality,
            ci_low_pct=100 * min(low, quality),
            ci_high_pct=100 * max(high, quality),
            details={
                "roc": [{"false_accepts": r, "true_accepts": s} for r, s in zip(RATES, shares, strict=True)],
                "same_pairs": int(same.sum()),
                "different_pairs": different,
            },
            remarks=(few,) if different * QUALITY_RATE < 1 else (),
        )


def _check_enough(data: Path, found: Examples) -> None:
    counts = Counter(found.truths.tolist())
    number, fewest = min(counts.items(), key=lambda item: item[1])
    if fewest < FEWEST:
        what = f"`data` {data}: the identity {found.names[number]!r:.80} has {count_of(fewest, 'picture')}"
        raise MnsweepError(what, "it takes two at least to be recognized: add one, or remove its folder")
    if len(counts) < FEWEST:
        raise MnsweepError(f"`data` {data}: has {len(counts)} identity to tell apart", "add another one")


def _pairs(path: Path) -> Examples:
    rows = _read_pairs(path)
    places: dict[Path, int] = {}
    pairs = [(places.setdefault(a, len(places)), places.setdefault(b, len(places)), same) for a, b, same in rows]
    return Examples(
        name=path.stem,
        paths=tuple(places),
        truths=np.full(len(places), -1, np.int64),
        names=(),
        pairs=np.array(pairs, np.int64),
    )


def _read_pairs(path: Path) -> list[tuple[Path, Path, int]]:
    found = []
    for row in read_rows(path, (("second",), ("same",))):
        second = path.parent / row.values["second"]
        if not second.is_file():
            raise MnsweepError(f"{row.where}: {second}: no such picture", "paths are relative to the folder of the CSV file")
        if row.values["same"].casefold() not in SAME:
            raise MnsweepError(f"{row.where}: same is {row.values['same']!r:.40}", "write 1 for the same identity, else 0")
        found.append((row.picture, second, SAME[row.values["same"].casefold()]))
    return found


def pairs_among(examples: Examples) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Pairs of pictures, as their places, and whether both are of one identity."""
    if examples.pairs is not None:
        return examples.pairs[:, :2], examples.pairs[:, 2].astype(bool)
    if len(examples.paths) > MOST_PICTURES:
        what = f"{examples.name}: {len(examples.paths):,} pictures have too many pairs"
        raise MnsweepError(what, f"at most {MOST_PICTURES:,}, or a CSV file of pairs (picture,second,same)")
    return pairs_of(examples.truths)


def _interval(accepted: NDArray[np.bool_], identities: NDArray[np.int64] | None) -> tuple[float, float]:
    """95 %: over identities drawn with replacement, at the same threshold; by Wilson's formula for listed pairs."""
    if identities is None or len(np.unique(identities)) < FEWEST:
        ends = binomtest(int(accepted.sum()), len(accepted)).proportion_ci(CONFIDENCE, method="wilson")
        return float(ends.low), float(ends.high)
    _, of = np.unique(identities, return_inverse=True)
    right, total = np.bincount(of, accepted), np.bincount(of)

    def drawn(places: NDArray[np.int64], axis: int = -1) -> NDArray[np.float64]:
        share: NDArray[np.float64] = right[places].sum(axis) / total[places].sum(axis)
        return share

    told = bootstrap((np.arange(len(total)),), drawn, n_resamples=RESAMPLED, method="percentile", rng=0)
    return float(told.confidence_interval.low), float(told.confidence_interval.high)
