"""`mnsweep guide`: the long texts of the documentation, one topic at a time."""

import sys
from importlib.resources import files
from typing import Annotated

import typer

from mnsweep.cli import options as o
from mnsweep.errors import MnsweepError

EXAMPLE = "Example: mnsweep guide compare"
WIDEST = 110  # columns that are easy to read


def guide(
    topic: Annotated[str | None, typer.Argument(help="What to read about. Default: the list of topics.")] = None,
    json: o.Json = False,
) -> None:
    """Read about one topic: how to do it, what the numbers mean, and what was measured.

    On a terminal the text is laid out; piped, it is Markdown.
    """
    from mnsweep.cli.show import console, print_json

    known = topics()
    if topic is None:
        if json:
            print_json({"topics": known})
            return
        for name, title in known.items():
            typer.echo(f"{name:12} {title}")
        return
    if topic not in known:
        raise MnsweepError(f"topic {topic!r:.80} is unknown", f"choose from {', '.join(known)}")
    text = (files("mnsweep") / f"guide/{topic}.md").read_text(encoding="utf-8")
    if json:
        print_json({"topic": topic, "markdown": text})
    elif sys.stdout.isatty():
        from rich.markdown import Markdown

        out = console()
        out.print(Markdown(text), width=min(out.width, WIDEST))
    else:
        typer.echo(text, nl=False)


def topics() -> dict[str, str]:
    """The title of each topic, by name."""
    found = sorted(entry.name for entry in (files("mnsweep") / "guide").iterdir() if entry.name.endswith(".md"))
    first_lines = {name: (files("mnsweep") / f"guide/{name}").read_text(encoding="utf-8").partition("\n")[0] for name in found}
    return {name.removesuffix(".md"): line.removeprefix("# ") for name, line in first_lines.items()}
