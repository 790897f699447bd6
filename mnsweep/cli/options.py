"""Turn the settings of a request into command-line options, and settings back into flags as a user would type them."""

import inspect
import shlex
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Optional, get_args, get_origin

import typer

from mnsweep.cli.completion import completion_of
from mnsweep.errors import MnsweepError
from mnsweep.options import OUTPUT, Setting, build, flag, settings_of
from mnsweep.wording import typed

_PLAIN = (bool, int, float, str, Path)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.", rich_help_panel=OUTPUT)]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no advice.", rich_help_panel=OUTPUT)]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Print more detail.", rich_help_panel=OUTPUT)]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan; measure nothing.")]


def takes(request: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorate a command: its options are the settings of `request`, which it receives as one object, then its parameters."""
    settings = settings_of(request)

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        _, *own = inspect.signature(command).parameters.values()

        @wraps(command)
        def run(**values: Any) -> None:
            asked: Any = build(request, {setting.name: values.pop(setting.name) for setting in settings})
            command(asked, **values)

        parameters = [*map(_parameter, settings), *(p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own)]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        return run

    return decorate


def _parameter(setting: Setting) -> inspect.Parameter:
    about, kind = setting.option, _cli_type(setting.type)
    if about.is_positional:
        placed = typer.Argument(help=about.help, show_default=False)
        default = inspect.Parameter.empty if setting.is_required else setting.default
        return inspect.Parameter(
            setting.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, placed]
        )
    flags = (about.flag or flag(setting.name),) if kind is bool or about.flag else ()
    shown = typer.Option(
        *flags,
        help=about.help,
        rich_help_panel=about.panel,
        min=about.low,
        max=None if about.endless else about.high,
        envvar=about.environment,
        autocompletion=completion_of(setting.name),
    )
    default = inspect.Parameter.empty if setting.is_required else setting.default
    return inspect.Parameter(setting.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, shown])


def _cli_type(hint: Any) -> Any:
    """The type that the command line parses for a setting: plain types unchanged, others (e.g. lists) as text."""
    if hint in _PLAIN or get_origin(hint) is list:
        return hint
    inner = [kind for kind in get_args(hint) if kind is not type(None)]
    kind = inner[0] if len(inner) == 1 and inner[0] in _PLAIN else str
    return Optional[kind] if type(None) in get_args(hint) else kind


def check_exclusive(**given: bool) -> None:
    """Raise `MnsweepError` where more than one of the settings is given: one of them would do nothing."""
    if len(names := [name for name, is_given in given.items() if is_given]) > 1:
        raise MnsweepError(f"`{names[0]}` and `{names[1]}` contradict each other", "leave one of them out")


def as_flags(settings: Mapping[str, object]) -> str:
    """Settings as flags and values, quoted for a shell."""
    return " ".join(
        flag(name) if value is True else f"{flag(name)} {shlex.quote(typed(value))}" for name, value in settings.items()
    )
