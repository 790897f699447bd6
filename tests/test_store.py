"""What is on disk: appended line by line, replaced whole, and never changed when it is not understood."""

import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace as replace_machine
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from mnsweep.errors import StoreError
from mnsweep.machine.fingerprint import Machine, read_machine
from mnsweep.measure.rounds import Rules
from mnsweep.record import LONGEST_NS, LONGEST_S, SCHEMA_VERSION, Block, Failure, Process, Record, from_line, to_line
from mnsweep.session import Session
from mnsweep.sweep.file import parse_sweep
from mnsweep.sweep.find import find_results, results_dir_or_default
from mnsweep.sweep.store import BLOCKS, SWEEP, SweepFolder

PROCESS = Process(
    number=1,
    started_at="2025-01-01T12:00:00+00:00",
    settings={"runtime": "made-up", "seed": 0},
    cells=("a0.25_r128", "a1.0_r224"),
)
BLOCK = Block(cell="a0.25_r128", process=1, round=1, at_s=0.5, first_ns=100, samples_ns=(90, 91, 92))
FAILURE = Failure("a1.0_r224", 1, "no memory: “α”")
LAST = Block(cell="a0.25_r128", process=1, round=2, at_s=0.75, first_ns=101, samples_ns=(93, 94), disturbed=("swap",))
HERE = Machine({"cpu": "Made Up CPU", "logical_cpus": 2, "machine_id": "one"}, {"memory_gib": 4.0})
ELSEWHERE = Machine({"cpu": "Made Up CPU", "logical_cpus": 2, "machine_id": "two"}, {"memory_gib": 4.0})


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    return SweepFolder(tmp_path / "results" / "grid" / HERE.key)


@pytest.fixture
def kept(folder: SweepFolder) -> SweepFolder:
    write(folder, PROCESS, BLOCK, FAILURE, LAST)
    return folder


def write(folder: SweepFolder, *records: Record) -> None:
    with folder.appending() as append:
        for record in records:
            append(record)


def blocks(folder: SweepFolder) -> Path:
    return folder.path / "blocks.jsonl"


def names(folder: SweepFolder) -> set[str]:
    return {path.name for path in folder.path.iterdir()}


def assert_one_line(error: pytest.ExceptionInfo[StoreError], *parts: object) -> None:
    message = str(error.value)
    assert "\n" not in message
    for part in parts:
        assert str(part) in message


WORDS = st.text(min_size=1, max_size=8)
TIMES = st.lists(st.integers(1, LONGEST_NS), min_size=1, max_size=4).map(tuple)
RECORDS = st.one_of(
    st.builds(
        Process,
        number=st.integers(1),
        started_at=WORDS,
        settings=st.dictionaries(WORDS, WORDS | st.integers()),
        cells=st.lists(WORDS).map(tuple),
    ),
    st.builds(
        Block,
        cell=WORDS,
        process=st.integers(1),
        round=st.integers(1),
        at_s=st.floats(0, LONGEST_S),
        first_ns=st.integers(0, LONGEST_NS),
        samples_ns=TIMES,
        disturbed=st.lists(WORDS).map(tuple),
    ),
    st.builds(Failure, WORDS, st.integers(1), WORDS),
)


@settings(max_examples=80, deadline=None)
@given(RECORDS)
def test_a_record_is_one_line_that_reads_back(record: Record) -> None:
    line = to_line(record)
    assert line.endswith("\n") and line.count("\n") == 1 and len(line.splitlines()) == 1
    assert json.loads(line)["kind"] in ("process", "block", "failure")
    assert from_line(line) == record


def test_records_read_back_in_order(folder: SweepFolder) -> None:
    assert (folder.read().processes, folder.read().blocks, folder.read().failures) == ([], [], {})
    assert not folder.path.exists()
    write(folder, PROCESS, BLOCK)
    write(folder, FAILURE, LAST)
    records = folder.read()
    assert (records.processes, records.blocks) == ([PROCESS], [BLOCK, LAST])
    assert records.failures == {FAILURE.cell: FAILURE.reason}


def test_a_record_is_on_disk_when_append_returns(folder: SweepFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bytes] = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(blocks(folder).read_bytes()))
    with folder.appending() as append:
        for record in (PROCESS, BLOCK):
            append(record)
            assert synced[-1].endswith(to_line(record).encode())
    assert len(synced) == 2


