"""`mnsweep doctor`: describe this machine and check how well timing works on it."""

from typing import TYPE_CHECKING, Annotated, Optional

import typer

from mnsweep.cli import elsewhere, output
from mnsweep.cli import options as o
from mnsweep.wording import count_of

if TYPE_CHECKING:
    from rich.table import Table

    from mnsweep.app.doctor import Diagnosis
    from mnsweep.machine.conditions import Finding
    from mnsweep.machine.fingerprint import Machine
    from mnsweep.measure.repeatability import Repeatability

EXAMPLE = "Example: mnsweep doctor"
MUCH_DISTURBED = 0.25  # share of blocks above which numbers describe the disturbance more than the machine
STYLES = {"good": "green", "fair": "yellow", "poor": "bold red", "unknown": "dim"}


def doctor(
    no_timing: Annotated[bool, typer.Option("--no-timing", help="Only look; time nothing.")] = False,
    on: Annotated[
        Optional[str],
        typer.Option(help="Look there: hosts of OpenSSH, names of fleet.toml, command prefixes; with commas."),
    ] = None,
    json: o.Json = False,
    csv: output.Csv = False,
    markdown: output.Markdown = False,
    quiet: o.Quiet = False,
) -> None:
    """Describe this machine, what would disturb timing on it, and how to fix it.

    Then time small networks for a few seconds, to estimate how well a sweep
    would repeat and how many threads make sense. Exit status 4: nothing can be
    timed on this machine now.
    """
    from mnsweep.app.doctor import diagnose
    from mnsweep.cli.show import advise

    form = output.form_of(json=json, csv=csv, markdown=markdown)
    if on is not None:
        _doctor_on(on, no_timing, form, quiet)
        return
    advise(f"looking at this machine: about {1 if no_timing else 6} s", quiet)
    diagnosis = diagnose(timing=not no_timing)
    _print_document(diagnosis) if json else _print(diagnosis, form, quiet)
    if diagnosis.obstacle:
        raise diagnosis.obstacle
    advise(_next(diagnosis), quiet)


def _doctor_on(on: str, no_timing: bool, form: output.Form, quiet: bool) -> None:
    from mnsweep.app.doctor import findings_of
    from mnsweep.app.elsewhere import doctor_on
    from mnsweep.app.requests import Elsewhere

    elsewhere.is_asked(Elsewhere(on=on), form)
    with elsewhere.FleetNarrator(quiet) as watcher:
        measured = doctor_on(on, no_timing=no_timing, watcher=watcher)
    elsewhere.show(measured, form, dict, lambda found: output.print_table(_findings_table(findings_of(found)), form))


def _print_document(diagnosis: "Diagnosis") -> None:
    from json import dumps

    from mnsweep.app.doctor import to_document

    typer.echo(dumps(to_document(diagnosis), indent=2, allow_nan=False))


def _print(diagnosis: "Diagnosis", form: output.Form, quiet: bool) -> None:
    """Print what was found; in CSV only the conditions, since it holds one table."""
    findings = _findings_table(diagnosis.findings)
    tables = [findings] if form is output.Form.CSV else [_facts_table(diagnosis.machine), findings]
    if diagnosis.repeatability and form is not output.Form.CSV:
        tables.append(_threads_table(diagnosis.repeatability))
    for table in tables:
        output.print_table(table, form)
    for line in _lines(diagnosis.repeatability):
        output.say(line, form, quiet)


def _table(title: str, *columns: str) -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _facts_table(machine: "Machine") -> "Table":
    from rich.markup import escape

    table = _table(f"machine {machine.key}", "fact", "value", "role")
    for facts, role in ((machine.checked, "defines the machine"), (machine.informative, "for information")):
        for name, value in facts.items():
            table.add_row(name.replace("_gib", " (GiB)").replace("_", " "), escape(str(value)) or "–", role)
        table.add_section()
    return table


def _findings_table(findings: tuple["Finding", ...]) -> "Table":
    from rich.markup import escape

    table = _table("what may disturb timing", "condition", "here", "verdict", "why, and how to fix it")
    for f in findings:
        advice = f"{f.why}\n→ {f.fix}" if f.fix else f"[dim]{f.why}[/dim]"
        table.add_row(f.name, escape(f.value), f"[{STYLES[f.verdict]}]{f.verdict}[/]", advice)
    return table


def _threads_table(timed: "Repeatability") -> "Table":
    table = _table("a small network on more threads", "threads", "latency (ms)", "speed-up", "efficiency", "repeats within")
    for t in timed.by_threads:
        numbers = f"{t.latency_ms:#.3g}", f"× {t.speed_up:.2f}", f"{100 * t.efficiency:.0f} %"
        table.add_row(str(t.threads), *numbers, _width(t.repeatability_pct))
    return table


def _lines(timed: "Repeatability | None") -> list[str]:
    from mnsweep.measure.repeatability import SWEEP_ROUNDS, WORTHWHILE

    moves = "milliseconds move with the machine's speed, latencies relative to each other do not"
    if timed is None:
        return [f"speed          {moves}"]
    off = f"{timed.movement.faster_pct:.1f} % faster to {timed.movement.slower_pct:.1f} % slower than typical"
    caution = "; look again when less is running" if timed.disturbed_blocks > MUCH_DISTURBED * timed.blocks else ""
    disturbed = f"{timed.disturbed_blocks} of {count_of(timed.blocks, 'block')}"
    return [
        f"repeatability  {_width(timed.pct)} against other cells, on one thread, after the {SWEEP_ROUNDS} rounds of a sweep",
        f"disturbed      {disturbed} in {count_of(timed.rounds, 'round')}{caution}",
        f"speed          from {off} in 95 % of the rounds:",
        f"               {moves}",
        f"threads        {_count(timed.recommended_threads)}: the most with {100 * WORTHWHILE:.0f} % efficiency or more",
    ]


def _width(half_width_pct: float | None) -> str:
    return "± unknown" if half_width_pct is None else f"± {half_width_pct:.1f} %"


def _count(threads: int) -> str:
    return count_of(threads, "thread")


def _next(diagnosis: "Diagnosis") -> str:
    if diagnosis.poor:
        return f"next: fix what is poor ({', '.join(diagnosis.poor)}), then mnsweep doctor again"
    return f"next: {diagnosis.next_command}"
