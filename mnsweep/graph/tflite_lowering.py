"""Lower a network's layers to a TensorFlow Lite file: the same rows that the ONNX writer reads.

Maps are (batch, height, width, channels). Padding of TensorFlow's own kind is a setting of the convolution, any other an
operator before it. Activations are fused.

fp32: image and answer are floats, as in the ONNX file. int8: feature maps are int8 with the ranges of the ONNX file, weights
int8 with one scale per output channel and all 8 bits (the kernels here do not saturate), biases int32; the image is quantized
and the answer dequantized inside. A network that was trained with quantization keeps its own integers; as a file for others it
takes and gives bytes, with the softmax that its source has.

Operators are of versions that TensorFlow Lite 2.5 (2021) and later run.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnsweep.arch.layer import IMAGE, LRN_ALPHA, LRN_BETA, LRN_BIAS, Layer, pad_and_size
from mnsweep.errors import MnsweepError
from mnsweep.graph.integers import SHIFT, Integers, check_integers
from mnsweep.graph.lowering import Range, map_names, output
from mnsweep.graph.quantize import map_scale, quantized
from mnsweep.graph.tflite_model import DYNAMIC, Model, Quantization, file_size, serialized
from mnsweep.graph.weights import Weights, check, folded_arrays

FLOAT, INT8, UINT8, INT32 = "float32", "int8", "uint8", "int32"
SAME, VALID = 0, 1
_FUSED = {"none": 0, "relu": 1, "relu6": 3}
_VERSIONS = {  # of an operator on floats, and on int8
    "CONV_2D": (1, 3),
    "DEPTHWISE_CONV_2D": (1, 3),
    "FULLY_CONNECTED": (1, 4),
    "AVERAGE_POOL_2D": (1, 2),
    "MAX_POOL_2D": (1, 2),
    "CONCATENATION": (1, 2),
    "PAD": (1, 2),
    "PADV2": (1, 2),
    "RESHAPE": (1, 1),
    "SOFTMAX": (1, 2),
    "QUANTIZE": (1, 2),
    "DEQUANTIZE": (2, 2),
    "LOGISTIC": (1, 2),
    "L2_NORMALIZATION": (1, 2),
    "LOCAL_RESPONSE_NORMALIZATION": (1, 1),
}
UNSUPPORTED_INT8 = ("lrn",)
LOGITS_RANGE = (-16.0, 16.0)  # of the last layer, where no calibration tells it


@dataclass(frozen=True, slots=True)
class Arrays:
    """What the layers need, in the ONNX file's layouts: floats, or integers with their scales; `dtype` is of feature maps."""

    dtype: str
    values: Mapping[str, NDArray[Any]]


def build_tflite(
    layers: Sequence[Layer],
    weights: Weights | Integers,
    batch: int | None = 1,
    ranges: Mapping[str, Range] | None = None,
    *,
    name: str = "mobilenet",
    metadata: Mapping[str, str] | None = None,
    in_bytes: bool = False,
) -> bytes:
    """A serialized TensorFlow Lite model: `image` (batch, R, R, 3) fp32 → `logits` (batch, outputs) fp32.

    `batch=None` lets the interpreter resize the batch. With `ranges` or `Integers` the arithmetic is int8; `in_bytes` gives a
    network that was trained with quantization its own input and output: bytes, and a softmax at the end.
    Raises `MnsweepError` for a layer that TensorFlow Lite has no operator for, and for missing arrays or ranges.
    """
    check_operators(layers, int8=ranges is not None or isinstance(weights, Integers))
    if isinstance(weights, Integers):
        check_integers(layers, weights)
        arrays = Arrays(_map_type(layers, weights), weights.arrays)
    elif ranges is not None:
        check(layers, weights)
        arrays = Arrays(INT8, _calibrated(layers, weights, ranges))
    else:
        check(layers, weights)
        arrays = Arrays(FLOAT, folded_arrays(layers, weights))
    lowering = _Lowering(layers, arrays, batch, Model(name, metadata=metadata or {}))
    return serialized(lowering.model, *lowering.ends(in_bytes and isinstance(weights, Integers)))


