"""A kind of label: the interface, and what it works on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mnsweep.errors import MnsweepError

Truths: TypeAlias = NDArray[Any]  # (pictures, …): what is known of each picture, as numbers
Outputs: TypeAlias = NDArray[np.float32]  # (pictures, outputs)
TRAIN, VALIDATION = "train", "val"
HELD_OUT = 0.2  # of the pictures, where nothing says which are for validation


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """Pictures with what is known of them; `names` are those of a network's outputs, in order.

    `remarks` are what a user should know of the files, e.g. what was left out. `pairs` (n, 3) are two places and whether both
    show the same, where a list names them; else all pairs count. `sizes` (pictures, 2) are height and width in pixels, where
    boxes need them.
    """

    name: str
    paths: tuple[Path, ...]
    truths: Truths
    names: tuple[str, ...]
    remarks: tuple[str, ...] = ()
    pairs: NDArray[np.int64] | None = None
    sizes: NDArray[np.int64] | None = None

    def part(self, places: Sequence[int]) -> "Examples":
        """Some of the pictures, and the pairs of them."""
        chosen, number = list(places), {place: i for i, place in enumerate(places)}
        pairs = self.pairs
        if pairs is not None:
            known = [(number[a], number[b], same) for a, b, same in pairs.tolist() if a in number and b in number]
            pairs = np.array(known, np.int64).reshape(-1, 3)
        sizes = None if self.sizes is None else self.sizes[chosen]
        paths = tuple(self.paths[place] for place in chosen)
        return replace(self, paths=paths, truths=self.truths[chosen], sizes=sizes, pairs=pairs)


@dataclass(frozen=True, slots=True)
class Split:
    """What to train on and what to validate on, with the same outputs; `is_own` where the files say which is which."""

    train: Examples
    validation: Examples
    is_own: bool

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the network's outputs, in order."""
        return self.train.names

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a user should know of the files."""
        return tuple(dict.fromkeys((*self.train.remarks, *self.validation.remarks)))


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskScore:
    """A quality in % of `metric` (`accuracy/metrics.py`) on so many pictures, with a 95 % interval.

    `top5_pct` is for classes alone. `details` has the kind's other figures, by name. Pictures or outputs that can't be scored
    are said in `remarks`.
    """

    metric: str
    images: int
    quality_pct: float
    ci_low_pct: float
    ci_high_pct: float
    top5_pct: float | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


class Kind(Protocol):
    """A kind of label. `metric` names its quality, `what` its outputs in the plural.

    Where `chooses`, the answer to a picture is one of the outputs, as probabilities; else the file's outputs are the answer.
    Where `names_outputs`, the labels decide how many outputs a network has, and what they are called.
    """

    metric: str
    what: str
    chooses: bool
    names_outputs: bool

    def split(self, data: Path, seed: int) -> Split:
        """What to train and to validate on. Raises `MnsweepError` for data that nothing can be trained on."""
        ...

    def read(self, data: Path, labels: Path | None, names: Sequence[str]) -> Examples:
        """Pictures to score a network on whose outputs are called `names`, or of which nothing is known.

        `labels` is a file beside pictures without their own, which few kinds take. Raises `MnsweepError` for what does not fit.
        """
        ...

    def score(self, outputs: Outputs, examples: Examples) -> TaskScore:
        """The score of the outputs (pictures, …). Raises `MnsweepError` where nothing can be scored."""
        ...


def halves(data: Path) -> tuple[Path, Path] | None:
    """The folders `train` and `val` of a folder that has both."""
    both = data / TRAIN, data / VALIDATION
    return both if all(half.is_dir() for half in both) else None


def held_out(count: int, seed: int) -> tuple[list[int], list[int]]:
    """Places to train on, and a fifth to validate on, at least one."""
    held = set(Random(seed).sample(range(count), max(1, round(HELD_OUT * count))))
    return [place for place in range(count) if place not in held], sorted(held)


def no_label_file(labels: Path | None, kind: str) -> None:
    """Raise `MnsweepError` where a label file is named for a kind that takes none."""
    if labels is not None:
        raise MnsweepError(f"`labels` {labels}: {kind} are read from `data`", "leave it out")


def check_names(mine: Sequence[str], wanted: Sequence[str], where: object, what: str) -> None:
    """Raise `MnsweepError` where the outputs of a network are called otherwise than those of the files."""
    if lacking := [name for name in wanted if name not in mine]:
        fix = f"the network has {', '.join(map(repr, wanted[:5]))}{' …' * (len(wanted) > 5)}"
        raise MnsweepError(f"`data` {where}: has nothing about {lacking[0]!r:.80}, one of the network's {what}", fix)
