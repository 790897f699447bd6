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

from collections.abc import Collection, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from numbers import Real
from typing import Any, TypeVar, get_type_hints

from mnsweep.errors import MnsweepError

T = TypeVar("T")
AXES, MEASURING, NETWORK, CONSTRAINTS, OUTPUT = (
    "Axes", "Measuring", "Network and deployment", "Constraints (any combination)", "Output",
)  # fmt: skip
_OPTION, _GROUP = "option", "group"


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """The description of a setting for users.

    `panel` is its group in the help, `low` and `high` are its lowest and highest value, `environment` the environment variable
    that sets it, and `flag` the command-line option if it differs from the setting's name.
    """

    help: str
    panel: str | None = None
    low: float | None = None
    high: float | None = None
    environment: str | None = None
    flag: str | None = None


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


def option(default: Any, help: str, **about: Any) -> Any:
    """A field that is a setting; without a default (`...`) it is required. `about` holds other fields of `Option`."""
    metadata = {_OPTION: Option(help=help, **about)}
    return field(metadata=metadata) if default is ... else field(default=default, metadata=metadata)


def group(kind: type, *, without: Collection[str] = (), **changes: Any) -> Any:
    """A field that holds a dataclass of settings, except those `without`; `changes` (`option`) replace settings by name."""
    defaults = {name: changed.default for name, changed in changes.items() if changed.default is not MISSING}
    return field(default_factory=lambda: kind(**defaults), metadata={_GROUP: _Group(kind, without, changes)})


def settings_of(request: type) -> list[Setting]:
    """All settings of a request, including those of its groups, in the order of declaration."""
    return list(_settings(request, (), {}))


def _settings(kind: type, without: Collection[str], changes: Mapping[str, Field[Any]]) -> Iterator[Setting]:
    hints = get_type_hints(kind)
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
    """The request with these settings, by name; a missing setting has its default.

    Raises `MnsweepError` for a number that is not finite, or not from `low` to `high` of its setting.
    """
    own: dict[str, Any] = {}
    for f in fields(request):  # type: ignore[arg-type]
        if _GROUP in f.metadata:
            own[f.name] = _build_group(f.metadata[_GROUP], values)
        elif f.name in values:
            own[f.name] = values[f.name]
            if _OPTION in f.metadata:
                _check_range(f.name, values[f.name], f.metadata[_OPTION])
    return request(**own)


def _check_range(name: str, value: Any, about: Option) -> None:
    if isinstance(value, bool) or not isinstance(value, Real):
        return
    low, high = (float(sign + "inf") if bound is None else bound for sign, bound in (("-", about.low), ("", about.high)))
    number: Any = value
    if number in (float("inf"), float("-inf")) or not low <= number <= high:  # a nan is in no range
        limits = [
            f"{word} {bound:,}" for word, bound in (("at least", about.low), ("at most", about.high)) if bound is not None
        ]
        shown = repr(value) if -1e40 < number < 1e40 or number != number else "of more than 40 digits"
        raise MnsweepError(f"`{name}` {shown} is not a finite number{' of ' * bool(limits)}{' and '.join(limits)}")


def _build_group(nested: _Group, values: Mapping[str, Any]) -> Any:
    defaults = {name: changed.default for name, changed in nested.changes.items() if changed.default is not MISSING}
    return build(nested.kind, {**defaults, **{name: value for name, value in values.items() if name not in nested.without}})


def changed(request: object) -> dict[str, Any]:
    """The settings of a request that are required or differ from their defaults, by name, in the order of declaration."""
    values = _values(request)
    return {s.name: values[s.name] for s in settings_of(type(request)) if s.is_required or values[s.name] != s.default}


def _values(request: Any) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for f in fields(request):
        value = getattr(request, f.name)
        values |= _values(value) if _GROUP in f.metadata else {f.name: value}
    return values
