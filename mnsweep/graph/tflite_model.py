"""A TensorFlow Lite file: tensors and operators, written as a flatbuffer by the maintained schema of the `tflite` package.

Equal models have equal bytes. Source: tensorflow/compiler/mlir/lite/schema/schema.fbs, version 3 of the schema.
"""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any

import flatbuffers
import numpy as np
import tflite
from numpy.typing import NDArray

SCHEMA_VERSION, IDENTIFIER = 3, b"TFL3"
ALIGNMENT = 16  # bytes, of arrays: kernels load them as vectors
DYNAMIC = -1  # in a shape's signature: any size
OPTIONS = {  # by operator: the name of its settings in the schema; empty where it has none
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "CONCATENATION": "ConcatenationOptions",
    "LOCAL_RESPONSE_NORMALIZATION": "LocalResponseNormalizationOptions",
    "RESHAPE": "ReshapeOptions",
    "SOFTMAX": "SoftmaxOptions",
    "L2_NORMALIZATION": "L2NormOptions",
}
_TYPES = {
    "float32": tflite.TensorType.FLOAT32,
    "int8": tflite.TensorType.INT8,
    "uint8": tflite.TensorType.UINT8,
    "int32": tflite.TensorType.INT32,
}


@dataclass(frozen=True, slots=True, eq=False)
class Quantization:
    """Scale and zero point of a tensor, both (n,): one, or one for each index of `axis`."""

    scale: NDArray[np.float32]
    zero_point: NDArray[np.int64]
    axis: int = 0

    def __eq__(self, other: object) -> bool:
        same = isinstance(other, Quantization) and np.array_equal(self.scale, other.scale)
        return same and isinstance(other, Quantization) and np.array_equal(self.zero_point, other.zero_point)


@dataclass(frozen=True, slots=True)
class TensorOf:
    """A tensor; with `data` a constant. `signature` is its shape with -1 where any size will do."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    _: KW_ONLY
    quantization: Quantization | None = None
    data: NDArray[Any] | None = None
    signature: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class OperatorOf:
    """An operator: its name in the schema, its version, the numbers of its tensors, and its settings by name."""

    op: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    settings: Mapping[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class Model:
    """Tensors and operators in the order they are added; `metadata` are texts by name."""

    name: str
    tensors: list[TensorOf] = field(default_factory=list)
    operators: list[OperatorOf] = field(default_factory=list)
    metadata: Mapping[str, str] = field(default_factory=dict)

    def tensor(self, name: str, shape: tuple[int, ...], dtype: str = "float32", **about: Any) -> int:
        """Add a tensor and return its number."""
        self.tensors.append(TensorOf(name, shape, dtype, **about))
        return len(self.tensors) - 1

    def add(self, op: str, version: int, inputs: Sequence[int], output: int, **settings: float) -> int:
        """Add an operator with one output; return that."""
        self.operators.append(OperatorOf(op, version, tuple(inputs), (output,), settings))
        return output


def file_size(model: Model, image: int, answer: int) -> int:
    """The size in bytes of what `serialized` gives, without copying arrays.

    Arrays are written as the few bytes by which they exceed a multiple of the alignment, so that all places stay aligned alike.
    """
    sizes = [t.data.nbytes for t in model.tensors if t.data is not None]
    hollow = [t if t.data is None else replace(t, data=np.zeros(t.data.nbytes % ALIGNMENT, np.uint8)) for t in model.tensors]
    short = serialized(replace(model, tensors=hollow), image, answer)
    return len(short) + sum(size - size % ALIGNMENT for size in sizes)


def serialized(model: Model, image: int, answer: int) -> bytes:
    """The file's bytes; `image` and `answer` are the numbers of the input's and the output's tensor."""
    size = sum(t.data.nbytes for t in model.tensors if t.data is not None)
    builder = flatbuffers.Builder(size + 4096 + 512 * len(model.tensors))
    codes = sorted({(operator.op, operator.version) for operator in model.operators})
    buffers = [_buffer(builder, None)]
    tensors = []
    for t in model.tensors:
        buffers.append(_buffer(builder, t.data)) if t.data is not None else None
        tensors.append(_tensor(builder, t, len(buffers) - 1 if t.data is not None else 0))
    metadata = []
    for name, text in model.metadata.items():
        buffers.append(_buffer(builder, np.frombuffer(text.encode(), np.uint8)))
        metadata.append(_table(builder, "Metadata", Name=builder.CreateString(name), Buffer=len(buffers) - 1))
    operators = [_operator(builder, operator, codes.index((operator.op, operator.version))) for operator in model.operators]
    graph = _table(
        builder,
        "SubGraph",
        Tensors=_offsets(builder, tensors),
        Inputs=builder.CreateNumpyVector(np.array([image], np.int32)),
        Outputs=builder.CreateNumpyVector(np.array([answer], np.int32)),
        Operators=_offsets(builder, operators),
        Name=builder.CreateString("main"),
    )
    root = _table(
        builder,
        "Model",
        Version=SCHEMA_VERSION,
        OperatorCodes=_offsets(builder, [_code(builder, *code) for code in codes]),
        Subgraphs=_offsets(builder, [graph]),
        Description=builder.CreateString(model.name),
        Buffers=_offsets(builder, buffers),
        **({"Metadata": _offsets(builder, metadata)} if metadata else {}),
    )
    builder.Finish(root, IDENTIFIER)
    return bytes(builder.Output())