def test_a_later_measurement_takes_a_failure_back(folder: SweepFolder) -> None:
    write(folder, PROCESS, FAILURE, replace(BLOCK, cell=FAILURE.cell))
    assert folder.read().failures == {}


def test_a_torn_last_line_is_dropped_with_a_warning_and_cut_before_the_next(folder: SweepFolder) -> None:
    whole = (to_line(PROCESS) + to_line(BLOCK)).encode()
    last = to_line(LAST).encode()
    folder.path.mkdir(parents=True)
    for kept_bytes in range(1, len(last)):
        blocks(folder).write_bytes(whole + last[:kept_bytes])
        with pytest.warns(UserWarning, match=rf"^{re.escape(str(blocks(folder)))}: the last line was cut short") as warned:
            assert folder.read().blocks == [BLOCK]
        assert len(warned) == 1
        assert blocks(folder).read_bytes() == whole + last[:kept_bytes]
        write(folder, FAILURE)
        assert blocks(folder).read_bytes() == whole + to_line(FAILURE).encode()


@pytest.mark.parametrize("torn", ["", "{", "x" * 65535, "x" * 65536, "x" * 200_000])
@pytest.mark.parametrize("whole", ["", to_line(PROCESS)])
def test_a_torn_line_of_any_length_is_cut(folder: SweepFolder, whole: str, torn: str) -> None:
    folder.path.mkdir(parents=True)
    blocks(folder).write_text(whole + torn)
    write(folder, BLOCK)
    assert blocks(folder).read_text() == whole + to_line(BLOCK)


@pytest.mark.parametrize(
    "damage",
    ["", "{", "[]", "null", "3", "\0", "not json", '{"kind":"block"}', '{"kind":"dream","process":1}', '{"process":1}',
     '{"kind":"failure","cell":"a","process":1,"reason":"b","more":1}', to_line(LAST)[:-3], to_line(LAST)[:40]],
)  # fmt: skip
def test_a_damaged_middle_line_is_an_error_that_changes_nothing(kept: SweepFolder, damage: str) -> None:
    lines = blocks(kept).read_text().splitlines()
    lines[1] = damage
    content = "\n".join([*lines, ""]).encode()
    blocks(kept).write_bytes(content)
    with pytest.raises(StoreError) as error:
        kept.read()
    assert_one_line(error, blocks(kept), "line 2", "nothing was changed")
    assert blocks(kept).read_bytes() == content
    assert names(kept) == {"blocks.jsonl"}


def test_text_of_another_encoding_is_an_error_that_changes_nothing(kept: SweepFolder) -> None:
    content = b"\xff\xfe" + blocks(kept).read_bytes()
    blocks(kept).write_bytes(content)
    with pytest.raises(StoreError) as error:
        kept.read()
    assert_one_line(error, blocks(kept), "nothing was changed")
    assert blocks(kept).read_bytes() == content


def test_a_newer_schema_says_to_upgrade(folder: SweepFolder) -> None:
    write(folder, replace(PROCESS, schema_version=SCHEMA_VERSION + 1), BLOCK)
    with pytest.raises(StoreError, match="upgrade") as error:
        folder.read()
    assert_one_line(error, blocks(folder), "line 1")


def test_replace_leaves_one_whole_file(folder: SweepFolder) -> None:
    folder.replace("cells.csv", "old")
    folder.replace("cells.csv", "new α")
    folder.replace("pareto.png", b"\x89PNG")
    assert (folder.path / "cells.csv").read_bytes() == "new α".encode()
    assert (folder.path / "pareto.png").read_bytes() == b"\x89PNG"
    assert names(folder) == {"cells.csv", "pareto.png"}


