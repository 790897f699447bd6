"""Names of a network's outputs: its own, or those of ImageNet for 1,000 classes.

`data/imagenet.csv` has the 1,000 classes of ILSVRC 2012 in the order of their WordNet ids, each with the first name of its
synset. Source: timm 1.0 (Apache-2.0), `timm/data/_info/imagenet_synsets.txt` and `imagenet_synset_to_lemma.txt`.
"""

import csv
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path

from mnsweep.errors import MnsweepError

IMAGENET_CLASSES = 1000
BACKGROUND = "background"


@cache
def imagenet() -> tuple[str, ...]:
    """The names of ImageNet's 1,000 classes."""
    return tuple(name for _, name in _rows())


@cache
def synsets() -> tuple[str, ...]:
    """The WordNet ids of ImageNet's 1,000 classes (n01440764 …), which class folders are often named by."""
    return tuple(wnid for wnid, _ in _rows())


@cache
def _rows() -> tuple[tuple[str, str], ...]:
    with (files("mnsweep") / "accuracy/data/imagenet.csv").open(encoding="utf-8") as file:
        return tuple((row["wnid"], row["name"]) for row in csv.DictReader(file))


def read_labels(path: Path) -> tuple[str, ...]:
    """The labels in a file, one a line. Raises `MnsweepError` where it can't be read."""
    try:
        return tuple(line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip())
    except OSError as error:
        raise MnsweepError(f"`labels` {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise MnsweepError(f"`labels` {path}: is not text") from None


def labels_for(labels: Sequence[str], outputs: int, offset: int | None, where: object) -> tuple[str, ...]:
    """A name for each output: the given labels, ImageNet's where they fit, or else the numbers of the outputs.

    Outputs before `offset` are a background. Raises `MnsweepError` for labels whose number does not fit.
    """
    if labels:
        if len(labels) == outputs:
            return tuple(labels)
        if offset is not None and len(labels) + offset == outputs:
            return (*[BACKGROUND] * offset, *labels)
        raise MnsweepError(
            f"{where}: has {len(labels):,} labels for {outputs:,} outputs", "give one label a line for each output"
        )
    if offset is not None and outputs - offset == IMAGENET_CLASSES:
        return (*[BACKGROUND] * offset, *imagenet())
    return tuple(map(str, range(outputs)))
