"""Published accuracies: the printed numbers, and no number for a network that nobody published."""

from dataclasses import replace

import pytest

from mnsweep.accuracy.metrics import METRICS
from mnsweep.accuracy.published import DEFAULT_SOURCE, published, sources
from mnsweep.arch.expand import expand
from mnsweep.cell import Cell, Deployment, Design
from mnsweep.errors import MnsweepError
from mnsweep.reproduction.networks import network_of
from mnsweep.reproduction.printed import Printed, printed
from mnsweep.tasks.kinds import KINDS

# TensorFlow models, research/slim/nets/mobilenet_v1.md, checkpoints of 2018-08-02: top-1, top-5.
SLIM = {
    (1.0, 224): (70.9, 89.9),
    (1.0, 192): (70.0, 89.2),
    (1.0, 160): (68.0, 87.7),
    (1.0, 128): (65.2, 85.8),
    (0.75, 224): (68.4, 88.2),
    (0.75, 192): (67.2, 87.3),
    (0.75, 160): (65.3, 86.0),
    (0.75, 128): (62.1, 83.9),
    (0.5, 224): (63.3, 84.9),
    (0.5, 192): (61.7, 83.6),
    (0.5, 160): (59.1, 81.9),
    (0.5, 128): (56.3, 79.4),
    (0.25, 224): (49.8, 74.2),
    (0.25, 192): (47.7, 72.3),
    (0.25, 160): (45.5, 70.3),
    (0.25, 128): (41.5, 66.3),
}
# Howard et al. 2017, tables 6, 7 and 9: top-1.
PAPER = {
    (1.0, 224): 70.6,
    (0.75, 224): 68.4,
    (0.5, 224): 63.7,
    (0.25, 224): 50.6,
    (1.0, 192): 69.1,
    (1.0, 160): 67.2,
    (1.0, 128): 64.4,
    (0.5, 160): 60.2,
}
FULL = Design.of(1.0, 224)


@pytest.mark.parametrize(("alpha", "resolution"), SLIM)
def test_the_default_source_has_the_16_checkpoints(alpha: float, resolution: int) -> None:
    quality = published(Cell(Design.of(alpha, resolution)))
    assert quality is not None
    assert (quality.quality_pct, quality.top5_pct) == SLIM[alpha, resolution]
    assert (quality.metric, quality.source, quality.provenance) == ("imagenet_top1", "slim-2018-08", "published: slim-2018-08")
    assert "mobilenet_v1.md" in quality.reference


@pytest.mark.parametrize(("alpha", "resolution"), SLIM)
def test_the_paper_has_its_eight_rows_and_no_others(alpha: float, resolution: int) -> None:
    quality = published(Cell(Design.of(alpha, resolution)), "paper")
    assert (quality and quality.quality_pct) == PAPER.get((alpha, resolution))
    assert quality is None or (quality.top5_pct is None and quality.provenance == "published: paper")


@pytest.mark.parametrize("source", ["slim-2018-08", "paper"])
@pytest.mark.parametrize(
    "design",
    [
        Design.of(0.33, 224),
        Design.of(1.0, 176),
        Design.of(2.0, 224),
        replace(FULL, conv_padding="keras"),
        replace(FULL, conv_padding="symmetric"),
        replace(FULL, activation="relu"),
        replace(FULL, classes=10),
        replace(FULL, classes=1002),
        replace(FULL, width_rule="round8", activation="relu"),
        Design.of(0.33, 224, width_rule="round8"),
    ],
    ids=lambda design: Cell(design).id,
)
def test_another_network_has_no_published_number(design: Design, source: str) -> None:
    assert published(Cell(design), source) is None


@pytest.mark.parametrize(("alpha", "resolution"), SLIM)
def test_round8_at_a_published_alpha_is_the_published_network(alpha: float, resolution: int) -> None:
    rounded = Design.of(alpha, resolution, width_rule="round8")
    assert expand(rounded) == expand(Design.of(alpha, resolution))
    assert published(Cell(rounded)) == published(Cell(Design.of(alpha, resolution)))


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
@pytest.mark.parametrize(("alpha", "resolution"), SLIM)
def test_the_checkpoints_1001_outputs_keep_their_accuracy(alpha: float, resolution: int, precision: str) -> None:
    with_background = Design.of(alpha, resolution, classes=1001)
    quality = published(Cell(with_background, Deployment(precision)))
    assert quality is not None and quality == published(Cell(Design.of(alpha, resolution), Deployment(precision)))
    assert published(Cell(with_background), "paper") is None
    assert published(Cell(Design.of(alpha, resolution, task="dogs", classes=1001))) is None


