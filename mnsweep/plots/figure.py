"""Code shared by all plots: style, title, caption, logarithmic axes, and files with the same bytes for the same input.

Do all drawing, from `new_figure` to `files`, within `own_style()`: the style applies to artists created inside it. Files are
drawn by named backends, and without `pyplot`, so a notebook's or the user's backend is neither used nor changed.
"""

import io
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from textwrap import wrap
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

_STYLE: Any = {
    "text.parse_math": False,  # a $ in a name is a dollar
    "svg.hashsalt": "mnsweep",
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
}
_NO_STYLE = ("backend", "backend_fallback", "interactive", "toolbar")  # about windows
_BACKENDS = {"png": "agg", "svg": "svg"}
_SIZE, _DPI = (8.4, 5.4), 200  # inches; twice as fine as a page shows it
_CAPTION_WIDTH = 150  # characters
_CAPTION_LINES, _LINE_HEIGHT = 3, 0.026  # a longer caption moves the axes up, by this share of the figure per line


@contextmanager
def own_style() -> Iterator[None]:
    """Draw in our style: matplotlib's defaults and `_STYLE`, whatever settings, styles and warnings the user has."""
    with warnings.catch_warnings(), mpl.rc_context():
        warnings.simplefilter("ignore")  # e.g. that a name has characters which the font lacks
        mpl.rcParams.update({name: value for name, value in mpl.rcParamsDefault.items() if name not in _NO_STYLE} | _STYLE)
        yield


def new_figure(title: str, caption: str) -> tuple[Figure, Axes]:
    """A figure with title and caption, and axes that leave room for a legend on the right."""
    figure, foot = blank_figure(caption)
    axes = figure.add_axes((0.085, foot, 0.73, 0.94 - foot))
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold")
    return figure, axes


def blank_figure(caption: str) -> tuple[Figure, float]:
    """A figure with only a caption (long lines wrapped), and the height above which axes may stand (share of the figure)."""
    lines = [part for line in caption.splitlines() for part in wrap(_printable(line), _CAPTION_WIDTH) or [""]]
    figure = Figure(figsize=_SIZE, dpi=_DPI)
    figure.text(0.015, 0.015, "\n".join(lines), fontsize=7, color="#444444", va="bottom", linespacing=1.4)
    return figure, 0.19 + _LINE_HEIGHT * max(0, len(lines) - _CAPTION_LINES)


def _printable(text: str) -> str:
    """The text with an escape for each character that has no shape: most of them may not stand in an SVG file."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def say_empty(axes: Axes, text: str) -> None:
    """Write `text` in the middle of axes without points."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", color="#666666")
    axes.set_xticks([])
    axes.set_yticks([])


def log_axis(axes: Axes, which: Literal["x", "y"], values: Sequence[float], ends: Sequence[float] = ()) -> None:
    """Make one axis logarithmic, with room around `values` (all above 0) and plain numbers as tick labels.

    `ends` of intervals are within the limits too.
    """
    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    limits = (min([min(values) / 1.35, *(end / 1.1 for end in ends)]), max([max(values) * 1.5, *(end * 1.1 for end in ends)]))
    (axes.set_xlim if which == "x" else axes.set_ylim)(*limits)
    decades = limits[1] / limits[0] > 120
    axis.set_major_locator(LogLocator(subs=(1, 3) if decades else (1, 2, 3, 5, 7), numticks=30))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def drawn(name: str, draw: Callable[[], Mapping[str, bytes]]) -> Mapping[str, bytes]:
    """The files that `draw` makes, by name; none, and a warning with the plot's `name` and the reason, if it fails."""
    try:
        return draw()
    except Exception as error:  # matplotlib may raise anything, and what was measured is worth more than a plot
        reason = " ".join(str(error).split()) or type(error).__name__
        warnings.warn(f"{name}: not drawn ({reason}); all other files are written", stacklevel=2)
        return {}


def files(figure: Figure, name: str) -> dict[str, bytes]:
    """The figure as `name.png` and `name.svg`, without times or versions in the metadata."""
    drawn = {}
    for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None, "Creator": None})):
        out = io.BytesIO()
        figure.savefig(out, format=kind, backend=_BACKENDS[kind], metadata=metadata)
        drawn[f"{name}.{kind}"] = out.getvalue()
    return drawn
