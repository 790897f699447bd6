"""Results as text for people: tables on stdout, advice on stderr."""

import sys
from collections.abc import Mapping, Sequence

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from mnsweep.result import Result, ms_text

PIPED_WIDTH = 140  # where nobody says how wide the paper is


def console() -> Console:
    """Where answers go; as wide as the terminal, or wide enough for every table when piped."""
    return Console(width=None if sys.stdout.isatty() else PIPED_WIDTH, highlight=False)


def advise(text: str, quiet: bool = False) -> None:
    """One line of advice on stderr."""
    if not quiet:
        typer.echo(text, err=True)


def results_table(results: Sequence[Result], measured: bool) -> Table:
    """A row for each cell; latency columns only where something was measured."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, caption="● on the frontier" if measured else None, caption_justify="left")
    table.add_column("cell", no_wrap=True)
    numbers = ["params\n(M)", "mult-adds\n(M)", "ONNX\n(MB)", "activations\n(MB)"]
    if measured:  # fits into 80 columns
        numbers = ["params\n(M)", "mult-adds\n(M)", "latency\n(ms)", "95 % interval\n(ms)", "against\nothers"]
    for name in [*numbers, "top-1\n(%)", *[""] * measured]:
        table.add_column(name, justify="right", no_wrap=True)
    for r in results:
        cells = _measured(r) if measured else _counted(r)
        style = "bold" if r.on_frontier else "dim" if r.on_frontier is False else None
        table.add_row(r.cell, f"{r.params / 1e6:.2f}", f"{r.mult_adds / 1e6:.1f}", *cells, style=style)
    return table


def layers_table(title: str, rows: Sequence[Mapping[str, int | str]]) -> Table:
    """A row for each layer, as in the paper's Table 1, with its counts; totals below."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_footer=True, title=title, title_justify="left")
    totals = [f"{sum(int(row[name]) for row in rows):,}" for name in ("params", "mult_adds")]
    table.add_column("layer", footer="total", no_wrap=True)
    for name in ("in", "out", "filter"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, total in (("params", totals[0]), ("mult-adds", totals[1]), ("bytes out", "")):
        table.add_column(name, total, justify="right", no_wrap=True)
    for row in rows:
        shapes = [f"{row[f'{end}_channels']}×{row[f'{end}_size']}²" for end in ("in", "out")]
        size_and_stride = f"{row['kernel']}×{row['kernel']} /{row['stride']}"
        counts = [f"{row[name]:,}" for name in ("params", "mult_adds", "activation_bytes")]
        table.add_row(str(row["name"]), *shapes, size_and_stride, *counts)
    return table


def _counted(r: Result) -> list[str]:
    return [f"{r.onnx_bytes / 1e6:.2f}", f"{r.peak_activation_bytes / 1e6:.2f}", _quality(r)]


def _measured(r: Result) -> list[str]:
    if r.latency_p50_ms is None:
        return ["–", "–", "–", _quality(r), ""]
    relative = "–" if r.relative_ci_pct is None else f"± {r.relative_ci_pct:.1f} %"
    interval = f"{ms_text(r.latency_ci_low_ms)}–{ms_text(r.latency_ci_high_ms)}"
    return [ms_text(r.latency_p50_ms), interval, relative, _quality(r), "●" if r.on_frontier else ""]


def _quality(r: Result) -> str:
    return "–" if r.quality_pct is None else f"{r.quality_pct:.1f}"


def sentence(r: Result) -> str:
    """One cell in one line."""
    quality = f"{r.quality_pct:g} % top-1 ({r.quality_source})"
    latency = f"{ms_text(r.latency_p50_ms)} ms ({ms_text(r.latency_ci_low_ms)} to {ms_text(r.latency_ci_high_ms)})"
    return f"{r.cell}: {quality}, {latency}, {r.params / 1e6:.2f} M params, {r.mult_adds / 1e6:.0f} M mult-adds"
