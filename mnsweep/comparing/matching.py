"""Which cells of two sweeps correspond: the same cell, or else the same network, or one of the same size."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from mnsweep.comparing.side import Network, Side
from mnsweep.errors import MnsweepError

Key: TypeAlias = Callable[[str, Network | None], Hashable | None]  # of a cell; None where it has none of this kind
_KEYS: dict[str, Key] = {  # from the most to the least alike
    "cell": lambda cell, network: cell,
    "design and precision": lambda cell, n: (n.design, n.precision) if n and n.design else None,
    "design": lambda cell, n: n.design if n else None,
    "α, resolution and precision": lambda cell, n: (n.alpha, n.resolution, n.precision) if n else None,
    "α and resolution": lambda cell, n: (n.alpha, n.resolution) if n else None,
}


@dataclass(frozen=True, slots=True)
class Matched:
    """Pairs of cell ids, A's and B's, in A's order, and `by` what they are alike."""

    pairs: tuple[tuple[str, str], ...]
    by: str


def match(a: Side, b: Side) -> Matched:
    """The cells that both sides measured, by the first thing that any of them have in common.

    What names several cells of one side names none. Raises `MnsweepError` where no two cells correspond.
    """
    for by, key in _KEYS.items():
        in_a, in_b = _named(a, key), _named(b, key)
        if pairs := tuple((cell, in_b[name]) for name, cell in in_a.items() if name in in_b):
            return Matched(pairs, by)
    shown = [f"{side.sweep} on {side.machine} has {_few(list(side.estimates))}" for side in (a, b)]
    raise MnsweepError(f"no cell of one sweep corresponds to one of the other: {', '.join(shown)}", "measure the same cells")


def _named(side: Side, key: Key) -> dict[Hashable, str]:
    """The timed cells by the key, without those that share one, and without those that have none."""
    keys = [(key(cell, side.networks.get(cell)), cell) for cell in side.estimates]
    several, seen = set[Hashable](), set[Hashable]()
    for name, _ in keys:
        (several if name in seen else seen).add(name)
    return {name: cell for name, cell in keys if name is not None and name not in several}


def _few(cells: Sequence[str]) -> str:
    return ", ".join(cells[:2]) + (f" and {len(cells) - 2:,} more" if len(cells) > 2 else "")