@pytest.mark.parametrize("call", ["replace", "fsync", "chmod"])
def test_replace_that_fails_leaves_the_old_file(folder: SweepFolder, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    folder.replace("cells.csv", "old")

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(StoreError) as error:
        folder.replace("cells.csv", "new")
    assert_one_line(error, folder.path / "cells.csv", "No space left on device")
    assert (folder.path / "cells.csv").read_text() == "old"
    assert names(folder) == {"cells.csv"}


def test_replace_that_is_interrupted_leaves_the_old_file(folder: SweepFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.replace("cells.csv", "old")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        folder.replace("cells.csv", "new")
    assert (folder.path / "cells.csv").read_text() == "old"
    assert names(folder) == {"cells.csv"}


def test_a_file_in_the_place_of_a_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("mine")
    folder = SweepFolder(tmp_path / "results" / "grid" / HERE.key)
    with pytest.raises(StoreError) as error:
        folder.replace("cells.csv", "new")
    assert_one_line(error, folder.path, "another folder")
    with pytest.raises(StoreError) as error, folder.appending():
        pass
    assert_one_line(error, folder.path, "another folder")
    with pytest.raises(StoreError):
        folder.write_machine(HERE)
    assert (tmp_path / "results").read_text() == "mine"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_an_error(kept: SweepFolder) -> None:
    kept.path.chmod(0o500)
    blocks(kept).chmod(0o400)
    with pytest.raises(StoreError) as error:
        kept.replace("cells.csv", "new")
    assert_one_line(error, kept.path / "cells.csv")
    with pytest.raises(StoreError), kept.appending():
        pass
    kept.path.chmod(0o700)


def test_a_folder_removed_while_appending_is_an_error(folder: SweepFolder) -> None:
    with folder.appending() as append:
        append(PROCESS)
        shutil.rmtree(folder.path)
        with pytest.raises(StoreError) as error:
            append(BLOCK)
    assert_one_line(error, blocks(folder), "run the same command again")
    assert not folder.path.exists()


def test_a_missing_file_is_named(folder: SweepFolder) -> None:
    with pytest.raises(StoreError) as error:
        folder.read_text("sweep.toml")
    assert_one_line(error, folder.path / "sweep.toml", "No such file")


def test_machine_reads_back_and_may_be_written_again(folder: SweepFolder) -> None:
    folder.write_machine(HERE)
    folder.write_machine(replace_machine(HERE, informative={"memory_gib": 8.0}))
    assert folder.read_machine() == Machine(HERE.checked, {"memory_gib": 8.0})
    assert json.loads((folder.path / "machine.json").read_text())["schema_version"] == 1


def test_another_machine_is_refused_and_nothing_is_changed(folder: SweepFolder) -> None:
    folder.write_machine(ELSEWHERE)
    before = (folder.path / "machine.json").read_bytes()
    with pytest.raises(StoreError, match="another machine") as error:
        folder.write_machine(HERE)
    assert_one_line(error, folder.path, "machine_id", "`name`")
    assert (folder.path / "machine.json").read_bytes() == before


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"schema_version": 1}', '{"schema_version": "x", "checked": {}, "informative": {}}',
     '{"schema_version": 1, "checked": [], "informative": {}}', '{"schema_version": 1, "checked": null, "informative": {}}'],
)  # fmt: skip
def test_a_damaged_machine_is_an_error_that_changes_nothing(folder: SweepFolder, text: str) -> None:
    folder.replace("machine.json", text)
    with pytest.raises(StoreError) as error:
        folder.write_machine(HERE)
    assert_one_line(error, folder.path / "machine.json")
    assert (folder.path / "machine.json").read_text() == text


def test_a_machine_of_a_newer_schema_says_to_upgrade(folder: SweepFolder) -> None:
    folder.replace("machine.json", '{"schema_version": 2, "checked": {}, "informative": {}}')
    with pytest.raises(StoreError, match="upgrade"):
        folder.read_machine()


def test_set_aside_keeps_everything(kept: SweepFolder) -> None:
    kept.replace("cells.csv", "cells")
    before = {path.name: path.read_bytes() for path in kept.path.iterdir()}
    aside = [kept.set_aside()]
    assert not kept.path.exists()
    write(kept, PROCESS)
    aside.append(kept.set_aside())
    assert kept.set_aside() is None
    first, second = aside
    assert first and second and first != second and first.parent == second.parent == kept.path.parent
    assert {path.name: path.read_bytes() for path in first.iterdir()} == before
    assert (second / "blocks.jsonl").read_text() == to_line(PROCESS)


