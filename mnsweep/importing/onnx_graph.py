"""Read the ONNX file of a MobileNetV1 from another exporter: torch's, tf2onnx's, keras2onnx's, or ours.

Source: ONNX operators of opset 7 to 23. Constants in nodes are constants too; a layout change of the image is undone.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mnsweep.importing import operators as o
from mnsweep.importing.operators import Operator, Source
from mnsweep.importing.problems import FormatError, misfit
from mnsweep.importing.self_description import described

IMAGE_AXES = 4
CHANNELS_LAST = (0, 3, 1, 2)  # the transpose after an image of shape (batch, height, width, 3)
_PASSED = ("Identity", "Dropout", "Cast")
_RESHAPES = ("Flatten", "Reshape", "Squeeze", "Transpose")
_AUTO_PAD = {"SAME_UPPER": "same", "VALID": "valid", "NOTSET": ""}
CLIP_AT = {(0.0, 6.0): "relu6"}
EPSILON = 1e-5  # ONNX's default


def read(path: Path) -> Source:
    """The operators of the file's graph. Raises `FormatError` for a file that is damaged or stores arrays elsewhere."""
    try:
        model = onnx.load_model_from_string(path.read_bytes())
    except DecodeError:
        raise FormatError("is not an ONNX file") from None
    told = described({entry.key: entry.value for entry in model.metadata_props})
    return replace(_Reader(model.graph).source(), preprocessing=told.preprocessing, labels=told.labels)


