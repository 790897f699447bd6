"""Read a TensorFlow Lite file as data, never executing it: float, uint8 (scales per tensor) and int8 (scales per channel).

Source: tensorflow/compiler/mlir/lite/schema/schema.fbs, by the `tflite` package. Kernels are stored as (out, height, width,
in), depthwise ones as (1, height, width, channels).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import tflite
from numpy.typing import NDArray

from mnsweep.importing import operators as o
from mnsweep.importing.operators import Operator, Scale, Source
from mnsweep.importing.problems import FormatError, misfit
from mnsweep.importing.self_description import TFLITE_KEY, described, properties_in
from mnsweep.pictures.preprocessing import Preprocessing

IDENTIFIER = b"TFL3"  # from byte 4
MOST_METADATA = 1000
STD_DIGITS = 4  # a scale of 1/255 is 254.99998 in 32 bits
SLIM_SCOPE = "MobilenetV1/"  # of all names in TF-slim's files
_OPS = {value: name for name, value in vars(tflite.BuiltinOperator).items() if not name.startswith("_")}
_TYPES: dict[int, np.dtype[Any]] = {
    tflite.TensorType.FLOAT32: np.dtype("<f4"),
    tflite.TensorType.INT8: np.dtype("i1"),
    tflite.TensorType.UINT8: np.dtype("u1"),
    tflite.TensorType.INT32: np.dtype("<i4"),
    tflite.TensorType.INT64: np.dtype("<i8"),
    tflite.TensorType.FLOAT16: np.dtype("<f2"),
}
_ACTIVATIONS = {0: "none", 1: "relu", 3: "relu6"}
_PADDING = {0: "same", 1: "valid"}
_KINDS = {
    "RESHAPE": o.RESHAPE,
    "SQUEEZE": o.RESHAPE,
    "SOFTMAX": o.SOFTMAX,
    "QUANTIZE": o.NOTHING,
    "DEQUANTIZE": o.NOTHING,
    "RELU": o.ACTIVATION,
    "RELU6": o.ACTIVATION,
    "MEAN": o.POOL,
    "AVERAGE_POOL_2D": o.POOL,
    "PAD": o.PAD,
}
_OF_SHAPES = ("SHAPE", "STRIDED_SLICE", "PACK")
_FLOAT = np.dtype("<f4")
_BYTES = (np.dtype("i1"), np.dtype("u1"))


@dataclass(frozen=True, slots=True)
class _Tensor:
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any] | None
    scale: Scale | None
    data: NDArray[Any] | None  # None for a feature map


def read(path: Path) -> Source:
    """The operators of the file's only subgraph. Raises `FormatError` or nearly anything for a file that is damaged."""
    content = path.read_bytes()
    if content[4:8] != IDENTIFIER:
        raise FormatError("is not a TensorFlow Lite file")
    model = tflite.Model.GetRootAs(content, 0)
    if model.SubgraphsLength() != 1:
        raise FormatError(f"has {model.SubgraphsLength()} subgraphs, not one")
    return _Reader(model, len(content)).source()


