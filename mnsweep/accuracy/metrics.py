"""Quality metrics: labels for the names in the column `quality_metric`."""

from collections.abc import Iterable
from dataclasses import dataclass

from mnsweep.names import TASKS
from mnsweep.result import Result


@dataclass(frozen=True, slots=True)
class Metric:
    """A quality metric in %; higher is better. `short` is a column heading, `label` an axis label."""

    short: str
    label: str


METRICS = {
    "top1": Metric("top-1", "top-1 accuracy on your pictures (%)"),
    "within_25km": Metric("within 25 km", "your pictures placed within 25 km (%)"),
    "mean_ap": Metric("mean AP", "mean AP of the attributes on your pictures (%)"),
    "true_accepts_at_1e-2": Metric("accepted", "true accepts at 1 % false accepts, your pictures (%)"),
    "map_50_95": Metric("mAP", "mAP at IoU 0.50:0.95 on your pictures (%)"),
    "imagenet_top1": Metric("top-1", "ImageNet top-1 accuracy (%)"),
    "stanford_dogs_top1": Metric("top-1", "Stanford Dogs top-1 accuracy (%)"),
    "im2gps_within_continent_2500km": Metric("within 2500 km", "Im2GPS photos placed within 2500 km (%)"),
    "im2gps_within_country_750km": Metric("within 750 km", "Im2GPS photos placed within 750 km (%)"),
    "im2gps_within_region_200km": Metric("within 200 km", "Im2GPS photos placed within 200 km (%)"),
    "im2gps_within_city_25km": Metric("within 25 km", "Im2GPS photos placed within 25 km (%)"),
    "im2gps_within_street_1km": Metric("within 1 km", "Im2GPS photos placed within 1 km (%)"),
    "face_attr_mean_ap": Metric("mean AP", "face attributes, mean AP (%)"),
    "acc_at_1e-4": Metric("accuracy", "face verification, accuracy at a false-accept rate of 1e-4 (%)"),
    "coco_map_50_95": Metric("mAP", "COCO mAP at IoU 0.50:0.95 (%)"),
}
_DEFAULT = next(iter(TASKS.values())).metric
_SEVERAL = Metric("quality", "quality (%), of several metrics")


def metric_of(results: Iterable[Result]) -> Metric:
    """The metric that all results share; a generic `quality` where they differ, ImageNet top-1 without results."""
    names = {result.quality_metric or TASKS[result.task].metric for result in results} or {_DEFAULT}
    if len(names) > 1:
        return _SEVERAL
    (name,) = names
    return METRICS.get(name) or Metric(name, f"{name} (%)")
