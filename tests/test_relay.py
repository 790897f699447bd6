"""Workers in turn: who starts when, and that none is left behind."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Self

import pytest

from mnsweep.cell import Cell, Deployment, Design
from mnsweep.prepare.kept_models import KeptModels
from mnsweep.worker.proxy import CellError, NotStartedError, WorkerProcess
from mnsweep.worker.relay import Relay
from tests.fakes import FakeWorker
from tests.test_runtimes import model


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
    with KeptModels(build, most_bytes=15) as models:
        models.prepare([small, other])
        models.prepare([other])
        assert built == [small.id, other.id], "the second one does not fit, and nothing is built in vain after it"
        assert [content(models(cell)) for cell in (small, other, small)] == [bytes(10)] * 3
        assert built == [small.id, other.id, other.id]


def content(model: bytes | Path) -> bytes:
    return model.read_bytes() if isinstance(model, Path) else model


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_files_in_memory_are_gone_afterwards() -> None:
    before, cell = open_files(), Cell(Design.of(0.25, 32))
    with KeptModels(lambda _: b"model", most_bytes=100) as models:
        path = models(cell)
        assert content(path) == b"model" and open_files() == before + isinstance(path, Path)
    assert open_files() == before


def test_without_files_in_memory_models_are_kept_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> int:
        raise OSError("too many open files")

    monkeypatch.setattr(os, "memfd_create", refuse, raising=False)
    with KeptModels(lambda _: b"model", most_bytes=100) as models:
        assert models(Cell(Design.of(0.25, 32))) == b"model"


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_real_worker_opens_a_file_and_one_that_it_may_not_read_is_sent(runtime: str, tmp_path: Path) -> None:
    class Unreadable(type(tmp_path)):  # type: ignore[misc]
        """A path that only this process can read."""

        def __reduce__(self) -> tuple[type, tuple[str]]:
            return Path, ("/nowhere/at/all",)

    file = tmp_path / "model"
    file.write_bytes(model())
    with WorkerProcess() as worker:
        for path in (file, Unreadable(file)):
            worker.open("a", path, Deployment(runtime=runtime))
            assert worker.time("a", 1, 0).samples_ns
        with pytest.raises(CellError):
            worker.open("b", b"no model", Deployment(runtime=runtime))


def test_what_fails_while_preparing_is_said_when_it_is_asked_for() -> None:
    def refuse(cell: Cell) -> bytes:
        raise ValueError("cannot be built")

    models = KeptModels(refuse, most_bytes=100)
    models.prepare([Cell(Design.of(0.25, 32))])
    with pytest.raises(ValueError, match="cannot be built"):
        models(Cell(Design.of(0.25, 32)))
