"""Predicted latencies of unmeasured cells: one latency model for each deployment, fitted to its measured cells."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from mnsweep.arch.channel_padding import Channels
from mnsweep.cell import Cell, Deployment
from mnsweep.names import TASKS, VARIANTS
from mnsweep.prediction.latency_model import LatencyModel, fewest, fit_latency, scores
from mnsweep.prediction.like import FEWEST_THERE, Like, LikeModel
from mnsweep.prediction.prior import prior_like, prior_of
from mnsweep.prediction.terms import TERMS

Models = Mapping[Deployment, LatencyModel]


@dataclass(frozen=True, slots=True)
class Predicted:
    """Predicted latency of a cell per batch, in ms at the machine's typical speed, with the ends of its 95 % interval."""

    ms: float
    low_ms: float
    high_ms: float


def is_modelled(cell: Cell) -> bool:
    """Whether the latency model covers this cell: certain MobileNet variants, and tasks that are not detection."""
    return VARIANTS[cell.design.variant].predicted and not TASKS[cell.design.task].detects


def fit_models(
    cells: Sequence[Cell],
    latency_ms: Mapping[str, float],
    channels: Mapping[str, Channels],
    held_out: Collection[str] = (),
    *,
    prior: str = "",
    like: Like | None = None,
) -> dict[Deployment, LatencyModel]:
    """Fit a latency model for each deployment that has enough measured cells (`latency_model.fewest`).

    `latency_ms` (milliseconds per batch), `channels` (resolved padding) and `held_out` are keyed by cell id. Cells that are
    `held_out`, or have no latency or no resolved padding, are not fitted. The models start from those that are `like` them, or
    else from `prior`, the name of a prior from other machines; for deployments that neither covers, there is none.
    """
    models = {}
    for deployment, fitted in _fitted(cells, latency_ms, channels, held_out).items():
        start = prior_of(deployment, prior, like)
        if len(fitted) >= fewest(start):
            paddings, ms = [channels[c.id] for c in fitted], [latency_ms[c.id] for c in fitted]
            models[deployment] = fit_latency(fitted, paddings, ms, start)
    return models


def like_models(
    cells: Sequence[Cell], latency_ms: Mapping[str, float], channels: Mapping[str, Channels]
) -> dict[Deployment, LikeModel]:
    """What each deployment's model says to other machines, for those with at least `FEWEST_THERE` measured cells.

    Models are fitted to all measured cells, and to nothing else. Numbers have nine digits, as in `model_file.py`.
    """
    told = {}
    for deployment, fitted in _fitted(cells, latency_ms, channels, ()).items():
        if len(fitted) >= FEWEST_THERE:
            paddings, ms = [channels[c.id] for c in fitted], [latency_ms[c.id] for c in fitted]
            model = fit_latency(fitted, paddings, ms)
            errors = scores(model, fitted, paddings, ms, prior_like(model.fit.ns))
            ns = dict(zip(TERMS, map(_rounded, model.fit.ns), strict=True))
            told[deployment] = LikeModel(deployment, ns, tuple(map(_rounded, errors)))
    return told


def _fitted(
    cells: Sequence[Cell], latency_ms: Mapping[str, float], channels: Mapping[str, Channels], held_out: Collection[str]
) -> dict[Deployment, list[Cell]]:
    """The cells that models can be fitted to, by deployment."""
    known = [c for c in cells if is_modelled(c) and c.id in latency_ms and c.id in channels and c.id not in held_out]
    by_deployment: dict[Deployment, list[Cell]] = {}
    for cell in known:
        by_deployment.setdefault(cell.deployment, []).append(cell)
    return by_deployment


def _rounded(number: float) -> float:
    return float(f"{number:.9g}")


def predict(models: Models, cells: Sequence[Cell], channels: Mapping[str, Channels]) -> dict[str, Predicted]:
    """Predict latencies, by cell id; a cell whose deployment has no model or whose padding is unresolved is left out."""
    predicted: dict[str, Predicted] = {}
    known = {key: cell for cell in cells if is_modelled(cell) and (key := cell.id) in channels}
    for deployment, model in models.items():
        alike = {key: cell for key, cell in known.items() if cell.deployment == deployment}
        if alike:
            ms, low_ms, high_ms = model.predict(list(alike.values()), [channels[key] for key in alike])
            ends = zip(ms.tolist(), low_ms.tolist(), high_ms.tolist(), strict=True)
            predicted |= dict(zip(alike, (Predicted(*each) for each in ends), strict=True))
    return predicted
