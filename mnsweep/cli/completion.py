"""Values that shell completion offers for an option; a list is completed behind its last comma."""

from collections.abc import Callable
from pathlib import Path

import typer

Completion = Callable[[typer.Context, str], list[str]]


def completion_of(setting: str) -> Completion | None:
    """The values of a setting that match what was typed so far; None for a setting of which there is no list of values."""
    return _VALUES.get(setting)


def _names(setting: str) -> Completion:
    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        from mnsweep.names import choices

        before, comma, last = incomplete.rpartition(",")
        used = before.split(",")
        return [f"{before}{comma}{name}" for name in choices(setting) if name.startswith(last) and name not in used]

    return complete


def _sweeps(ctx: typer.Context, incomplete: str) -> list[str]:
    """Sweep files for `grid`, otherwise the sweeps among the results."""
    from mnsweep.sweep.find import measured_sweeps, results_dir_or_default, sweep_files

    results_dir: Path | None = ctx.params.get("results_dir")
    names = set(measured_sweeps(results_dir_or_default(results_dir)))
    names |= set(sweep_files()) if ctx.info_name == "grid" else set()
    return sorted(name for name in names if name.startswith(incomplete))


_VALUES: dict[str, Completion] = {
    "sweep": _sweeps,
    "like": _sweeps,
    **{name: _names(name) for name in ("precision", "runtime", "task", "variant", "conv_padding", "activation", "width_rule")},
}
