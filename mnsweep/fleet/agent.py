"""The agent: on a machine of a fleet, it runs the ordinary command and tells the client what that measures.

    python -P -m mnsweep.fleet.agent          speaks `messages` on its standard input and output

The command is a process of its own, which measures and stores as always; the agent reads its files as they grow, once a second,
and touches nothing while a block is timed. It ends the command as Ctrl-C would when the client is gone.
"""

import contextlib
import hashlib
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import msgspec

from mnsweep.decoding import DamagedError, from_json
from mnsweep.errors import MnsweepError
from mnsweep.fleet.messages import (
    LONGEST_LINE,
    NO_DOCUMENT,
    Alive,
    Ask,
    Content,
    Ended,
    Hello,
    Kept,
    Lines,
    Progress,
    SweepText,
    ToAgent,
    ToClient,
    encoded,
    from_client,
    words_of,
)
from mnsweep.fleet.replica import Replica, Tail, kept_of
from mnsweep.machine.fingerprint import Machine, read_machine
from mnsweep.machine.lock import holder
from mnsweep.options import flag
from mnsweep.sweep.file import SWEEP_NAME
from mnsweep.sweep.find import NO_PLOTS, PLOTS, measured_last
from mnsweep.sweep.store import BLOCKS, SWEEP, SweepFolder
from mnsweep.version import VERSION

Send = Callable[[ToClient], None]
Read = Callable[[], bytes]
COMMANDS = ("grid", "explore", "pick", "time", "doctor")
STATUS = "status"  # only say hello
HOME = "~/.local/share/mnsweep"  # of what belongs to fleets, on each machine
RESULTS = f"{HOME}/results"
POLL_S, ALIVE_S = 1.0, 5.0
GRACE_S = 10.0  # for the command to end after a signal
BAD_REQUEST = 2
LONGEST_TEXT = 2_000
ERROR = "mnsweep: "  # before what goes wrong
COMMAND: Sequence[str] = (sys.executable, "-P", "-m", "mnsweep.fleet.child")


class GoneError(Exception):
    """The client is gone, or has not been heard of for too long."""


def hello(results_dir: Path) -> Hello:
    """What this machine is."""
    machine = read_machine()
    return Hello(
        version=VERSION,
        checked=dict(machine.checked),
        informative=dict(machine.informative),
        clock_s=time.time(),
        holder=holder(),
        last_sweep=measured_last(results_dir, machine.key),
    )


def results_dir_of(ask: Ask) -> Path:
    """The folder of all results that a request names; `~` is the home folder."""
    return Path(ask.results_dir or RESULTS).expanduser().absolute()


def folder_of(ask: Ask, machine: Machine) -> SweepFolder:
    """The folder of the sweep that is asked for. Raises `DamagedError` for a name that is none."""
    if not SWEEP_NAME.fullmatch(ask.sweep):
        raise DamagedError(f"{ask.sweep!r:.120} is not the name of a sweep")
    return SweepFolder(results_dir_of(ask) / ask.sweep / machine.key)


