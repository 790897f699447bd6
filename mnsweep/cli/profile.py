"""`mnsweep profile`: show where the time of one cell goes."""

from typing import TYPE_CHECKING

from mnsweep.app.requests import ProfileRequest
from mnsweep.cli import options as o
from mnsweep.cli import output
from mnsweep.wording import count_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.table import Table

    from mnsweep.cell import Cell
    from mnsweep.profiling.measure import Profile
    from mnsweep.profiling.roofline import Row

EXAMPLE = "Example: mnsweep profile --alpha 1.0 --res 224"
WIDE = 110  # columns; narrower terminals omit the column "ran as"; the others fit in 80
MUCH_DISTURBED = 0.25  # share of blocks above which the profile shows the disturbance more than the cell


@o.takes(ProfileRequest)
def profile(
    request: ProfileRequest,
    json: o.Json = False,
    csv: output.Csv = False,
    markdown: output.Markdown = False,
    quiet: o.Quiet = False,
) -> None:
    """Show where the time of one MobileNet goes, compared with its work.

    Time and work are shown by layer and by kind of layer.

    Rates are compared with this machine's rates for a matrix product and for
    copying memory (a roofline plot). The optimized graph is checked for layers
    that left the runtime's fast path, with advice on how to fix them.
    """
    from mnsweep.app.profile import cell_to_profile, to_document
    from mnsweep.app.profile import profile as profile_cell
    from mnsweep.cli.show import advise, print_json, with_flags
    from mnsweep.profiling.measure import SECONDS

    form = output.form_of(json=json, csv=csv, markdown=markdown)
    advise(f"profiling {cell_to_profile(request).id}: about {SECONDS} s", quiet)
    outcome = profile_cell(request)
    found, path = outcome.profile, outcome.folder.path
    if json:
        document = to_document(found, outcome.files)
        for finding in document["lint"]:
            finding["mend"] = finding["fix"] = finding["fix"] and with_flags(finding["fix"])
        print_json({**document, "results_dir": str(path)})
    else:
        _print(found, form, quiet)
        output.say(f"files          {path}: {', '.join(outcome.files)}", form, quiet)
    if found.disturbed_blocks > MUCH_DISTURBED * found.blocks:
        advise(
            f"{found.disturbed_blocks} of {count_of(found.blocks, 'block')} were disturbed: look again when less is running",
            quiet,
        )
    advise(f"next: {_next(found)}", quiet)


def _print(found: "Profile", form: output.Form, quiet: bool) -> None:
    from mnsweep.cli.fitting import FittingTable
    from mnsweep.cli.show import console

    layers = _layers_table(found, wide=console().width >= WIDE)
    for table in (_kinds_table(found), layers) if form.is_prose else (layers,):
        output.print_table(FittingTable(table, [str(column.header) for column in reversed(table.columns[3:])]), form)
    for line in ("", *_time_lines(found), *_rate_lines(found), *_lint_lines(found)):
        output.say(line, form, quiet)


def _kinds_table(found: "Profile") -> "Table":
    heads = ("kind", "time\n(ms)", "time\n(%)", "mult-adds\n(%)", "params\n(%)", found.rate_unit)
    table = _table("time by kind, beside work on paper", heads)
    for kind in found.kinds:
        shares = (f"{share:.2f}" for share in (kind.time_pct, kind.mult_adds_pct, kind.params_pct))
        table.add_row(kind.name, f"{kind.ms:.3f}", *shares, _number(kind.gflops))
    return table


def _layers_table(found: "Profile", wide: bool) -> "Table":
    per_byte = f"{found.rate_unit[1:-2]}\n/ byte"
    heads = ("layer", "ms", "%", "M mult-\nadds", found.rate_unit, "of peak\n(%)", per_byte, "bound\nby", "of roof\n(%)")
    table = _table(f"{found.cell.id}, layer by layer as deployed", heads)
    if wide:
        table.add_column("ran as", no_wrap=True)
    for row in found.rows:
        time_pct = f"{100 * row.ms / (found.profiled_ms or 1.0):.1f}"
        mult_adds = f"{row.mult_adds / 1e6:.2f}" if row.mult_adds else "–"
        rates = _number(row.gflops), _whole(row.peak_pct(found.roof)), _number(row.intensity)
        roof = row.bound(found.roof) or "–", _whole(row.roof_pct(found.roof))
        table.add_row(row.name, f"{row.ms:.3f}", time_pct, mult_adds, *rates, *roof, *[_ran_as(row)] * wide)
    return table


