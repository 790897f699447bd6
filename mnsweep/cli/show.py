"""Show results as text: tables on stdout, advice on stderr."""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from mnsweep.accuracy.metrics import metric_of
from mnsweep.choice.reasons import budget_to_suggest
from mnsweep.cli.fitting import FittingTable, has_width
from mnsweep.result import PREDICTED, Result, ms_text, quality_text
from mnsweep.wording import STABLE

if TYPE_CHECKING:
    from mnsweep.sweep.derive import Outcome

SCHEMA_VERSION = 1
ROUNDS_THAT_TELL = 6  # how the machine's speed moves is unknown after fewer
PIPED_WIDTH = 140  # columns, when stdout is not a terminal


def console() -> Console:
    """A console on stdout: as wide as the terminal (or $COLUMNS), otherwise wide enough for every table; it cuts nothing."""
    return Console(width=None if has_width() else PIPED_WIDTH, highlight=False, soft_wrap=True)


def advise(text: str, quiet: bool = False) -> None:
    """Print a line of advice on stderr, unless `quiet`."""
    if not quiet:
        typer.echo(text, err=True)


def with_flags(text: str) -> str:
    """Replace the names of settings with flags: `max_designs` becomes --max-designs."""
    return re.sub(r"`([a-z][a-z0-9_]*)`", lambda name: "--" + name[1].replace("_", "-"), text)


def warn(text: str) -> None:
    """Print a warning on stderr, even with --quiet."""
    typer.echo(f"mnsweep: {with_flags(text)}", err=True)


def advise_list(lines: Sequence[str], shown: int | None, more: str, quiet: bool) -> None:
    """Print the first `shown` lines of advice (None: all); `more` describes the rest, after their number."""
    for line in lines[:shown]:
        advise(line, quiet)
    if shown is not None and len(lines) > shown:
        advise(f"and {len(lines) - shown} {more}", quiet)


def advise_speed(derived: "Outcome", quiet: bool) -> None:
    """Print how much the machine's speed varied; nothing after too few rounds to tell."""
    if derived.known.rounds < ROUNDS_THAT_TELL:
        return
    movement = derived.known.movement
    moved = f"from {movement.faster_pct:.1f} % faster to {movement.slower_pct:.1f} % slower than typical"
    advise(f"the machine's own speed moved {moved} in 95 % of the rounds", quiet)


def advise_files(derived: "Outcome", quiet: bool) -> None:
    """Print where the files of a sweep are, and a command to run next."""
    folder = derived.folder
    model = ", model.json" * bool(derived.known.sweep.prediction)
    pictures = ", ".join(sorted(path.name for path in folder.path.glob("*.png")))
    advise(f"files are in {folder.path}: cells.csv{model}, {pictures}", quiet)
    advise_pick(folder.sweep, derived.results, quiet)


def advise_pick(sweep: str, results: Sequence[Result], quiet: bool) -> None:
    """Print a command that picks a cell of the sweep, with a budget that some cell meets; nothing where none can be picked."""
    if budget := budget_to_suggest(results):
        advise(f"next: mnsweep pick --sweep {sweep} --max-latency-ms {budget}", quiet)


def print_json(content: Mapping[str, Any]) -> None:
    """Print one JSON document on stdout."""
    typer.echo(json.dumps({"schema_version": SCHEMA_VERSION, **content}, indent=2, allow_nan=False))


def about_sweep(derived: "Outcome") -> dict[str, Any]:
    """The entries of a JSON document that describe a sweep."""
    folder, movement = derived.folder, derived.known.movement
    return {
        "sweep": folder.sweep,
        "machine": folder.machine,
        "results_dir": str(folder.path),
        "machine_speed": {"slower_pct": movement.slower_pct, "faster_pct": movement.faster_pct},
    }


def cells_of(results: Iterable[Result]) -> list[dict[str, Any]]:
    """The cells of a JSON document."""
    return [asdict(result) for result in results]


def results_table(results: Sequence[Result], measured: bool) -> FittingTable:
    """A table with a row per cell; latency columns only if `measured`. Latency and quality are the last columns to go."""
    predicted = any(r.latency_source == PREDICTED for r in results)
    marked = {
        "● on the frontier": any(r.on_frontier for r in results),
        "○ on the predicted frontier, not measured": predicted,
        "▲ gains nothing: see below": any(r.warning for r in results),
    }
    marks = "   ".join(mark for mark, is_shown in marked.items() if is_shown)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, caption=marks if measured else None, caption_justify="left")
    table.add_column("cell", no_wrap=True)
    for name, _ in (columns := _columns(results, measured)):
        table.add_column(name, justify="right", no_wrap=True)
    for r in results:
        style = "bold" if r.on_frontier else "dim" if r.on_frontier is False and not r.predicted_on_frontier else None
        table.add_row(r.cell, *(text(r) for _, text in columns), style=style)
    quality = f"{metric_of(results).short}\n(%)"
    least = [*_COUNTS, _RATE, *reversed(_MEASURED[1:])] if measured else [*reversed(_ON_PAPER)]
    return FittingTable(table, [*(name for name, _ in least), quality])


