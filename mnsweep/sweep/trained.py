"""Cells that were measured with trained weights: which file they have, and whose accuracy that is."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from mnsweep.accuracy.published import Source, published
from mnsweep.cell import Cell
from mnsweep.importing.families import FAMILIES
from mnsweep.names import PRECISIONS
from mnsweep.result import MEASURED, Result
from mnsweep.sweep.counts import PCT_DIGITS, quality_columns
from mnsweep.sweep.file import Held, Scored, Sweep
from mnsweep.sweep.table import with_frontier
from mnsweep.wording import count_of

THESE = "these weights"
INT8 = next(row for row in PRECISIONS.values() if row.quantized)


def with_weights(results: Iterable[Result], sweep: Sweep) -> list[Result]:
    """The results, those of designs with weights with the file and, where the accuracy is that of these weights, saying so.

    A network that was trained with quantization has the accuracy of the quantized network, also where its integers are
    turned into floats: the published accuracy of the float network is that of other weights.
    """
    results = list(results)
    if not sweep.weights:
        return results
    own = [_with(r, sweep.weights.get(design_id(r)), sweep.accuracies) for r in results]
    return with_frontier([_scored(r, sweep.scored.get(r.cell)) for r in own] if sweep.scored else own)


def _scored(result: Result, score: Scored | None) -> Result:
    """The result with its score, or without any accuracy: one frontier holds one family of sources."""
    bare = replace(result, **_no_quality())
    if score is None:
        return bare
    return replace(
        bare,
        quality_metric=score.metric,
        quality_pct=round(score.quality_pct, PCT_DIGITS),
        quality_sd_pct=round(score.deviation_pct, PCT_DIGITS),
        quality_source=f"{MEASURED}: {score.data}, {count_of(score.images, 'picture')}",
        top5_pct=None if score.top5_pct is None else round(score.top5_pct, PCT_DIGITS),
    )


def design_id(result: Result) -> str:
    """The id of the plain cell of a result's design."""
    return Cell(result.design).id


def _with(result: Result, held: Held | None, source: Source) -> Result:
    if held is None:
        return result
    result = replace(result, weights=PurePosixPath(held.file).name)
    if held.quantized:
        deployment = replace(result.deployment, precision=INT8.name)
        quality = published(Cell(result.design, deployment), source)
        result = replace(result, **{**_no_quality(), **quality_columns((quality, None))})
    family, quantized = FAMILIES.get(held.family), PRECISIONS[result.precision].quantized
    if result.quality_source is None or family is None or family.quality_source != source or quantized > held.quantized:
        return result
    own = THESE if quantized == held.quantized else f"{THESE} as floats"
    return replace(result, quality_source=f"{result.quality_source}, {own}")


def _no_quality() -> dict[str, Any]:
    names = ("quality_metric", "quality_pct", "quality_sd_pct", "quality_source", "top5_pct")
    return dict.fromkeys(names)