def check_operators(layers: Sequence[Layer], int8: bool = False) -> None:
    """Raise `MnsweepError` for a layer that TensorFlow Lite has no operator for."""
    for layer in layers:
        if layer.op not in _OPS or (layer.op in UNSUPPORTED_INT8 and int8):
            what = f"layer {layer.name}: TensorFlow Lite has no {layer.op}{' in int8' * (layer.op in _OPS)}"
            raise MnsweepError(what, "use a runtime that takes ONNX files")


def tflite_bytes(layers: Sequence[Layer], int8: bool = False) -> int:
    """Size of the file in bytes at batch 1, in fp32 or calibrated int8, without metadata."""
    check_operators(layers, int8)
    values: dict[str, NDArray[Any]] = {}
    for layer in layers:
        if layer.weight_shape:
            channels = (layer.out_channels,)
            values[f"{layer.name}.weight"] = _nothing(layer.weight_shape, INT8 if int8 else FLOAT)
            values[f"{layer.name}.bias"] = _nothing(channels, INT32 if int8 else FLOAT)
            values[f"{layer.name}.weight.scale"] = _nothing(channels, FLOAT)
            values[f"{layer.name}.weight.zero_point"] = _nothing(channels, INT8)
    for name in (IMAGE, *(layer.name for layer in layers)):
        values[f"{name}.scale"], values[f"{name}.zero_point"] = _nothing((), FLOAT), _nothing((), UINT8)
    lowering = _Lowering(layers, Arrays(INT8 if int8 else FLOAT, values), 1, Model("mobilenet"))
    return file_size(lowering.model, *lowering.ends(in_bytes=False))


