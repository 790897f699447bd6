"""`mnsweep fleet`: other machines, and how they are."""

import signal
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from mnsweep.cli import options as o
from mnsweep.cli import output
from mnsweep.errors import MnsweepError

if TYPE_CHECKING:
    from mnsweep.app.fleet import Status
    from mnsweep.fleet.hosts import Host

PARTIAL = 3
SKEW_S = 2.0  # of a clock that is worth a word
MOST_WORKERS = 64

ABOUT = "Other machines to measure and train on: set them up, look at them, try a cluster here."
STATUS = "Example: mnsweep fleet status --on pi,me@board.local"
SETUP = "Example: mnsweep fleet setup pi --extras openvino"
LOCAL = "Example: mnsweep fleet local 2"
On = Annotated[Optional[str], typer.Option(help="Hosts of OpenSSH, names of fleet.toml, command prefixes; with commas.")]


def status(
    on: On = None,
    fleet: Annotated[Optional[str], typer.Option(help="Address of a Dask scheduler.")] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Talk to a scheduler on the network without TLS.")] = False,
    json: o.Json = False,
    csv: output.Csv = False,
    markdown: output.Markdown = False,
    quiet: o.Quiet = False,
) -> None:
    """Show hosts and workers: which machine each is, its version, who measures there, its last sweep, its clock.

    Without options, all hosts of fleet.toml. Exit status 3: some can't be used.
    """
    from mnsweep.app.fleet import same_machines, to_document
    from mnsweep.app.fleet import status as look
    from mnsweep.cli.show import advise, print_json, warn

    form = output.form_of(json=json, csv=csv, markdown=markdown)
    found = look(on, fleet, insecure=insecure)
    if json:
        print_json(to_document(found))
    else:
        output.print_rows(_table(found), form)
    for line in same_machines(found):
        warn(line)
    for each in found:
        if each.trouble:
            warn(f"{each.host}: {each.trouble}")
        if each.ahead_s is not None and abs(each.ahead_s) > SKEW_S:
            word = "ahead" if each.ahead_s > 0 else "behind"
            advise(f"{each.host}: its clock is {abs(each.ahead_s):.0f} s {word}; measurements do not depend on it", quiet)
    if any(each.trouble for each in found):
        raise typer.Exit(PARTIAL)


def _table(found: "list[Status]") -> output.Rows:
    columns = (
        output.Column("host", "host"),
        output.Column("machine", "machine"),
        output.Column("version", "version"),
        output.Column("workers", "workers"),
        output.Column("can_measure", "measures"),
        output.Column("can_train", "trains"),
        output.Column("holder", "measuring now"),
        output.Column("last_sweep", "last sweep"),
        output.Column("ahead_s", "clock\n(s)", lambda value: f"{value:+.1f}" if isinstance(value, float) else "–"),
    )
    rows = [
        [
            each.host,
            each.machine or None,
            each.version or None,
            each.workers or None,
            "yes" if each.can_measure else "no",
            "yes" if each.can_train else "no",
            each.holder or None,
            each.last_sweep or None,
            each.ahead_s,
        ]
        for each in found
    ]
    return output.Rows(title="", columns=columns, rows=rows, droppable=("last sweep", "measuring now", "version"))


def setup(
    host: Annotated[str, typer.Argument(help="A host of OpenSSH, a name of fleet.toml, or a command prefix.")],
    python: Annotated[str, typer.Option(help="Interpreter there to start from, 3.11 or newer.")] = "python3",
    torch: Annotated[bool, typer.Option("--torch", help="With torch, which only training needs.")] = False,
    extras: Annotated[str, typer.Option(help="Optional runtimes, e.g. openvino,litert.")] = "",
    remove: Annotated[bool, typer.Option("--remove", help="Remove what was set up; what was measured stays.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before it starts.")] = False,
    quiet: o.Quiet = False,
) -> None:
    """Install this version of mnsweep on another machine: in an environment of its own, in ~/.local/share/mnsweep."""
    from mnsweep.cli.show import advise
    from mnsweep.fleet.hosts import hosts_of, read_inventory
    from mnsweep.fleet.setup import ENVIRONMENT, Setup, set_up
    from mnsweep.fleet.setup import remove as remove_there

    (there,) = _one(hosts_of(host, read_inventory()), host)
    plan = Setup(host=there, python=python, torch=torch, extras=tuple(filter(None, extras.split(","))))
    steps = [f"remove {ENVIRONMENT}"] if remove else plan.steps
    for step in steps:
        advise(f"on {there.name}: {step}", quiet and yes)
    if not yes and not typer.confirm("Go on?", err=True):
        raise typer.Exit(1)
    remove_there(there) if remove else set_up(plan)
    advise(f"done; next: mnsweep fleet status --on {there.name}", quiet)


def _one(hosts: "list[Host]", name: str) -> "list[Host]":
    if len(hosts) != 1:
        raise MnsweepError(f"{name}: are {len(hosts)} hosts", "name one")
    return hosts


def local(
    workers: Annotated[int, typer.Argument(help="Number of workers.", min=1, max=MOST_WORKERS)] = 2,
) -> None:
    """Start a Dask scheduler and workers here, to try --fleet; the first line says the address. Ctrl-C ends them."""
    from mnsweep.cli.show import advise
    from mnsweep.fleet.local import local_cluster

    with local_cluster(workers) as address:
        typer.echo(address)
        advise(f"{workers} workers; try: mnsweep fleet status --fleet {address}; Ctrl-C ends them")
        signal.pause()
