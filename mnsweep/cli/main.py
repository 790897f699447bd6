"""The `mnsweep` program: register the commands, and turn errors into one line and an exit code."""

import inspect
import os
import re
import signal
import sys
import warnings
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any, NoReturn

import typer

from mnsweep import __version__
from mnsweep.cli import (
    classify,
    compare,
    count,
    data,
    doctor,
    evaluate,
    explore,
    export,
    fleet,
    grid,
    guide,
    importing,
    paper,
    pick,
    predict,
    profile,
    rebuild,
    report,
    timing,
    train,
)
from mnsweep.cli.stopping import STOPPED, StoppedError, check, listen
from mnsweep.cli.streams import Answers, guarded
from mnsweep.errors import MnsweepError

USAGE = 2
LONGEST_WORD, SHOWN_OF_LONG = 200, 40  # characters
IN_WORDS = {  # a library's texts, in ours
    "Input should be a valid number,? ?.*": "it is not a number",
    "Input should be a valid integer,? ?.*": "it is not a whole number",
    "Input should be (greater than or equal to|at least) (.*)": r"the lowest value is \2",
    "Input should be (less than or equal to|at most) (.*)": r"the highest value is \2",
    "Input should be a finite number": "it is not a finite number",
    "Input should (be .*)": r"it must \1",
}
KEPT = "everything measured so far is kept: the same command continues, 'mnsweep rebuild' uses what is there"
# typer exports only subclasses of click's UsageError, and newer versions bundle their own click.
UsageError: type[Exception] = typer.BadParameter.__bases__[0]

app = typer.Typer(
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    epilog="Start with: mnsweep grid --quick",
)


def _help(command: Any) -> str:
    """The docstring with each paragraph on one line, so that the terminal's width breaks it, and not the source's."""
    paragraphs = inspect.cleandoc(command.__doc__ or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


app.command("grid", help=_help(grid.grid), epilog=grid.EXAMPLE)(grid.grid)
app.command("explore", help=_help(explore.explore), epilog=explore.EXAMPLE)(explore.explore)
app.command("predict", help=_help(predict.predict), epilog=predict.EXAMPLE)(predict.predict)
app.command("pick", help=_help(pick.pick), epilog=pick.EXAMPLE)(pick.pick)
app.command("count", help=_help(count.count), epilog=count.EXAMPLE)(count.count)
app.command("export", help=_help(export.export), epilog=export.EXAMPLE)(export.export)
app.command("import", help=_help(importing.import_), epilog=importing.EXAMPLE)(importing.import_)
app.command("data", help=_help(data.data), epilog=data.EXAMPLE)(data.data)
app.command("train", help=_help(train.train), epilog=train.EXAMPLE)(train.train)
app.command("classify", help=_help(classify.classify), epilog=classify.EXAMPLE)(classify.classify)
app.command("evaluate", help=_help(evaluate.evaluate), epilog=evaluate.EXAMPLE)(evaluate.evaluate)
app.command("rebuild", help=_help(rebuild.rebuild), epilog=rebuild.EXAMPLE)(rebuild.rebuild)
app.command("report", help=_help(report.report), epilog=report.EXAMPLE)(report.report)
app.command("time", help=_help(timing.time), epilog=timing.EXAMPLE)(timing.time)
app.command("compare", help=_help(compare.compare), epilog=compare.EXAMPLE)(compare.compare)
app.command("profile", help=_help(profile.profile), epilog=profile.EXAMPLE)(profile.profile)
app.command("paper", help=_help(paper.paper), epilog=paper.EXAMPLE)(paper.paper)
app.command("guide", help=_help(guide.guide), epilog=guide.EXAMPLE)(guide.guide)
app.command("doctor", help=_help(doctor.doctor), epilog=doctor.EXAMPLE)(doctor.doctor)
of_fleets = typer.Typer()
of_fleets.command("status", help=_help(fleet.status), epilog=fleet.STATUS)(fleet.status)
of_fleets.command("setup", help=_help(fleet.setup), epilog=fleet.SETUP)(fleet.setup)
of_fleets.command("local", help=_help(fleet.local), epilog=fleet.LOCAL)(fleet.local)
app.add_typer(of_fleets, name="fleet", help=fleet.ABOUT, epilog=fleet.STATUS)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"mnsweep {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def about(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Find out which MobileNet to ship on this machine.

    Counts, builds and measures a grid of MobileNets on this CPU, combines the
    latencies with published accuracies, and picks the most accurate MobileNet
    that is fast enough.
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(USAGE)


def readable(text: str) -> str:
    r"""The text as one line that is safe for a terminal: long words cut, control characters escaped.

    >>> readable("alpha " + "1" * 5000 + "\x1b[2J")
    'alpha 1111111111111111111111111111111111111111…'
    """
    words = (word if len(word) <= LONGEST_WORD else f"{word[:SHOWN_OF_LONG]}…" for word in text.split(" "))
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in " ".join(words))