def _table(title: str, heads: "Sequence[str]") -> "Table":
    """A table with names in the first column and numbers in the others."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), title=f"\n{title}", title_justify="left")
    for head in heads:
        table.add_column(head, justify="left" if head == heads[0] else "right", no_wrap=True)
    return table


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f}" if value >= 1000 else f"{value:#.3g}".rstrip(".")


def _whole(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f}"


def _ran_as(row: "Row") -> str:
    """What ran for a layer, most time first: kernels or layouts if the runtime reports them, otherwise operators."""
    from mnsweep.profiling.roofline import OTHER

    operators = sorted(row.operators, key=lambda operator: -operator.ns)
    return ", ".join(dict.fromkeys(o.op if row.name == OTHER else o.implementation or o.op for o in operators))


def _time_lines(found: "Profile") -> list[str]:
    missing_ms = found.latency_ms - found.profiled_ms
    lines = [f"latency        {found.latency_ms:#.3g} ms without the profiler, {found.profiled_ms:#.3g} ms in the rows above"]
    if missing_ms > 0:
        lines.append(f"not attributed {missing_ms:.3f} ms: between operators")
    else:
        lines.append(f"profiler       takes {-missing_ms:.3f} ms itself: rows are as profiled")
    if found.channels:
        padded = ", ".join(f"{logical} → {deployed}" for logical, deployed in sorted(found.channels.items()))
        lines.append(f"channels       {padded}")
    return lines


def _rate_lines(found: "Profile") -> list[str]:
    unit, threads, roof = found.rate_unit, found.cell.deployment.threads, found.roof
    peak = bandwidth = "unknown: it could not be measured"
    of_peak = ""
    if roof.peak_gflops is not None:
        peak = f"{roof.peak_gflops:.1f} {unit}: a 1024³ matrix product, {threads} thread{'s' * (threads != 1)}"
        of_peak = f", {100 * found.gflops / roof.peak_gflops:.0f} % of the peak"
    if roof.bandwidth_gb_per_s is not None:
        bandwidth = f"{roof.bandwidth_gb_per_s:.1f} GB/s: copying memory"
    return [
        f"peak           {peak}",
        f"bandwidth      {bandwidth}",
        f"achieved       {found.gflops:.1f} {unit} overall, of the deployed mult-adds{of_peak}",
    ]


def _lint_lines(found: "Profile") -> list[str]:
    """A line for each finding, followed by its fix."""
    from mnsweep.cli.show import with_flags

    lines = []
    for finding in found.findings:
        lines.append(f"graph          {finding.text}")
        if finding.fix:
            lines.append(f"               → {with_flags(finding.fix)}")
    return lines


def _next(found: "Profile") -> str:
    """The command that tries the lint's first advice; without advice, one that compares precisions.

    A detector has only one precision, so runtimes are compared instead. `grid` compares by interleaved measurement.
    """
    from mnsweep.names import TASKS, runtime_named

    how = found.cell.deployment
    other = ("runtime", runtime_named(how.runtime).compare_with)
    otherwise = other if TASKS[found.cell.design.task].detects else ("precision", "fp32,int8")
    name, value = next((change for finding in found.findings for change in finding.changes), otherwise)
    if name == "pad":
        return f"mnsweep profile {_flags(found.cell, {name: value})}"
    return f"mnsweep grid {_flags(found.cell, {name: f'{how.runtime},{value}' if name == 'runtime' else value})}"


def _flags(cell: "Cell", changes: "Mapping[str, str]") -> str:
    """The options for a cell with `changes`, without options that have their default values."""
    return o.as_flags({"alpha": cell.design.alpha, "res": cell.design.resolution, **cell.changed(), **changes})
