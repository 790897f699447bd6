"""What becomes of the program when its outputs can't be written: characters, full disks, readers that left."""

import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from mnsweep.cli.streams import READER_LEFT, UNWRITABLE, Answers, guarded
from tests import own_lock

PROGRAM = (sys.executable, "-m", "mnsweep")
QUICK = ("grid", "--quick", "--alpha", "0.25", "--res", "32", "--wait")
COUNT = ("count", "--alpha", "0.25,0.33", "--res", "128")
MUCH = ("--alpha", "0.01:2:0.01", "--res", "32:128:16")
needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
needs_posix = pytest.mark.skipif(os.name != "posix", reason="descriptors are closed in a shell")


def start(*arguments: str, **how: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen([*PROGRAM, *arguments], **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **how})


def run(*arguments: str, **how: Any) -> tuple[int, bytes, bytes]:
    process = start(*arguments, **how)
    out, err = process.communicate(timeout=120)
    return process.returncode, out or b"", err or b""


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "cp437", "utf-8"])
@pytest.mark.parametrize(
    "arguments", [COUNT, ("--help",), ("grid", "--help"), ("paper", "--table", "8"), ("doctor", "--no-timing"), ("count", "-ü")]
)
def test_characters_that_the_encoding_lacks_are_replaced(encoding: str, arguments: tuple[str, ...], tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    status, out, err = run(*arguments, env=environment, cwd=tmp_path)
    assert status == (2 if "-ü" in arguments else 0), err
    assert b"Traceback" not in err
    (out + err).decode(encoding)
    if encoding == "ascii" and arguments == COUNT:
        assert b" - " in out.replace(b"|", b" "), "a dash, not a question mark, where nothing is known"


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_names_that_are_no_text_are_printed(encoding: str, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    status, _, err = run("rebuild", os.fsdecode(b"no\xff"), env=environment, cwd=tmp_path)
    assert status == 2 and b"Traceback" not in err and err.count(b"\n") == 1


@needs_full
@pytest.mark.parametrize(
    "arguments",
    [COUNT, (*COUNT, "--json"), (*COUNT, "--csv"), ("--help",), ("--version",), ("paper",), ("count", "--json", "-x")],
)
def test_a_full_disk_is_one_line_and_74(arguments: tuple[str, ...], tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        status, _, err = run(*arguments, stdout=full, cwd=tmp_path)
    lines = [line for line in err.splitlines() if b"No such option" not in line]
    assert status == UNWRITABLE and len(lines) == 1
    assert lines[0].startswith(b"mnsweep: stdout can't be written: No space left on device; ")


@needs_posix
@pytest.mark.parametrize("arguments", [COUNT, ("--help",), ("grid", "--alpha", "0.25")])
def test_a_closed_stdout_is_one_line_and_nothing_runs(arguments: tuple[str, ...], tmp_path: Path) -> None:
    command = ["sh", "-c", 'exec "$@" >&-', "sh", *PROGRAM, *arguments]
    done = subprocess.run(command, stderr=subprocess.PIPE, cwd=tmp_path, check=False)
    assert done.returncode == UNWRITABLE and done.stderr.count(b"\n") == 1
    assert done.stderr.startswith(b"mnsweep: stdout can't be written: it is closed; ")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments", [("count", *MUCH), ("count", *MUCH, "--csv"), ("count", *MUCH, "--json"), ("paper",), ("grid", "--help")]
)
def test_a_reader_that_left_ends_it_quietly(arguments: tuple[str, ...], tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    status, _, err = run(*arguments, "-q" if arguments[0] == "count" else "--json", stdout=writing, cwd=tmp_path)
    os.close(writing)
    assert (status, err) == (READER_LEFT, b"")


@needs_posix
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", [("count", *MUCH), ("count", *MUCH, "--csv"), ("count", *MUCH, "--json")])
def test_a_reader_that_leaves_in_the_middle(arguments: tuple[str, ...], unbuffered: str, tmp_path: Path) -> None:
    process = start(*arguments, cwd=tmp_path, env={**os.environ, "PYTHONUNBUFFERED": unbuffered})
    assert process.stdout and process.stderr
    assert process.stdout.readline()
    process.stdout.close()
    with process.stderr as errors:
        assert errors.read() == b""
    assert process.wait() == READER_LEFT


@needs_posix
@pytest.mark.parametrize("how", ["broken", "full"])
def test_a_lost_stderr_ends_no_sweep(how: str, tmp_path: Path) -> None:
    closing = {"full": "exec 2>/dev/full;"}.get(how, "")
    if how == "full" and not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    shell = ["sh", "-c", f'{closing} exec "$@"', "sh", sys.executable, "-m", own_lock.__name__, str(tmp_path / "lock"), *QUICK]
    reading, writing = os.pipe()
    os.close(reading)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    done = subprocess.run(
        [*shell, "--json"], stdout=subprocess.PIPE, stderr=writing, cwd=tmp_path, env=environment, check=False, timeout=120
    )
    os.close(writing)
    assert done.returncode == 0
    assert json.loads(done.stdout)["cells"][0]["latency_p50_ms"] > 0


class Full(io.StringIO):
    """A stream that can't be written, of which libraries catch the errors."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def test_an_error_that_a_library_hides_is_found_at_the_end() -> None:
    def program(answers: Answers) -> int:
        for _ in range(2):
            with pytest.raises(Exception, match="No space"):
                sys.stdout.write("x")
        return 0

    err = io.StringIO()
    with redirect_stdout(Full()), redirect_stderr(err):
        assert guarded(program) == UNWRITABLE
    assert err.getvalue().count("\n") == 1


def test_streams_are_as_before_afterwards() -> None:
    before = sys.stdout, sys.stderr
    assert guarded(lambda answers: 3) == 3
    assert (sys.stdout, sys.stderr) == before


def document(status: int, out: bytes) -> dict[str, Any]:
    content = json.loads(out)
    assert list(content) == ["schema_version", "error"] and content["schema_version"] == 1
    assert list(content["error"]) == ["what", "fix", "exit"] and content["error"]["exit"] == status
    error: dict[str, Any] = content["error"]
    return error


@pytest.mark.parametrize(
    "arguments, status",
    [
        (("grid", "--alpha", "x"), 2),
        (("count", "--frobnicate"), 2),
        (("frobnicate",), 2),
        (("export",), 2),
        (("pick", "--max-latency-ms", "5"), 2),
        (("rebuild", "nowhere"), 2),
        (("grid", "--runtime", "onnxruntime:ROCMExecutionProvider", "--alpha", "0.25", "--res", "32", "--wait"), 4),
        (("paper", "--table", "99"), 2),
        (("export", "--alpha", "0.5", "--res", "32", "--out", "no/such/folder.onnx"), 2),
        (("count", "--alpha", "\x1b[2J"), 2),
    ],
)
def test_with_json_an_error_is_a_document_too(arguments: tuple[str, ...], status: int, tmp_path: Path) -> None:
    ran, out, err = run(*arguments, "--json", cwd=tmp_path)
    error = document(ran, out)
    assert ran == status
    assert err.decode().endswith("mnsweep: " + "; ".join(filter(None, (error["what"], error["fix"]))) + "\n")
    assert status == 4 or err.count(b"\n") == 1


def test_without_json_only_the_line(tmp_path: Path) -> None:
    status, out, err = run("grid", "--alpha", "x", cwd=tmp_path)
    assert (status, out, err.count(b"\n")) == (2, b"", 1)


def test_json_behind_a_double_dash_is_a_word(tmp_path: Path) -> None:
    assert run("count", "--", "--json", cwd=tmp_path)[1] == b""


def test_a_signal_that_a_destructor_dropped_still_ends_the_program() -> None:
    program = """
import os, signal
from mnsweep.cli import stopping

class Late:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        sum(range(1000))  # the handler runs here, and Python drops what it raises

stopping.listen()
Late()
try:
    stopping.check()
except stopping.StoppedError as stopped:
    print(stopped.args[0] == signal.SIGTERM)
"""
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "True\n"
