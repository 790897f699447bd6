"""`mnsweep fleet`: what a fleet is at the moment."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mnsweep.errors import MnsweepError
from mnsweep.fleet.agent import STATUS
from mnsweep.fleet.client import Fleet, Job, Open, Report, opened
from mnsweep.fleet.cluster import MEASURE, TRAIN, Member, checked_address, connected, members_of
from mnsweep.fleet.hosts import hosts_of, read_inventory
from mnsweep.fleet.trouble import HostError
from mnsweep.fleet.watching import Watcher
from mnsweep.version import VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """One machine: how it is called, whether it `can_measure` and train, who holds its lock, and how its clock differs.

    `trouble` says why nothing is known of it, or why it can't measure; empty where it can.
    """

    host: str
    machine: str = ""
    version: str = ""
    workers: int = 0
    can_measure: bool = False
    can_train: bool = False
    holder: str = ""
    last_sweep: str = ""
    ahead_s: float | None = None
    trouble: str = ""


def status(on: str | None, fleet: str | None, *, insecure: bool = False, open: Open = opened) -> list[Status]:
    """Every host that is named, or else every one of `fleet.toml`; and every machine of a cluster.

    Raises `MnsweepError` where nothing is named and there is no file.
    """
    found: list[Status] = []
    if fleet is not None:
        checked_address(fleet, insecure=insecure)
        found += asyncio.run(_of_cluster(fleet))
    inventory = read_inventory()
    hosts = hosts_of(on, inventory) if on is not None else [] if fleet else list(inventory.hosts.values())
    if not hosts and fleet is None:
        raise MnsweepError("no host is named", "name some with `on`, a scheduler with `fleet`, or list hosts in fleet.toml")
    reports = Fleet(Job(command=STATUS, words=()), Watcher(), open).ask(hosts) if hosts else []
    return [*map(_of_host, reports), *found]


def _of_host(report: Report) -> Status:
    hello, machine = report.hello, report.machine
    if hello is None or report.trouble:
        return Status(host=report.host.name, version=hello.version if hello else "", trouble=str(report.trouble or ""))
    return Status(
        host=report.host.name,
        machine=machine.key if machine else "",
        version=hello.version,
        can_measure=not hello.holder,
        holder=hello.holder,
        last_sweep=hello.last_sweep,
        ahead_s=report.ahead_s,
    )


async def _of_cluster(address: str) -> list[Status]:
    async with connected(address) as client:
        info = await client.scheduler.identity(n_workers=-1)
        resources = {name: set(worker.get("resources", {})) for name, worker in info["workers"].items()}
        members, silent = await members_of(client, sorted(resources))
    said = [_of_member(key, member, resources) for key, member in members.items()]
    return said + [Status(host=name, workers=1, trouble=str(HostError(why))) for name, why in silent.items()]


def _of_member(key: str, member: Member, resources: dict[str, set[str]]) -> Status:
    offered = set[str]().union(*(resources[worker] for worker in member.workers))
    other = "" if member.hello.version == VERSION else f"another version than {VERSION}"
    return Status(
        host=member.workers[0],
        machine=key,
        version=member.hello.version,
        workers=len(member.workers),
        can_measure=MEASURE in offered and not member.hello.holder and not other,
        can_train=TRAIN in offered and not other,
        holder=member.hello.holder,
        last_sweep=member.hello.last_sweep,
        ahead_s=member.ahead_s,
        trouble=other,
    )


def same_machines(found: Sequence[Status]) -> Iterator[str]:
    """What a reader must know: names that are one machine."""
    names: dict[str, list[str]] = {}
    for each in found:
        if each.machine:
            names.setdefault(each.machine, []).append(each.host)
    for machine, hosts in names.items():
        if len(hosts) > 1:
            yield f"{' and '.join(hosts)} are one machine ({machine}): name it once"


def to_document(found: Sequence[Status]) -> dict[str, Any]:
    """What `--json` prints."""
    return {"hosts": [asdict(each) for each in found]}
