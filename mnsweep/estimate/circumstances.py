"""What the machine was doing during the blocks of a cell, in a few words: a reason why its latency moved."""

from collections.abc import Iterator, Sequence
from statistics import median

from mnsweep.record import Block
from mnsweep.wording import count_of

TAKEN_PCT = 5.0  # of the CPUs, by others: as much as a canary may be off
MOVED = 1.1  # between the slow and the fast end of the clock
HOT_C = 95.0  # most processors lower their clock at 95 to 105 °C


def what_happened(blocks: Sequence[Block]) -> str:
    """The remarkable circumstances of the blocks, as far as the system told them; empty if there were none."""
    return "; ".join(_remarks(blocks))


def _remarks(blocks: Sequence[Block]) -> Iterator[str]:
    for name, what in (
        ("others_pct", "other processes took"),
        ("steal_pct", "the host took"),
        ("stalled_pct", "programs waited"),
    ):
        high = [value for value in _values(blocks, name) if value >= TAKEN_PCT]
        if high:
            of = "of the time" if name == "stalled_pct" else "of the CPU time"
            yield f"{what} {median(high):.0f} % {of} in {100 * len(high) / len(blocks):.0f} % of its blocks"
    mhz = sorted(_values(blocks, "mhz"))
    if mhz and (slow := mhz[len(mhz) // 10]) * MOVED < (fast := mhz[-1 - len(mhz) // 10]):
        yield f"the clock moved between {slow / 1e3:.1f} and {fast / 1e3:.1f} GHz"
    if throttled := sum(_values(blocks, "throttled")):
        yield f"the processor throttled {count_of(round(throttled), 'time')}"
    if (hottest := max(_values(blocks, "celsius"), default=0.0)) >= HOT_C:
        yield f"up to {hottest:.0f} °C"


def _values(blocks: Sequence[Block], name: str) -> list[float]:
    return [block.machine[name] for block in blocks if name in block.machine]
