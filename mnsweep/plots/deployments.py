"""Deployments in plots: as text, and as the fill of a marker."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

from mnsweep.cell import Deployment, Design
from mnsweep.result import Result

FILLS = ("full", "none", "left", "right", "top", "bottom")  # matplotlib's names; none is drawn as a ring
OTHERS = "none"
_DEPLOYMENT = tuple(f.name for f in fields(Deployment))
# all but α and resolution, in column order
SETTINGS = (*(f.name for f in fields(Design) if f.name not in ("alpha", "resolution")), *_DEPLOYMENT)
_COARSE = ("precision", "runtime")
_WORDS = {
    "classes": "{} classes",
    "width_rule": "{} widths",
    "conv_padding": "{} padding",
    "batch": "batch {}",
    "pad": "pad {}",
}


def differing(results: Sequence[Result]) -> tuple[str, ...]:
    """The names of the settings, other than α and resolution, with more than one value; in column order."""
    return tuple(name for name in SETTINGS if len({getattr(r, name) for r in results}) > 1)


def in_words(result: Result, settings: Iterable[str]) -> str:
    """The values of `settings`, e.g. `int8, openvino, 2 threads, pad none`."""
    return ", ".join(_value_in_words(name, getattr(result, name)) for name in settings)


def _value_in_words(name: str, value: str | int) -> str:
    if name == "threads":
        return f"{value} thread{'s' if value != 1 else ''}"
    return _WORDS.get(name, "{}").format(value).removesuffix("ExecutionProvider")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fills:
    """The marker fill of each deployment in a plot.

    `differ` are the deployment settings that differ within the sweep; `settings` are those of them that fills distinguish.
    `fills` maps each combination of their values to a fill. `names` is the legend: pairs (fill, text). Deployments that are
    not in `fills` share the fill `OTHERS`.
    """

    differ: tuple[str, ...]
    settings: tuple[str, ...]
    fills: dict[tuple[str | int, ...], str]
    names: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, shown: Sequence[Result], sweep: Sequence[Result]) -> "Fills":
        """Fills for the results `shown`, by the settings that differ within the `sweep`; the most common deployment is full.

        If there are more deployments than fills, they are grouped by precision and runtime. If there are still too many, the
        most common get a fill each, and the others share one.
        """
        differ = tuple(name for name in differing(sweep) if name in _DEPLOYMENT)
        coarse = tuple(name for name in differ if name in _COARSE)
        settings = coarse if len(_ranked(shown, differ)) > len(FILLS) and len(_ranked(shown, coarse)) > 1 else differ
        first = _ranked(shown, settings)
        many = len(first) > len(FILLS)
        filled = list(zip(first, [fill for fill in FILLS if fill != OTHERS] if many else FILLS, strict=False))
        names = [(fill, in_words(r, settings)) for r, fill in filled] if settings else []
        return cls(
            differ=differ,
            settings=settings,
            fills={_key(r, settings): fill for r, fill in filled},
            names=(*names, *([(OTHERS, "others")] if many else [])),
        )

    def fill(self, result: Result) -> str:
        """The fill of a result's marker."""
        return self.fills.get(_key(result, self.settings), OTHERS)


def _key(result: Result, settings: Iterable[str]) -> tuple[str | int, ...]:
    return tuple(getattr(result, name) for name in settings)


def _ranked(results: Sequence[Result], settings: Sequence[str]) -> list[Result]:
    """One result for each combination of the settings' values, the most common first; ties keep the order of `results`."""
    one = {_key(r, settings): r for r in results}
    return [one[key] for key, _ in Counter(_key(r, settings) for r in results).most_common()]
