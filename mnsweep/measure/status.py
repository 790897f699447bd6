"""What a campaign reports while it measures."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Progress of a campaign after a round.

    `done` cells are timed no more: those that `settled`, and those at the limit of rounds. With `fixed`, that is a fixed number
    of rounds. `widest_pct` is the widest relative half width of the others in percent, None if unknown; `left_s` is an
    estimate in seconds. Within a long round, `timed` is how many blocks of it were timed so far; at its end it is 0.
    """

    process: int
    round: int
    done: int
    settled: int
    cells: int
    fixed: bool
    widest_pct: float | None
    left_s: float
    timed: int = 0