class _Reader:
    def __init__(self, model: Any, size_bytes: int) -> None:
        self.model, self.graph = model, model.Subgraphs(0)
        if max(self.graph.TensorsLength(), self.graph.OperatorsLength()) * 4 > size_bytes:
            raise FormatError("is damaged: it says that it has more tensors than it has bytes")
        self.tensors = [self._tensor(self.graph.Tensors(i)) for i in range(self.graph.TensorsLength())]

    def source(self) -> Source:
        if self.graph.InputsLength() != 1:
            raise FormatError(f"has {self.graph.InputsLength()} inputs, not one image")
        image = self.tensors[self.graph.Inputs(0)]
        found = _without_shapes(tuple(self._operators()))
        scales = {t.name: t.scale for t in self.tensors if t.data is None and t.scale is not None}
        names = [t.name for t in self.tensors]
        slim = any(SLIM_SCOPE in name for name in names)
        told = described(self._properties())
        pixels = told.preprocessing or _preprocessing(image)
        return Source(
            family="slim-tflite" if slim else "tflite",
            operators=found,
            image=image.name,
            resolution=image.shape[1] if len(image.shape) == 4 and image.shape[1] == image.shape[2] else None,
            scales=scales if any(operator.weight_scale for operator in found) else {},
            preprocessing=pixels,
            labels=told.labels,
            outputs=self.tensors[self.graph.Outputs(0)].shape[-1] if self._has_one_answer() else None,
            label_offset=told.label_offset,
            task=told.task,
        )

    def _has_one_answer(self) -> bool:
        return self.graph.OutputsLength() == 1 and bool(self.tensors[self.graph.Outputs(0)].shape)

    def _properties(self) -> dict[str, str]:
        """What a file of ours says of itself; empty for others."""
        for i in range(min(self.model.MetadataLength(), MOST_METADATA)):
            entry = self.model.Metadata(i)
            if entry.Name() == TFLITE_KEY.encode() and 0 <= entry.Buffer() < self.model.BuffersLength():
                buffer = self.model.Buffers(entry.Buffer())
                return properties_in(bytes(buffer.DataAsNumpy()).decode()) if buffer.DataLength() else {}
        return {}

    def _tensor(self, tensor: Any) -> _Tensor:
        name = (tensor.Name() or b"").decode("utf-8", "replace")
        shape = tuple(map(int, tensor.ShapeAsNumpy())) if tensor.ShapeLength() else ()
        dtype = _TYPES.get(tensor.Type())
        scale = _scale(tensor.Quantization(), is_signed=dtype == np.dtype("i1"))
        return _Tensor(name, shape, dtype, scale, self._data(tensor, name, shape, dtype))

    def _data(self, tensor: Any, name: str, shape: tuple[int, ...], dtype: np.dtype[Any] | None) -> NDArray[Any] | None:
        if not 0 <= tensor.Buffer() < self.model.BuffersLength():
            raise FormatError(f"is damaged: {name} has no buffer")
        buffer = self.model.Buffers(tensor.Buffer())
        if not buffer.DataLength():
            return None
        if dtype is None or buffer.DataLength() != prod(shape) * dtype.itemsize or min(shape, default=1) < 0:
            raise FormatError(f"is damaged or too new: {name} has {buffer.DataLength()} bytes, for the shape {shape}")
        return np.asarray(buffer.DataAsNumpy()).view(dtype).reshape(shape)

    def _operators(self) -> Iterator[Operator]:
        for i in range(self.graph.OperatorsLength()):
            operator = self.graph.Operators(i)
            code = self.model.OperatorCodes(operator.OpcodeIndex())
            number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
            inputs = [self.tensors[int(n)] for n in operator.InputsAsNumpy() if n >= 0]
            outputs = [self.tensors[int(n)] for n in operator.OutputsAsNumpy()]
            op = _OPS.get(number, f"operator {number}")
            if op == "DEQUANTIZE" and inputs[0].data is not None:  # weights stored in 16 or 8 bits
                place = int(operator.OutputsAsNumpy()[0])
                self.tensors[place] = replace(outputs[0], data=_floats(inputs[0]))
            else:
                yield self._operator(op, operator.BuiltinOptions(), inputs, outputs)

    def _operator(self, op: str, options: Any, inputs: list[_Tensor], outputs: list[_Tensor]) -> Operator:
        maps = tuple(t.name for t in inputs if t.data is None)
        constants = [t for t in inputs if t.data is not None]
        plain = Operator(_KINDS.get(op, op), f"{op} {outputs[0].name}", maps, outputs[0].name)
        if outputs[0].dtype not in _BYTES:  # float arithmetic, also where weights are stored in 8 bits
            constants = [replace(t, data=_floats(t, axis=3 * (op == "DEPTHWISE_CONV_2D")), dtype=_FLOAT) for t in constants]
        if op in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            return _conv(plain, op, options, constants)
        if op == "FULLY_CONNECTED":
            settings = _options(tflite.FullyConnectedOptions, options)
            weighted = _weighted(plain, constants, channel_axis=0)
            return replace(weighted, kind=o.LINEAR, activation=_activation(settings, plain.name))
        if op == "AVERAGE_POOL_2D":
            settings = _options(tflite.Pool2DOptions, options)
            kernel, strides = (settings.FilterHeight(), settings.FilterWidth()), (settings.StrideH(), settings.StrideW())
            return replace(plain, kernel=kernel, strides=strides, padding=_PADDING[settings.Padding()])
        if op == "MEAN" and (len(constants) != 1 or sorted(np.ravel(constants[0].data).tolist()) != [1, 2]):  # type: ignore[arg-type]
            raise misfit(plain.name, "is a mean of other axes than height and width")
        if op == "PAD":
            ((_, _), (top, bottom), (left, right), _) = np.asarray(constants[0].data).tolist()
            return replace(plain, padding=(int(top), int(left), int(bottom), int(right)))
        if op in ("RELU", "RELU6"):
            return replace(plain, activation=op.lower())
        return plain


