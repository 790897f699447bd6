"""Folders that somebody damaged or made up: what cannot have been measured is refused by line, and nothing is lost."""

import json
import os
import re
from pathlib import Path

import pytest

from mnsweep.errors import MnsweepError, StoreError
from mnsweep.record import Block, Process, from_line
from mnsweep.sweep.derive import derive
from mnsweep.sweep.kept import forget
from mnsweep.sweep.store import BLOCKS, CELLS, MACHINE, SWEEP, SweepFolder
from tests.conftest import FAILED, TRUTH_MS
from tests.fuzz import run

FIRST = next(iter(TRUTH_MS))


def lines(folder: SweepFolder) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder.path / BLOCKS).read_text().splitlines()]


def write(folder: SweepFolder, records: list[dict[str, object]]) -> None:
    (folder.path / BLOCKS).write_text("".join(json.dumps(record) + "\n" for record in records))


def place_of(records: list[dict[str, object]], kind: str, nth: int = 0) -> int:
    return [i for i, record in enumerate(records) if record["kind"] == kind][nth]


def refused(folder: SweepFolder, number: int, reason: str) -> None:
    """Every command that reads the blocks names the line, with exit status 2, and changes nothing."""
    before = {path.name: path.read_bytes() for path in folder.path.iterdir()}
    ran = run("rebuild", str(folder.path))
    assert ran.status == 2 and ran.err.count("\n") == 1
    assert re.search(rf"blocks\.jsonl: line {number}: .*{reason}", ran.err), ran.err
    assert {path.name: path.read_bytes() for path in folder.path.iterdir()} == before


@pytest.mark.parametrize(
    "values, reason",
    [
        ({"samples_ns": [0, 0]}, "0 ns is no time"),
        ({"samples_ns": [403, -5]}, "-5 ns is no time"),
        ({"samples_ns": [True]}, "expected `?int"),
        ({"samples_ns": [0.5]}, "expected `?int"),
        ({"samples_ns": [1e300]}, "expected `?int|out of range"),
        ({"samples_ns": [10**14]}, "expected `?int"),
        ({"samples_ns": []}, "length"),
        ({"at_s": -1}, "at_s"),
        ({"at_s": "3"}, "at_s"),
        ({"round": {}}, "round"),
        ({"cell": 1}, "cell"),
        ({"process": None}, "process"),
        ({"process": 77}, "process 77, of which no line says that it began"),
        ({"cell": "a2.0_r1024"}, "did not open 'a2.0_r1024'"),
    ],
)
def test_a_block_that_nobody_measured(sweep_folder: SweepFolder, values: dict[str, object], reason: str) -> None:
    records = lines(sweep_folder)
    at = place_of(records, "block", 5)
    records[at] |= values
    write(sweep_folder, records)
    refused(sweep_folder, at + 1, reason)


def test_more_time_in_samples_than_passed(sweep_folder: SweepFolder) -> None:
    records = lines(sweep_folder)
    at = place_of(records, "block", 3)
    records[at]["samples_ns"] = [10**11]
    write(sweep_folder, records)
    refused(sweep_folder, at + 2, "100 s of samples")


def test_a_block_at_which_the_clock_stood_still_is_kept_and_not_counted(sweep_folder: SweepFolder) -> None:
    before = derive(sweep_folder).known.estimates[FIRST]
    records = lines(sweep_folder)
    at = place_of(records, "block", 0)
    records.insert(at, {**records[at], "samples_ns": [0, 0], "disturbed": ["the clock stood still or jumped back"]})
    write(sweep_folder, records)
    after = derive(sweep_folder).known.estimates[FIRST]
    assert (after.p50_ms, after.samples) == (before.p50_ms, before.samples)


@pytest.mark.parametrize(
    "values, reason",
    [
        ({"schema_version": 0}, "schema version 0"),
        ({"schema_version": 0.5}, "schema_version"),
        ({"settings": True}, "settings"),
        ({"cells": 3}, "cells"),
        ({"padding": "9>12"}, "padding"),
        ({"padding": {FIRST: "8>4"}}, "8>4 is not one that mnsweep makes"),
        ({"padding": {FIRST: "8>-4"}}, "8>-4 is not one that mnsweep makes"),
        ({"padding": {FIRST: "8>1000000000"}}, "is not one that mnsweep makes"),
        ({"padding": {FIRST: "8>12"}}, f"pads {FIRST} otherwise"),
        ({"number": 1}, "process 1 began before"),
        ({"settings": {"onnxruntime": "made-up 2", "seed": 0}}, "onnxruntime made-up 2, those before it with made-up 1"),
    ],
)
def test_a_process_that_does_not_go_with_the_others(sweep_folder: SweepFolder, values: dict[str, object], reason: str) -> None:
    records = lines(sweep_folder)
    at = place_of(records, "process", 1)
    records[at] |= values
    write(sweep_folder, records)
    refused(sweep_folder, at + 1, reason)