_Column = tuple[str, Callable[[Result], str]]
_COUNTS: list[_Column] = [
    ("params\n(M)", lambda r: f"{r.params / 1e6:.2f}"),
    ("mult-adds\n(M)", lambda r: f"{r.mult_adds / 1e6:.1f}"),
]
_ON_PAPER: list[_Column] = [
    ("ONNX\n(MB)", lambda r: f"{r.onnx_bytes / 1e6:.2f}"),
    ("activations\n(MB)", lambda r: f"{r.peak_activation_bytes / 1e6:.2f}"),
]
_MEASURED: list[_Column] = [
    ("latency\n(ms)", lambda r: ms_text(r.latency_p50_ms)),
    ("95 % interval\n(ms)", lambda r: _interval(r)),
    ("against\nothers", lambda r: "–" if r.relative_ci_pct is None else f"± {r.relative_ci_pct:.1f} %"),
]
_RATE: _Column = ("images\nper s", lambda r: _rate(r.images_per_s))
_SOURCE: _Column = ("latency\nis", lambda r: r.latency_source or "–")
_MARKS: _Column = ("", lambda r: _marks(r))


def _columns(results: Sequence[Result], measured: bool) -> list[_Column]:
    """Columns that fit 80 characters: with several deployments, ids are long and counts are repetitive, so omit counts."""
    name = metric_of(results).short
    quality: _Column = (f"{name}\n(%)", _quality)
    if not measured:
        return [*_COUNTS, *_ON_PAPER, quality]
    deployments = {(r.precision, r.runtime, r.threads, r.batch, r.pad) for r in results}
    counts = _COUNTS if len(deployments) == 1 else []
    rate = [_RATE] if len({r.batch for r in results}) > 1 else []
    source = [_SOURCE] if any(r.latency_source == PREDICTED for r in results) else []
    return [*counts, *_MEASURED, *source, *rate, quality, _MARKS]


def _quality(r: Result) -> str:
    if r.quality_pct is None:
        return "–"
    return f"{r.quality_pct:.1f}" if r.quality_sd_pct is None else f"{r.quality_pct:.1f} ± {r.quality_sd_pct:.1f}"


def _marks(r: Result) -> str:
    believed = r.predicted_on_frontier and r.latency_source == PREDICTED
    return "●" * bool(r.on_frontier) + "○" * bool(believed) + "▲" * bool(r.warning)


def _rate(per_s: float | None) -> str:
    return "–" if per_s is None else f"{per_s:#.3g}".rstrip(".") if per_s < 999.5 else f"{per_s:,.0f}"


def _interval(r: Result) -> str:
    return "–" if r.interval_ms is None else "–".join(map(ms_text, r.interval_ms))


def layers_table(title: str, rows: Sequence[Mapping[str, int | str]]) -> FittingTable:
    """A table with a row per layer, as in the paper's Table 1, with counts, and totals at the bottom."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_footer=True, title=title, title_justify="left")
    totals = [f"{sum(int(row[name]) for row in rows):,}" for name in ("params", "mult_adds")]
    table.add_column("layer", footer="total", no_wrap=True)
    for name in ("in", "out", "filter"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, total in (("params", totals[0]), ("mult-adds", totals[1]), ("bytes out", "")):
        table.add_column(name, total, justify="right", no_wrap=True)
    for row in rows:
        shapes = [f"{row[f'{end}_channels']}×{row[f'{end}_size']}²" for end in ("in", "out")]
        size_and_stride = f"{row['kernel']}×{row['kernel_width']} /{row['stride']}"
        counts = [f"{row[name]:,}" for name in ("params", "mult_adds", "activation_bytes")]
        table.add_row(str(row["name"]), *shapes, size_and_stride, *counts)
    return FittingTable(table, ("bytes out", "filter", "in", "out"))


def sentence(r: Result) -> str:
    """A one-line summary of a cell."""
    quality = f"{quality_text(r)} {metric_of([r]).short} ({r.quality_source})"
    interval = "no interval" if r.interval_ms is None else " to ".join(map(ms_text, r.interval_ms))
    interval += f", {r.stability}" if r.stability not in (None, STABLE) else ""
    latency = f"{ms_text(r.latency_p50_ms)} ms ({interval})"
    return f"{r.cell}: {quality}, {latency}, {r.params / 1e6:.2f} M params, {r.mult_adds / 1e6:.0f} M mult-adds"