class _Reader:
    def __init__(self, graph: Any) -> None:
        self.graph = graph
        self.constants: dict[str, NDArray[Any]] = {tensor.name: _array(tensor) for tensor in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant" and node.attribute and node.attribute[0].type == onnx.AttributeProto.TENSOR:
                self.constants[node.output[0]] = _array(node.attribute[0].t)

    def source(self) -> Source:
        images = [value for value in self.graph.input if value.name not in self.constants]
        if len(images) != 1:
            raise FormatError(f"has {len(images)} inputs, not one image")
        sizes = [dim.dim_value for dim in images[0].type.tensor_type.shape.dim]
        found = tuple(self._operators())
        square = len(sizes) == IMAGE_AXES and (sizes[2] == sizes[1] if sizes[3] == 3 else sizes[2] == sizes[3])
        return Source(
            family="onnx",
            operators=found,
            image=images[0].name,
            resolution=(sizes[2] or None) if square else None,
        )

    def _operators(self) -> Iterator[Operator]:
        for node in self.graph.node:
            if node.op_type == "Constant" or all(name in self.constants for name in node.input):
                self._fold(node)
            else:
                yield self._operator(node)

    def _fold(self, node: Any) -> None:
        """Compute a node of constants alone, of the kinds that exporters leave around weights."""
        values = [self.constants[name] for name in node.input if name]
        settings = _settings(node)
        if node.op_type == "Constant" and node.output[0] not in self.constants:
            given = next(iter(settings.values()), None)
            self.constants[node.output[0]] = np.asarray(given)
        elif node.op_type == "Transpose":
            self.constants[node.output[0]] = values[0].transpose(settings.get("perm"))
        elif node.op_type == "Reshape":
            self.constants[node.output[0]] = values[0].reshape([int(n) for n in values[1]])
        elif node.op_type in ("Identity", "Cast"):
            self.constants[node.output[0]] = values[0]
        elif node.op_type != "Constant":
            raise misfit(_name(node), "computes weights")

    def _operator(self, node: Any) -> Operator:
        op, settings = node.op_type, _settings(node)
        maps = tuple(name for name in node.input if name and name not in self.constants)
        constants = [self.constants[name] for name in node.input if name in self.constants]
        plain = Operator(op, _name(node), maps, node.output[0])
        if op in _PASSED:
            return replace(plain, kind=o.NOTHING)
        if op in _RESHAPES:
            return replace(plain, kind=o.RESHAPE)
        if op == "Softmax":
            return replace(plain, kind=o.SOFTMAX)
        if op in ("GlobalAveragePool", "ReduceMean"):
            return replace(plain, kind=o.POOL)
        if op == "AveragePool":
            return replace(plain, kind=o.POOL, kernel=tuple(settings["kernel_shape"]))
        if op in ("Relu", "Clip"):
            return replace(plain, kind=o.ACTIVATION, activation=_activation(plain, op, settings, constants))
        if op == "Pad":
            return replace(plain, kind=o.PAD, padding=_pads(settings.get("pads") or constants[0].tolist()))
        if op == "BatchNormalization":
            parts = dict(zip(("scale", "shift", "mean", "variance"), constants, strict=True))
            return replace(plain, kind=o.BATCH_NORM, arrays=parts, epsilon=round(settings.get("epsilon", EPSILON), 9))
        if op == "Conv":
            return _conv(plain, settings, constants)
        if op == "Gemm" and constants:
            return _gemm(plain, settings, constants)
        if op == "MatMul" and len(constants) == 1:
            return replace(plain, kind=o.LINEAR, arrays={"weight": constants[0].T})
        if op in ("Add", "Sub", "Mul", "Div") and len(constants) == 1 and len(maps) == 1:
            return _arithmetic(plain, op, constants[0], maps[0] == self._image())
        return plain

    def _image(self) -> str:
        return next(str(value.name) for value in self.graph.input if value.name not in self.constants)


def _array(tensor: Any) -> NDArray[Any]:
    if tensor.data_location == TensorProto.EXTERNAL:
        raise FormatError(f"stores {tensor.name} in another file, which is not opened", "save it with the arrays inside")
    return np.asarray(numpy_helper.to_array(tensor))


def _settings(node: Any) -> Mapping[str, Any]:
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def _name(node: Any) -> str:
    return node.name or f"{node.op_type} {node.output[0] if node.output else ''}"


def _activation(plain: Operator, op: str, settings: Mapping[str, Any], constants: list[NDArray[Any]]) -> str:
    if op == "Relu":
        return "relu"
    bounds = [float(constant) for constant in constants] or [settings.get("min", 0.0), settings.get("max", 0.0)]
    if len(bounds) != 2 or (known := CLIP_AT.get((bounds[0], bounds[1]))) is None:
        raise misfit(plain.name, f"clips at {' and '.join(map(str, bounds))}")
    return known


def _pads(pads: Any) -> tuple[int, int, int, int]:
    """Zero padding of height and width from ONNX's list: the starts of all axes, then the ends."""
    top, left, bottom, right = (int(pads[i]) for i in (2, 3, 6, 7))
    if any(int(pads[i]) for i in (0, 1, 4, 5)):  # the height and width of an image with channels last
        top, left, bottom, right = (int(pads[i]) for i in (1, 2, 5, 6))
    return top, left, bottom, right


def _conv(plain: Operator, settings: Mapping[str, Any], constants: list[NDArray[Any]]) -> Operator:
    if set(settings.get("dilations", [1])) != {1}:
        raise misfit(plain.name, "is dilated")
    auto = settings.get("auto_pad", b"NOTSET").decode()
    if auto not in _AUTO_PAD:
        raise misfit(plain.name, f"is padded by {auto}")
    weight, *bias = constants
    strides = tuple(settings.get("strides", (1, 1)))
    return replace(
        plain,
        kind=o.CONV,
        arrays={"weight": weight, **dict(zip(("bias",), bias, strict=False))},
        strides=strides,
        padding=_AUTO_PAD[auto] or tuple(settings.get("pads", (0, 0, 0, 0))),
        groups=settings.get("group", 1),
    )


def _gemm(plain: Operator, settings: Mapping[str, Any], constants: list[NDArray[Any]]) -> Operator:
    if (settings.get("alpha", 1.0), settings.get("beta", 1.0), settings.get("transA", 0)) != (1.0, 1.0, 0):
        raise misfit(plain.name, "scales its input or its bias")
    weight, *bias = constants
    weight = weight if settings.get("transB", 0) else weight.T
    return replace(plain, kind=o.LINEAR, arrays={"weight": weight, **dict(zip(("bias",), bias, strict=False))})


def _arithmetic(plain: Operator, op: str, value: NDArray[Any], of_image: bool) -> Operator:
    """A bias after a layer, or the scaling of the image."""
    if op == "Add" and not of_image and value.size > 1:
        return replace(plain, kind=o.BIAS, arrays={"bias": value})
    factor, offset = {
        "Add": (np.ones(1), value),
        "Sub": (np.ones(1), -value),
        "Mul": (value, np.zeros(1)),
        "Div": (1 / value, np.zeros(1)),
    }[op]
    return replace(plain, kind=o.AFFINE, arrays={"factor": factor, "offset": offset})