@pytest.mark.parametrize("chain", [{}, {"17": 0.1}, {"17": 0}, {"17": -1}, {"17": "NaN"}, 3])
def test_a_probe_that_is_not_whole(sweep_folder: SweepFolder, chain: object) -> None:
    records = lines(sweep_folder)
    write(sweep_folder, [{"kind": "probe", "runtime": "onnxruntime", "precision": "fp32", "chain_ms": chain}, *records])
    refused(sweep_folder, 1, "chain_ms")


def test_a_file_joined_with_itself(sweep_folder: SweepFolder) -> None:
    records = lines(sweep_folder)
    write(sweep_folder, records * 2)
    refused(sweep_folder, len(records) + 1, "began before")


def test_without_a_sweep_file_the_cells_are_those_of_the_records(sweep_folder: SweepFolder) -> None:
    kept = (sweep_folder.path / CELLS).read_text()
    (sweep_folder.path / SWEEP).unlink()
    ran = run("rebuild", str(sweep_folder.path))
    assert ran.status == 0 and ran.err.count(f"has no {SWEEP}; {BLOCKS} names its {len(TRUTH_MS) + 1} cells") == 1
    assert (sweep_folder.path / CELLS).read_text() == kept


def test_without_a_sweep_file_asking_for_a_cell_keeps_the_others(sweep_folder: SweepFolder) -> None:
    (sweep_folder.path / SWEEP).unlink()
    ran = run("grid", "--name", "grid", "--alpha", "0.25", "--res", "64", "--dry-run")
    assert ran.status == 0 and f"has no {SWEEP}" in ran.err
    assert not (sweep_folder.path / SWEEP).exists(), "a dry run writes nothing"


def test_blocks_are_never_written_through_a_link(sweep_folder: SweepFolder, tmp_path: Path) -> None:
    target = tmp_path / "of somebody else"
    target.write_text("their text, without a line end")
    (sweep_folder.path / BLOCKS).unlink()
    (sweep_folder.path / BLOCKS).symlink_to(target)
    with pytest.raises(StoreError, match="symbolic link"), sweep_folder.appending():
        pass
    assert target.read_text() == "their text, without a line end"


def test_a_torn_tail_is_set_aside(sweep_folder: SweepFolder) -> None:
    whole = (sweep_folder.path / BLOCKS).read_bytes()
    (sweep_folder.path / BLOCKS).write_bytes(whole + b"half a line")
    with sweep_folder.appending():
        pass
    assert (sweep_folder.path / BLOCKS).read_bytes() == whole
    (aside,) = sweep_folder.path.glob(f"{BLOCKS}.aside-*")
    assert aside.read_bytes() == b"half a line"


@pytest.mark.parametrize("name", [BLOCKS, SWEEP, MACHINE])
def test_a_pipe_in_the_place_of_a_file_does_not_hang(sweep_folder: SweepFolder, name: str) -> None:
    (sweep_folder.path / name).unlink()
    os.mkfifo(sweep_folder.path / name)
    ran = run("rebuild", str(sweep_folder.path))
    assert ran.status == 2 and ran.err.count("\n") == 1 and f"{name}: is not a file" in ran.err


@pytest.mark.parametrize(
    "column, value",
    [("quality_pct", "1e9"), ("latency_ci_high_ms", "-7"), ("latency_ci_low_ms", "99"), ("cell", "../../x"),
     ("latency_p50_ms", "0"), ("relative_ci_pct", "-1")],
)  # fmt: skip
def test_a_table_that_nobody_measured(sweep_folder: SweepFolder, column: str, value: str) -> None:
    header, row, *others = (sweep_folder.path / CELLS).read_text().splitlines()
    values = dict(zip(header.split(","), row.split(","), strict=True)) | {column: value}
    (sweep_folder.path / CELLS).write_text("\n".join((header, ",".join(values.values()), *others)) + "\n")
    ran = run("pick", "--max-latency-ms", "100")
    assert ran.status == 2 and ran.err.count("\n") == 1 and "cells.csv: line 2: " in ran.err


def test_cells_are_forgotten_and_kept_aside(sweep_folder: SweepFolder) -> None:
    before = (sweep_folder.path / BLOCKS).read_bytes()
    ran = run("rebuild", str(sweep_folder.path), "--forget", f"{FIRST},{FAILED}")
    assert ran.status == 0
    (aside,) = sweep_folder.path.parent.glob("*.aside-*")
    assert (aside / BLOCKS).read_bytes() == before
    assert {r.cell for r in sweep_folder.read().blocks} == set(TRUTH_MS) - {FIRST}
    assert all(FIRST not in process.cells for process in sweep_folder.read().processes)
    assert FIRST not in (sweep_folder.path / CELLS).read_text()


def test_a_cell_that_is_not_there_is_not_forgotten(sweep_folder: SweepFolder) -> None:
    with pytest.raises(MnsweepError, match="no such cell"):
        forget(sweep_folder, ["a2.0_r1024"])
    assert not list(sweep_folder.path.parent.glob("*.aside-*"))


def test_the_checks_let_pass_what_is_measured(sweep_folder: SweepFolder) -> None:
    kinds = {type(from_line(line)) for line in (sweep_folder.path / BLOCKS).read_bytes().splitlines()}
    assert {Process, Block} <= kinds
    assert len(sweep_folder.read().blocks) == sum(record["kind"] == "block" for record in lines(sweep_folder))
