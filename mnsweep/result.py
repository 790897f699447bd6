"""The result of one cell: one row of `cells.csv`, one object of `--json`."""

from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

from mnsweep.arch.channel_padding import Channels, from_text
from mnsweep.cell import Deployment, Design

MEASURED, PREDICTED = "measured", "predicted"  # in `latency_source`
UNPADDED = "unpadded"  # in `deployed_channels`: no channel count was changed


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A cell, its counts, and its latency and quality; None where unknown.

    `params` and `mult_adds` are those of the logical network, as the paper counts them; `deployed_mult_adds`, `onnx_bytes` and
    `peak_activation_bytes` are those of the deployed network. Mult-adds are per image; latencies and `peak_activation_bytes`
    are per batch. `latency_source` is `measured` or `predicted`; if predicted, the interval is the prediction's.
    `quality_source` names a publication, and `quality_sd_pct` is in points. `on_frontier` is decided among measured cells,
    `predicted_on_frontier` among measured and predicted cells. `deployed_channels` is the resolved channel padding, e.g. `9>12
    19>20`, or `unpadded`; it is None if `auto` was not resolved. `warning` says why a deployment gains nothing. `weights` is
    the file of trained weights that was measured; None for random ones.
    """

    cell: str
    alpha: float
    resolution: int
    variant: str
    task: str
    classes: int
    width_rule: str
    conv_padding: str
    activation: str
    precision: str
    runtime: str
    threads: int
    batch: int
    pad: str
    params: int
    mult_adds: int
    deployed_mult_adds: int
    onnx_bytes: int
    peak_activation_bytes: int
    latency_p50_ms: float | None = None
    latency_ci_low_ms: float | None = None
    latency_ci_high_ms: float | None = None
    relative_ci_pct: float | None = None
    latency_p90_ms: float | None = None
    latency_p99_ms: float | None = None
    samples: int | None = None
    rounds: int | None = None
    stability: str | None = None
    latency_source: str | None = None
    quality_metric: str | None = None
    quality_pct: float | None = None
    quality_sd_pct: float | None = None
    quality_source: str | None = None
    top5_pct: float | None = None
    on_frontier: bool | None = None
    stability_reason: str | None = None
    images_per_s: float | None = None
    deployed_channels: str | None = None
    warning: str | None = None
    predicted_on_frontier: bool | None = None
    weights: str | None = None

    @property
    def design(self) -> Design:
        """The architecture. Raises `MnsweepError` if the columns describe no valid design."""
        return Design(**{name: getattr(self, name) for name in _DESIGN})

    @property
    def deployment(self) -> Deployment:
        """How the design is run. Raises `MnsweepError` if the columns describe no valid deployment."""
        return _deployment(*(getattr(self, name) for name in _DEPLOYMENT))

    @property
    def interval_ms(self) -> tuple[float, float] | None:
        """Lower and upper end of the 95 % interval of the latency; None where there is none."""
        low, high = self.latency_ci_low_ms, self.latency_ci_high_ms
        return None if low is None or high is None else (low, high)

    @property
    def relative_interval_ms(self) -> tuple[float, float] | None:
        """Lower and upper end of the 95 % interval against the other cells, in ms; None where there is none."""
        if self.latency_p50_ms is None or self.relative_ci_pct is None:
            return None
        factor = 1 + self.relative_ci_pct / 100
        return self.latency_p50_ms / factor, self.latency_p50_ms * factor

    @property
    def channels(self) -> Channels | None:
        """Deployed channel counts by logical ones, where they differ; None if `auto` was not resolved."""
        text = self.deployed_channels
        return None if text is None else from_text("" if text == UNPADDED else text)


COLUMNS = tuple(f.name for f in fields(Result))
_DESIGN, _DEPLOYMENT = (tuple(f.name for f in fields(part)) for part in (Design, Deployment))


@lru_cache(maxsize=256)  # thousands of cells share a few deployments
def _deployment(*values: Any) -> Deployment:
    return Deployment(**dict(zip(_DEPLOYMENT, values, strict=True)))


def ms_text(ms: float | None) -> str:
    """Milliseconds with three significant digits, for display."""
    return "–" if ms is None else f"{ms:#.3g}" if ms < 100 else f"{ms:.0f}"


def quality_text(result: Result) -> str:
    """A quality in percent, for display: as published, or predicted with its standard deviation."""
    if result.quality_pct is None:
        return "–"
    if result.quality_sd_pct is None:
        return f"{result.quality_pct:g} %"
    return f"{result.quality_pct:.1f} ± {result.quality_sd_pct:.1f} %"
