"""One choice for several machines: each cell counts with the machine on which it is slowest."""

from collections.abc import Mapping, Sequence

from mnsweep.choice.constraints import Constraints, guarded_latency_ms
from mnsweep.errors import MnsweepError
from mnsweep.result import PREDICTED, Result


def slowest(tables: Mapping[str, Sequence[Result]], constraints: Constraints) -> tuple[list[Result], dict[str, str]]:
    """The cells measured on all machines, each with its result on the one where it is slowest, and the key of that machine.

    `tables` are results by the key of a machine. A budget is met by the upper end of the interval, so that is what is compared:
    a cell that meets it there meets it everywhere. Raises `MnsweepError` where no cell was measured on all machines.
    """
    timed = {key: {r.cell: r for r in results if _is_measured(r)} for key, results in tables.items()}
    first, *others = timed.values()
    shared = [cell for cell in first if all(cell in other for other in others)]
    if not shared:
        names = ", ".join(f"{key} ({len(results)})" for key, results in timed.items())
        raise MnsweepError(f"no cell was measured on all machines: {names}", "measure the same grid on all of them: `on`")
    where = {cell: max(timed, key=lambda key: guarded_latency_ms(timed[key][cell], constraints) or 0.0) for cell in shared}
    return [timed[key][cell] for cell, key in where.items()], where


def _is_measured(result: Result) -> bool:
    return result.latency_p50_ms is not None and result.latency_source != PREDICTED
