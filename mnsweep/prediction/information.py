"""What a measurement of each cell would tell the latency model, before any is measured.

The model is fitted to relative errors, so its design matrix has a row of work over latency for each cell; the latency is
guessed from other machines. Columns are scaled such that what is known beforehand (`prior.py`) is one unit of information about
each: with rows X of the measured cells, the precision of the coefficients is I + XᵀX (Chaloner and Verdinelli 1995).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mnsweep.arch.channel_padding import Channels
from mnsweep.cell import Cell
from mnsweep.prediction.features import work
from mnsweep.prediction.latency_model import shape
from mnsweep.prediction.prior import NOISE, Prior, any_prior
from mnsweep.prediction.uncertainty import scales

Array = NDArray[np.float64]


def information_rows(cells: Sequence[Cell], channels: Sequence[Channels], prior: Prior | None = None) -> Array:
    """(cells, terms + 6): the row of each cell, for cells of one deployment; `channels` is their padding, resolved or assumed.

    `prior` guesses the costs, by default that of the package. A row's products with another's are covariances of two log
    latencies over the noise of one measurement. Every cell must be covered by the latency model.
    """
    amounts = work(cells, channels)
    prior = prior or any_prior(cells[0].deployment)
    costs, bends = prior.typical(amounts), shape(cells)
    per_ns = amounts / (amounts @ costs)[:, None]
    rows: Array = np.hstack([per_ns, bends]) * scales(costs, per_ns.mean(axis=0), prior, bends.shape[1]) / NOISE
    return rows
