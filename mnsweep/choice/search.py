"""Which designs to measure: first a set that fills the space, then those whose prediction leaves the choice open."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mnsweep.cell import Design
from mnsweep.choice.frontier import pareto
from mnsweep.prediction.deployments import Predicted

Array = NDArray[np.float64]
NEARBY = 0.1  # of the space: closer designs crowd each other hardly more
EXCHANGED = 64  # designs at most that are looked at again, once the others are chosen


def space_filling(designs: Sequence[Design], count: int, taken: Sequence[Design] = ()) -> list[Design]:
    """Select `count` designs, far from each other and from the `taken` designs, and with as many different α as resolutions.

    The smallest and the largest design come first. The others keep the crowding low that Joseph et al. (2015, MaxPro) define:
    the sum over pairs of 1 / (distance in α² · distance in resolution²). A design with the α of another one is as unwelcome as
    one beside it: channel counts have effects of their own, which a second resolution does not show. Distances are in
    logarithms, each scaled to unit length, so that a step of 10 % is equally long everywhere. Deterministic.
    """
    places = _unit_square(designs)
    known = set(taken)
    crowding = np.zeros(len(designs))
    for i, design in enumerate(designs):
        if design in known:
            crowding += _crowding(places, i)
            crowding[i] = np.inf
    chosen: list[int] = []
    corners = (int(np.argmin(((places - corner) ** 2).sum(axis=1))) for corner in ((0, 0), (1, 1)))
    for i in corners:
        if i not in chosen and designs[i] not in known:
            chosen.append(i)
            crowding += _crowding(places, i)
    kept = len(chosen)
    while len(chosen) < min(count, np.isfinite(crowding).sum()):
        chosen.append(_least_crowded(crowding, chosen))
        crowding += _crowding(places, chosen[-1])
    for k in range(kept, len(chosen)) if len(chosen) <= EXCHANGED else ():
        crowding -= _crowding(places, chosen[k])
        chosen[k] = _least_crowded(crowding, [*chosen[:k], *chosen[k + 1 :]])
        crowding += _crowding(places, chosen[k])
    return [designs[i] for i in chosen[:count]]


def _crowding(places: Array, i: int) -> Array:
    """(designs,): how much design `i` crowds each of them."""
    return np.asarray(1 / ((places - places[i]) ** 2 + NEARBY**2).prod(axis=1))


def _least_crowded(crowding: Array, chosen: Sequence[int]) -> int:
    free = crowding.copy()
    free[list(chosen)] = np.inf
    return int(np.argmin(np.round(free, 6)))


def undecided(
    ids: Sequence[str],
    predicted: Mapping[str, Predicted],
    quality_pct: Mapping[str, float],
    budget_ms: float | None,
    count: int,
) -> list[str]:
    """Up to `count` cells among `ids` that are most worth measuring: those whose latency interval leaves the choice open.

    With a budget, these are the cells whose interval contains it, the best quality first. Without one, they are the cells
    that may be on the frontier of all `predicted` cells, first those with wide intervals and far from each other. A
    measured cell has an interval of zero width.
    """
    known = [key for key in ids if key in predicted and key in quality_pct]
    if budget_ms is not None:
        open_cells = [key for key in known if predicted[key].low_ms <= budget_ms <= predicted[key].high_ms]
        return sorted(open_cells, key=lambda key: (-quality_pct[key], predicted[key].ms))[:count]
    could_be = _could_be_on_frontier(known, predicted, quality_pct)
    width = {key: np.log(predicted[key].high_ms / predicted[key].low_ms) for key in could_be}
    log_ms = {key: float(np.log(predicted[key].ms)) for key in could_be}
    return _spread(could_be, place=log_ms, weight=width, count=count)


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


def _spread(ids: Sequence[str], place: Mapping[str, float], weight: Mapping[str, float], count: int) -> list[str]:
    """`count` of the cells with large weights, far from each other in `place`."""
    picked: list[str] = []
    while len(picked) < min(count, len(ids)):
        free = [key for key in ids if key not in picked]
        reach = {key: min((abs(place[key] - place[other]) for other in picked), default=1.0) for key in free}
        picked.append(max(free, key=lambda key: (weight[key] * reach[key], key)))
    return picked


def _unit_square(designs: Sequence[Design]) -> Array:
    logs = np.log([(design.alpha, design.resolution) for design in designs])
    low, high = logs.min(axis=0), logs.max(axis=0)
    places: Array = (logs - low) / np.where(high > low, high - low, 1.0)
    return places