def _nothing(shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
    """Zeros that take no memory."""
    return np.broadcast_to(np.zeros((), dtype), shape)


def _map_type(layers: Sequence[Layer], integers: Integers) -> str:
    """The type of the source's bytes: that of its weights."""
    first = next(layer.name for layer in layers if layer.weight_shape)
    return str(integers.arrays[f"{first}.weight"].dtype)


def _calibrated(layers: Sequence[Layer], weights: Weights, ranges: Mapping[str, Range]) -> dict[str, NDArray[Any]]:
    """The integers of the ONNX file's int8 form, with a scale for the answer too; zero points are those of unsigned bytes."""
    last = layers[-1].name
    known = {**ranges, last: ranges.get(output(layers).name, LOGITS_RANGE)}
    for layer in layers:
        if layer.op.endswith("pool"):  # its kernel wants one scale for both maps
            known[layer.name] = known[layer.inputs[0]]
    arrays = quantized(layers, weights, known)
    for name in (*map_names(layers), last):
        arrays[f"{name}.scale"], zero_point = map_scale(*known[name])
        arrays[f"{name}.zero_point"] = np.asarray(int(zero_point) + SHIFT, np.uint8)
    return arrays


class _Lowering:
    def __init__(self, layers: Sequence[Layer], arrays: Arrays, batch: int | None, model: Model) -> None:
        self.layers, self.arrays, self.batch, self.model = layers, arrays, batch, model
        self.is_float = arrays.dtype == FLOAT
        self.maps: dict[str, int] = {}

    def ends(self, in_bytes: bool) -> tuple[int, int]:
        """Lower all layers; the numbers of the image and of the answer."""
        first, last = self.layers[0], self.layers[-1]
        size = (first.in_size, first.in_size, first.in_channels)
        if self.is_float or in_bytes:
            image = self.maps[IMAGE] = self.map(IMAGE, size)
        else:
            image = self.model.tensor(IMAGE, (self.batch or 1, *size), signature=self.signature(size))
            self.maps[IMAGE] = self.model.add("QUANTIZE", 1, [image], self.map(f"{IMAGE}.quantized", size, IMAGE))
        for layer in self.layers:
            self.maps[layer.name] = _OPS[layer.op](self, layer)
        return image, self.ended(last, in_bytes)

    def ended(self, last: Layer, in_bytes: bool) -> int:
        """The answer under its name: dequantized, or in bytes behind a softmax."""
        found, name, size = self.maps[last.name], output(self.layers).name, (last.out_channels,)
        if in_bytes:
            lowest = -SHIFT if self.arrays.dtype == INT8 else 0
            scale = Quantization(np.array([1 / 256], np.float32), np.array([lowest]))
            out = self.model.tensor("probabilities", (self.batch or 1, *size), self.arrays.dtype, quantization=scale)
            return self.add("SOFTMAX", [found], out, Beta=1.0)
        if not self.is_float:
            out = self.model.tensor(f"{name}.linear" if last.activation != "none" else name, (self.batch or 1, *size))
            found = self.add("DEQUANTIZE", [found], out)
        op = {"sigmoid": "LOGISTIC", "l2_norm": "L2_NORMALIZATION"}.get(last.activation)
        if op is None:
            return found
        out = self.model.tensor(name, (self.batch or 1, *size))
        return self.model.add(op, 1, [found], out)

    def signature(self, size: Sequence[int]) -> tuple[int, ...] | None:
        return (DYNAMIC, *size) if self.batch is None else None

    def map(self, name: str, size: Sequence[int], scale_of: str = "") -> int:
        """A feature map (batch, *size), with the scale of the map that is so called in the arrays."""
        quantization = None if self.is_float else self.scale(scale_of or name)
        shape = (self.batch or 1, *size)
        return self.model.tensor(name, shape, self.arrays.dtype, quantization=quantization, signature=self.signature(size))

    def scale(self, name: str) -> Quantization:
        zero_point = int(self.arrays.values[f"{name}.zero_point"]) - (SHIFT if self.arrays.dtype == INT8 else 0)
        return Quantization(self.arrays.values[f"{name}.scale"].reshape(1), np.array([zero_point]))

    def add(self, op: str, inputs: Sequence[int], out: int, **settings: float) -> int:
        return self.model.add(op, _VERSIONS[op][not self.is_float], inputs, out, **settings)

    def weights(self, layer: Layer, array: NDArray[Any], axis: int) -> tuple[int, int]:
        """The kernel in TensorFlow Lite's layout, and the bias."""
        name = f"{layer.name}.weight"
        if self.is_float:
            kernel = self.model.tensor(name, array.shape, data=array)
            bias = self.arrays.values[f"{layer.name}.bias"]
            return kernel, self.model.tensor(f"{layer.name}.bias", bias.shape, data=bias)
        scale, zero_point = (self.arrays.values[f"{name}.{part}"].reshape(-1) for part in ("scale", "zero_point"))
        about = Quantization(scale, zero_point.astype(np.int64), axis if scale.size > 1 else 0)
        kernel = self.model.tensor(name, array.shape, str(array.dtype), data=array, quantization=about)
        bias = self.arrays.values[f"{layer.name}.bias"]
        of_bias = self.arrays.values[f"{layer.inputs[0]}.scale"].astype(np.float32) * scale
        about = Quantization(of_bias, np.zeros(of_bias.size, np.int64))
        return kernel, self.model.tensor(f"{layer.name}.bias", bias.shape, INT32, data=bias, quantization=about)

    def padded(self, layer: Layer, filler: NDArray[Any] | None = None) -> tuple[int, int]:
        """The map that a window reads, and SAME or VALID: with an operator before it where TensorFlow would pad otherwise.

        A pool counts its padding, as zeros or as the `filler`: TensorFlow's own padding leaves it out.
        """
        found, size = self.maps[layer.inputs[0]], layer.in_size
        (top, bottom), _ = pad_and_size(size, layer.kernel[0], layer.stride, "same")
        (left, right), _ = pad_and_size(size, layer.kernel[1], layer.stride, "same")
        if layer.pads == (0, 0, 0, 0):
            return found, VALID
        if layer.pads == (top, left, bottom, right) and layer.op == "conv":
            return found, SAME
        top, left, bottom, right = layer.pads
        pads = np.array([[0, 0], [top, bottom], [left, right], [0, 0]], np.int32)
        amounts = self.model.tensor(f"{layer.name}.pads", pads.shape, INT32, data=pads)
        shape = (size + top + bottom, size + left + right, layer.in_channels)
        out = self.map(f"{layer.name}.padded", shape, layer.inputs[0])
        if filler is None:
            return self.add("PAD", [found, amounts], out), VALID
        about = {} if self.is_float else {"quantization": self.scale(layer.inputs[0])}
        value = self.model.tensor(f"{layer.name}.filler", (1,), self.arrays.dtype, data=filler, **about)
        return self.add("PADV2", [found, amounts, value], out), VALID

    def lowest(self) -> NDArray[Any]:
        """A value that is never the largest."""
        return np.array([np.finfo(np.float32).min if self.is_float else np.iinfo(self.arrays.dtype).min], self.arrays.dtype)


def _out(lowering: _Lowering, layer: Layer) -> int:
    return lowering.map(layer.name, (layer.out_size, layer.out_size, layer.out_channels))


def _conv(lowering: _Lowering, layer: Layer) -> int:
    weight = lowering.arrays.values[f"{layer.name}.weight"]
    found, padding = lowering.padded(layer)
    strides = {"StrideW": layer.stride, "StrideH": layer.stride}
    fused = {"FusedActivationFunction": _FUSED[layer.activation]}
    if layer.groups == layer.in_channels and layer.weight_shape[1] == 1 and layer.groups > 1:
        kernel, bias = lowering.weights(layer, weight.transpose(1, 2, 3, 0), 3)
        settings = {"Padding": padding, **strides, "DepthMultiplier": layer.out_channels // layer.in_channels, **fused}
        return lowering.add("DEPTHWISE_CONV_2D", [found, kernel, bias], _out(lowering, layer), **settings)
    kernel, bias = lowering.weights(layer, weight.transpose(0, 2, 3, 1), 0)
    return lowering.add("CONV_2D", [found, kernel, bias], _out(lowering, layer), Padding=padding, **strides, **fused)


def _linear(lowering: _Lowering, layer: Layer) -> int:
    if lowering.arrays.dtype == UINT8 and layer.in_size == 1:
        return _as_convolution(lowering, layer)
    weight = lowering.arrays.values[f"{layer.name}.weight"]
    if layer.in_size > 1:  # a flattened map is in another order here
        as_map = (layer.out_channels, layer.in_channels, layer.in_size, layer.in_size)
        weight = weight.reshape(as_map).transpose(0, 2, 3, 1).reshape(weight.shape)
    kernel, bias = lowering.weights(layer, weight, 0)
    values = layer.in_channels * layer.in_size**2
    flat = np.array([DYNAMIC if lowering.batch is None else lowering.batch, values], np.int32)
    shape = lowering.model.tensor(f"{layer.name}.shape", (2,), INT32, data=flat)
    rows = lowering.map(f"{layer.name}.flat", (values,), layer.inputs[0])
    found = lowering.add("RESHAPE", [lowering.maps[layer.inputs[0]], shape], rows)
    name = output(lowering.layers).name if layer is lowering.layers[-1] and lowering.is_float else layer.name
    if layer is lowering.layers[-1] and layer.activation not in _FUSED:
        name = f"{layer.name}.linear"
    out = lowering.map(name, (layer.out_channels,), layer.name)
    return lowering.add("FULLY_CONNECTED", [found, kernel, bias], out, FusedActivationFunction=_FUSED.get(layer.activation, 0))


def _as_convolution(lowering: _Lowering, layer: Layer) -> int:
    """A linear layer as a 1 × 1 convolution, as TF-slim's files have it: the two kernels round differently."""
    weight = lowering.arrays.values[f"{layer.name}.weight"]
    kernel, bias = lowering.weights(layer, weight[:, None, None, :], 0)
    size = (layer.out_channels,)
    found = lowering.map(f"{layer.name}.map", (1, 1, *size), layer.name)
    settings = {"Padding": VALID, "StrideW": 1, "StrideH": 1, "FusedActivationFunction": 0}
    found = lowering.add("CONV_2D", [lowering.maps[layer.inputs[0]], kernel, bias], found, **settings)
    rows = np.array([DYNAMIC if lowering.batch is None else lowering.batch, *size], np.int32)
    shape = lowering.model.tensor(f"{layer.name}.shape", (2,), INT32, data=rows)
    return lowering.add("RESHAPE", [found, shape], lowering.map(layer.name, size))


def _pool(lowering: _Lowering, layer: Layer) -> int:
    is_max = layer.op == "max_pool"
    found, padding = lowering.padded(layer, lowering.lowest() if is_max else None)
    height, width = layer.kernel
    settings = {"Padding": padding, "StrideW": layer.stride, "StrideH": layer.stride, "FilterWidth": width}
    op = "MAX_POOL_2D" if is_max else "AVERAGE_POOL_2D"
    return lowering.add(op, [found], _out(lowering, layer), **settings, FilterHeight=height, FusedActivationFunction=0)


def _global_pool(lowering: _Lowering, layer: Layer) -> int:
    height, width = layer.kernel
    settings = {"Padding": VALID, "StrideW": width, "StrideH": height, "FilterWidth": width, "FilterHeight": height}
    found, size = lowering.maps[layer.inputs[0]], (1, 1, layer.out_channels)
    if lowering.is_float or lowering.scale(layer.inputs[0]) == lowering.scale(layer.name):
        mean = lowering.add("AVERAGE_POOL_2D", [found], _out(lowering, layer), **settings, FusedActivationFunction=0)
    else:  # the pool's kernel wants one scale for both maps
        before = lowering.map(f"{layer.name}.mean", size, layer.inputs[0])
        before = lowering.add("AVERAGE_POOL_2D", [found], before, **settings, FusedActivationFunction=0)
        mean = lowering.add("QUANTIZE", [before], _out(lowering, layer))
    if layer is not lowering.layers[-1]:
        return mean
    rows = np.array([lowering.batch or DYNAMIC, layer.out_channels], np.int32)
    shape = lowering.model.tensor(f"{layer.name}.shape", (2,), INT32, data=rows)
    name = output(lowering.layers).name if lowering.is_float else f"{layer.name}.flat"
    return lowering.add("RESHAPE", [mean, shape], lowering.map(name, (layer.out_channels,), layer.name))


def _concat(lowering: _Lowering, layer: Layer) -> int:
    size = (layer.out_size, layer.out_size)
    found = [lowering.maps[name] for name in layer.inputs]
    if not lowering.is_float:  # all parts must have the scale of the whole
        parts = []
        for name, part in zip(layer.inputs, found, strict=True):
            channels = lowering.model.tensors[part].shape[-1]
            scaled = lowering.map(f"{layer.name}.{name}", (*size, channels), layer.name)
            parts.append(lowering.add("QUANTIZE", [part], scaled))
        found = parts
    return lowering.add("CONCATENATION", found, _out(lowering, layer), Axis=3, FusedActivationFunction=0)


def _lrn(lowering: _Lowering, layer: Layer) -> int:
    window = layer.kernel[0]  # TensorFlow counts the neighbours on one side, and does not divide by the window
    settings = {"Radius": window // 2, "Bias": LRN_BIAS, "Alpha": LRN_ALPHA / window, "Beta": LRN_BETA}
    return lowering.add("LOCAL_RESPONSE_NORMALIZATION", [lowering.maps[layer.inputs[0]]], _out(lowering, layer), **settings)


_OPS: dict[str, Callable[[_Lowering, Layer], int]] = {
    "conv": _conv,
    "linear": _linear,
    "max_pool": _pool,
    "avg_pool": _pool,
    "global_pool": _global_pool,
    "concat": _concat,
    "lrn": _lrn,
}
