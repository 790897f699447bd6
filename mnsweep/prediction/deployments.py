"""Predicted latencies of unmeasured cells: one latency model for each deployment, fitted to its measured cells."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from mnsweep.arch.channel_padding import Channels
from mnsweep.cell import Cell, Deployment
from mnsweep.names import TASKS, VARIANTS
from mnsweep.prediction.latency_model import FEWEST, LatencyModel, fit_latency
from mnsweep.prediction.prior import prior_for

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
) -> dict[Deployment, LatencyModel]:
    """Fit a latency model for each deployment that has at least `FEWEST` measured cells.

    `latency_ms` (milliseconds per batch), `channels` (resolved padding) and `held_out` are keyed by cell id. Cells that are
    `held_out`, or have no latency or no resolved padding, are not fitted. `prior` is the name of a prior from other machines;
    without a name, and for deployments that it does not cover, there is none.
    """
    known = [c for c in cells if is_modelled(c) and c.id in latency_ms and c.id in channels and c.id not in held_out]
    models = {}
    for deployment in dict.fromkeys(cell.deployment for cell in known):
        fitted = [cell for cell in known if cell.deployment == deployment]
        if len(fitted) >= FEWEST:
            paddings, ms = [channels[c.id] for c in fitted], [latency_ms[c.id] for c in fitted]
            models[deployment] = fit_latency(fitted, paddings, ms, prior_for(prior, deployment))
    return models


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
