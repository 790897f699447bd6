"""Box post-processing as ONNX operators: decode predictions, suppress overlapping boxes, keep the highest scores.

A prediction (ty, tx, th, tw) moves and scales its anchor: centre = anchor centre + t / 10 × anchor size, size = anchor
size × exp(t / 5). Boxes are (top, left, bottom, right) as fractions of the image, clipped to it. All outputs have fixed
shapes; unused places are zeros.

- SSD: sigmoid scores, suppression above an overlap (IoU) of 0.6, at most 100 boxes per class.
- Faster R-CNN: softmax scores; proposals are suppressed above an overlap of 0.7, out of the 6000 with the highest scores
  (Ren et al.); detections are suppressed above 0.6.

Source: Ren et al. 2015, section 3.1.2; TensorFlow object detection API, `faster_rcnn_box_coder.py` with scale factors
10, 10, 5, 5, and its MobileNet configurations.
"""

from collections.abc import Callable, Iterable
from functools import partial
from itertools import chain

from mnsweep.arch.anchors import GRID_ANCHORS, Box, grid_anchors, ssd_anchors
from mnsweep.arch.layer import Layer
from mnsweep.graph.nodes import INT64, Graph, Node

SCALE_FACTORS = (10.0, 10.0, 5.0, 5.0)
SSD_LEAST_SCORE = 1e-8
OVERLAP, PROPOSAL_OVERLAP = 0.6, 0.7  # intersection over union
MOST_PER_CLASS = 100
CANDIDATES = 6000  # for proposals
_FLOAT_TYPE = 1  # TensorProto.FLOAT