def finished(results: Path, *parts: str, at: float = 0) -> Path:
    """A folder that holds a cells.csv, last changed at a given time."""
    path = results.joinpath(*parts)
    path.mkdir(parents=True)
    (path / "cells.csv").write_text("")
    os.utime(path / "cells.csv", (at, at))
    return path


def test_newest_sweep_of_this_machine_is_found(tmp_path: Path) -> None:
    finished(tmp_path, "a", "me", at=10)
    newest = finished(tmp_path, "b", "me", at=30)
    finished(tmp_path, "c", "me", at=20)
    finished(tmp_path, "d", "you", at=40)
    finished(tmp_path, "e", "me.aside-20250101T000000", at=50)
    finished(tmp_path, "reference", "f", "me", at=60)
    (tmp_path / "unfinished" / "me").mkdir(parents=True)
    assert find_results(tmp_path, "me").path == newest


def test_a_sweep_is_found_by_name_and_by_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, newer = finished(tmp_path, "a", "me", at=10), finished(tmp_path, "b", "me", at=20)
    yours = finished(tmp_path, "a", "you", at=30)
    reference = finished(tmp_path, "reference", "a", "me")
    assert find_results(tmp_path, "me", "a").path == mine
    assert find_results(tmp_path, "me", str(newer)).path == newer
    assert find_results(tmp_path, "me", str(yours)).path == yours
    assert find_results(tmp_path, "me", "reference/a").path == reference
    monkeypatch.chdir(tmp_path)
    assert find_results(Path("elsewhere"), "me", "a/you").path == Path("a/you")


def test_another_machines_results_are_named_and_not_taken(tmp_path: Path) -> None:
    yours = finished(tmp_path, "a", "you")
    with pytest.raises(StoreError, match="another machine") as error:
        find_results(tmp_path, "me", "a")
    assert_one_line(error, f"`sweep` {yours}")
    with pytest.raises(StoreError, match="no sweep of this machine") as error:
        find_results(tmp_path, "me")
    assert_one_line(error, "mnsweep grid", "`sweep`")


def test_results_set_aside_are_not_another_machines(tmp_path: Path) -> None:
    aside = SweepFolder(finished(tmp_path, "a", "me")).set_aside()
    assert aside
    with pytest.raises(StoreError) as error:
        find_results(tmp_path, "me", "a")
    assert "another machine" not in str(error.value)


@pytest.mark.parametrize("name", [None, "a", "some/where", "x" * 300])
def test_no_results_say_what_to_run(tmp_path: Path, name: str | None) -> None:
    with pytest.raises(StoreError) as error:
        find_results(tmp_path / "results", "me", name)
    assert_one_line(error, "mnsweep grid", tmp_path / "results")


@pytest.mark.parametrize("name", [None, "a", "reference"])
def test_reference_results_are_not_found_unless_named(tmp_path: Path, name: str | None) -> None:
    finished(tmp_path, "reference", "a", "me")
    with pytest.raises(StoreError, match="no "):
        find_results(tmp_path, "me", name)


def test_results_dir_is_the_argument_or_the_environment_or_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MNSWEEP_RESULTS", "there")
    assert results_dir_or_default("here") == Path("here")
    assert results_dir_or_default(None) == Path("there")
    monkeypatch.delenv("MNSWEEP_RESULTS")
    assert results_dir_or_default(None) == Path("results")


def test_opening_a_sweep_and_planning_reads_its_blocks_once(sweep_folder: SweepFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[str] = []
    lines = SweepFolder._lines

    def counted(self: SweepFolder, name: str) -> Iterator[bytes]:
        reads.append(name)
        return lines(self, name)

    monkeypatch.setattr(SweepFolder, "_lines", counted)
    sweep = parse_sweep(sweep_folder.read_text(SWEEP), sweep_folder.path)
    session = Session(sweep=sweep, folder=sweep_folder, machine=read_machine(), rules=Rules())
    assert session.plan(session.asked).kept + len(session.plan(session.asked).pending) == len(sweep.cells)
    assert reads.count(BLOCKS) == 1


def test_a_file_of_many_blocks_is_read_line_by_line_and_keeps_one_copy_of_each_name(sweep_folder: SweepFolder) -> None:
    blocks = sweep_folder.read().blocks
    assert len({id(block.cell) for block in blocks}) == len({block.cell for block in blocks})
