"""The commands that measure, on other machines: the ordinary command runs there, and what it measures is judged here."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from mnsweep.accuracy.published import RUN_PREFIX
from mnsweep.app import grid as grids
from mnsweep.app import time as times
from mnsweep.app.explore import ExploreOutcome
from mnsweep.app.export import export_choice
from mnsweep.app.grid import GridOutcome
from mnsweep.app.pick import PickOutcome, pick
from mnsweep.app.requests import Elsewhere, ExploreRequest, GridRequest, PickRequest, TimeRequest
from mnsweep.app.time import TimeOutcome
from mnsweep.choice.ranking import Choice
from mnsweep.decoding import DamagedError, from_json
from mnsweep.errors import MnsweepError
from mnsweep.fleet.client import Fleet, Job, Open, Report, opened
from mnsweep.fleet.hosts import hosts_of, read_inventory
from mnsweep.fleet.messages import NO_DOCUMENT, Ended, Sent
from mnsweep.fleet.trouble import HostError
from mnsweep.fleet.watching import Watcher
from mnsweep.importing.trained import sha256_of
from mnsweep.machine.fingerprint import Machine
from mnsweep.options import as_words, changed, flag
from mnsweep.sweep.derive import Outcome, conclude
from mnsweep.sweep.file import SWEEP_NAME, read_sweep
from mnsweep.sweep.find import find_sweep_file, results_dir_or_default
from mnsweep.sweep.store import BLOCKS, SweepFolder

T = TypeVar("T")
OF_THIS_SIDE = {"on", "fleet", "insecure", "results_dir", "fresh", "name", "sweep", "export", "calibration"}
ANSWERED = (0, 1, 3)  # exit statuses of commands that have results
NOTHING = 4
STATUSES = (2, NOTHING)  # of those that have none
MOST_DRAWN = 8  # machines: plots of more take longer than anybody waits


@dataclass(frozen=True, slots=True, kw_only=True)
class Everywhere(Generic[T]):
    """The outcomes of hosts by name, and the troubles of the others."""

    outcomes: Mapping[str, T]
    troubles: Mapping[str, MnsweepError] = field(default_factory=dict)

    def checked(self) -> "Everywhere[T]":
        """The same; raises the first trouble where no host has an outcome, with the name of the host."""
        if not self.outcomes and self.troubles:
            host, trouble = next(iter(self.troubles.items()))
            raise _named(host, trouble)
        return self


def draw(outcomes: Iterable[Outcome]) -> bool:
    """Draw the plots of each machine; of many, none, and False: their outcomes hold no blocks, and it would take too long."""
    all_of_them = list(outcomes)
    if len(all_of_them) > MOST_DRAWN:
        return False
    for derived in all_of_them:
        derived.draw()
    return True


def _named(host: str, trouble: MnsweepError) -> MnsweepError:
    named = type(trouble)(f"{host}: {trouble.what}", trouble.fix)
    named.exit_code = trouble.exit_code
    return named


class _Cell(msgspec.Struct):
    cell: str


class _Answer(msgspec.Struct):
    """What is used of the document of a command: reasons by cell id, and the ids in order."""

    skipped: dict[str, str] = {}
    cells: list[_Cell] = []


def grid_on(request: GridRequest, watcher: Watcher | None = None, open: Open = opened) -> Everywhere[GridOutcome]:
    """Measure a grid on each host that the request names. Raises `MnsweepError` for bad input before anything starts."""
    directory = results_dir_or_default(request.place.results_dir)
    words, files = list[str | Sent](), dict[str, Path]()
    if request.sweep is not None:
        path = find_sweep_file(request.sweep, directory)
        words, files = [flag("sweep"), sent := _sent(path)], {sent.sha256: path}
        name = request.name or read_sweep(path, request.space.max_designs, auto_threads=1).name
    else:
        name = request.name or "grid"
    without = {"quality_source"} if (request.accuracies.quality_source or "").startswith(RUN_PREFIX) else set[str]()
    job = _job("grid", request, name, directory, words, files, without)
    return measured_on(
        _ask(request.elsewhere, job, watcher, open),
        lambda report: grids.outcome_of(request, _folder(report), _machine(report), _answer(report).skipped),
    )


def explore_on(request: ExploreRequest, watcher: Watcher | None = None, open: Open = opened) -> Everywhere[ExploreOutcome]:
    """Explore a space on each host that the request names."""
    if (source := request.accuracies.quality_source or "").startswith(RUN_PREFIX):
        raise MnsweepError(f"`quality_source` {source}: the run is here, not there", "explore there with published accuracies")
    if request.like is not None:
        raise MnsweepError(
            f"`like` {request.like}: the sweep is here, not there", "explore without it, or on each machine itself"
        )
    job = _job("explore", request, request.name, results_dir_or_default(request.place.results_dir))
    return measured_on(
        _ask(request.elsewhere, job, watcher, open),
        lambda report: ExploreOutcome(derived=conclude(_folder(report)), skipped=_answer(report).skipped),
    )


def time_on(request: TimeRequest, watcher: Watcher | None = None, open: Open = opened) -> Everywhere[TimeOutcome]:
    """Time model files on each host that the request names; they are copied there for as long as it takes."""
    job = _job("time", request, request.name, results_dir_or_default(request.place.results_dir))
    return measured_on(_ask(request.elsewhere, job, watcher, open), lambda report: _timed(report, request.same_pct))


def _timed(report: Report, same_pct: float) -> TimeOutcome:
    derived = conclude(_folder(report))
    ids = [row.cell for row in _answer(report).cells if row.cell in derived.known.sweep.items]
    if not ids:
        raise MnsweepError("has timed nothing that was asked for", "look there: 'mnsweep time'")
    return times.outcome_of(derived, ids, same_pct)


def pick_on(request: PickRequest, watcher: Watcher | None = None, open: Open = opened) -> Everywhere[PickOutcome]:
    """Pick on each host that the request names: predicted cells are measured there, the choice is made here."""
    if request.sweep is None:
        raise MnsweepError("`on` requires `sweep`", "name the sweep of those machines to pick from")
    job = _job("pick", request, request.sweep, results_dir_or_default(request.place.results_dir))

    def picked(report: Report) -> PickOutcome:
        folder = _folder(report)
        conclude(folder)
        own = replace(request, sweep=str(folder.path), no_verify=True)
        return pick(own, _never, lambda choice, its: export_choice(choice, own, its))

    return measured_on(_ask(request.elsewhere, job, watcher, open), picked)


def _never(*_: Any) -> Choice:
    raise AssertionError("predictions were verified there")


def doctor_on(
    hosts: str, *, no_timing: bool, watcher: Watcher | None = None, open: Open = opened
) -> Everywhere[dict[str, Any]]:
    """What `mnsweep doctor --json` prints on each host."""
    job = Job(command="doctor", words=(flag("no_timing"),) * no_timing)
    reports = Fleet(job, watcher or Watcher(), open).ask(hosts_of(hosts, read_inventory()))

    def answer(report: Report) -> dict[str, Any]:
        return _decoded(report, dict[str, Any])

    return measured_on(reports, answer)


def _ask(elsewhere: Elsewhere, job: Job, watcher: Watcher | None, open: Open) -> list[Report]:
    if job.sweep and not SWEEP_NAME.fullmatch(job.sweep):
        raise MnsweepError(f"sweep name {job.sweep!r:.120}: use at most 100 letters, digits, '.', '_' and '-'")
    if elsewhere.fleet is not None:
        from mnsweep.fleet.cluster import ask_cluster

        return ask_cluster(elsewhere.fleet, job, watcher or Watcher(), insecure=elsewhere.insecure)
    hosts = hosts_of(elsewhere.on or "", read_inventory())
    return Fleet(job, watcher or Watcher(), open).ask(hosts)


def _job(
    command: str,
    request: Any,
    sweep: str,
    results_dir: Path,
    words: Sequence[str | Sent] = (),
    files: Mapping[str, Path] | None = None,
    without: Iterable[str] = (),
) -> Job:
    """The ordinary command for a request; files that it names are sent."""
    named, sending = [*words], dict(files or {})
    for word in as_words(request, changed(request), {*OF_THIS_SIDE, *without}):
        named.append(_sent(word) if isinstance(word, Path) else word)
        if isinstance(sent := named[-1], Sent) and isinstance(word, Path):
            sending[sent.sha256] = word
    named += [flag("sweep" if command == "pick" else "name"), sweep]
    fresh = getattr(getattr(request, "measuring", None), "fresh", False)
    return Job(command=command, words=tuple(named), sweep=sweep, results_dir=results_dir, files=sending, fresh=fresh)


def _sent(path: Path) -> Sent:
    """The word that stands for a file. Raises `MnsweepError` where it can't be read."""
    if path.is_dir():
        raise MnsweepError(f"{path}: is a folder, and only files are sent to other machines", "name one file")
    try:
        return Sent(path.name, sha256_of(path), path.stat().st_size)
    except OSError as error:
        raise MnsweepError(f"{path}: {error.strerror}", "name a file that can be read") from None


