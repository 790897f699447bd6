"""Damaged folders and odd argument lists: whatever they hold, one line, an exit status of the table, and nothing changed."""

import contextlib
import io
import json
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

from mnsweep.cli.main import main
from mnsweep.errors import UnavailableError
from mnsweep.worker.proxy import WorkerProcess

FILES = ("blocks.jsonl", "machine.json", "sweep.toml", "model.json", "cells.csv")
STATUSES = {0, 1, 2, 3, 4}
ODD_VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1e308, 10**30, "", "?", "x" * 5000, "\x1b[31m", [], {}, [[]], {"a": 1}, [None], "nan", "../../x",
    [1, "x"], -0.0, 2**63, "a0.25_r128", "8>4",
)  # fmt: skip
COMMANDS: tuple[tuple[str, ...], ...] = (
    ("pick", "--max-latency-ms", "5"),
    ("pick", "--max-latency-ms", "5", "--json", "--no-verify"),
    ("rebuild", "results"),
    ("grid", "--dry-run"),
    ("predict", "--alpha", "0.3", "--res", "144"),
    ("grid", "--sweep", "grid", "--dry-run"),
)


@dataclass(frozen=True)
class Ran:
    """One run of the program in this process."""

    arguments: tuple[str, ...]
    status: object
    out: str
    err: str


def run(*arguments: str) -> Ran:
    """The program; no worker can be had."""
    out, err = io.StringIO(), io.StringIO()
    status: object = "no exit"

    def refuse(worker: WorkerProcess) -> WorkerProcess:
        raise UnavailableError("this would measure")

    with (
        mock.patch.object(sys, "argv", ["mnsweep", *arguments]),
        mock.patch.object(WorkerProcess, "__enter__", refuse),
        mock.patch("mnsweep.sweep.derive._plots", lambda *_: {}),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("always")
        try:
            main()
        except SystemExit as ended:
            status = ended.code
    return Ran(arguments, status, out.getvalue(), err.getvalue())


def check(ran: Ran) -> None:
    """An exit status of the table, and for bad input one line that says what."""
    assert ran.status in STATUSES, ran
    if ran.status == 2:
        lines = [line for line in ran.err.splitlines() if not line.startswith("mnsweep: warning: ")]
        assert len(lines) == 1 and lines[0].startswith("mnsweep: "), ran
    assert "Traceback" not in ran.err, ran


def damage(folder: Path, rng: Random) -> str:
    """Change one file of a folder in one way; the file's name."""
    name = rng.choice([name for name in FILES if (folder / name).exists()])
    path = folder / name
    data = path.read_bytes()
    ways: list[Callable[[bytes, Random], bytes]] = [_flip, _cut, _drop_line, _double_line, _insert, _odd_value, _odd_value]
    path.write_bytes(rng.choice(ways)(data, rng))
    return name


def _flip(data: bytes, rng: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _cut(data: bytes, rng: Random) -> bytes:
    return data[: rng.randrange(len(data))]


def _drop_line(data: bytes, rng: Random) -> bytes:
    lines = data.splitlines(keepends=True)
    del lines[rng.randrange(len(lines))]
    return b"".join(lines)


def _double_line(data: bytes, rng: Random) -> bytes:
    lines = data.splitlines(keepends=True)
    i = rng.randrange(len(lines))
    return b"".join([*lines[:i], lines[i], *lines[i:]])


def _insert(data: bytes, rng: Random) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + rng.choice([b"[" * 200_000, b"\0", b"\xff\xfe", b",", b'"', b"\n", b"9" * 400]) + data[at:]


def _odd_value(data: bytes, rng: Random) -> bytes:
    """One value of a JSON document or line replaced by something else; of other files some word."""
    text = data.decode(errors="surrogateescape")
    lines = text.split("\n")
    i = rng.randrange(len(lines))
    whole = text.startswith("{\n")
    try:
        content = json.loads(text if whole else lines[i])
    except (ValueError, RecursionError):
        words = lines[i].replace("=", " ").replace(",", " ").split() or [""]
        lines[i] = lines[i].replace(rng.choice(words), str(rng.choice(ODD_VALUES)), 1)
        return "\n".join(lines).encode(errors="surrogateescape")
    places = list(_places(content))
    if not places:
        return data
    holder, key = rng.choice(places)
    if rng.random() < 0.2:
        del holder[key]
    else:
        holder[key] = rng.choice(ODD_VALUES)
    if whole:
        return json.dumps(content, indent=1).encode()
    lines[i] = json.dumps(content)
    return "\n".join(lines).encode(errors="surrogateescape")


def _places(content: Any) -> Iterator[tuple[Any, Any]]:
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in list(items)[:50]:
        yield content, key
        yield from _places(value)


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def try_damaged_folder(kept: Path, here: Path, rng: Random) -> Ran:
    """Damage a copy of `kept` in the current folder's results, run one command on it, and hold what is left against it."""
    shutil.rmtree(here, ignore_errors=True)
    shutil.copytree(kept, here)
    names = {damage(here, rng) for _ in range(rng.choice([1, 1, 2]))}
    before = snapshot(here)
    ran = run(*rng.choice(COMMANDS))
    check(ran)
    after = snapshot(here)
    blocks = {path: content for path, content in before.items() if path.endswith("blocks.jsonl")}
    assert blocks.items() <= after.items(), (ran, names)
    if ran.status == 2:
        assert after == before, (ran, names)
    return ran


WORDS = (
    "grid", "pick", "count", "explore", "predict", "export", "rebuild", "profile", "paper", "--alpha", "--res", "--json",
    "--dry-run", "--threads", "--batch", "--pad", "--precision", "--runtime", "--variant", "--task", "--classes", "--sweep",
    "--name", "--ci-pct", "--time-budget-s", "--max-latency-ms", "--max-designs", "--layers", "--csv", "--table", "-q", "-v",
    "--no-verify", "--percentile", "--min-top1", "--max-params-m", "--out", "--seed", "--calibration", "--results-dir",
    "--help",
    "0.25", "128", "0.25,0.5", "0.25:1:0.25", "0.1:2:1e-9", "1e400", "nan", "-1", "0", "inf", "", " ", ",", ":::", "a:b:c",
    "int8", "fp32", "none", "auto", "16", "vgg16", "ssd", "dogs", "grid", "paper", "x" * 3000, "\x1b[2J", "é",
    "1" * 400,
    "results", "90", "13",
)  # fmt: skip
MEASURES = ("grid", "explore", "profile")  # only their plans are tried


def odd_arguments(rng: Random) -> tuple[str, ...]:
    """A command and some words behind it, most of them nonsense."""
    command = rng.choice(["grid", "pick", "count", "explore", "predict", "export", "rebuild", "profile", "paper", *WORDS[:9]])
    words = [rng.choice(WORDS) for _ in range(rng.randint(0, 7))]
    if command in ("grid", "explore"):
        words.append("--dry-run")
    return (command, *words)
