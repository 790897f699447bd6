"""The parts of an ONNX graph: named nodes and tensors, and constants whose values the architecture determines."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from mnsweep.arch.layer import Layer

FLOAT, INT8, UINT8, INT32, INT64 = "float32", "int8", "uint8", "int32", "int64"
Attributes: TypeAlias = tuple[tuple[str, int | float | tuple[int, ...]], ...]
Values: TypeAlias = Callable[[], Sequence[float]]  # called only when a file is written; sizes need no values


class Form(NamedTuple):
    """How an int8 graph stores its integers: the types of feature maps and weights, and one weight scale per channel or tensor.

    With `ends_in_8_bits`, the last layer's output is rounded to 8 bits too, as in a network that was trained with quantization.
    """

    maps: str = INT8
    weights: str = INT8
    per_channel: bool = True
    ends_in_8_bits: bool = False


class Tensor(NamedTuple):
    """Name, shape and type of a graph's constant, input or output."""

    name: str
    shape: tuple[int, ...]
    dtype: str = FLOAT


class Node(NamedTuple):
    """One ONNX operator; `attributes` are pairs (name, number or tuple of integers), without negative numbers."""

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Attributes = ()


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes in execution order, constants in the order they are written; shapes are for one image.

    `layers` are the network's layers by name. `form` tells how an int8 graph stores integers. `values` holds the numbers of
    constants other than weights.
    """

    image: Tensor
    output: Tensor
    layers: Mapping[str, Layer]
    form: Form = field(default_factory=Form)
    nodes: list[Node] = field(default_factory=list)
    constants: list[Tensor] = field(default_factory=list)
    values: dict[str, Values] = field(default_factory=dict)

    def constant(self, name: str, shape: tuple[int, ...] = (), dtype: str = FLOAT, values: Values | None = None) -> str:
        """Add a constant and return its name."""
        self.constants.append(Tensor(name, shape, dtype))
        if values is not None:
            self.values[name] = values
        return name

    def numbers(self, name: str, numbers: Sequence[float], dtype: str = FLOAT) -> str:
        """Add a one-dimensional constant (len(numbers),) and return its name."""
        return self.constant(name, (len(numbers),), dtype, lambda: numbers)

    def add(self, op: str, out: str, *inputs: str, **attributes: int | tuple[int, ...]) -> str:
        """Add a node with the single output `out`, which also names the node; return that name."""
        self.nodes.append(Node(op, out, inputs, (out,), tuple(sorted(attributes.items()))))
        return out
