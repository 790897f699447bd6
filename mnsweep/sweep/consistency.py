"""Whether records can stand in one file: what a sweep must not mix, checked line by line as it is read."""

from mnsweep.decoding import DamagedError
from mnsweep.record import Block, Process, Record, Same, Setting, difference

CLOCKS_APART_S = 1.0  # beyond twice the time that passed: two clocks, and one may have been set


class Consistency:
    """What the records so far say of those to come; `check` each of them, in the order of the file."""

    def __init__(self) -> None:
        self._cells: dict[int, frozenset[str]] = {}  # that each process opened
        self._settings: dict[str, Setting] = {}
        self._padding: dict[str, str] = {}
        self._same: dict[str, str] = {}
        self._last: Block | None = None

    def check(self, record: Record) -> None:
        """Raise `DamagedError`, with the reason, where the record contradicts earlier ones."""
        match record:
            case Process():
                self._check_process(record)
            case Block():
                self._check_block(record)
            case Same():
                self._check_same(record)

    def _check_process(self, process: Process) -> None:
        if process.number in self._cells:
            raise DamagedError(f"process {process.number} began before: two files were joined, or lines repeated")
        if differing := difference(self._settings, process.settings):
            name, then, now = differing
            raise DamagedError(f"process {process.number} measured with {name} {now}, those before it with {then}")
        for cell in process.cells:
            padding = process.padding.get(cell, "")
            if self._padding.setdefault(cell, padding) != padding:
                raise DamagedError(f"process {process.number} pads {cell} otherwise than those before it")
        self._cells[process.number] = frozenset(process.cells)
        self._settings.update(process.settings)
        self._last = None

    def _check_same(self, same: Same) -> None:
        """One name is the one that is timed; a name for a name would have to be followed."""
        if same.timed_as in self._same or same.cell in self._same.values():
            raise DamagedError(f"{same.cell!r:.80} is timed as a cell that is itself timed under another name")
        if self._same.setdefault(same.cell, same.timed_as) != same.timed_as:
            raise DamagedError(f"{same.cell!r:.80} is timed as two different cells")

    def _check_block(self, block: Block) -> None:
        if block.process not in self._cells:
            raise DamagedError(f"block of process {block.process}, of which no line says that it began")
        if block.cell not in self._cells[block.process]:
            raise DamagedError(f"process {block.process} did not open {block.cell!r:.80}")
        before, self._last = self._last, block
        if before is None or before.process != block.process or before.disturbed:
            return
        lasted_s, passed_s = sum(before.samples_ns) / 1e9, block.at_s - before.at_s
        if lasted_s > 2 * passed_s + CLOCKS_APART_S:
            raise DamagedError(
                f"the block before this one has {lasted_s:.3g} s of samples, in the {passed_s:.3g} s until this one"
            )
