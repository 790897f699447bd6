"""Show a training on stderr: on a terminal a bar, otherwise a line for each epoch."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from mnsweep.app.train import Reports
from mnsweep.app.train_plan import Training
from mnsweep.cli.show import advise
from mnsweep.cli.stopping import check
from mnsweep.training.loop import Epoch
from mnsweep.wording import count_of


class Narrated(Reports):
    """Tells what is trained; a context manager that removes the bar on exit."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.console = Console(stderr=True, highlight=False)
        columns = TextColumn("{task.description}", markup=False), BarColumn(), TimeRemainingColumn()
        self.bar = Progress(*columns, console=self.console, transient=True, disable=quiet or not self.console.is_terminal)
        self.task = self.bar.add_task("", total=None, visible=False)

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.bar.stop()

    def decoding(self, total: int, done: int) -> None:
        """Show how many pictures are decoded."""
        check()
        self.bar.update(self.task, description="decoding pictures", total=total, completed=done, visible=True)

    def started(self, training: Training, goes_on: bool, new_head: bool) -> None:
        """Tell what starts."""
        words = "goes on from its checkpoint" if goes_on else f"{count_of(training.recipe.epochs, 'epoch')} at most"
        head = "; its classifier is new, the layers before it are those of the weights" if new_head else ""
        norm = "; batch norm keeps its statistics" if training.recipe.frozen_norm else ""
        self.note(f"{training.cell}: {words}{head}{norm}")
        self.bar.update(self.task, description=training.cell, total=training.recipe.epochs, completed=0, visible=True)

    def epoch(self, training: Training, epoch: Epoch) -> None:
        """Tell how an epoch went."""
        check()
        told = f"loss {epoch.loss:.3f}, validation {epoch.validation_pct:.1f} %, {epoch.images_per_s:.0f} pictures a second"
        self.note(f"{training.cell}: epoch {epoch.epoch} of {training.recipe.epochs}: {told}")
        self.bar.update(self.task, description=training.cell, total=training.recipe.epochs, completed=epoch.epoch)

    def note(self, text: str) -> None:
        """Print a line that stays."""
        check()
        if not self.quiet:
            self.bar.console.print(text, markup=False, soft_wrap=True) if self.console.is_terminal else advise(text)
