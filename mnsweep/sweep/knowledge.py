"""Latencies, failures, padding and latency models from the records of a sweep. Pure: reads and writes no files."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from mnsweep.arch.channel_padding import Channels, from_text
from mnsweep.arch.deployed import deployed_channels
from mnsweep.cell import Cell
from mnsweep.choice.verification import Verification, verify
from mnsweep.estimate.fit import Estimate, Fit, Movement, fit
from mnsweep.prediction.deployments import Models, fit_models, predict
from mnsweep.record import Records
from mnsweep.sweep.file import Prediction, Sweep

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Knowledge:
    """The current knowledge of a sweep.

    `fit` has an estimate for every measured cell, and how far the machine's speed moved. By cell id, `failures` gives the
    reason of each cell that failed, and `channels` the resolved padding of each cell where it is known. If the sweep
    predicts, `models` has a latency model for each deployment with enough measured cells.
    """

    sweep: Sweep
    records: Records
    fit: Fit
    failures: Mapping[str, str]
    channels: Mapping[str, Channels]
    models: Models

    @property
    def estimates(self) -> Mapping[str, Estimate]:
        """The estimate of every measured cell, by cell id."""
        return self.fit.estimates

    @property
    def movement(self) -> Movement:
        """How far the machine's own speed moved."""
        return self.fit.movement

    @property
    def rounds(self) -> int:
        """How many rounds were timed, over all processes."""
        return len({(block.process, block.round) for block in self.records.blocks})

    @property
    def latency_ms(self) -> dict[str, float]:
        """Median latency of every measured cell, in milliseconds per batch, by cell id."""
        return {cell: estimate.p50_ms for cell, estimate in self.fit.estimates.items()}

    @property
    def prediction(self) -> Prediction:
        """The sweep's prediction settings, or the defaults if it has none."""
        return self.sweep.prediction or Prediction()

    def cells(self, ids: Collection[str]) -> list[Cell]:
        """The cells of the sweep with these ids."""
        wanted = set(ids)
        return [cell for cell in self.sweep.cells if cell.id in wanted]

    def was_tried(self, cell: Cell) -> bool:
        """Whether the cell was measured or has failed."""
        return cell.id in self.estimates or cell.id in self.failures

    def verification(self, qualities: Mapping[str, float]) -> Verification | None:
        """Compare predictions for the verified cells with what is known now; None if no verified cell can be compared.

        The predictions come from models fitted without the verified and held-out cells. `qualities` are in percent, by cell id.
        """
        if not self.prediction.verified:
            return None
        apart = {*self.prediction.verified, *self.prediction.held_out}
        latency_ms = self.latency_ms
        of_others = {key: ms for key, ms in latency_ms.items() if key not in apart}
        beliefs = fit_models(self.sweep.cells, of_others, self.channels, prior=self.prediction.prior, like=self.prediction.like)
        left = [cell for cell in self.sweep.cells if cell.id not in self.failures]
        before, after = ({key: p.ms for key, p in predict(m, left, self.channels).items()} for m in (beliefs, self.models))
        checked = [key for key in self.prediction.verified if key in latency_ms and key in before]
        return verify(checked, before | of_others, after | latency_ms, qualities)


def understand(sweep: Sweep, records: Records) -> Knowledge:
    """Estimate latencies, resolve padding, and fit the models, from the records of the sweep."""
    padding = {**records.padding, **of_twins(records.same, records.padding)}
    kept = {cell: from_text(text) for cell, text in padding.items()}
    channels = deployed_channels(sweep.cells, kept, records.probes)
    fitted = fit(records.blocks)
    if sweep.items:  # a canary of their own is none of them
        fitted = replace(fitted, estimates={item: e for item, e in fitted.estimates.items() if item in sweep.items})
    fitted = replace(fitted, estimates={**fitted.estimates, **of_twins(records.same, fitted.estimates)})
    ids = {*(cell.id for cell in sweep.cells), *sweep.items}
    failed = {**records.failures, **of_twins(records.same, records.failures)}
    failures = {cell: reason for cell, reason in failed.items() if cell in ids}
    latency_ms = {cell: estimate.p50_ms for cell, estimate in fitted.estimates.items()}
    models: Models = {}
    if told := sweep.prediction:
        models = fit_models(sweep.cells, latency_ms, channels, told.held_out, prior=told.prior, like=told.like)
    return Knowledge(sweep=sweep, records=records, fit=fitted, failures=failures, channels=channels, models=models)


def of_twins(same: Mapping[str, str], of_timed: Mapping[str, T]) -> dict[str, T]:
    """What is known of cells that are timed, for the cells that are timed under their names and have nothing of their own."""
    return {cell: of_timed[timed_as] for cell, timed_as in same.items() if timed_as in of_timed and cell not in of_timed}
