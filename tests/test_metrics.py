"""A quality is called by its metric: in the head of a table, in a sentence, on an axis."""

from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from mnsweep.accuracy.metrics import metric_of
from mnsweep.choice.constraints import Constraints
from mnsweep.choice.ranking import pick, pick_verified
from mnsweep.cli.show import results_table, sentence
from mnsweep.errors import MnsweepError
from mnsweep.plots.pareto import pareto_plot
from mnsweep.result import Result
from mnsweep.space import Space
from mnsweep.sweep.counts import count_table
from mnsweep.sweep.table import with_frontier
from tests.conftest import make_result
from tests.test_report import text_of

SHORT = {
    "classify": "top-1",
    "dogs": "top-1",
    "planet": "within 25 km",
    "attributes": "mean AP",
    "embedding": "accuracy",
    "ssd": "mAP",
    "faster-rcnn": "mAP",
}


@pytest.mark.parametrize(
    ("names", "short", "in_label"),
    [
        ([], "top-1", "ImageNet"),
        ([None], "top-1", "ImageNet"),
        (["face_attr_mean_ap"] * 2, "mean AP", "face attributes"),
        (["coco_map_50_95", "imagenet_top1"], "quality", "several metrics"),
        (["made_up"], "made_up", "made_up (%)"),
    ],
)
def test_results_name_their_metric(names: list[str | None], short: str, in_label: str) -> None:
    found = metric_of([make_result(quality_metric=name) for name in names])
    assert found.short == short and in_label in found.label


@pytest.mark.parametrize("task", SHORT)
@pytest.mark.parametrize("measured", [True, False])
def test_a_table_heads_its_column_with_the_metric(task: str, measured: bool) -> None:
    console = Console(width=140)
    with console.capture() as captured:
        console.print(results_table(count_table(Space(1.0, 224, task=task).cells(), "paper"), measured))
    assert SHORT[task] in captured.get() and ("top-1" in captured.get()) == (SHORT[task] == "top-1")


@pytest.mark.parametrize("metric", ["imagenet_top1", "coco_map_50_95", "face_attr_mean_ap", "made_up"])
def test_a_sentence_and_an_axis_name_the_metric(metric: str) -> None:
    result = make_result(
        latency_p50_ms=2.0, latency_ci_low_ms=1.9, latency_ci_high_ms=2.1, quality_pct=19.3, quality_metric=metric
    )
    assert f": 19.3 % {metric_of([result]).short} (" in sentence(result)
    assert metric_of([result]).label in text_of(pareto_plot(with_frontier([result]), "caption")["pareto.svg"])


def test_every_metric_has_its_own_frontier() -> None:
    """A detector's mAP is no worse a number for being below an accuracy that costs less."""

    def result(cell: str, ms: float, metric: str, pct: float) -> Result:
        return make_result(cell, latency_p50_ms=ms, quality_metric=metric, quality_pct=pct)

    both = [
        result("a0.25_r128", 1.0, "imagenet_top1", 41.5),
        result("a0.5_r160", 2.0, "imagenet_top1", 40.0),
        result("a1.0_r300_ssd", 20.0, "coco_map_50_95", 19.3),
        result("a1.0_r300_faster-rcnn", 300.0, "coco_map_50_95", 16.4),
        make_result("a1.0_r224"),
    ]
    assert [r.on_frontier for r in with_frontier(both)] == [True, False, True, False, None]


def of_tasks(*tasks: str) -> list[Result]:
    ends: Any = {"latency_p50_ms": 2.0, "latency_ci_low_ms": 1.9, "latency_ci_high_ms": 2.1}
    return [replace(r, **ends) for task in tasks for r in count_table(Space("0.25,1.0", 224, task=task).cells(), "paper")]


def test_qualities_of_several_kinds_are_not_compared() -> None:
    mixed = of_tasks("classify", "attributes")
    for choose in (pick, lambda results, asked: pick_verified(results, asked, lambda ids: [])):
        with pytest.raises(MnsweepError, match="for the tasks attributes, classify; name one with `task`"):
            choose(mixed, Constraints(max_latency_ms=10))
        chosen = choose(mixed, Constraints(max_latency_ms=10, task="attributes")).choice
        assert chosen is not None and (chosen.task, chosen.quality_pct) == ("attributes", 88.7)


def test_a_task_narrows_the_choice_and_must_exist() -> None:
    (best,) = {pick(of_tasks("classify"), Constraints(task="classify", max_latency_ms=10)).choice}
    assert best is not None and best.alpha == 1.0
    assert pick(of_tasks("classify"), Constraints(task="ssd", max_latency_ms=10)).choice is None
    with pytest.raises(MnsweepError, match="`task` 'wombats' is unknown; choose from classify, dogs"):
        Constraints(task="wombats")


def test_a_frontier_is_drawn_of_one_kind_of_quality() -> None:
    mixed = with_frontier([*of_tasks("attributes"), of_tasks("classify")[0]])
    text = " ".join(text_of(pareto_plot(mixed, "where and when")["pareto.svg"]))
    assert "face attributes" in text and "where and when" in text
    assert "Not shown: 1 measured cell with another quality metric." in text
    alone = " ".join(text_of(pareto_plot(with_frontier(of_tasks("attributes")), "")["pareto.svg"]))
    assert "Not shown" not in alone
