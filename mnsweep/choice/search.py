"""Which designs to measure: first those that tell the latency model most, then those that tell most about the open choice."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mnsweep.cell import Design
from mnsweep.choice.frontier import pareto
from mnsweep.choice.optimal import d_optimal, most_telling
from mnsweep.prediction.deployments import Predicted

Array = NDArray[np.float64]


def informative(designs: Sequence[Design], rows: Array, count: int, taken: Sequence[Design] = ()) -> list[Design]:
    """Select `count` designs that tell the latency model most besides the `taken` designs; the corners of the space come first.

    `rows` (designs, terms) is the model's design matrix, as in `choice/optimal.py`. Corners are the smallest and the largest
    design, and if four designs fit, also the other two: what a model lacks shows most beyond the measured designs. The set is
    never worse than that of `space_filling`, by the same measure. Deterministic.
    """
    rival = space_filling(designs, count, taken)
    places = {design: i for i, design in enumerate(designs)}
    given = [places[design] for design in dict.fromkeys(taken) if design in places]
    corners = [i for i in _corners(designs) if i not in given]
    room = min(count, 4 if len(given) + count >= 4 else 2)
    chosen = d_optimal(
        rows,
        len(given) + count,
        fixed=[*given, *corners[:room]],
        rival=[*given, *(places[design] for design in rival)],
    )
    return [designs[i] for i in chosen[len(given) :]]


def about_all(designs: Sequence[Design], rows: Array, count: int, taken: Sequence[Design] = ()) -> list[Design]:
    """Select `count` designs, too few for all corners, that leave the least uncertainty about all `designs`.

    Besides the `taken` designs, the smallest and the largest come first, then those with the lowest mean predictive variance,
    one after another (`most_telling`). Four corners would leave a handful little to tell of what is between them.
    """
    given = [i for i, design in enumerate(designs) if design in set(taken)]
    ends = [i for i in _corners(designs)[:2] if i not in given][:count]
    inner = most_telling(rows, range(len(designs)), count - len(ends), [*given, *ends])
    return [designs[i] for i in [*ends, *inner]]


def space_filling(designs: Sequence[Design], count: int, taken: Sequence[Design] = ()) -> list[Design]:
    """Select `count` designs, far from each other and from the `taken` designs; the corners of the space come first.

    Each further design has the largest distance to its nearest neighbour (maximin, Johnson et al. 1990). Distances are in
    log α and log resolution, each scaled to unit length, so that a step of 10 % is equally long everywhere. Deterministic.
    """
    places = _unit_square(designs)
    chosen = [i for i, design in enumerate(designs) if design in set(taken)]
    given = len(chosen)
    chosen += [i for i in _corners(designs) if i not in chosen]
    while len(chosen) < min(given + count, len(designs)):
        gaps = ((places[:, None] - places[chosen]) ** 2).sum(axis=2).min(axis=1)
        chosen.append(int(np.argmax(gaps)))
    return [designs[i] for i in chosen[given : given + count]]


def undecided(
    ids: Sequence[str], predicted: Mapping[str, Predicted], quality_pct: Mapping[str, float], budget_ms: float | None
) -> list[str]:
    """The cells among `ids` whose latency interval leaves the choice open.

    With a budget, these are the cells whose interval contains it, the best quality first. Without one, they are the cells
    that may be on the frontier of all `predicted` cells, in the order of `ids`. A measured cell has an interval of zero width.
    """
    known = [key for key in ids if key in predicted and key in quality_pct]
    if budget_ms is None:
        return _could_be_on_frontier(known, predicted, quality_pct)
    open_cells = [key for key in known if predicted[key].low_ms <= budget_ms <= predicted[key].high_ms]
    return sorted(open_cells, key=lambda key: (-quality_pct[key], predicted[key].ms))


def representatives(ids: Sequence[str], latency_ms: Mapping[str, float], count: int) -> list[str]:
    """Up to `count` of the cells, spread evenly over the logarithm of latency, including the fastest and the slowest."""
    if count <= 0:
        return []
    ordered = sorted(ids, key=lambda key: (latency_ms[key], key))
    if count >= len(ordered):
        return ordered
    logs = np.log([latency_ms[key] for key in ordered])
    picked: list[int] = []
    for target in np.linspace(logs[0], logs[-1], count) if count > 1 else [np.median(logs)]:
        free = [i for i in range(len(ordered)) if i not in picked]
        picked.append(min(free, key=lambda i: abs(logs[i] - target)))
    return [ordered[i] for i in sorted(picked)]


def _could_be_on_frontier(
    ids: Sequence[str], predicted: Mapping[str, Predicted], quality_pct: Mapping[str, float]
) -> list[str]:
    """The cells that may be on the frontier: no cell of better quality has an interval that lies entirely below theirs."""
    ends = [(p.high_ms, quality_pct[key]) for key, p in predicted.items() if key in quality_pct]
    frontier = [point for point, on in zip(ends, pareto(ends), strict=True) if on]
    slowest, best = np.array(sorted(frontier)).T if frontier else (np.array([]), np.array([]))
    certainly_faster = {key: int(np.searchsorted(slowest, predicted[key].low_ms, side="right")) for key in ids}
    return [key for key, count in certainly_faster.items() if count == 0 or best[count - 1] <= quality_pct[key]]


def _corners(designs: Sequence[Design]) -> list[int]:
    """The designs nearest to the corners of the space: the smallest, the largest, then the other two."""
    places = _unit_square(designs)
    nearest = (int(np.argmin(((places - corner) ** 2).sum(axis=1))) for corner in ((0, 0), (1, 1), (0, 1), (1, 0)))
    return list(dict.fromkeys(nearest))


def _unit_square(designs: Sequence[Design]) -> Array:
    logs = np.log([(design.alpha, design.resolution) for design in designs])
    low, high = logs.min(axis=0), logs.max(axis=0)
    places: Array = (logs - low) / np.where(high > low, high - low, 1.0)
    return places