def _fail(answers: Answers, what: object, fix: str, exit_code: int) -> int:
    """Print an error as one line on stderr, and with --json as a document on stdout; its exit code."""
    what, fix = readable(str(what)), readable(fix)
    typer.echo(f"mnsweep: {what}; {fix}" if fix else f"mnsweep: {what}", err=True)
    if _asks_for_json(sys.argv[1:]) and not answers.used:
        from mnsweep.cli.show import print_json

        print_json({"error": {"what": what, "fix": fix, "exit": exit_code}})
    return exit_code


def _check_words(arguments: Sequence[str]) -> None:
    """Raise `MnsweepError` for an empty word, e.g. of a shell variable that is not set: as a path it would be this folder."""
    for before, word in pairwise(["mnsweep", *arguments]):
        if not word or (word.startswith("--") and word.endswith("=")):
            raise MnsweepError(f"{word[:-1] or before}: the value is empty", "give one, or leave it out")


def _asks_for_json(arguments: Sequence[str]) -> bool:
    """Whether --json is among the options; the parser can't tell when it has failed."""
    return "--json" in arguments[: arguments.index("--") if "--" in arguments else None]


def _typed(parameter: Any) -> str:
    """What was typed for an option; empty if unknown."""
    names = getattr(parameter, "opts", ())
    for word, following in pairwise([*sys.argv, ""]):
        name, _, value = word.partition("=")
        if name in names:
            return value or following
    return ""


def _usage_message(error: Any) -> tuple[str, str]:
    command = error.ctx.command_path if error.ctx else "mnsweep"
    message = error.format_message().rstrip(".")
    if typed := _typed(getattr(error, "param", None)):
        message = message.replace("': Input", f" {typed}': Input")
    for pattern, words in IN_WORDS.items():
        message = re.sub(pattern, words, message)
    return message, f"see '{command} --help'"


def main() -> NoReturn:
    """Run the program; every error becomes one line on stderr and an exit code listed in the README."""
    raise SystemExit(guarded(_run))


def _run(answers: Answers) -> int:
    warnings.showwarning = lambda message, *_, **__: typer.echo(f"mnsweep: warning: {message}", err=True)
    for name in ("COLUMNS", "LINES"):  # rich prints nothing for 0, and fails for ²
        if not re.fullmatch("[1-9][0-9]{0,4}", os.environ.get(name, "1")):
            del os.environ[name]
    listen()
    try:
        _check_words(sys.argv[1:])
        exit_code = app(standalone_mode=False) or 0
        check()
    except MnsweepError as error:
        from mnsweep.cli.show import with_flags  # loads rich, which --help does not need

        return _fail(answers, with_flags(error.what), with_flags(error.fix), error.exit_code)
    except UsageError as error:
        return _fail(answers, *_usage_message(error), USAGE)
    except OSError as error:  # e.g. an invalid path
        return _fail(answers, f"{error.filename or 'the system'}: {error.strerror or error}", "", USAGE)
    except StoppedError as stopped:
        word, exit_code = STOPPED[stopped.args[0]]
        return _fail(answers, word, KEPT, exit_code)
    if exit_code == STOPPED[signal.SIGINT][1]:  # typer turns a KeyboardInterrupt into an exit code
        return _fail(answers, "interrupted", KEPT, exit_code)
    return exit_code