def _floats(tensor: _Tensor, axis: int = 0) -> NDArray[np.float32]:
    """The numbers that a constant stands for; `axis` is that of its channels."""
    data = np.asarray(tensor.data)
    if tensor.scale is None or tensor.dtype not in _BYTES:
        return data.astype(np.float32)
    scale, zero_point = tensor.scale.scale, tensor.scale.zero_point
    if scale.ndim:
        along = [1] * data.ndim
        along[axis] = -1
        scale, zero_point = scale.reshape(along), zero_point.reshape(along)
    return np.asarray((data.astype(np.float64) - zero_point) * scale, np.float32)


def _without_shapes(operators: tuple[Operator, ...]) -> tuple[Operator, ...]:
    """The operators less those that compute a shape, which is all that some converters need them for."""
    kept = [replace(operator, inputs=operator.inputs[:1]) if operator.kind == o.RESHAPE else operator for operator in operators]
    while True:
        read = {name for operator in kept for name in operator.inputs}
        left = [operator for operator in kept if operator.kind not in _OF_SHAPES or operator.output in read]
        if len(left) == len(kept):
            return tuple(left)
        kept = left


def _conv(plain: Operator, op: str, options: Any, constants: list[_Tensor]) -> Operator:
    depthwise = op.startswith("DEPTHWISE")
    settings = _options(tflite.DepthwiseConv2DOptions if depthwise else tflite.Conv2DOptions, options)
    if (settings.DilationHFactor(), settings.DilationWFactor()) != (1, 1):
        raise misfit(plain.name, "is dilated")
    weighted = _weighted(plain, constants, channel_axis=3 if depthwise else 0)
    weight = weighted.arrays["weight"]
    if weight.ndim != 4:
        raise misfit(plain.name, f"has a kernel of shape {weight.shape}")
    weight = weight.transpose(3, 0, 1, 2) if depthwise else weight.transpose(0, 3, 1, 2)
    return replace(
        weighted,
        kind=o.CONV,
        arrays={**weighted.arrays, "weight": weight},
        groups=len(weight) if depthwise else 1,
        strides=(settings.StrideH(), settings.StrideW()),
        padding=_PADDING[settings.Padding()],
        activation=_activation(settings, plain.name),
    )


def _weighted(plain: Operator, constants: list[_Tensor], channel_axis: int) -> Operator:
    if len(constants) not in (1, 2):
        raise misfit(plain.name, "computes its weights: a network that is trained further, or pruned")
    weight, *bias = constants
    data = {part: t.data for part, t in zip(("weight", "bias"), (weight, *bias), strict=False)}
    quantized = weight.dtype in _BYTES
    if quantized and weight.scale is None:
        raise misfit(plain.name, "has integer weights without a scale")
    if quantized and weight.scale and weight.scale.scale.size > 1 and weight.scale.scale.size != weight.shape[channel_axis]:
        raise misfit(plain.name, f"has {weight.scale.scale.size} scales for {weight.shape[channel_axis]} channels")
    arrays = {part: array for part, array in data.items() if array is not None}
    if not quantized:
        arrays = {part: array.astype(np.float32) for part, array in arrays.items()}
    return replace(plain, arrays=arrays, weight_scale=weight.scale if quantized else None)


def _options(kind: Any, table: Any) -> Any:
    if table is None:
        raise FormatError("is damaged: an operator has no settings")
    settings = kind()
    settings.Init(table.Bytes, table.Pos)
    return settings


def _activation(settings: Any, name: str) -> str:
    number = settings.FusedActivationFunction()
    if number not in _ACTIVATIONS:
        raise misfit(name, f"has an activation that no MobileNet has (number {number})")
    return _ACTIVATIONS[number]


def _scale(quantization: Any, is_signed: bool) -> Scale | None:
    if quantization is None or not quantization.ScaleLength():
        return None
    scale = np.asarray(quantization.ScaleAsNumpy(), np.float32)
    zero_point = np.asarray(
        quantization.ZeroPointAsNumpy() if quantization.ZeroPointLength() else np.zeros(len(scale)), np.int64
    )
    if not (np.isfinite(scale).all() and (scale > 0).all() and zero_point.shape == scale.shape):
        raise FormatError("is damaged: a scale is not a finite number above 0, or has no zero point")
    if len(scale) == 1:
        scale, zero_point = scale.reshape(()), zero_point.reshape(())
    return Scale(scale, zero_point, is_signed)


def _preprocessing(image: _Tensor) -> Preprocessing | None:
    """What the image's own scale says of pixels from 0 to 255; None where the input is a float."""
    if image.dtype not in _BYTES or image.scale is None or image.scale.scale.ndim:
        return None
    lowest = -128 if image.dtype == np.dtype("i1") else 0
    return Preprocessing(mean=float(image.scale.zero_point - lowest), std=round(float(1 / image.scale.scale), STD_DIGITS))
