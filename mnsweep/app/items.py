"""Measure a sweep of items: whatever is timed like cells without being cells, in the same interleaved rounds."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import psutil

from mnsweep.estimate.fit import Estimate
from mnsweep.listener import Listener
from mnsweep.machine.fingerprint import Machine
from mnsweep.measure.campaign import Campaign, Targets
from mnsweep.measure.plan import Item, Plan, groups, seconds
from mnsweep.measure.rounds import Rules
from mnsweep.measure.stop_rule import is_done
from mnsweep.record import Setting
from mnsweep.session import MEMORY_SHARE
from mnsweep.sweep.derive import Outcome, conclude
from mnsweep.sweep.file import Sweep, write_sweep
from mnsweep.sweep.kept import kept_sweep, merged
from mnsweep.sweep.knowledge import understand
from mnsweep.sweep.store import SWEEP, SweepFolder
from mnsweep.worker.base import Model
from mnsweep.worker.proxy import NewTimer

ANY_WIDTH = float("inf")
CANARY = "canary"  # a copy of the first item


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """How items are measured: their models by id, what starts a worker, and the settings that stand in the records."""

    model_of: Callable[[Item], Model]
    new_worker: NewTimer
    settings: Mapping[str, Setting]
    rules: Rules
    decided: Callable[[Mapping[str, Estimate]], set[str]] = lambda estimates: set()  # ids that need no narrower interval
    listener: Listener
    clock: Callable[[], float] = time.monotonic


def measure_items(folder: SweepFolder, sweep: Sweep, items: tuple[Item, ...], machine: Machine, bench: Bench) -> Outcome:
    """Measure the items that have not settled, then write all derived files; the caller holds the machine's lock.

    Each block is on disk before the next one is timed. All items share every round, so that any two can be compared. The canary
    is an item of its own: timed more often than the others, one of them would look 0.3 % slower than it is.
    """
    folder.check_machine(machine)
    records = folder.read()
    sweep = merged(sweep, kept_sweep(folder, records))
    targets, rules = _targets(items, bench), bench.rules
    estimates = understand(sweep, records).estimates
    pending = [item for item in items if not is_done(estimates.get(item.id), targets(estimates)[item.id], rules)]
    canary, memory_bytes = replace(items[0], id=CANARY), psutil.virtual_memory().available * MEMORY_SHARE
    found = groups(items, items, measured=(), memory_bytes=memory_bytes, beside=(canary,))
    folder.write_machine(machine)
    folder.replace(SWEEP, write_sweep(sweep))
    plan = Plan(
        sweep=sweep.name,
        groups=tuple(found) if pending else (),
        seconds=min(sum(seconds(item, rules.least_rounds, rules) for item in pending), rules.time_budget_s),
        kept=len(items) - len(pending),
        begun=sum(item.id in estimates for item in pending),
        began_at=records.processes[0].started_at if records.processes else None,
    )
    bench.listener.planned(plan)

    def model_of(item: Item) -> Model:
        return bench.model_of(items[0] if item.id == CANARY else item)

    if pending:
        with folder.appending() as append:
            Campaign(
                records=records,
                rules=rules,
                append=append,
                model_of=model_of,
                targets=targets,
                on_status=bench.listener.status,
                new_worker=bench.new_worker,
                settings=bench.settings,
                clock=bench.clock,
            ).measure(found)
    return conclude(folder)


def _targets(items: Sequence[Item], bench: Bench) -> Targets:
    """The half width in % that each item needs: that of the rules, but for those that are decided."""

    def targets(estimates: Mapping[str, Estimate]) -> Mapping[str, float]:
        decided = bench.decided(estimates)
        return {item.id: ANY_WIDTH if item.id in decided else bench.rules.ci_pct for item in items}

    return targets