def ssd_detections(graph: Graph, layer: Layer, inputs: tuple[str, ...], out: str) -> None:
    """Add the nodes that turn SSD predictions into detections (1, 100, 6).

    `inputs` are predictions (1, anchors × values, size, size) on each feature map: all box predictors (4 values), then all
    class predictors (one value per class, background first).
    """
    name, half = layer.name, len(inputs) // 2
    classes = graph.layers[inputs[half]].out_channels * 4 // graph.layers[inputs[0]].out_channels
    offsets, logits = (_of_all_maps(graph, names, n) for names, n in ((inputs[:half], 4), (inputs[half:], classes)))
    predictors = [graph.layers[source] for source in inputs[:half]]
    count = sum(predictor.values // 4 for predictor in predictors)
    anchors = partial(ssd_anchors, [predictor.out_size for predictor in predictors])
    boxes = _decode(graph, name, offsets, *_anchors(graph, name, count, anchors))
    scores = graph.add("Sigmoid", f"{name}.sigmoid", logits)
    foreground = _foreground(graph, name, scores, axis=2)
    by_class = graph.add("Transpose", f"{name}.by_class", foreground, perm=(0, 2, 1))
    _detect(graph, layer, boxes, by_class, SSD_LEAST_SCORE, out)


def proposals(graph: Graph, layer: Layer, inputs: tuple[str, ...], out: str) -> None:
    """Add the nodes that select the region proposals (300, 4) with the highest scores, padded with zeros.

    `inputs` are predictions (1, anchors × values, size, size) on one feature map: boxes (4 values), then objectness (2).
    """
    name, size = layer.name, graph.layers[inputs[0]].out_size
    offsets, logits = (_flat(graph, source, n) for source, n in zip(inputs, (4, 2), strict=True))
    anchors, total = partial(grid_anchors, size, graph.image.shape[-1]), GRID_ANCHORS * size**2
    boxes = _decode(graph, name, offsets, *_anchors(graph, name, total, anchors))
    softmax = graph.add("Softmax", f"{name}.softmax", logits, axis=2)
    scores = graph.add("Gather", f"{name}.scores", softmax, _whole(graph, f"{name}.one", 1), axis=2)
    real = graph.add("Mul", f"{name}.real", scores, _has_area(graph, name, boxes, axis=2))
    count = graph.numbers(f"{name}.count", [min(CANDIDATES, total)], INT64)
    best, where = f"{name}.best", f"{name}.where"
    graph.nodes.append(Node("TopK", best, (real, count), (best, where), (("axis", 1),)))
    index = graph.add("Squeeze", f"{name}.index", where, graph.numbers(f"{name}.first", [0], INT64))
    likeliest = graph.add("Gather", f"{name}.likeliest", boxes, index, axis=1)
    by_class = graph.add("Unsqueeze", f"{name}.by_class", best, graph.numbers(f"{name}.second", [1], INT64))
    kept = _suppress(graph, name, likeliest, by_class, layer.repeats, PROPOSAL_OVERLAP, 0.0)
    number = graph.add("Gather", f"{name}.number", kept, _whole(graph, f"{name}.two", 2), axis=1)
    chosen = graph.add("Gather", f"{name}.chosen", likeliest, number, axis=1)
    flat = graph.add("Reshape", f"{name}.flat_boxes", chosen, graph.numbers(f"{name}.shape", [-1, 4], INT64))
    padded = graph.add("Concat", f"{name}.padded", flat, _zeros(graph, name, layer.repeats, 4), axis=0)
    bounds = (graph.numbers(f"{name}.{end}", [n], INT64) for end, n in (("start", 0), ("end", layer.repeats)))
    graph.nodes.append(Node("Slice", name, (padded, *bounds), (out,)))


def roi_align(graph: Graph, layer: Layer, inputs: tuple[str, ...], out: str) -> None:
    """Add the nodes that crop a feature map (1, channels, size, size) to boxes (300, 4): (300, channels, 14, 14).

    Each output pixel is interpolated at one point, as in crop_and_resize.
    """
    name, (features, boxes) = layer.name, inputs
    order = graph.numbers(f"{name}.order", [1, 0, 3, 2], INT64)  # RoiAlign takes x first
    swapped = graph.add("Gather", f"{name}.swapped", boxes, order, axis=1)
    pixels = graph.add("Mul", f"{name}.pixels", swapped, graph.numbers(f"{name}.size", [float(layer.in_size)]))
    image = graph.constant(f"{name}.image", (layer.repeats,), INT64, lambda: [0] * layer.repeats)
    size = (("output_height", layer.out_size), ("output_width", layer.out_size), ("sampling_ratio", 1))
    graph.nodes.append(Node("RoiAlign", name, (features, pixels, image), (out,), size))


def class_detections(graph: Graph, layer: Layer, inputs: tuple[str, ...], out: str) -> None:
    """Add the nodes that turn Faster R-CNN predictions into detections (1, 100, 6).

    `inputs` are proposals (300, 4), box predictions (300, (classes − 1) × 4), and logits (300, classes) with background first.
    """
    name, (anchors, offsets, logits) = layer.name, inputs
    count, classes = graph.layers[inputs[2]].repeats, graph.layers[inputs[2]].out_channels
    shape = graph.numbers(f"{name}.shape", [count, classes - 1, 4], INT64)
    per_class = graph.add("Reshape", f"{name}.per_class", offsets, shape)
    by_class = graph.add("Transpose", f"{name}.by_class", per_class, perm=(1, 0, 2))
    low, size = _corner_and_size(graph, name, anchors, axis=1)
    half = graph.add("Mul", f"{name}.anchor_half", size, _half(graph, name))
    boxes = _decode(graph, name, by_class, graph.add("Add", f"{name}.anchor_centre", low, half), size)
    softmax = graph.add("Softmax", f"{name}.softmax", logits, axis=1)
    least = graph.add("ReduceMin", f"{name}.least", size, axes=(1,), keepdims=1)
    real = graph.add("Mul", f"{name}.real", softmax, graph.add("Sign", f"{name}.has_area", least))
    foreground = graph.add("Transpose", f"{name}.scores", _foreground(graph, name, real, axis=1), perm=(1, 0))
    scores = graph.add("Unsqueeze", f"{name}.score_maps", foreground, graph.numbers(f"{name}.second", [1], INT64))
    _detect(graph, layer, boxes, scores, 0.0, out)


def _flat(graph: Graph, source: str, values: int) -> str:
    """Reshape predictions (1, anchors × values, size, size) to (1, size² × anchors, values)."""
    last = graph.add("Transpose", f"{source}.last", source, perm=(0, 2, 3, 1))
    return graph.add("Reshape", f"{source}.list", last, graph.numbers(f"{source}.shape", [1, -1, values], INT64))


def _of_all_maps(graph: Graph, sources: tuple[str, ...], values: int) -> str:
    lists = [_flat(graph, source, values) for source in sources]
    return graph.add("Concat", f"{sources[0]}.all", *lists, axis=1)


def _anchors(graph: Graph, name: str, count: int, anchors: Callable[[], Iterable[Box]]) -> tuple[str, str]:
    """Add the centres and sizes of `count` anchors as constants (1, count, 2)."""

    def values(first: int) -> list[float]:
        return list(chain.from_iterable(box[first : first + 2] for box in anchors()))

    parts = (("centres", 0), ("sizes", 2))
    centres, sizes = (graph.constant(f"{name}.{part}", (1, count, 2), values=partial(values, first)) for part, first in parts)
    return centres, sizes


def _decode(graph: Graph, name: str, offsets: str, centres: str, sizes: str) -> str:
    """Decode predictions (…, anchors, 4) to boxes of that shape; anchor centres and sizes broadcast to (…, anchors, 2)."""
    factors = graph.numbers(f"{name}.factors", [1 / factor for factor in SCALE_FACTORS])
    scaled = graph.add("Mul", f"{name}.scaled", offsets, factors)
    move, stretch = _halves(graph, f"{name}.move_stretch", scaled, axis=2)
    centre = graph.add("Add", f"{name}.centre", graph.add("Mul", f"{name}.moved", move, sizes), centres)
    size = graph.add("Mul", f"{name}.stretched", graph.add("Exp", f"{name}.exp", stretch), sizes)
    half = graph.add("Mul", f"{name}.radius", size, _half(graph, name))
    ends = graph.add("Sub", f"{name}.low", centre, half), graph.add("Add", f"{name}.high", centre, half)
    corners = graph.add("Concat", f"{name}.corners", *ends, axis=2)
    bounds = (graph.constant(f"{name}.{end}", values=partial(list, (n,))) for end, n in (("least_share", 0), ("most_share", 1)))
    return graph.add("Clip", f"{name}.clipped", corners, *bounds)


def _half(graph: Graph, name: str) -> str:
    """The constant 0.5, added once per layer."""
    half = f"{name}.half"
    return half if half in graph.values else graph.constant(half, values=lambda: (0.5,))


def _halves(graph: Graph, name: str, source: str, axis: int) -> tuple[str, str]:
    """Split four coordinates into the first two and the last two."""
    outputs = f"{name}.1", f"{name}.2"
    sizes = graph.numbers(f"{name}.split", [2, 2], INT64)
    graph.nodes.append(Node("Split", name, (source, sizes), outputs, (("axis", axis),)))
    return outputs


def _corner_and_size(graph: Graph, name: str, boxes: str, axis: int) -> tuple[str, str]:
    low, high = _halves(graph, f"{name}.ends", boxes, axis)
    return low, graph.add("Sub", f"{name}.size", high, low)


def _has_area(graph: Graph, name: str, boxes: str, axis: int) -> str:
    """For boxes (1, boxes, 4): 1 for each box with a positive area, else 0, as (1, boxes)."""
    _, size = _corner_and_size(graph, name, boxes, axis)
    return graph.add("Sign", f"{name}.has_area", graph.add("ReduceMin", f"{name}.least", size, axes=(axis,), keepdims=0))


def _foreground(graph: Graph, name: str, scores: str, axis: int) -> str:
    """Drop the first class, the background, from the scores."""
    bounds = (graph.numbers(f"{name}.{end}", [n], INT64) for end, n in (("from", 1), ("to", 2**31), ("axis", axis)))
    return graph.add("Slice", f"{name}.foreground", scores, *bounds)


def _suppress(graph: Graph, name: str, boxes: str, scores: str, most: int, overlap: float, least: float) -> str:
    """Suppress overlapping boxes; returns (kept, 3), the batch, class and box index of each box that is kept.

    Shapes: boxes (batches, boxes, 4), scores (batches, classes, boxes).
    """
    limits = (
        graph.numbers(f"{name}.most", [most], INT64),
        graph.numbers(f"{name}.overlap", [overlap]),
        graph.numbers(f"{name}.least_score", [least]),
    )
    return graph.add("NonMaxSuppression", f"{name}.kept", boxes, scores, *limits)


def _detect(graph: Graph, layer: Layer, boxes: str, scores: str, least: float, out: str) -> None:
    """Add the nodes that keep the detections with the highest scores, padded with zeros: (1, detections, 6).

    Of the batch index and the class index, one is always 0; the other numbers the classes, written from 1.
    """
    name = layer.name
    kept = _suppress(graph, name, boxes, scores, MOST_PER_CLASS, OVERLAP, least)
    box_index, class_index = (
        graph.add("Gather", f"{name}.{part}", kept, graph.numbers(f"{name}.{part}_columns", columns, INT64), axis=1)
        for part, columns in (("box_index", [0, 2]), ("class_index", [0, 1]))
    )
    box = graph.add("GatherND", f"{name}.box", boxes, box_index)
    column = graph.numbers(f"{name}.column", [-1, 1], INT64)
    score = graph.add("Reshape", f"{name}.score", graph.add("GatherND", f"{name}.kept_scores", scores, kept), column)
    number = graph.add(
        "ReduceMax",
        f"{name}.class_number",
        graph.add("Cast", f"{name}.class_float", class_index, to=_FLOAT_TYPE),
        axes=(1,),
        keepdims=1,
    )
    label = graph.add("Add", f"{name}.class", number, graph.numbers(f"{name}.one", [1.0]))
    kept_detections = graph.add("Concat", f"{name}.found", box, score, label, axis=1)
    padded = graph.add(
        "Concat", f"{name}.padded", kept_detections, _zeros(graph, name, layer.repeats, layer.out_channels), axis=0
    )
    by_score = graph.add("Gather", f"{name}.by_score", padded, _whole(graph, f"{name}.four", 4), axis=1)
    count = graph.numbers(f"{name}.count", [layer.repeats], INT64)
    best, where = f"{name}.best", f"{name}.where"
    graph.nodes.append(Node("TopK", best, (by_score, count), (best, where), (("axis", 0),)))
    chosen = graph.add("Gather", f"{name}.chosen", padded, where, axis=0)
    graph.nodes.append(Node("Unsqueeze", name, (chosen, graph.numbers(f"{name}.first", [0], INT64)), (out,)))


def _zeros(graph: Graph, name: str, rows: int, columns: int) -> str:
    return graph.constant(f"{name}.zeros", (rows, columns), values=lambda: [0.0] * (rows * columns))


def _whole(graph: Graph, name: str, n: int) -> str:
    return graph.constant(name, (), INT64, lambda: (n,))
