"""Settings, declared once as documented dataclass fields, so that every front end can offer them.

    @dataclass(frozen=True, kw_only=True)
    class Budget:
        max_latency_ms: float | None = option(None, "Latency budget.", panel="Measuring", low=0.0)

    @dataclass(frozen=True, kw_only=True)
    class Request:
        budget: Budget = group(Budget)

The command line offers this setting as --max-latency-ms, the Python API as a keyword argument; `build` makes a request
from either. A new setting is one line.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from functools import lru_cache
from numbers import Integral, Rational, Real
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from mnsweep.errors import MnsweepError
from mnsweep.wording import typed

T = TypeVar("T")
AXES, MEASURING, NETWORK, CONSTRAINTS, ELSEWHERE, OUTPUT = (
    "Axes", "Measuring", "Network and deployment", "Constraints (any combination)", "On other machines", "Output",
)  # fmt: skip
_OPTION, _GROUP = "option", "group"


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """The description of a setting for users.

    `panel` is its group in the help, `low` and `high` are its lowest and highest value, beside infinity if it is `endless`.
    `environment` is the environment variable that sets it, and `flag` the command-line option if it differs from the setting's
    name. It does nothing without the setting that it `requires`, or with the one that it `excludes`: such combinations are
    refused. One that `is_positional` has no flag: its place on the command line tells.
    """

    help: str
    panel: str | None = None
    low: float | None = None
    high: float | None = None
    endless: bool = False
    environment: str | None = None
    flag: str | None = None
    requires: str | None = None
    excludes: str | None = None
    is_positional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting of a request; `default` is MISSING where it is required."""

    name: str
    type: Any
    default: Any
    option: Option

    @property
    def is_required(self) -> bool:
        """Whether it has no default."""
        return self.default is MISSING


@dataclass(frozen=True, slots=True)
class _Group:
    kind: type
    without: Collection[str]
    changes: Mapping[str, Field[Any]]


def flag(name: str) -> str:
    """The flag of a setting: `max_designs` becomes --max-designs."""
    return f"--{name.replace('_', '-')}"


def option(default: Any, help: str, **about: Any) -> Any:
    """A field that is a setting; without a default (`...`) it is required. `about` holds other fields of `Option`."""
    metadata = {_OPTION: Option(help=help, **about)}
    return field(metadata=metadata) if default is ... else field(default=default, metadata=metadata)


def argument(help: str, default: Any = ...) -> Any:
    """A setting that is named by its place on the command line; required unless it has a default."""
    return option(default, help, is_positional=True)


def group(kind: type, *, without: Collection[str] = (), **changes: Any) -> Any:
    """A field that holds a dataclass of settings, except those `without`; `changes` (`option`) replace settings by name."""
    defaults = {name: changed.default for name, changed in changes.items() if changed.default is not MISSING}
    return field(default_factory=lambda: kind(**defaults), metadata={_GROUP: _Group(kind, without, changes)})


def settings_of(request: type) -> list[Setting]:
    """All settings of a request, including those of its groups, in the order of declaration."""
    return list(_settings(request, (), {}))


_hints = lru_cache(get_type_hints)  # the groups are in several requests


def _settings(kind: type, without: Collection[str], changes: Mapping[str, Field[Any]]) -> Iterator[Setting]:
    hints = _hints(kind)
    for own in fields(kind):
        changed = changes.get(own.name, own)
        if own.name in without:
            continue
        if _GROUP in changed.metadata:
            nested: _Group = changed.metadata[_GROUP]
            yield from _settings(nested.kind, nested.without, nested.changes)
        elif _OPTION in changed.metadata:
            about = changed.metadata[_OPTION]
            yield Setting(name=own.name, type=hints[own.name], default=changed.default, option=about)


def build(request: type[T], values: Mapping[str, Any]) -> T:
    """The request with these settings, by name; a missing setting has its default. `~` is expanded in paths.

    Raises `MnsweepError` for a number that is not finite, or not from `low` to `high` of its setting, and for a setting that
    would do nothing, or contradicts another.
    """
    built = _build(request, values)
    _check_combination(built)
    return built


def _check_combination(request: object) -> None:
    given = changed(request)
    for setting in settings_of(type(request)):
        name, about = setting.name, setting.option
        if name in given and about.requires and about.requires not in given:
            raise MnsweepError(f"`{name}` {given[name]} requires `{about.requires}`", "add it, or leave both out")
        if name in given and about.excludes in given:
            raise MnsweepError(f"`{name}` and `{about.excludes}` contradict each other", "leave one of them out")


def _build(request: type[T], values: Mapping[str, Any]) -> T:
    own: dict[str, Any] = {}
    for f in fields(request):  # type: ignore[arg-type]
        if _GROUP in f.metadata:
            own[f.name] = _build_group(f.metadata[_GROUP], values)
        elif f.name in values:
            value = values[f.name]
            own[f.name] = _at_home(value)
            if _OPTION in f.metadata:
                _check_range(f.name, value, f.metadata[_OPTION])
    return request(**own)


def _at_home(value: Any) -> Any:
    if isinstance(value, list):
        return [_at_home(item) for item in value]
    return at_home(value) if isinstance(value, Path) else value


