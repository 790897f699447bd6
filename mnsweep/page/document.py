"""The page of sweeps: what stands in it, computed once, and written through a template that escapes every text."""

import base64
import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from mnsweep.accuracy.metrics import metric_of
from mnsweep.comparing.verdicts import Comparison
from mnsweep.names import choices
from mnsweep.page.chart import Chart, Point, scatter
from mnsweep.plots.deployments import differing, in_words
from mnsweep.result import PREDICTED, Result, ms_text
from mnsweep.wording import three_digits

ASSETS = "page/assets"
MOST_TITLES = 500  # marks that name themselves without scripts; with more the page would be large
KINDS = 16  # eight colours, solid or dashed
_NUMBERS = (  # what the page chooses by, in full precision
    *("latency_p50_ms", "latency_ci_low_ms", "latency_ci_high_ms", "latency_p90_ms", "latency_p99_ms", "relative_ci_pct"),
    *("quality_pct", "params", "mult_adds", "onnx_bytes", "peak_activation_bytes"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A picture that was drawn before, as SVG, with what it shows."""

    title: str
    svg: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepOnPage:
    """A sweep for the page: its results, texts about how it was measured, its table as CSV, and pictures of it.

    `facts` are pairs of texts about the machine and the protocol, `reproduce` is a command. `default_budget_ms` is where the
    slider stands at first.
    """

    name: str
    machine: str
    title: str
    results: tuple[Result, ...]
    caption: str
    facts: tuple[tuple[str, str], ...]
    reproduce: str
    csv: str
    sweep_file: str
    default_budget_ms: float | None
    figures: tuple[Figure, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table on the page: header, whether it holds numbers, the key it is sorted by, and the texts."""

    header: str
    is_number: bool
    key: str
    texts: tuple[str, ...]


def page(
    sweeps: Sequence[SweepOnPage], comparisons: Sequence[Comparison], paper: Sequence[Mapping[str, Any]], version: str
) -> str:
    """The whole document. `paper` are rows of the paper's tables beside computed numbers."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(autoescape=True, loader=FunctionLoader(_asset), undefined=StrictUndefined, trim_blocks=True)
    environment.filters["ms"] = ms_text
    shown = [_shown(number, sweep) for number, sweep in enumerate(sweeps)]
    return environment.get_template("report.html.jinja").render(
        sweeps=shown,
        comparisons=[_compared(comparison) for comparison in comparisons],
        paper=paper,
        version=version,
        css=_asset("report.css"),
        script=_asset("report.js"),
        data=_for_script([sweep["data"] for sweep in shown]),
    )


def _asset(name: str) -> str:
    return (files("mnsweep") / ASSETS / name).read_text(encoding="utf-8")


def _for_script(content: object) -> str:
    """JSON that ends no script element and starts no comment."""
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _shown(number: int, sweep: SweepOnPage) -> dict[str, Any]:
    results, words, metric = sweep.results, _kinds(sweep.results), metric_of(sweep.results)
    kinds = list(dict.fromkeys(words))
    kind_of = [kinds.index(kind) for kind in words]
    return {
        "id": f"s{number}",
        "sweep": sweep,
        "kinds": kinds,
        "charts": _charts(results, kind_of, metric.label),
        "columns": _columns(results, metric.short),
        "rows": len(results),
        "names_itself": len(results) <= MOST_TITLES,
        "frontier": [bool(r.on_frontier or r.predicted_on_frontier) for r in results],
        "tasks": [name for name in choices("task") if any(r.task == name for r in results)],
        "precisions": _values(results, "precision"),
        "runtimes": _values(results, "runtime"),
        "has_quality": any(r.quality_pct is not None and r.latency_p50_ms for r in results),
        "metric": metric.short,
        "csv": base64.b64encode(gzip.compress(sweep.csv.encode(), 9, mtime=0)).decode(),
        "data": _data(results, kind_of, sweep.default_budget_ms),
    }


def _values(results: Sequence[Result], name: str) -> list[str]:
    return list(dict.fromkeys(str(getattr(r, name)) for r in results))


def _kinds(results: Sequence[Result]) -> list[str]:
    """For each result how it is deployed or its network differs, apart from α and resolution, in words."""
    settings = differing(results)
    return [in_words(result, settings) or "all cells" for result in results]


def _charts(results: Sequence[Result], kind_of: Sequence[int], axis: str) -> list[Chart]:
    timed = [(row, r, r.latency_p50_ms) for row, r in enumerate(results) if r.latency_p50_ms]
    rated = [_point(row, r, x=ms, y=r.quality_pct, kind=kind_of[row]) for row, r, ms in timed if r.quality_pct is not None]
    worked = [_point(row, r, x=r.mult_adds / 1e6, y=ms, kind=kind_of[row], frontier=False) for row, r, ms in timed]
    charts = []
    if rated:
        label = "latency (ms), at the machine's typical speed"
        charts.append(scatter("Accuracy against latency", label, axis, rated, log_y=False, latency_is_x=True))
    if worked:
        label = "mult-adds (millions)"
        charts.append(scatter("Latency against mult-adds", label, "latency (ms)", worked, log_y=True, latency_is_x=False))
    return charts


def _point(row: int, result: Result, *, x: float, y: float, kind: int, frontier: bool = True) -> Point:
    return Point(
        row=row,
        x=x,
        y=y,
        wide=result.interval_ms,
        narrow=result.relative_interval_ms,
        kind=kind % KINDS,
        predicted=result.latency_source == PREDICTED,
        on_frontier=frontier and bool(result.on_frontier or result.predicted_on_frontier),
    )


def _data(results: Sequence[Result], kind_of: Sequence[int], budget_ms: float | None) -> dict[str, Any]:
    """What the script chooses, sorts and filters by: columns of numbers, and names by index."""
    words = {name: _values(results, name) for name in ("precision", "runtime", "task", "quality_metric", "quality_source")}
    at = {name: {word: i for i, word in enumerate(known)} for name, known in words.items()}
    return {
        "cell": [r.cell for r in results],
        **{name: [getattr(r, name) for r in results] for name in ("alpha", "resolution", *_NUMBERS)},
        "words": words,
        **{name: [at[name][str(getattr(r, name))] for r in results] for name in words},
        "kind": list(kind_of),
        "predicted": [int(r.latency_source == PREDICTED) for r in results],
        "frontier": [int(bool(r.on_frontier or r.predicted_on_frontier)) for r in results],
        "budget_ms": budget_ms,
    }


def _columns(results: Sequence[Result], metric: str) -> list[Column]:
    """The columns of the table; sources and deployments only where they differ."""
    columns = [
        _column("cell", "cell", (r.cell for r in results), is_number=False),
        _column("α", "alpha", (f"{r.alpha:g}" for r in results)),
        _column("px", "resolution", (str(r.resolution) for r in results)),
    ]
    differ = [name for name in ("precision", "runtime") if len(_values(results, name)) > 1]
    columns += [_column(name, name, [str(getattr(r, name)) for r in results], is_number=False) for name in differ]
    columns += [
        _column("params (M)", "params", (f"{r.params / 1e6:.2f}" for r in results)),
        _column("mult-adds (M)", "mult_adds", (f"{r.mult_adds / 1e6:.1f}" for r in results)),
        _column("file (MB)", "onnx_bytes", (f"{r.onnx_bytes / 1e6:.2f}" for r in results)),
        _column("latency (ms)", "latency_p50_ms", (ms_text(r.latency_p50_ms) for r in results)),
        _column("95 % interval (ms)", "latency_ci_high_ms", (_interval(r) for r in results)),
        _column("against others", "relative_ci_pct", (_width(r) for r in results)),
        _column(f"{metric} (%)", "quality_pct", (_quality(r) for r in results)),
    ]
    if len(_values(results, "quality_source")) > 1:
        columns.append(_column("accuracy from", "quality_source", (r.quality_source or "–" for r in results), is_number=False))
    if len({r.latency_source for r in results}) > 1:
        columns.append(_column("latency is", "predicted", (r.latency_source or "–" for r in results), is_number=False))
    return columns


def _column(header: str, key: str, texts: Iterable[str], is_number: bool = True) -> Column:
    return Column(header=header, is_number=is_number, key=key, texts=tuple(texts))


def _interval(result: Result) -> str:
    return "–" if result.interval_ms is None else "–".join(map(ms_text, result.interval_ms))


def _width(result: Result) -> str:
    return "–" if result.relative_ci_pct is None else f"± {result.relative_ci_pct:.1f} %"


def _quality(result: Result) -> str:
    if result.quality_pct is None:
        return "–"
    return f"{result.quality_pct:.1f}" + ("" if result.quality_sd_pct is None else f" ± {result.quality_sd_pct:.1f}")


def _compared(comparison: Comparison) -> dict[str, Any]:
    pairs = dict(comparison.matched.pairs)
    a, b = comparison.a, comparison.b
    rows = [
        {
            "cell": r.cell,
            "a": ms_text(a.estimates[r.cell].p50_ms),
            "b": ms_text(b.estimates[pairs[r.cell]].p50_ms),
            "ratio": f"{r.ratio:.3f}",
            "interval": "–" if r.ci_low is None or r.ci_high is None else f"{r.ci_low:.3f}–{r.ci_high:.3f}",
            "verdict": r.verdict,
        }
        for r in comparison.verdicts.cells
    ]
    overall = comparison.verdicts.overall
    return {
        "a": a,
        "b": b,
        "rows": rows,
        "overall": overall,
        "rank_correlation": comparison.rank_correlation if comparison.a.machine != comparison.b.machine else None,
        "picks": comparison.changed_picks,
        "budget": three_digits,
        "same_pct": comparison.same_pct,
    }
