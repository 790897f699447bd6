"""The graph in a Keras model's configuration, as operators with the arrays of its layers.

Models inside of a model are opened up. Both forms of naming the layers before a layer are read: Keras 2's lists and Keras 3's
`keras_history`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnsweep.importing import operators as o
from mnsweep.importing.operators import Operator, Padding, Source
from mnsweep.importing.ordered import KERNEL_AXES, batch_norm_part
from mnsweep.importing.problems import FormatError, misfit

MODELS = ("Functional", "Model", "Sequential")
MOST_DEPTH = 8  # models inside of models
EPSILON = 1e-3  # Keras's default
_ACTIVATIONS = {"relu": "relu", "relu6": "relu6", "linear": "none", None: "none"}
_NORM = {"gamma": "scale", "beta": "shift", "moving_mean": "mean", "moving_variance": "variance"}
_KERNELS = ("kernel", "depthwise_kernel")
_NORM_ARRAYS = 4


@dataclass(frozen=True, slots=True)
class _Layer:
    kind: str
    name: str
    inputs: tuple[str, ...]
    config: Mapping[str, Any]


def operators_of(document: Mapping[str, Any], arrays: Mapping[str, Mapping[str, NDArray[Any]]]) -> Source:
    """The operators of a model, from its configuration and the `arrays` by layer and part."""
    layers = list(_opened(document, "", 0))
    images = [layer for layer in layers if layer.kind == "InputLayer"]
    if len(images) != 1:
        raise FormatError(f"has {len(images)} inputs, not one image")
    shape: list[int | None] = images[0].config.get("batch_input_shape") or images[0].config.get("batch_shape") or []
    size = shape[1] if len(shape) == KERNEL_AXES and shape[1] == shape[2] else None
    named = _by_layer(layers, arrays)
    operators = [operator for layer in layers if layer.kind != "InputLayer" for operator in _operators(layer, named)]
    return Source(family="keras", operators=tuple(operators), image=images[0].name, resolution=size)


def _opened(document: Mapping[str, Any], before: str, depth: int) -> Iterator[_Layer]:
    """The layers of a model in order, with those of models inside of it in their place; `before` replaces its own input."""
    if depth > MOST_DEPTH:
        raise FormatError(f"has models inside of models, {MOST_DEPTH} deep")
    kind, config = document["class_name"], document["config"]
    if kind not in MODELS:
        raise FormatError(f"is a {kind}; only {', '.join(MODELS)} are read")
    described = config if isinstance(config, list) else config["layers"]
    outputs: dict[str, str] = {}  # by layer, the name of the feature map that its readers read
    last = before
    for entry in described:
        own = entry["config"]
        name = entry.get("name") or own["name"]
        sources = [outputs.get(source, source) for source in _sources(entry)] or ([last] if last else [])
        if kind == "Sequential" and not last and entry["class_name"] != "InputLayer" and not sources:
            image = _Layer("InputLayer", f"{name}.image", (), own)
            yield image
            sources = [image.name]
        if entry["class_name"] in MODELS:
            inner = list(_opened(entry, sources[0] if sources else "", depth + 1))
            yield from inner
            outputs[name] = last = inner[-1].name
        elif entry["class_name"] == "InputLayer" and before:
            outputs[name] = last = before
        else:
            yield _Layer(entry["class_name"], name, tuple(sources), own)
            outputs[name] = last = name


def _sources(entry: Mapping[str, Any]) -> list[str]:
    """Names of the layers that a layer reads, where the configuration gives them."""
    nodes = entry.get("inbound_nodes") or []
    if not nodes:
        return []
    if isinstance(nodes[0], Mapping):
        return list(_histories(nodes[0].get("args", []), 0))
    return [source[0] if isinstance(source, list) else source for source in nodes[0]]


def _histories(value: Any, depth: int) -> Iterator[str]:
    if depth > MOST_DEPTH:
        raise FormatError("is damaged: its inputs are nested too deep")
    if isinstance(value, Mapping) and value.get("class_name") == "__keras_tensor__":
        yield value["config"]["keras_history"][0]
    elif isinstance(value, list):
        for item in value:
            yield from _histories(item, depth + 1)


def _by_layer(layers: list[_Layer], arrays: Mapping[str, Mapping[str, NDArray[Any]]]) -> dict[str, Mapping[str, NDArray[Any]]]:
    """The arrays of each layer: by its name or, as some versions of Keras 3 store them, by its kind and number."""
    counts: dict[str, int] = {}
    found = {}
    for layer in layers:
        kind = _snake(layer.kind)
        number = counts.get(kind, 0)
        counts[kind] = number + 1
        numbered = f"{kind}_{number}" if number else kind
        found[layer.name] = arrays.get(layer.name) or arrays.get(numbered) or {}
    return found


def _snake(kind: str) -> str:
    """Keras's name of a class in a file: DepthwiseConv2D becomes depthwise_conv2d."""
    words = ""
    for i, letter in enumerate(kind):
        new = letter.isupper() and i and not (kind[i - 1].isdigit() or kind[i - 1].isupper())
        words += f"_{letter.lower()}" if new else letter.lower()
    return words