def _table(builder: Any, kind: str, **fields: Any) -> int:
    """A table of the schema with these fields; the schema leaves out those that have their default."""
    getattr(tflite, f"{kind}Start")(builder)
    for name, value in fields.items():
        getattr(tflite, f"{kind}Add{name}")(builder, value)
    return int(getattr(tflite, f"{kind}End")(builder))


def _offsets(builder: Any, tables: Sequence[int]) -> int:
    builder.StartVector(4, len(tables), 4)
    for table in reversed(tables):
        builder.PrependUOffsetTRelative(table)
    return int(builder.EndVector())


def _buffer(builder: Any, data: NDArray[Any] | None) -> int:
    if data is None:
        return _table(builder, "Buffer")
    content = np.ascontiguousarray(data).reshape(-1).view(np.uint8)
    builder.StartVector(1, content.size, ALIGNMENT)
    builder.head -= content.size
    builder.Bytes[builder.head : builder.head + content.size] = content.tobytes()
    return _table(builder, "Buffer", Data=builder.EndVector())


def _tensor(builder: Any, t: TensorOf, buffer: int) -> int:
    fields = {"Shape": _ints(builder, t.shape), "Name": builder.CreateString(t.name)}
    if t.signature:
        fields["ShapeSignature"] = _ints(builder, t.signature)
    if t.quantization:
        q = t.quantization
        scale = builder.CreateNumpyVector(q.scale.astype(np.float32))
        zero_point = builder.CreateNumpyVector(q.zero_point.astype(np.int64))
        about = {"Scale": scale, "ZeroPoint": zero_point, "QuantizedDimension": q.axis}
        fields["Quantization"] = _table(builder, "QuantizationParameters", **about)
    return _table(builder, "Tensor", Type=_TYPES[t.dtype], Buffer=buffer, **fields)


def _ints(builder: Any, numbers: Sequence[int]) -> int:
    return int(builder.CreateNumpyVector(np.array(numbers, np.int32)))


def _code(builder: Any, op: str, version: int) -> int:
    number = getattr(tflite.BuiltinOperator, op)
    return _table(builder, "OperatorCode", DeprecatedBuiltinCode=min(number, 127), Version=version, BuiltinCode=number)


def _operator(builder: Any, operator: OperatorOf, code: int) -> int:
    inputs, outputs = _ints(builder, operator.inputs), _ints(builder, operator.outputs)
    fields: dict[str, Any] = {"OpcodeIndex": code, "Inputs": inputs, "Outputs": outputs}
    if kind := OPTIONS.get(operator.op):
        fields["BuiltinOptions"] = _table(builder, kind, **operator.settings)
        fields["BuiltinOptionsType"] = getattr(tflite.BuiltinOptions, kind)
    return _table(builder, "Operator", **fields)
