"""A Dask cluster as a way to machines, and to workers.

Measuring is placed by identity: each distinct machine whose workers offer `MEASURE` is asked once, however many workers it
has. The agent runs as a task there, and its lines travel through queues of the scheduler. The task is to continue a sweep, so a
second run of it measures nothing twice. Everything else (what both sides have, validation, silence, new tries) is as over
OpenSSH. Work that is not timed is placed by capacity: on any worker that offers `TRAIN`, and again on another if that one is
lost.
"""

import asyncio
import contextlib
import ipaddress
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from mnsweep.decoding import DamagedError
from mnsweep.errors import MnsweepError
from mnsweep.fleet.client import Fleet, Job, Report
from mnsweep.fleet.hosts import Host
from mnsweep.fleet.messages import LONGEST_LINE, Hello, from_agent
from mnsweep.fleet.tasks import dask, greet, own_cpus, serve
from mnsweep.fleet.trouble import HostError
from mnsweep.fleet.watching import Watcher
from mnsweep.sweep.store import machine_of
from mnsweep.version import VERSION
from mnsweep.wording import count_of

MEASURE, TRAIN = "MEASURE", "TRAIN"  # resources of workers
CONNECT_S = 20.0
GREETING_S = 60.0  # for the slowest worker to import mnsweep
PATIENCE_S = 5.0  # for a queue of the scheduler, before looking again whether the task still runs
AT_ONCE = 8  # lines in a queue: a side that is slow is not flooded
SAID_AT_ONCE = 1_000  # of what is only shown


def checked_address(address: str, *, insecure: bool) -> str:
    """The address. Raises `MnsweepError` for one that is none, or that would send everything in clear over a network."""
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in ("tcp", "tls") or not parts.hostname or not port:
        raise MnsweepError(f"`fleet` {address!r:.80}: is no address of a scheduler", "write tcp://HOST:PORT or tls://HOST:PORT")
    if parts.scheme == "tcp" and not insecure and not _is_loopback(parts.hostname):
        fix = "use tls:// (see 'mnsweep guide fleet'), or accept it with `insecure`"
        raise MnsweepError(f"`fleet` {address}: anybody on the way could read it and run programs on the workers", fix)
    return address


