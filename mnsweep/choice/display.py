"""A choice as Python and notebooks show it."""

from html import escape
from typing import TYPE_CHECKING

from mnsweep.accuracy.metrics import metric_of
from mnsweep.result import Result, ms_text, quality_text

if TYPE_CHECKING:
    from mnsweep.choice.ranking import Choice

NOBODY = "none: no other cell meets the constraints"


def as_text(choice: "Choice") -> str:
    """The choice, the runner-up and the reason, each on its own lines."""
    width = max(len(name) for name, _ in _lines(choice))
    indent = "\n" + " " * (width + 2)
    return "\n".join(f"{name:{width}}  {text.replace('; ', f';{indent}')}" for name, text in _lines(choice))


def as_html(choice: "Choice") -> str:
    """The same as a table; the text is escaped."""
    rows = [(name, ";<br>".join(map(escape, text.split("; ")))) for name, text in _lines(choice)]
    return f"<table>{''.join(f'<tr><th>{name}</th><td>{text}</td></tr>' for name, text in rows)}</table>"


def _lines(choice: "Choice") -> list[tuple[str, str]]:
    chosen = "none" if choice.choice is None else _summary(choice.choice)
    runner_up = [] if choice.choice is None else [("runner-up", _summary(choice.runner_up) if choice.runner_up else NOBODY)]
    return [("choice", chosen), *runner_up, ("why", choice.reason)]


def _summary(r: Result) -> str:
    interval = "no interval" if r.interval_ms is None else " to ".join(map(ms_text, r.interval_ms))
    latency = f"{ms_text(r.latency_p50_ms)} ms ({interval}, {r.latency_source})"
    return f"{r.cell}: {quality_text(r)} {metric_of([r]).short} ({r.quality_source}), {latency}"
