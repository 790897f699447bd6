"""Anchors: the reference boxes that a detector's predictions shift and scale.

A box is (centre y, centre x, height, width), in fractions of the image. Boxes are in the output order of the predictors:
rows of the feature map, columns, then the anchors of one pixel. Source: TensorFlow object detection API,
`ssd_anchor_generator.py` (as in Liu et al. 2016, with a smaller first scale) and `grid_anchor_generator.py` (Ren et al.
2015), with the settings of its published MobileNet configurations.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise, product
from math import sqrt
from typing import TypeAlias

Box: TypeAlias = tuple[float, float, float, float]
SSD_SCALES = (0.2, 0.95)  # of the first and the last feature map; evenly spaced between
SSD_RATIOS = (1.0, 2.0, 0.5, 3.0, 0.3333)  # width : height
SSD_FIRST_MAP = ((0.1, 1.0), (SSD_SCALES[0], 2.0), (SSD_SCALES[0], 0.5))  # (scale, ratio): only three
GRID_SCALES, GRID_RATIOS = (0.25, 0.5, 1.0, 2.0), (0.5, 1.0, 2.0)
GRID_BASE, GRID_STRIDE = 256, 16  # pixels
GRID_ANCHORS = len(GRID_SCALES) * len(GRID_RATIOS)


def ssd_shapes(count: int) -> list[list[tuple[float, float]]]:
    """(scale, width / height) of the anchors of a pixel, for each of `count` feature maps: 3 on the first, 6 on the others.

    Scales are fractions of the image. The sixth anchor is square; its scale is the geometric mean of this feature map's
    scale and the next one's.
    """
    low, high = SSD_SCALES
    scales = [*(low + (high - low) * i / (count - 1) for i in range(count)), 1.0]
    shapes = [[*((scale, ratio) for ratio in SSD_RATIOS), (sqrt(scale * after), 1.0)] for scale, after in pairwise(scales)]
    return [list(SSD_FIRST_MAP), *shapes[1:]]


def ssd_anchors(sizes: Sequence[int]) -> Iterator[Box]:
    """The anchors of square feature maps with sides of `sizes` pixels, the finest first; centres are pixel centres."""
    for size, shapes in zip(sizes, ssd_shapes(len(sizes)), strict=True):
        for y, x, (scale, ratio) in product(range(size), range(size), shapes):
            yield (y + 0.5) / size, (x + 0.5) / size, scale / sqrt(ratio), scale * sqrt(ratio)


def grid_anchors(size: int, resolution: int) -> Iterator[Box]:
    """The anchors of one square feature map with sides of `size` pixels and stride 16; centres are pixel corners.

    `resolution` is the side of the image in pixels.
    """
    shapes = [(scale / sqrt(ratio), scale * sqrt(ratio)) for ratio, scale in product(GRID_RATIOS, GRID_SCALES)]
    for y, x, (height, width) in product(range(size), range(size), shapes):
        box = y * GRID_STRIDE, x * GRID_STRIDE, height * GRID_BASE, width * GRID_BASE
        yield box[0] / resolution, box[1] / resolution, box[2] / resolution, box[3] / resolution