def at_home(path: str | Path) -> Path:
    """The path with `~` and `~user` replaced by a home folder; shells leave them, e.g. in --results-dir=~/results.

    A name such as `~draft`, where there is no user of that name, stays as it is. Raises `MnsweepError` for `~` where this
    user has no home folder.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        if Path(path).parts[0] == "~":
            raise MnsweepError(f"{path}: this user has no home folder", "write the folder without ~") from None
        return Path(path)


def _check_range(name: str, value: Any, about: Option) -> None:
    if isinstance(value, bool) or not isinstance(value, Real):
        return
    low, high = (float(sign + "inf") if bound is None else bound for sign, bound in (("-", about.low), ("", about.high)))
    number: Any = value
    if about.endless and number == float("inf"):
        return
    if number in (float("inf"), float("-inf")) or not low <= number <= high:  # a nan is in no range
        limits = [
            f"{word} {bound:,}" for word, bound in (("at least", about.low), ("at most", about.high)) if bound is not None
        ]
        shown = repr(value) if -1e40 < number < 1e40 or number != number else "of more than 40 digits"
        raise MnsweepError(f"`{name}` {shown} is not a finite number{' of ' * bool(limits)}{' and '.join(limits)}")


def _build_group(nested: _Group, values: Mapping[str, Any]) -> Any:
    defaults = {name: changed.default for name, changed in nested.changes.items() if changed.default is not MISSING}
    return _build(nested.kind, {**defaults, **{name: value for name, value in values.items() if name not in nested.without}})


def plain(value: Any) -> Any:
    """A number or text of any library (numpy, fractions, …) as an int, a float or a str; any other value as it is.

    A float of fewer bits becomes the number that it is printed as: 0.35 of 32 bits is 0.35. Booleans are no numbers.
    """
    if isinstance(value, str):
        return str(value)
    if getattr(value, "shape", None) == () and not isinstance(value, Real):
        value = value[()]  # an array without axes
    if isinstance(value, bool) or not isinstance(value, Real):
        return value
    if isinstance(value, Integral):
        return int(value)
    return float(value) if isinstance(value, float | Rational) else float(str(value))


def request_from(kind: Callable[..., T], **values: Any) -> T:
    """The request with these settings as a user of Python writes them, converted to plain numbers, texts and paths.

    Axes are left to `Space`. Raises `MnsweepError` for an unknown setting, and for a value of another type.
    """
    request: Any = kind
    known = {setting.name: setting for setting in settings_of(request)}
    if unknown := [name for name in values if name not in known]:
        raise MnsweepError(f"`{unknown[0]}` is not a setting of this function", f"known settings are {', '.join(known)}")
    built: T = build(request, {name: _converted(known[name], value) for name, value in values.items()})
    return built


def _converted(setting: Setting, value: Any) -> Any:
    if get_origin(setting.type) is list:
        items = [value] if isinstance(value, str | PathLike) else value
        return [_converted(replace(setting, type=get_args(setting.type)[0]), item) for item in items]
    kinds = get_args(setting.type) or (setting.type,)
    kind: Any = next((kind for kind in kinds if kind is not type(None)), None)
    if kind not in _MEANINGS or len(kinds) > 2 or (value is None and type(None) in kinds):
        return value
    read = plain(value)
    if kind is bool and type(value).__name__ == "bool":  # numpy has its own
        return bool(value)
    if kind is float and type(read) is int and abs(read) < _MOST:
        read = float(read)
    if kind is Path and isinstance(read, str | PathLike):
        read = Path(read)
    if kind is str and isinstance(read, int | float) and not isinstance(read, bool):
        read = str(read)
    if not isinstance(read, kind) or (kind is int and type(read) is bool):
        raise MnsweepError(f"`{setting.name}` {value!r:.200} is not {_MEANINGS[kind]}")
    return read


_MOST = 10**300  # larger whole numbers overflow a float
_MEANINGS: dict[Any, str] = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "a text",
    Path: "a path",
}


def changed(request: object) -> dict[str, Any]:
    """The settings of a request that are required or differ from their defaults, by name, in the order of declaration."""
    values = _values(request)
    return {s.name: values[s.name] for s in settings_of(type(request)) if s.is_required or values[s.name] != s.default}


def as_words(request: object, values: Mapping[str, Any], without: Collection[str]) -> Iterator[str | Path]:
    """`values` of settings of a request, by name, as words of a command line; each path is a word of its own."""
    for setting in settings_of(type(request)):
        if setting.name not in values or setting.name in without:
            continue
        value, name = values[setting.name], setting.option.flag or flag(setting.name)
        if isinstance(value, bool):
            yield name
            continue
        listed = list(value) if isinstance(value, Iterable) and not isinstance(value, str) else [value]
        if not any(isinstance(item, Path) for item in listed):
            yield f"{name}={','.join(map(typed, listed))}"
            continue
        if not setting.option.is_positional:
            yield name
        yield from listed


def _values(request: Any) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for f in fields(request):
        value = getattr(request, f.name)
        values |= _values(value) if _GROUP in f.metadata else {f.name: value}
    return values