@pytest.mark.parametrize("deployment", [Deployment(threads=2), Deployment(batch=8)])
def test_how_fp32_runs_does_not_change_its_number(deployment: Deployment) -> None:
    assert published(Cell(FULL, deployment)) == published(Cell(FULL))


@pytest.mark.parametrize("source", ["", "slim", "Paper", "slim-2018-08 "])
def test_an_unknown_source_is_named_with_the_known_ones(source: str) -> None:
    with pytest.raises(MnsweepError) as error:
        published(Cell(FULL), source)
    assert repr(source) in str(error.value)
    assert "slim-2018-08, paper" in str(error.value)


def test_the_default_source_is_the_first() -> None:
    assert sources() == (DEFAULT_SOURCE, "paper") == ("slim-2018-08", "paper")


CITY = "im2gps_within_city_25km"
APPLICATIONS = ("stanford_dogs_top1", "face_attr_mean_ap", "acc_at_1e-4", "coco_map_50_95", CITY)
PRINTED = [(row, design) for row in printed() if row.unit == "%" and (design := network_of(row))]


@pytest.mark.parametrize("source", ["slim-2018-08", "paper"])
@pytest.mark.parametrize(
    ("row", "design"),
    [(row, design) for row, design in PRINTED if row.metric in APPLICATIONS],
    ids=lambda value: f"{value.table}-{value.model}" if isinstance(value, Printed) else "",
)
def test_applications_have_the_paper_s_numbers_whatever_the_source(row: Printed, design: Design, source: str) -> None:
    quality = published(Cell(design), source)
    assert quality is not None
    assert (quality.metric, quality.quality_pct) == (row.metric, float(row.text))
    assert (quality.provenance, quality.top5_pct) == ("published: paper", None)
    assert f"Table {row.table}" in quality.reference


def test_every_application_has_as_many_numbers_as_the_paper_printed() -> None:
    tasks = [design.task for row, design in PRINTED if row.metric in APPLICATIONS]
    assert {task: tasks.count(task) for task in tasks} == {
        "dogs": 5, "planet": 2, "attributes": 6, "ssd": 1, "faster-rcnn": 2, "embedding": 4,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("row", "design"),
    [(row, design) for row, design in PRINTED if row.metric == "imagenet_top1"],
    ids=lambda value: f"{value.table}-{value.model}" if isinstance(value, Printed) else "",
)
def test_every_top1_of_the_paper_is_its_network_s_and_no_checkpoint_s(row: Printed, design: Design) -> None:
    quality, checkpoint = published(Cell(design), "paper"), published(Cell(design))
    assert quality is not None and (quality.metric, quality.quality_pct) == ("imagenet_top1", float(row.text))
    assert (checkpoint is None) == (design.variant != "mobilenet")


@pytest.mark.parametrize(
    "design",
    [
        Design.of(0.5, 300, task="ssd"),
        Design.of(1.0, 320, task="ssd"),
        Design.of(1.0, 300, task="ssd", classes=21),
        Design.of(1.0, 224, task="dogs", classes=121),
        Design.of(1.0, 224, task="planet", classes=10_000),
        Design.of(1.0, 224, task="attributes", activation="relu"),
        Design.of(1.0, 224, task="embedding"),
        Design.of(0.75, 224, variant="shallow"),
        Design.of(1.0, 224, variant="conv-bias"),
        Design.of(1.0, 299, variant="inception-v3"),
    ],
    ids=lambda design: Cell(design).id,
)
def test_another_application_has_no_published_number(design: Design) -> None:
    assert published(Cell(design), "paper") is None


def test_an_application_in_int8_has_no_number_and_in_bf16_inherits_it() -> None:
    design = Design.of(1.0, 224, task="dogs")
    assert published(Cell(design, Deployment("int8"))) is None
    inherited = published(Cell(design, Deployment("bf16")))
    assert inherited and (inherited.quality_pct, inherited.provenance) == (83.3, "inherited from fp32, published: paper")


def test_every_metric_of_the_paper_has_words() -> None:
    assert {row.metric for row in printed() if row.metric in METRICS} == set(METRICS) - {kind.metric for kind in KINDS.values()}
    assert {row.metric for row, _ in PRINTED} - {"mult_adds_share", "params_share"} <= set(METRICS)
    for metric in METRICS.values():
        assert metric.label.endswith(" (%)") and 0 < len(metric.short) <= 15
