"""Show measuring progress on stderr: on a terminal a bar and the table so far, otherwise one line per round.

Both are drawn between rounds and between processes, while the worker waits; nothing is redrawn while a block is timed.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from mnsweep.cli.show import advise, results_table, warn
from mnsweep.cli.stopping import check
from mnsweep.listener import Listener
from mnsweep.measure.plan import Plan
from mnsweep.measure.status import Status
from mnsweep.result import Result
from mnsweep.wording import count_of

MANY = 100  # pictures that take long enough to tell how many are done
WIDE = 110  # columns: room for a bar beside the text


def describe(status: Status) -> str:
    """A status as text."""
    done = status.done if status.fixed else status.settled
    settled = f"{done} of {count_of(status.cells, 'cell')} {'done' if status.fixed else 'settled'}"
    if limited := status.done - done:
        settled += f", {limited} at the limit of rounds"
    widest = "" if status.widest_pct is None else f", widest ± {status.widest_pct:.1f} %"
    within = f", {count_of(status.timed, 'block')} timed" if status.timed else ""
    return f"process {status.process}, round {status.round}{within}: {settled}{widest}, about {status.left_s:.0f} s left"


class Narrator(Listener):
    """Reports progress; with `quiet`, only cells that are skipped. A context manager that removes the bar on exit."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.console = Console(stderr=True, highlight=False)
        self.live: Live | None = None
        self.table: RenderableType = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._remove_bar()

    def set_aside(self, folder: Path) -> None:
        """Report where earlier results are."""
        self._advise(f"earlier results are in {folder}")

    def stage(self, text: str) -> None:
        """Report what is measured next."""
        self._advise(text)

    def skipped(self, reasons: Mapping[str, str], remarks: Mapping[str, str]) -> None:
        """Warn of the cells that do not run on this machine, one line per reason, and of the remarks."""
        self._remove_bar()
        for reason in dict.fromkeys(reasons.values()):
            cells = [cell for cell, why in reasons.items() if why == reason]
            warn(f"skipped {', '.join(cells)}: {reason}")
        for cell, remark in remarks.items():
            warn(f"{cell}: {remark}")

    def status(self, status: Status) -> None:
        """Update the bar, or print a line. Raises `StoppedError` after a signal."""
        check()
        if self.quiet:
            return
        if not self.console.is_terminal:
            advise(describe(status))
            return
        bar = Progress(*[BarColumn(bar_width=24)] * (self.console.width >= WIDE), TextColumn("{task.description}"))
        bar.add_task(describe(status), completed=status.done, total=status.cells)
        self._draw(Group(self.table, bar.get_renderable()))

    def so_far(self, results: Callable[[], Sequence[Result]]) -> None:
        """Draw the table so far above the bar, on a terminal."""
        if self.console.is_terminal and not self.quiet:
            self.table = results_table(results(), measured=True)
            self._draw(self.table)

    def _draw(self, content: RenderableType) -> None:
        if self.live is None:
            self.live = Live(console=self.console, auto_refresh=False, transient=True)
            self.live.start()
        self.live.update(content, refresh=True)

    def _advise(self, text: str) -> None:
        self._remove_bar()
        advise(text, self.quiet)

    def _remove_bar(self) -> None:
        if self.live is not None:
            self.live.stop()
            self.live = None


@contextmanager
def counting(quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """A function that shows how many of many pictures are done: a bar on a terminal, otherwise a line every tenth."""
    console = Console(stderr=True, highlight=False)
    shown: dict[str, int] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        tasks: dict[str, TaskID] = {}

        def show(name: str, total: int, done: int) -> None:
            check()
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=total)
            bar.update(tasks[name], completed=done)
            tenth = 10 * done // total if total >= MANY else 0
            if not (quiet or console.is_terminal) and tenth > shown.get(name, 0):
                shown[name] = tenth
                advise(f"{name}: {done:,} of {count_of(total, 'picture')}")

        yield show


class GridNarrator(Narrator):
    """Also reports the plan of a grid before measuring."""

    def planned(self, plan: Plan) -> None:
        """Report how many cells are left, and how long they take."""
        if not plan.pending:
            there = f"sweep {plan.sweep} has {count_of(plan.kept, 'cell')} already, measured since {plan.began_at}"
            self._advise(f"{there}; to measure afresh: --fresh")
            return
        earlier = {"measured": plan.kept, "begun": plan.begun}
        kept = "".join(f", {number} {word} earlier" for word, number in earlier.items() if number)
        begun = f" (since {plan.began_at})" if plan.began_at else ""
        left = f"{count_of(len(plan.pending), 'cell')} to measure{kept}{begun}"
        self._advise(f"sweep {plan.sweep}: {left}, about {plan.seconds:.0f} s at least")


class PaperNarrator(Narrator):
    """Also reports the number of networks to time; `most_s` is the time budget of both passes in seconds."""

    def __init__(self, quiet: bool, most_s: float) -> None:
        super().__init__(quiet)
        self.most_s = most_s
        self.announced = False

    def planned(self, plan: Plan) -> None:
        """Report how many networks are left, once before the first of two passes."""
        if self.announced:
            return
        self.announced = True
        if not plan.pending:
            self._advise(f"every network was measured already, since {plan.began_at}; to measure afresh: --fresh")
            return
        begun = f", begun {plan.began_at}" if plan.began_at else ""
        left = f"{count_of(len(plan.pending), 'network')} to measure{begun}"
        self._advise(f"{left}: about {plan.seconds:.0f} s, and at most {self.most_s:.0f} s of timing")
