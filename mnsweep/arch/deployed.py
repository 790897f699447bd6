"""The channels that cells are deployed with, without asking a runtime: as measured before, or as probes say."""

from collections.abc import Hashable, Iterable, Mapping

from mnsweep.arch.channel_padding import Channels, padding
from mnsweep.arch.expand import expand
from mnsweep.arch.factors import width_of
from mnsweep.cell import Cell


def deployed_channels(
    cells: Iterable[Cell], kept: Mapping[str, Channels], probes: Mapping[tuple[str, str], Mapping[int, float]]
) -> dict[str, Channels]:
    """Deployed channels by logical channels, where they differ, for each cell by its id.

    `kept` are channels that cells were measured with; `probes` are milliseconds of the chain at each channel count, by runtime
    and precision. A cell whose `auto` padding no probe tells of is left out. Cells that
    share their channels share the mapping.
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
