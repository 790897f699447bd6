"""Plot cliffs in latency against α at one resolution: channels as written, zero-padded, and the time wasted between them."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mnsweep.plots.caption import with_intervals
from mnsweep.plots.deployments import SETTINGS, differing, in_words
from mnsweep.plots.figure import blank_figure, files, own_style, say_empty
from mnsweep.plots.intervals import draw_intervals
from mnsweep.plots.pareto import latency_label
from mnsweep.result import Result, ms_text

ENOUGH = 5  # values of α; a line through fewer shows no cliff
PANELS = 4
CLIFF_PCT = 5  # of the latency; it is no cliff if padding saves less
_TITLE = "Is a smaller α always faster here?"
_WRITTEN, _PADDED, _WASTE = "#b3202c", "#00224e", "#f4dee0"


@dataclass(frozen=True, slots=True)
class Cliffs:
    """One panel: for each α, in rising order, the cell as written (`pad` none) and the same cell padded."""

    pairs: tuple[tuple[Result, Result], ...]

    @property
    def worst(self) -> tuple[Result, Result]:
        """The pair with the largest ratio of latencies, preferably among pairs whose intervals do not overlap."""
        clear = [pair for pair in self.pairs if _slower(*pair)]
        return max(clear or self.pairs, key=_ratio)

    @property
    def overtaken(self) -> Result | None:
        """The largest padded cell that is clearly faster than the worst cell as written despite a larger α; None if none is."""
        written, _ = self.worst
        faster = [padded for _, padded in self.pairs if padded.alpha > written.alpha and _slower(written, padded)]
        return faster[-1] if faster else None

    @property
    def steep(self) -> bool:
        """Whether the worst pair is a cliff: padding clearly saves at least `CLIFF_PCT` of the latency."""
        return _slower(*self.worst) and 100 * (1 - 1 / _ratio(self.worst)) >= CLIFF_PCT

    def in_words(self) -> str:
        """The cost of the worst cliff as text."""
        if not self.steep:
            return f"no cliff: at no α does padding\nclearly save {CLIFF_PCT} % or more"
        (written, _), ratio = self.worst, _ratio(self.worst)
        times = f"{ratio:.1f}" if ratio >= 1.2 else f"{ratio:.2f}"
        lines = [f"α {written.alpha} as written: {ms_text(_ms(written))} ms", f"{times} × as long as padded"]
        if larger := self.overtaken:
            lines.append(f"longer than α {larger.alpha} padded ({ms_text(_ms(larger))} ms)")
        return ",\n".join(lines)


def find_cliffs(results: Sequence[Result]) -> list[Cliffs]:
    """A panel for each resolution and setting with enough values of α measured both as written and padded.

    Panels with the most values of α come first. Of several paddings, the one with the most values is used; `auto` wins ties.
    """
    groups: dict[tuple[object, ...], dict[str, dict[float, Result]]] = {}
    for r in results:
        if r.latency_p50_ms is not None:
            group = (r.resolution, *(getattr(r, name) for name in SETTINGS if name != "pad"))
            groups.setdefault(group, {}).setdefault(r.pad, {})[r.alpha] = r
    panels = [cliffs for by_pad in groups.values() if len((cliffs := _paired(by_pad)).pairs) >= ENOUGH]
    return sorted(panels, key=lambda cliffs: -len(cliffs.pairs))


def _paired(by_pad: dict[str, dict[float, Result]]) -> Cliffs:
    written = by_pad.get("none", {})
    pads = sorted((pad for pad in by_pad if pad != "none"), key=lambda pad: pad != "auto")
    choices = [tuple((written[a], by_pad[pad][a]) for a in sorted(written.keys() & by_pad[pad].keys())) for pad in pads]
    return Cliffs(max(choices, key=len, default=()))


def cliffs_plot(results: Sequence[Result], caption: str) -> dict[str, bytes]:
    """`cliffs.png` and `cliffs.svg`: latency (ms) against α as written and zero-padded; no file if too few cells have both."""
    panels = find_cliffs(results)
    if not panels:
        return {}
    shown = panels[:PANELS]
    cells = [r for cliffs in shown for pair in cliffs.pairs for r in pair]
    with own_style():
        figure, foot = blank_figure(with_intervals(caption, cells))
        figure.text(0.085, 0.955, _TITLE, fontsize=11, fontweight="bold")
        grid = _panels(figure, foot=foot, count=len(shown), ylabel=latency_label(cells))
        for axes, cliffs, name in zip(grid, shown, _names(shown, results), strict=True):
            axes.set_title(name, loc="left", fontsize=9)
            _draw(axes, cliffs)
            _explain(axes, cliffs)
        figure.align_ylabels()
        _legend(figure, notes=[*_about_bars(cells), *_about_panels(len(shown), of=len(panels))])
        return files(figure, "cliffs")


def draw_cliffs(axes: Axes, results: Sequence[Result]) -> None:
    """Draw the panel with the most values of α, with a legend to the right of the axes."""
    panels = find_cliffs(results)
    if not panels:
        say_empty(axes, f"no {ENOUGH} values of α were measured both padded and with `pad` none")
        return
    axes.set_xlabel("width multiplier α")
    axes.set_ylabel(latency_label([written for written, _ in panels[0].pairs]))
    axes.set_title(_names(panels[:1], results)[0], loc="left", fontsize=9)
    _draw(axes, panels[0])
    _explain(axes, panels[0])
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, fontsize=8)


def _panels(figure: Figure, foot: float, count: int, ylabel: str) -> list[Axes]:
    """One to four axes in at most two columns; only outer axes have labels."""
    columns, rows = min(count, 2), (count + 1) // 2
    grid = figure.add_gridspec(rows, columns, left=0.085, right=0.795, bottom=foot, top=0.89, wspace=0.16, hspace=0.3)
    panels = [figure.add_subplot(grid[i // columns, i % columns]) for i in range(count)]
    for i, axes in enumerate(panels):
        axes.set_ylabel("" if i % columns else ylabel)
        axes.set_xlabel("" if i + columns < count else "width multiplier α")
    return panels


def _names(shown: Sequence[Cliffs], results: Sequence[Result]) -> list[str]:
    """`224 px` and the settings that differ within the sweep; the padding only if it differs between panels."""
    padded = [cliffs.pairs[0][1] for cliffs in shown]
    settings = [name for name in differing(results) if name != "pad" or name in differing(padded)]
    return [", ".join(filter(None, (f"{r.resolution} px", in_words(r, settings)))) for r in padded]


def _draw(axes: Axes, cliffs: Cliffs) -> None:
    written, padded = ([pair[which] for pair in cliffs.pairs] for which in (0, 1))
    alphas, low, high = [r.alpha for r in written], [_ms(r) for r in padded], [_ms(r) for r in written]
    wasted = [a < b for a, b in zip(low, high, strict=True)]
    paper = "as written:\nthe paper's channels" if _have_paper_widths(written) else "as written"
    _line(axes, written, marker="o", color=_WRITTEN, label=paper)
    _line(axes, padded, marker="s", color=_PADDED, label="zero-padded,\nsame logits")
    axes.fill_between(
        alphas, low, high, where=wasted, interpolate=True, label="time wasted", color=_WRITTEN, alpha=0.15, linewidth=0
    )
    room = 1 + 0.16 / axes.get_position().height  # for the text at the top
    axes.set_ylim(0, room * max(_ends(r)[1] for r in (*written, *padded)))


def _have_paper_widths(results: Sequence[Result]) -> bool:
    return all(r.width_rule == "paper" for r in results)


def _line(axes: Axes, results: Sequence[Result], **look: str) -> None:
    axes.plot([r.alpha for r in results], [_ms(r) for r in results], markersize=4, linewidth=1.3, **look)  # type: ignore[arg-type]
    draw_intervals(axes, results, lambda r: (r.alpha, _ms(r)), "y", colour=look["color"])


def _explain(axes: Axes, cliffs: Cliffs) -> None:
    """Add text at the top, and a vertical line from it to the worst cell as written, which crosses no other line."""
    worst, _ = cliffs.worst
    if not cliffs.steep:
        axes.text(0.02, 0.98, cliffs.in_words(), transform=axes.transAxes, va="top", fontsize=8)
        return
    left, right = axes.get_xlim()
    share = (worst.alpha - left) / (right - left)
    side, at = ("left", 0.0) if share < 1 / 3 else ("right", 1.0) if share > 2 / 3 else ("center", 0.5)
    axes.annotate(
        cliffs.in_words(),
        (worst.alpha, _ms(worst)),
        xytext=(worst.alpha, 0.98),
        textcoords=("data", "axes fraction"),
        ha=side,
        va="top",
        fontsize=8,
        arrowprops={"arrowstyle": "-", "color": "#888888", "linewidth": 0.6, "relpos": (at, 0.0), "shrinkA": 2, "shrinkB": 4},
    )


def _about_bars(cells: Sequence[Result]) -> list[str]:
    if not any(r.interval_ms for r in cells):
        return []
    return ["bars: 95 % intervals,\nthin: absolute, thick:\nagainst others"]


def _about_panels(shown: int, of: int) -> list[str]:
    return [f"{shown} of {of} settings\nare shown"] if of > shown else []


def _legend(figure: Figure, notes: Sequence[str]) -> None:
    *lines, waste = zip(*figure.axes[0].get_legend_handles_labels(), strict=True)
    figure.legend(
        *zip(*lines, waste, *((Line2D([], [], linestyle=""), note) for note in notes), strict=True),
        loc="upper left",
        bbox_to_anchor=(0.805, 0.9),
        frameon=False,
        fontsize=8,
    )


def _ms(result: Result) -> float:
    return result.latency_p50_ms or 0.0


def _ends(result: Result) -> tuple[float, float]:
    return result.interval_ms or (_ms(result), _ms(result))


def _slower(one: Result, other: Result) -> bool:
    """Whether `one` clearly takes longer: the intervals do not overlap."""
    return _ends(one)[0] > _ends(other)[1]


def _ratio(pair: tuple[Result, Result]) -> float:
    return _ms(pair[0]) / _ms(pair[1])
