"""Tasks: what a network is for, and all that depends on it. To add a task, add a row here."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One task; `classes` is the default number of outputs, `metric` the metric of its published quality.

    It `learns` from labels of one kind (`tasks/kinds.py`), by default with the recipe that `recipe` names.

    `head` names the builder of the layers after the body (`arch/heads.py`). `activation` follows the classifier: `none`,
    `sigmoid` or `l2_norm`. A task that `detects` takes one image in fp32; its channels are never padded, and its latency is
    not predicted. Comparison networks end at the logits, so they support only tasks with `compares`.
    """

    name: str
    classes: int
    head: str = "classifier"
    activation: str = "none"
    metric: str
    learns: str = "classes"
    recipe: str = "modern"
    detects: bool = False
    compares: bool = False


_ROWS = (
    Task(name="classify", classes=1000, metric="imagenet_top1", compares=True),  # ImageNet, ILSVRC 2012
    Task(name="dogs", classes=120, metric="stanford_dogs_top1", compares=True),  # breeds of Stanford Dogs
    # Cells of the globe, Weyand et al. 2016.
    Task(name="planet", classes=26_263, metric="im2gps_within_city_25km", learns="places", recipe="steady", compares=True),
    # Several may be true at once. The paper does not give the number of attributes: we assume 40, as in CelebA.
    Task(name="attributes", classes=40, activation="sigmoid", metric="face_attr_mean_ap", learns="attributes", recipe="steady"),
    # Vectors of unit length (Schroff et al. 2015).
    Task(name="embedding", classes=128, activation="l2_norm", metric="acc_at_1e-4", learns="identities", recipe="embed"),
    # COCO's category ids up to 90, and the background.
    Task(name="ssd", classes=91, head="ssd", metric="coco_map_50_95", learns="boxes", recipe="detect", detects=True),
    Task(
        name="faster-rcnn",
        classes=91,
        head="faster-rcnn",
        metric="coco_map_50_95",
        learns="boxes",
        recipe="propose",
        detects=True,
    ),
)
TASKS: dict[str, Task] = {row.name: row for row in _ROWS}  # the default first