def parts_of(layer: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The arrays of a layer in our layouts, by our names; `arrays` are by Keras's names, or numbers in Keras's order."""
    if any(name in arrays for name in _NORM) or (len(arrays) == _NORM_ARRAYS and all(a.ndim == 1 for a in arrays.values())):
        names = dict(zip(sorted(arrays), _NORM, strict=False)) if not {*arrays} & {*_NORM} else {name: name for name in arrays}
        return {_NORM[names[name]]: array for name, array in arrays.items()}
    kernels = [array for array in arrays.values() if array.ndim > 1]
    if len(kernels) != 1 or len(arrays) > 2:
        raise misfit(layer, f"has arrays of shapes {', '.join(str(a.shape) for a in arrays.values())}")
    (kernel,) = kernels
    biases = dict(zip(("bias",), (array for array in arrays.values() if array.ndim == 1), strict=False))
    if kernel.ndim != KERNEL_AXES:
        return {"weight": kernel.T, **biases}
    is_depthwise = kernel.shape[3] == 1 and kernel.shape[:2] == (3, 3)
    return {"weight": kernel.transpose((2, 3, 0, 1) if is_depthwise else (3, 2, 0, 1)), **biases}


def _operators(layer: _Layer, named: Mapping[str, Mapping[str, NDArray[Any]]]) -> Iterator[Operator]:
    """The operators of a layer: its own, and the activation that it has built in."""
    config, name = layer.config, layer.name
    plain = Operator(layer.kind, name, layer.inputs, name)
    match layer.kind:
        case "Conv2D" | "DepthwiseConv2D" | "Dense":
            yield from _weighted(layer, named[name])
        case "BatchNormalization":
            parts = _norm_parts(layer, named[name])
            yield replace(plain, kind=o.BATCH_NORM, arrays=parts, epsilon=config.get("epsilon", EPSILON))
        case "ReLU":
            most = config.get("max_value")
            activation = "relu" if most is None else "relu6" if float(_plain(most)) == 6 else f"clipping at {most}"
            yield replace(plain, kind=o.ACTIVATION, activation=activation)
        case "Activation" | "Softmax":
            word = config.get("activation", "softmax")
            word = word if isinstance(word, str) else str(word.get("registered_name") or word.get("config"))
            if word == "softmax":
                yield replace(plain, kind=o.SOFTMAX)
            else:
                yield replace(plain, kind=o.ACTIVATION, activation=_known(layer, word))
        case "ZeroPadding2D":
            yield replace(plain, kind=o.PAD, padding=_pads(layer))
        case "GlobalAveragePooling2D":
            yield replace(plain, kind=o.POOL)
        case "AveragePooling2D":
            yield replace(plain, kind=o.POOL, kernel=_pair(config["pool_size"]))
        case "Reshape" | "Flatten":
            yield replace(plain, kind=o.RESHAPE)
        case "Dropout" | "InputLayer" | "SpatialDropout2D":
            yield replace(plain, kind=o.NOTHING)
        case "Rescaling":
            scale = {"factor": np.asarray(config["scale"], float), "offset": np.asarray(config.get("offset", 0.0), float)}
            yield replace(plain, kind=o.AFFINE, arrays=scale)
        case _:
            yield plain


def _weighted(layer: _Layer, arrays: Mapping[str, NDArray[Any]]) -> Iterator[Operator]:
    config, name = layer.config, layer.name
    if not arrays:
        raise misfit(name, "has no arrays in the file")
    if config.get("data_format") == "channels_first":
        raise misfit(name, "has channels first")
    parts = parts_of(name, arrays)
    word = config.get("activation")
    word = word if word is None or isinstance(word, str) else str(word.get("registered_name") or word.get("config"))
    ends = word in ("softmax", "sigmoid")
    raw = name if word in (None, "linear") or not ends else f"{name}.raw"
    fused = "none" if ends else _known(layer, word)
    if layer.kind == "Dense":
        yield Operator(o.LINEAR, name, layer.inputs, raw, arrays=parts, activation=fused)
    else:
        depthwise = layer.kind == "DepthwiseConv2D"
        if depthwise and config.get("depth_multiplier", 1) != 1:
            raise misfit(name, f"has a depth multiplier of {config['depth_multiplier']}")
        if _pair(config.get("dilation_rate", 1)) != (1, 1):
            raise misfit(name, "is dilated")
        yield Operator(
            o.CONV,
            name,
            layer.inputs,
            raw,
            arrays=parts,
            strides=_pair(config.get("strides", 1)),
            padding=config.get("padding", "valid"),
            groups=len(parts["weight"]) if depthwise else 1,
            activation=fused,
        )
    if ends and word == "softmax":
        yield Operator(o.SOFTMAX, f"{name}.softmax", (raw,), name)
    elif ends:
        yield Operator("sigmoid", f"{name}.sigmoid", (raw,), name)


def _norm_parts(layer: _Layer, arrays: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
    """The parts of a batch norm, which may have no scale or no shift."""
    if {*arrays} & {*_NORM}:
        return batch_norm_part(layer.name, parts_of(layer.name, arrays)).arrays
    has = [part for part, flag in (("scale", "scale"), ("shift", "center")) if layer.config.get(flag, True)]
    names = [*has, "mean", "variance"]
    if len(arrays) != len(names):
        raise misfit(layer.name, f"has {len(arrays)} arrays, not {len(names)}")
    return batch_norm_part(layer.name, {part: arrays[key] for part, key in zip(names, sorted(arrays), strict=True)}).arrays


def _known(layer: _Layer, word: str | None) -> str:
    if word not in _ACTIVATIONS:
        raise misfit(layer.name, f"has the activation {word}")
    return _ACTIVATIONS[word]


def _plain(value: Any) -> Any:
    """A number that Keras 3 may have wrapped."""
    return value["config"]["value"] if isinstance(value, Mapping) else value


def _pair(value: Any) -> tuple[int, int]:
    return (int(value), int(value)) if isinstance(value, int) else (int(value[0]), int(value[1]))


def _pads(layer: _Layer) -> Padding:
    padding = layer.config["padding"]
    if isinstance(padding, int):
        return (padding, padding, padding, padding)
    (top, bottom), (left, right) = (_pair(side) if isinstance(side, list) else (side, side) for side in padding)
    return (top, left, bottom, right)
