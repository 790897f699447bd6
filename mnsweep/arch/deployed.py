"""The deployed channels of cells, from earlier measurements or probes, without running a runtime."""

from collections.abc import Hashable, Iterable, Mapping

from mnsweep.arch.channel_padding import Channels, padding
from mnsweep.arch.expand import expand
from mnsweep.arch.factors import width_of
from mnsweep.cell import Cell


def deployed_channels(
    cells: Iterable[Cell], kept: Mapping[str, Channels], probes: Mapping[tuple[str, str], Mapping[int, float]]
) -> dict[str, Channels]:
    """For each cell, by id: deployed channels by logical channels, where they differ.

    `kept` holds the channels of measured cells, by cell id. `probes` holds milliseconds of the chain by channel count, for
    each (runtime, precision). A cell with `auto` padding but without a probe is left out. Cells with the same channels
    share one mapping.
    """
    of_width: dict[Hashable, Channels] = {}  # channels do not depend on the resolution
    channels: dict[str, Channels] = {}
    for cell in cells:
        deployment, cell_id = cell.deployment, cell.id
        chain_ms = probes.get((deployment.runtime, deployment.precision), {})
        if cell_id in kept:
            channels[cell_id] = kept[cell_id]
        elif deployment.pad != "auto" or chain_ms:
            key = (width_of(cell.design), deployment.runtime, deployment.precision, deployment.pad)
            if key not in of_width:
                of_width[key] = padding(expand(cell.design), deployment.pad, chain_ms)
            channels[cell_id] = of_width[key]
    return channels
