"""Find first blocks that were timed before a cell was warm, from the blocks of one process."""

from collections.abc import Mapping, Sequence

import numpy as np

from mnsweep.estimate.polish import polish
from mnsweep.record import Block

COLD_ABOVE = 0.01  # slower than later: less does not matter, the median over rounds takes care of it
BEYOND = 2.0  # times what 97.5 % of later blocks of all cells stay within: noise has tails
LATER_ROUNDS = 2  # at least, to compare with


def cold(blocks: Sequence[Block]) -> Mapping[str, float]:
    """By cell, how much slower its first round was than its later ones, relative, where that is beyond noise.

    All cells of the process tell the noise: a handful of rounds of one cell is too few. An effect that is common to all cells
    belongs to the machine, and is not looked for here.
    """
    calm = [b for b in blocks if not b.disturbed]
    if not calm or len({b.cell for b in calm}) < 2:
        return {}
    (process,) = polish([calm])
    later = process.residual[:, 1:]
    known = np.sum(~np.isnan(later), axis=1) >= LATER_ROUNDS
    if not known.any():
        return {}
    noise = float(np.nanpercentile(np.abs(later[known]), 97.5))
    slower = process.residual[known, 0] - np.nanmedian(later[known], axis=1)
    cells = [cell for cell, is_known in zip(process.cells, known, strict=True) if is_known]
    beyond = np.nan_to_num(slower) > max(COLD_ABOVE, BEYOND * noise)
    return {cell: float(np.expm1(s)) for cell, s, is_cold in zip(cells, slower, beyond, strict=True) if is_cold}
