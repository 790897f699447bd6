"""What a quality is called: metrics by the names that columns have, in words for people."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Metric:
    """`short` heads a column, `label` names an axis. All are in %, and more is better."""

    short: str
    label: str


METRICS = {
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
DEFAULT = METRICS["imagenet_top1"]  # of a network whose quality nobody printed


def metric_of(names: Iterable[str | None]) -> Metric:
    """The metric of several results: theirs where they share one, "quality" where they don't; None is of no result.

    >>> metric_of(["coco_map_50_95", None]).short
    'mAP'
    """
    known = sorted({name for name in names if name is not None})
    if not known:
        return DEFAULT
    if len(known) > 1:
        return Metric("quality", "quality (%), of several metrics")
    return METRICS.get(known[0], Metric(known[0], f"{known[0]} (%)"))