class Run:
    """The command of a request, as a process; `new` tells what it did since the last call, `ended` how it ended."""

    def __init__(self, ask: Ask, files: Mapping[str, str], folder: SweepFolder | None, at: int) -> None:
        if ask.command not in COMMANDS:
            raise DamagedError(f"{ask.command!r:.40} is no command for a fleet")
        self._folder = folder
        self._tail = Tail(folder.path / BLOCKS, at) if folder else None
        self._sweep_text = ""
        self._said = self._told = self._error = ""
        self._answer = tempfile.TemporaryFile()  # noqa: SIM115 - until the end
        words = [ask.command, *words_of(ask.words, files), flag("json")]
        own = {"MNSWEEP_RESULTS": str(results_dir_of(ask)), PLOTS: NO_PLOTS, "NO_COLOR": "1", "TERM": "dumb"}
        self.process = subprocess.Popen(
            [*COMMAND, *words],
            stdin=subprocess.DEVNULL,
            stdout=self._answer,
            stderr=subprocess.PIPE,
            env={**os.environ, **own},  # the client draws
            start_new_session=True,  # a signal of a terminal there is not for it
        )
        self._listener = threading.Thread(target=self._listen, args=(self.process.stderr,), daemon=True)
        self._listener.start()
        self.over = threading.Event()
        threading.Thread(target=self._wait, daemon=True).start()

    def _wait(self) -> None:
        """Wait for the end asleep: `Popen.wait` with a timeout wakes up twenty times a second."""
        self.process.wait()
        self.over.set()

    def _listen(self, stream: IO[bytes]) -> None:
        for line in stream:
            if text := line[:LONGEST_TEXT].decode(errors="replace").strip():
                self._said = text
                if text.startswith(ERROR):
                    self._error = text.removeprefix(ERROR)

    def new(self) -> Iterator[ToClient]:
        """What is new."""
        if self._folder and self._tail:
            if text := self._changed_sweep(self._folder):
                yield SweepText(text)
            yield from iter(self._tail.new, None)
        if self._said != self._told:
            self._told = self._said
            yield Progress(self._told)

    def _changed_sweep(self, folder: SweepFolder) -> str:
        text = folder.read_text(SWEEP) if folder.has(SWEEP) else ""
        changed, self._sweep_text = text != self._sweep_text, text
        return text if changed else ""

    def ended(self) -> Ended | None:
        """How the command ended; None as long as it runs."""
        if not self.over.is_set():
            return None
        status = self.process.returncode
        self._listener.join(GRACE_S)
        return Ended(status=status, what=self._error if status else "", document=self._document())

    def _document(self) -> msgspec.Raw:
        self._answer.seek(0)
        text = self._answer.read(LONGEST_LINE // 2)  # a longer one is cut, and then is no document
        with contextlib.suppress(DamagedError):
            return msgspec.Raw(msgspec.json.encode(from_json(text, Any)))
        return NO_DOCUMENT

    def stop(self) -> None:
        """End the command as Ctrl-C would, and after a while by force."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            if self.over.is_set():
                return
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
            self.over.wait(GRACE_S)


class Inbox:
    """Messages of the client, read by a thread of their own; notices when it is gone, even while a message is being sent."""

    def __init__(self, read: Read, silence_s: float) -> None:
        self._messages: queue.Queue[ToAgent | DamagedError | None] = queue.Queue(maxsize=8)
        self._read_line, self._silence_s, self._heard_s = read, silence_s, time.monotonic()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while line := self._read_line():
            self._heard_s = time.monotonic()
            try:
                message = from_client(line)
            except DamagedError as error:
                self._messages.put(error)
                return
            if not isinstance(message, Alive):
                self._messages.put(message)
        self._heard_s = float("-inf")
        self._messages.put(None)

    def is_silent(self) -> bool:
        """Whether the client is gone."""
        return time.monotonic() - self._heard_s > self._silence_s

    def next(self) -> ToAgent:
        """The next message. Raises `GoneError`, or `DamagedError` for what is none."""
        while True:
            try:
                message = self._messages.get(timeout=POLL_S)
            except queue.Empty:
                if self.is_silent():
                    raise GoneError from None
                continue
            if message is None:
                raise GoneError
            if isinstance(message, DamagedError):
                raise message
            return message


class Agent:
    """One conversation with a client."""

    def __init__(self, ask: Ask, inbox: Inbox, send: Send, files: Path, leave: Callable[[], object]) -> None:
        self.ask, self.inbox, self.send, self.files, self.leave = ask, inbox, send, files, leave

    def serve(self) -> None:
        """Say hello, agree on what both sides have, then run the command."""
        machine = read_machine()
        self.send(hello(results_dir_of(self.ask)))
        if self.ask.command == STATUS:
            self.send(Ended(status=0))
            return
        try:
            files = self._received()
            folder = folder_of(self.ask, machine) if self.ask.sweep else None
            at = self._agreed(folder, machine) if folder else 0
            self._follow(Run(self.ask, files, folder, at))
        except BrokenPipeError:
            raise GoneError from None
        except MnsweepError as error:
            self._refuse(str(error), error.exit_code)
        except OSError as error:  # e.g. a full disk
            self._refuse(f"{error.filename or 'the system'}: {error.strerror or error}", BAD_REQUEST)

    def _refuse(self, what: str, status: int) -> None:
        self.send(Ended(status=status, what=what[:LONGEST_TEXT]))

    def _received(self) -> dict[str, str]:
        """The files of the command, by their SHA-256; each has a folder of its own, and the name that the client gave it."""
        paths: dict[str, str] = {}
        for sent in (word for word in self.ask.words if not isinstance(word, str)):
            if sent.sha256 in paths:
                continue
            path, told, size = self.files / sent.sha256[:16] / sent.name, hashlib.sha256(), 0
            path.parent.mkdir(parents=True)
            with path.open("wb") as file:
                while size < sent.size:
                    part = self._expect(Content).part
                    told.update(part)
                    size += len(part)
                    file.write(part)
            if size != sent.size or told.hexdigest() != sent.sha256:
                raise DamagedError(f"{sent.name}: did not arrive as it was sent")
            paths[sent.sha256] = str(path)
        return paths

    def _agreed(self, folder: SweepFolder, machine: Machine) -> int:
        """From which byte on the client lacks records. What only the client has is added here."""
        if self.ask.fresh:
            folder.set_aside()
        theirs: Kept = self._expect(Kept)
        path = folder.path / BLOCKS
        ours = kept_of(path)
        if ours.size >= theirs.size:
            if kept_of(path, theirs.size) != theirs:
                what = f"sweep {self.ask.sweep}: {folder.path} there holds other measurements than the folder here"
                raise MnsweepError(what, "give the sweep another `name`, or start over with `fresh`")
            self.send(ours)
            return theirs.size
        self.send(ours)
        folder.write_machine(machine)
        folder.replace(SWEEP, self._expect(SweepText).text)
        with Replica(folder) as replica:
            while replica.size < theirs.size:
                replica.add(self._expect(Lines))
        if self.ask.command == "pick":
            subprocess.run([*COMMAND, "rebuild", str(folder.path), flag("quiet")], check=False, stdout=sys.stderr)
        return theirs.size

    def _expect(self, kind: Any) -> Any:
        if not isinstance(message := self.inbox.next(), kind):
            raise DamagedError(f"expected {kind.__name__}, got {type(message).__name__}")
        return message

    def _follow(self, run: Run) -> None:
        watch = threading.Thread(target=self._watch, args=(run,), daemon=True)
        watch.start()
        told_s = time.monotonic()
        ended = None
        while ended is None:
            run.over.wait(POLL_S)
            ended = run.ended()  # before what is new: nothing comes after it
            for message in run.new():
                self.send(message)
                told_s = time.monotonic()
            if time.monotonic() - told_s >= ALIVE_S:
                self.send(Alive())
                told_s = time.monotonic()
        self.send(ended)

    def _watch(self, run: Run) -> None:
        """End the command when the client is gone, and `leave` a conversation that is stuck in half a connection."""
        while not run.over.wait(POLL_S):
            if self.inbox.is_silent():
                run.stop()
                self.leave()


class _Head(msgspec.Struct):
    """What every version of `Ask` has."""

    token: str


def converse(read: Read, write: Callable[[bytes], object], leave: Callable[[], object]) -> None:
    """Serve one client, whose lines `read` returns (b"" at the end), and to whom `write` sends lines."""
    if not (line := read()):
        return
    token = from_json(line, _Head).token.encode()

    def send(message: ToClient) -> None:
        write(token + encoded(message) + b"\n")

    with contextlib.suppress(GoneError), tempfile.TemporaryDirectory(prefix="mnsweep-") as files:
        try:
            ask = from_client(line)
            assert isinstance(ask, Ask)  # noqa: S101 - for the type checker
        except DamagedError as error:  # of another version, which the client sees by the greeting
            send(hello(Path(RESULTS).expanduser()))
            send(Ended(status=BAD_REQUEST, what=f"the request can't be read: {error}"))
            return
        Agent(ask, Inbox(read, ask.silence_s), send, Path(files), leave).serve()


def main() -> None:
    """Serve the client on the standard streams."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what anybody prints is no message
    converse(
        lambda: sys.stdin.buffer.readline(LONGEST_LINE),
        lambda line: _write_all(answers, line),
        lambda: os._exit(BAD_REQUEST),
    )


def _write_all(stream: IO[bytes], content: bytes) -> None:
    while content:  # a pipe may take only a part
        content = content[stream.write(content) :]


if __name__ == "__main__":
    main()
