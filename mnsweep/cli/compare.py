"""`mnsweep compare`: sweeps against the first of them, with a verdict on each cell."""

from typing import TYPE_CHECKING

import typer

from mnsweep.app.requests import CompareRequest
from mnsweep.cli import options as o
from mnsweep.cli import output
from mnsweep.wording import count_of

if TYPE_CHECKING:
    from mnsweep.app.compare import CompareOutcome
    from mnsweep.comparing.verdicts import Comparison
    from mnsweep.estimate.ratio import Ratio

EXAMPLE = "Example: mnsweep compare results/grid-before results/grid-after --fail-if-slower 5"
TOO_SLOW = 1
SHOWN = 5  # lines of long lists; -v shows all


@o.takes(CompareRequest)
def compare(
    request: CompareRequest,
    json: o.Json = False,
    csv: output.Csv = False,
    markdown: output.Markdown = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
) -> None:
    """Compare sweeps with the first of them, cell by cell: faster, slower, the same, or nobody knows yet.

    A ratio is B's time over A's. Its 95 % interval holds the noise of both
    sweeps: that of each cell, and how much the machine's own speed moved. Cells
    are the same where the whole interval lies within --same-pct, else faster or
    slower where the ratio is not 1, at a false discovery rate of 5 %. Phones can be compared
    with by name: pixel3-cpu, pixel3-nnapi, pixel3-gpu, pixel1-v2, pixel1-v3-large.
    """
    from mnsweep.app.compare import compare_sweeps, remarks, to_document
    from mnsweep.cli.show import advise, print_json, warn

    o.check_exclusive(quiet=quiet, verbose=verbose)
    form = output.form_of(json=json, csv=csv, markdown=markdown)
    outcome = _interleaved(request, quiet) if request.interleave else compare_sweeps(request)
    if json:
        print_json(to_document(outcome))
    for comparison in outcome.comparisons:
        if not json:
            output.print_rows(_table(comparison), form)
            for line in _sentences(comparison, None if verbose else SHOWN):
                output.say(line, form, quiet)
        for line in remarks(comparison):
            advise(line, quiet)
    if outcome.too_slow:
        for sweep, cells in outcome.too_slow.items():
            more = f" and {len(cells) - SHOWN} more" if len(cells) > SHOWN else ""
            warn(f"{sweep} is slower by more than {request.fail_if_slower:g} %: {', '.join(cells[:SHOWN])}{more}")
        raise typer.Exit(TOO_SLOW)


def _interleaved(request: CompareRequest, quiet: bool) -> "CompareOutcome":
    from mnsweep.app.compare import outcome_of
    from mnsweep.app.interleave import interleave
    from mnsweep.cli.progress import GridNarrator

    with GridNarrator(quiet) as listener:
        comparison, _ = interleave(request, listener)
    return outcome_of((comparison,), request.fail_if_slower)


def _table(comparison: "Comparison") -> output.Rows:
    a, b = comparison.a, comparison.b
    pairs = dict(comparison.matched.pairs)
    rows = [
        [r.cell, a.estimates[r.cell].p50_ms, b.estimates[pairs[r.cell]].p50_ms, r.ratio, r.ci_low, r.ci_high, r.verdict]
        for r in comparison.verdicts.cells
    ]
    overall = comparison.verdicts.overall
    rows.append(["overall", None, None, overall.ratio, overall.ci_low, overall.ci_high, overall.verdict])
    return output.Rows(
        title=f"A  {a.title}\nB  {b.title}",
        columns=(
            output.Column("cell", "cell"),
            output.Column("a_ms", "A\n(ms)", output.ms),
            output.Column("b_ms", "B\n(ms)", output.ms),
            output.Column("ratio", "B / A", output.ratio),
            output.Column("ci_low", "95 % interval\nfrom", output.ratio),
            output.Column("ci_high", "\nto", output.ratio),
            output.Column("verdict", "B is"),
        ),
        rows=rows,
        droppable=("B\n(ms)", "A\n(ms)"),
    )


def _sentences(comparison: "Comparison", shown: int | None) -> list[str]:
    """The overall verdict, places that change, and the picks that do."""
    names = comparison.b.sweep, comparison.a.sweep
    b, a = names if names[0] != names[1] else ("B", "A")
    said = [f"{b} against {a}: {verdict(comparison.verdicts.overall)}"]
    if comparison.rank_correlation is not None and comparison.a.machine != comparison.b.machine:
        told = f"{comparison.rank_correlation:.3f} (Spearman; 1 is the same order)"
        said.append(f"rank correlation of the latencies on the two machines: {told}")
    certain = [s for s in comparison.swaps if s.certain]
    if certain:
        pairs = ", ".join(f"{s.second} before {s.first}" for s in certain[:shown])
        more = f" and {len(certain) - shown} more" if shown and len(certain) > shown else ""
        said.append(f"{count_of(len(certain), 'pair')} of cells change places: in B {pairs}{more}")
    changed = comparison.changed_picks[:shown]
    return said + [f"within {p.max_latency_ms:g} ms: {p.a or 'nothing'} in A, {p.b or 'nothing'} in B" for p in changed]


def verdict(ratio: "Ratio") -> str:
    """A verdict as a phrase: slower, 1.052 × (1.031 to 1.073)."""
    interval = "" if ratio.ci_low is None else f" ({ratio.ci_low:.3f} to {ratio.ci_high:.3f})"
    return f"{ratio.verdict}, {ratio.ratio:.3f} ×{interval}"
