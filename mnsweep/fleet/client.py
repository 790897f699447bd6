"""The client of many agents at once: what they measure becomes sweeps here, each machine's under its own fingerprint."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, TypeVar

from mnsweep.decoding import DamagedError
from mnsweep.errors import MnsweepError
from mnsweep.fleet.hosts import Host
from mnsweep.fleet.messages import (
    CHUNK,
    LONGEST_LINE,
    TOKEN_LETTERS,
    Alive,
    Ask,
    Content,
    Ended,
    Hello,
    Kept,
    Lines,
    Progress,
    Sent,
    SweepText,
    ToClient,
    encoded,
    from_agent,
)
from mnsweep.fleet.replica import Replica
from mnsweep.fleet.trouble import HostError, why_not
from mnsweep.fleet.watching import Watcher
from mnsweep.machine.fingerprint import Machine
from mnsweep.options import flag
from mnsweep.sweep.file import Sweep, parse_sweep, write_sweep
from mnsweep.sweep.store import SWEEP, SweepFolder, machine_of
from mnsweep.version import VERSION

T = TypeVar("T")
SILENCE_S, ALIVE_S = 60.0, 5.0
WAIT = flag("wait")  # for the machine's lock
FIRST_WORD_S = 120.0  # a machine that wakes up, a queue of jobs that is short
PAUSES_S = (1.0, 2.0, 5.0, 10.0, 20.0, 40.0)  # before each new try, while nothing new arrives
JUNK_BYTES = 1 << 20  # of what is no message: greetings of a shell
SAID_LINES, SAID_BYTES = 20, 4_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What all hosts are asked: a command and its words, of which some are `files` by their SHA-256.

    `sweep` is the name of the sweep that it measures, '' for none; its records come to `results_dir`.
    """

    command: str
    words: tuple[str | Sent, ...]
    sweep: str = ""
    results_dir: Path = Path("results")
    files: Mapping[str, Path] = field(default_factory=dict)
    fresh: bool = False
    silence_s: float = field(default_factory=lambda: SILENCE_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What became of a host: the greeting and the end of the last conversation, and the folder; or why there is none.

    `ahead_s` is how far its clock is ahead of this one.
    """

    host: Host
    hello: Hello | None = None
    machine: Machine | None = None
    ended: Ended | None = None
    folder: SweepFolder | None = None
    trouble: HostError | None = None
    ahead_s: float = 0.0


class Link(Protocol):
    """A connection to an agent."""

    async def send(self, line: bytes) -> None:
        """Send a line. Raises `ConnectionError` where nobody reads it."""

    async def line(self) -> bytes:
        """The next line, b"" at the end. Raises `DamagedError` for one that is too long."""
        ...

    async def last_words(self) -> tuple[int | None, list[str]]:
        """How it ended: an exit status, and what was said on the way."""
        ...


Open = Callable[[Host], contextlib.AbstractAsyncContextManager[Link]]


class ProcessLink:
    """A process whose standard streams are those of the agent."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin and process.stdout and process.stderr  # noqa: S101 - they are pipes
        self.process, self._to, self._from = process, process.stdin, process.stdout
        self._said: list[str] = []
        self._listening = asyncio.create_task(self._listen(process.stderr))

    async def _listen(self, stream: asyncio.StreamReader) -> None:
        while part := await stream.read(SAID_BYTES):
            text = part.decode(errors="replace")
            self._said = [*self._said, *filter(None, map(str.strip, text.splitlines()))][-SAID_LINES:]

    async def send(self, line: bytes) -> None:
        """Send a line. Raises `ConnectionError` where nobody reads it."""
        self._to.write(line + b"\n")
        await self._to.drain()

    async def line(self) -> bytes:
        """The next line, b"" at the end. Raises `DamagedError` for one without end."""
        try:
            return await self._from.readuntil(b"\n")
        except asyncio.IncompleteReadError:
            return b""
        except asyncio.LimitOverrunError:
            raise DamagedError(f"sent a line of more than {LONGEST_LINE:,} bytes") from None

    async def last_words(self) -> tuple[int | None, list[str]]:
        """The exit status, and what was said on the way."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(self.process.wait(), self._listening), ALIVE_S)
        return self.process.returncode, self._said

    async def close(self) -> None:
        """End the process; the agent sees the end of its input."""
        self._to.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.process.wait(), 1.0)
        for end in (self.process.terminate, self.process.kill):
            if self.process.returncode is None:
                with contextlib.suppress(ProcessLookupError, TimeoutError):
                    end()
                    await asyncio.wait_for(self.process.wait(), 1.0)
        self._listening.cancel()


@contextlib.asynccontextmanager
async def opened(host: Host) -> AsyncIterator[Link]:
    """A connection to the agent of a host. Raises `HostError` for a command that does not exist."""
    try:
        process = await asyncio.create_subprocess_exec(
            *host.agent,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=LONGEST_LINE,
            start_new_session=True,  # Ctrl-C ends this program, which then ends the connection
        )
    except OSError as error:
        raise HostError(f"{host.agent[0]}: {error.strerror}", "install it, or correct the prefix") from None
    link = ProcessLink(process)
    try:
        yield link
    finally:
        await link.close()


@dataclass(slots=True)
class Fleet:
    """Conversations with many hosts at once; each machine is taken once, whatever names it goes by."""

    job: Job
    watcher: Watcher = field(default_factory=Watcher)
    open: Open = opened
    pauses_s: Sequence[float] = PAUSES_S
    first_word_s: float = FIRST_WORD_S
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    _taken: dict[str, str] = field(default_factory=dict)

    def ask(self, hosts: Sequence[Host]) -> list[Report]:
        """Ask all hosts, and return when all have ended; a host in trouble keeps none of the others from going on."""
        return asyncio.run(self.ask_all(hosts))

    async def ask_all(self, hosts: Sequence[Host]) -> list[Report]:
        """The same, in a loop that runs already."""
        return await asyncio.gather(*map(self._ask, hosts))

    async def _ask(self, host: Host) -> Report:
        """Converse until the command has ended; again after a lost connection, and patiently if it brought something new."""
        pauses, job, known = list(self.pauses_s), self.job, False
        while True:
            talk = _Talk(host, job, self)
            try:
                await talk.converse()
                return talk.report()
            except HostError as trouble:
                known = known or talk.hello is not None  # what was there may come back, e.g. after a restart
                if talk.gained:
                    pauses = list(self.pauses_s)
                if not (known and trouble.may_pass and pauses):
                    return talk.report(trouble)
                self.watcher.said(host.name, f"{trouble.what}; trying again in {pauses[0]:.0f} s")
            except MnsweepError as error:
                return talk.report(HostError(error.what, error.fix))
            await self.sleep(pauses.pop(0))
            job = talk.rest

    def take(self, machine: Machine, host: Host) -> None:
        """Raise `HostError` where another host is this machine."""
        other = self._taken.setdefault(machine.key, host.name)
        if other != host.name:
            what = f"is the same machine as {other} ({machine.key})"
            raise HostError(what, "name it once: two sweeps at once would disturb each other")


class _Talk:
    """One connection to one host."""

    def __init__(self, host: Host, job: Job, fleet: Fleet) -> None:
        self.host, self.job, self.fleet = host, job, fleet
        self.token = secrets.token_hex(TOKEN_LETTERS // 2)
        self.hello: Hello | None = None
        self.machine: Machine | None = None
        self.folder: SweepFolder | None = None
        self.ended: Ended | None = None
        self.ahead_s = 0.0
        self.gained = False
        self.set_aside = False

    @property
    def rest(self) -> Job:
        """What is left to ask after a lost connection: nothing is set aside twice; what was lost may still be ending there."""
        words = (*self.job.words, WAIT) if self.job.sweep and WAIT not in self.job.words else self.job.words
        return replace(self.job, words=words, fresh=self.job.fresh and not self.set_aside)

    def report(self, trouble: HostError | None = None) -> Report:
        return Report(
            host=self.host,
            hello=self.hello,
            machine=self.machine,
            ended=self.ended,
            folder=self.folder,
            trouble=trouble,
            ahead_s=self.ahead_s,
        )

    async def converse(self) -> None:
        async with self.fleet.open(self.host) as link:
            try:
                await self._converse(link)
            except (ConnectionError, EOFError):
                status, said = await link.last_words()
                raise why_not(self.host, status, said, greeted=self.hello is not None) from None
            except DamagedError as error:
                raise HostError(f"sent what mnsweep does not send: {error.what}", "nothing of it was kept") from None

    async def _converse(self, link: Link) -> None:
        await link.send(encoded(self._request()))
        self.hello = await self._expect(link, Hello, self.fleet.first_word_s)
        self.ahead_s = self.hello.clock_s - time.time()
        self._check_version(self.hello)
        self.machine = machine_of(self.hello.checked, self.hello.informative)
        self.fleet.take(self.machine, self.host)
        beating = asyncio.create_task(self._beat(link))
        try:
            await self._go_on(link, self.machine)
        finally:
            beating.cancel()

    async def _go_on(self, link: Link, machine: Machine) -> None:
        for sha256, path in self.job.files.items():
            await _send_file(link, sha256, path)
        if not self.job.sweep:
            await self._follow(link, None)
            return
        self.folder = SweepFolder(self.job.results_dir / self.job.sweep / machine.key)
        self.folder.check_machine(machine)
        if self.job.fresh and (aside := self.folder.set_aside()):
            self.fleet.watcher.aside(aside)
        self.set_aside = True
        self.folder.write_machine(machine)
        with Replica(self.folder) as replica:
            await self._agree(link, replica)
            await self._follow(link, replica)

    async def _beat(self, link: Link) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                await asyncio.sleep(min(ALIVE_S, self.job.silence_s / 4))
                await link.send(encoded(Alive()))

    def _request(self) -> Ask:
        job = self.job
        return Ask(
            version=VERSION,
            token=self.token,
            command=job.command,
            words=job.words,
            sweep=job.sweep,
            results_dir=self.host.results_dir,
            fresh=job.fresh,
            silence_s=job.silence_s,
        )

    def _check_version(self, hello: Hello) -> None:
        if hello.version != VERSION:
            what = f"has mnsweep {hello.version:.40}, and this is {VERSION}"
            raise HostError(what, f"install the same there: 'mnsweep fleet setup {self.host.name}'")

    async def _agree(self, link: Link, replica: Replica) -> None:
        """Tell what is here, and send what is only here."""
        await link.send(encoded(replica.kept))
        there = await self._expect(link, Kept)
        if there.size >= replica.size:
            return
        if not replica.begins_with(there):
            what = f"sweep {self.job.sweep}: holds other measurements than {replica.folder.path} here"
            raise HostError(what, "give the sweep another `name`, or start over with `fresh`")
        await link.send(encoded(SweepText(replica.folder.read_text(SWEEP))))
        for lines in replica.after(there.size):
            await link.send(encoded(lines))

    async def _follow(self, link: Link, replica: Replica | None) -> None:
        while True:
            match await self._message(link, self.job.silence_s):
                case Lines() as lines if replica:
                    self.gained = bool(replica.add(lines)) or self.gained
                case SweepText(text=text) if replica:
                    self._keep_sweep(replica.folder, text)
                case Progress(text=text):
                    self.fleet.watcher.said(self.host.name, text)
                case Alive():
                    pass
                case Ended() as ended:
                    self.ended = ended
                    if ended.status < 0:
                        raise HostError(f"its mnsweep was killed by signal {-ended.status}", is_lost=True)
                    return
                case other:
                    raise DamagedError(f"an unexpected message {type(other).__name__}")

    def _keep_sweep(self, folder: SweepFolder, text: str) -> None:
        """Keep the sweep as it stands there, once it is valid; accuracies and files of weights are those of this side."""
        sweep = parse_sweep(text, Path(f"{self.host.name}:{SWEEP}"))
        if sweep.name != self.job.sweep:
            raise DamagedError(f"the sweep {sweep.name!r:.120} in place of {self.job.sweep}")
        here = parse_sweep(folder.read_text(SWEEP), folder.path / SWEEP) if folder.has(SWEEP) else None
        own = here or Sweep(sweep.name, (), sweep.quality_source)
        of_this_side = {name: getattr(own, name) for name in ("quality_source", "weights", "scored", "trained")}
        folder.replace(SWEEP, write_sweep(replace(sweep, **of_this_side)))

    async def _expect(self, link: Link, kind: type[T], silence_s: float | None = None) -> T:
        while isinstance(message := await self._message(link, silence_s or self.job.silence_s), Alive | Progress):
            pass
        if isinstance(message, Ended):
            raise HostError(message.what or f"ended with status {message.status}")
        if not isinstance(message, kind):
            raise DamagedError(f"{type(message).__name__} in place of {kind.__name__}")
        return message

    async def _message(self, link: Link, silence_s: float) -> ToClient:
        """The next message; what does not begin with the token is no message. Raises `HostError` after silence."""
        token, junk = self.token.encode(), 0
        try:
            async with asyncio.timeout(silence_s) as patience:
                while line := await link.line():
                    if line.startswith(token):
                        return from_agent(line[len(token) : -1])
                    junk += len(line)
                    if junk > JUNK_BYTES:
                        raise DamagedError("more than a megabyte of text that is no message")
        except TimeoutError:
            assert patience.expired()  # noqa: S101 - there is no other
            raise HostError(f"has not answered for {silence_s:.0f} s", is_lost=True) from None
        raise EOFError


async def _send_file(link: Link, sha256: str, path: Path) -> None:
    with path.open("rb") as file:
        while part := file.read(CHUNK):
            await link.send(encoded(Content(sha256, part)))