def _is_loopback(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


@contextlib.asynccontextmanager
async def connected(address: str) -> AsyncIterator[Any]:
    """A client of the scheduler. Raises `MnsweepError` where nothing answers."""
    distributed = dask()
    try:
        client = await distributed.Client(address, asynchronous=True, timeout=CONNECT_S, name="mnsweep")
    except (OSError, TimeoutError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise MnsweepError(
            f"`fleet` {address}: no scheduler answers: {reason:.200}", "start one: mnsweep fleet local 2"
        ) from None
    try:
        yield client
    except (OSError, TimeoutError, distributed.comm.CommClosedError) as error:
        raise MnsweepError(f"`fleet` {address}: the scheduler is gone: {error!r:.120}", "the same command continues") from None
    finally:
        with contextlib.suppress(OSError, TimeoutError):
            await client.close(timeout=PATIENCE_S)


async def workers_with(client: Any, resource: str) -> list[str]:
    """The addresses of the workers that offer a resource. Raises `MnsweepError` where none does."""
    info = await client.scheduler.identity(n_workers=-1)
    found = [address for address, worker in info["workers"].items() if worker.get("resources", {}).get(resource, 0) > 0]
    if not found:
        what = f"`fleet`: none of {count_of(len(info['workers']), 'worker')} offers {resource}"
        raise MnsweepError(what, f"start some with it: dask worker … --resources {resource}=1")
    return sorted(found)


@dataclass(frozen=True, slots=True)
class Member:
    """A machine of the cluster: the greeting of one of its workers, the addresses of all, how far its clock is ahead."""

    hello: Hello
    workers: tuple[str, ...]
    ahead_s: float


async def members_of(client: Any, workers: list[str]) -> tuple[dict[str, Member], dict[str, str]]:
    """The distinct machines of workers, by key; and the workers that can't be used, with the reason."""
    async with asyncio.timeout(GREETING_S):
        answers = await client.run(greet, workers=workers, on_error="return")
    found: dict[str, list[tuple[str, Hello]]] = {}
    silent: dict[str, str] = {}
    for address in workers:
        try:
            greeting = _greeting(answers.get(address))
            found.setdefault(machine_of(greeting.checked, greeting.informative).key, []).append((address, greeting))
        except MnsweepError as error:
            silent[address] = error.what
    now_s = time.time()
    members = {
        key: Member(each[0][1], tuple(address for address, _ in each), each[0][1].clock_s - now_s)
        for key, each in found.items()
    }
    return members, silent


def _greeting(answer: Any) -> Hello:
    if isinstance(answer, BaseException) or not isinstance(answer, str):
        raise DamagedError(f"its Python has no usable mnsweep: {answer!r:.120}")
    message = from_agent(answer.encode())
    if not isinstance(message, Hello):
        raise DamagedError(f"{type(message).__name__} in place of a greeting")
    return message


class TaskLink:
    """A connection to an agent that runs as a task: two queues of the scheduler."""

    def __init__(self, requests: Any, answers: Any, future: Any) -> None:
        self._to, self._from, self._future = requests, answers, future

    async def send(self, line: bytes) -> None:
        """Send a line. Raises `ConnectionError` where the task is over."""
        await self._while_running(lambda: self._to.put(line.decode(), timeout=PATIENCE_S))

    async def line(self) -> bytes:
        """The next line, b"" at the end. Raises `DamagedError` for one that is too long."""
        try:
            text = await self._while_running(lambda: self._from.get(timeout=PATIENCE_S))
        except ConnectionError:
            return b""
        if not isinstance(text, str) or len(text) > LONGEST_LINE:
            raise DamagedError("sent something that is no line")
        return text.encode()

    async def _while_running(self, attempt: Any) -> Any:
        while True:
            over = self._future.done()
            try:
                return await attempt()
            except TimeoutError:
                if over:
                    raise ConnectionError from None
            except OSError:
                raise ConnectionError from None

    async def last_words(self) -> tuple[int | None, list[str]]:
        """What the task raised."""
        if self._future.done() and self._future.status == "error":
            error = await self._future.exception()
            return 1, [" ".join(str(error).split()) or type(error).__name__]
        return None, []

    async def close(self) -> None:
        """Tell the agent that nobody listens any more."""
        with contextlib.suppress(OSError, TimeoutError, asyncio.TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                await self._to.put("", timeout=1.0)
                await self._future.cancel()


@dataclass(slots=True)
class _Cluster:
    client: Any
    members: dict[str, Member]  # that were looked up just now; each is used once

    @contextlib.asynccontextmanager
    async def open(self, host: Host) -> AsyncIterator[TaskLink]:
        """A connection to a machine through any of its workers."""
        member = self.members.pop(host.name, None) or await self._looked_up(host)
        name = f"mnsweep-{os.urandom(8).hex()}"
        names = f"{name}-requests", f"{name}-answers"
        requests, answers = [await dask().Queue(each, client=self.client, maxsize=AT_ONCE) for each in names]
        future = self.client.submit(
            serve,
            *names,
            key=name,
            pure=False,
            workers=list(member.workers),
            allow_other_workers=False,
            resources={MEASURE: 1},
            retries=0,
        )
        link = TaskLink(requests, answers, future)
        try:
            yield link
        finally:
            await link.close()

    async def _looked_up(self, host: Host) -> Member:
        """The machine as it is now: workers that were restarted have other addresses."""
        try:
            members, _ = await members_of(self.client, await workers_with(self.client, MEASURE))
        except (MnsweepError, OSError, TimeoutError) as error:
            raise HostError(f"the cluster is not usable: {error}", "start its workers again", is_lost=True) from None
        if host.name not in members:
            raise HostError("none of its workers is left", "start one there again", is_lost=True)
        return members[host.name]


def ask_cluster(address: str, job: Job, watcher: Watcher, *, insecure: bool) -> list[Report]:
    """Ask each distinct machine of a cluster that offers `MEASURE`. Raises `MnsweepError` where there is none."""
    checked_address(address, insecure=insecure)
    return asyncio.run(_ask(address, job, watcher))


@dataclass(frozen=True, slots=True)
class Done:
    """What tasks returned, by name, and the troubles of the others."""

    texts: Mapping[str, str]
    troubles: Mapping[str, MnsweepError]


def run_all(
    address: str,
    task: Callable[[str, str], str],
    errands: Callable[[int, int], Mapping[str, str]],
    watcher: Watcher,
    *,
    insecure: bool,
) -> Done:
    """Run a task for each errand on the workers that offer `TRAIN`, one at a time on each.

    `errands` returns texts by name, given the number of workers and the CPUs that each of them has. The task, a function of a
    module, is called with a text and the name of a queue for what it says meanwhile. Raises `MnsweepError` where no worker of
    this version offers it.
    """
    checked_address(address, insecure=insecure)
    return asyncio.run(_run_all(address, task, errands, watcher))


async def _run_all(
    address: str, task: Callable[[str, str], str], errands: Callable[[int, int], Mapping[str, str]], watcher: Watcher
) -> Done:
    async with connected(address) as client:
        workers = await workers_with(client, TRAIN)
        members, silent = await members_of(client, workers)
        if silent:
            name, why = next(iter(silent.items()))
            raise MnsweepError(f"{name}: {why}", f"install mnsweep {VERSION} on the workers")
        for key, member in members.items():
            if member.hello.version != VERSION:
                what = f"{key} has mnsweep {member.hello.version:.40}, and this is {VERSION}"
                raise MnsweepError(what, "install the same on all workers")
        shares = await client.run(own_cpus, workers=workers)
        texts = errands(len(workers), min(len(str(share).split(",")) for share in shares.values()))
        name = f"mnsweep-{os.urandom(8).hex()}"
        futures = {
            client.submit(task, text, name, key=f"{name}-{errand}", pure=False, resources={TRAIN: 1}): errand
            for errand, text in texts.items()
        }
        told = asyncio.create_task(_tell(client, name, watcher))
        try:
            return await _gathered(futures, watcher)
        finally:
            told.cancel()
            await client.cancel(list(futures))


async def _gathered(futures: Mapping[Any, str], watcher: Watcher) -> Done:
    found, troubles = dict[str, str](), dict[str, MnsweepError]()
    async for future in dask().as_completed(futures, raise_errors=False):
        errand = futures[future]
        if future.status == "finished":
            found[errand] = str(await future.result())
            watcher.said(errand, "done")
        else:
            reason = " ".join(str(await future.exception()).split()) if future.status == "error" else future.status
            troubles[errand] = HostError(f"{reason:.300}", "the same command continues")
    return Done(found, troubles)


async def _tell(client: Any, name: str, watcher: Watcher) -> None:
    """Pass on what tasks say."""
    queue = await dask().Queue(name, client=client, maxsize=SAID_AT_ONCE)
    while True:
        errand, _, text = str(await queue.get()).partition("\t")
        watcher.said(errand, text)


async def _ask(address: str, job: Job, watcher: Watcher) -> list[Report]:
    async with connected(address) as client:
        members, silent = await members_of(client, await workers_with(client, MEASURE))
        cluster = _Cluster(client, dict(members))
        reports = await Fleet(job, watcher, cluster.open).ask_all([Host(name=key) for key in members])
    return reports + [Report(host=Host(name=name), trouble=HostError(why)) for name, why in silent.items()]
