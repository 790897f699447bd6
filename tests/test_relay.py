"""Workers in turn: who starts when, and that none is left behind."""

from collections.abc import Callable
from typing import Self

import pytest

from mnsweep.cell import Cell, Design
from mnsweep.prepare.kept_models import KeptModels
from mnsweep.worker.proxy import CellError, NotStartedError, WorkerProcess
from mnsweep.worker.relay import Relay
from tests.fakes import FakeWorker


class Noted(FakeWorker):
    """Notes in `log` when it starts, is awaited and ends."""

    def __init__(self, log: list[str], number: int) -> None:
        super().__init__()
        self.log, self.number = log, number

    def __enter__(self) -> Self:
        self.log.append(f"start {self.number}")
        return self

    def __exit__(self, *exc: object) -> None:
        self.log.append(f"end {self.number}")

    def ready(self) -> None:
        self.log.append(f"ready {self.number}")


def numbered(log: list[str]) -> Callable[[], Noted]:
    numbers = iter(range(1, 10))
    return lambda: Noted(log, next(numbers))


def test_the_next_worker_starts_during_a_turn_and_is_awaited_before_anything_is_timed() -> None:
    log: list[str] = []
    with Relay(numbered(log)) as relay:
        with relay.turn():
            relay.start_next()
            log.append("open models")
            relay.start_next()
            relay.await_next()
            log.append("time")
        with relay.turn() as second:
            assert isinstance(second, Noted) and second.number == 2
    assert log == ["start 1", "start 2", "open models", "ready 2", "time", "end 1", "end 2"]


@pytest.mark.parametrize("error", [CellError("broke"), KeyboardInterrupt()])
def test_none_is_left_behind_whatever_happens(error: BaseException) -> None:
    log: list[str] = []
    with pytest.raises(type(error)), Relay(numbered(log)) as relay, relay.turn():
        relay.start_next()
        raise error
    assert sorted(log) == ["end 1", "end 2", "start 1", "start 2"]


def test_a_next_worker_that_cannot_start_is_said_at_its_turn() -> None:
    def new_worker() -> Noted:
        worker = next(workers)
        if worker is None:
            raise NotStartedError("no more processes")
        return worker

    workers = iter([Noted([], 1), None, None])
    with Relay(new_worker) as relay:
        with relay.turn():
            relay.start_next()
            relay.await_next()
        with pytest.raises(NotStartedError), relay.turn():
            pass


def test_a_real_worker_loads_its_runtimes_before_it_is_ready() -> None:
    with WorkerProcess(runtimes=("onnxruntime", "no such runtime")) as worker:
        worker.ready()
        with open(f"/proc/{worker.pid}/maps") as maps:
            assert "onnxruntime" in maps.read()


def test_a_file_is_built_once_while_there_is_room() -> None:
    built: list[str] = []

    def build(cell: Cell) -> bytes:
        built.append(cell.id)
        return bytes(10)

    small, other = Cell(Design.of(0.25, 32)), Cell(Design.of(0.5, 32))
    models = KeptModels(build, most_bytes=15)
    models.prepare([small, other])
    models.prepare([other])
    assert built == [small.id, other.id], "the second one does not fit, and nothing is built in vain after it"
    assert [models(cell) for cell in (small, other, small)] == [bytes(10)] * 3
    assert built == [small.id, other.id, other.id]


def test_what_fails_while_preparing_is_said_when_it_is_asked_for() -> None:
    def refuse(cell: Cell) -> bytes:
        raise ValueError("cannot be built")

    models = KeptModels(refuse, most_bytes=100)
    models.prepare([Cell(Design.of(0.25, 32))])
    with pytest.raises(ValueError, match="cannot be built"):
        models(Cell(Design.of(0.25, 32)))