def measured_on(reports: Sequence[Report], outcome_of: Callable[[Report], T]) -> Everywhere[T]:
    """The outcome of each host that has one; of the others, the reason, and a table of what was measured all the same.

    Of many hosts, the outcomes hold no blocks: all of them together would not fit into memory.
    """
    outcomes, troubles = dict[str, T](), dict[str, MnsweepError]()
    for report in reports:
        try:
            outcome: Any = outcome_of(_answered(report))
            if len(reports) > MOST_DRAWN and hasattr(outcome, "derived"):
                outcome = replace(outcome, derived=outcome.derived.without_blocks())
            outcomes[report.host.name] = outcome
        except MnsweepError as error:
            troubles[report.host.name] = error
            if report.folder and report.folder.has(BLOCKS):
                with suppress(MnsweepError):
                    conclude(report.folder)
    return Everywhere(outcomes=outcomes, troubles=troubles)


def _answered(report: Report) -> Report:
    if report.trouble:
        raise report.trouble
    ended = report.ended
    if ended is None or ended.status not in ANSWERED:
        trouble = HostError(_why(ended) if ended else "has not answered")
        trouble.exit_code = ended.status if ended and ended.status in STATUSES else trouble.exit_code
        raise trouble
    return report


def _why(ended: Ended) -> str:
    """What went wrong with a command that has no results."""
    if ended.what:
        return ended.what
    return "measured nothing in the time that it had" if ended.status == NOTHING else f"ended with status {ended.status}"


def _answer(report: Report) -> _Answer:
    return _decoded(report, _Answer)


def _decoded(report: Report, kind: type[T]) -> T:
    """The document of a command that has ended. Raises `HostError` for one that is damaged."""
    try:
        return from_json(bytes(report.ended.document if report.ended else NO_DOCUMENT), kind)
    except DamagedError as error:
        raise HostError(f"its answer is damaged: {error}") from None


def _folder(report: Report) -> SweepFolder:
    assert report.folder is not None  # noqa: S101 - a sweep was asked for
    return report.folder


def _machine(report: Report) -> Machine:
    assert report.machine is not None  # noqa: S101 - it has said hello
    return report.machine
