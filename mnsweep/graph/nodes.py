"""What an ONNX graph is made of here: nodes and tensors by name, and numbers where the architecture knows them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from mnsweep.arch.layer import Layer

FLOAT, INT8, UINT8, INT32, INT64 = "float32", "int8", "uint8", "int32", "int64"
Attributes: TypeAlias = tuple[tuple[str, int | float | tuple[int, ...]], ...]
Values: TypeAlias = Callable[[], Sequence[float]]  # called by whoever writes them: a size needs none


class Tensor(NamedTuple):
    """A named array: a constant of the graph, its input or its output."""

    name: str
    shape: tuple[int, ...]
    dtype: str = FLOAT


class Node(NamedTuple):
    """One ONNX operator; `attributes` are (name, number or whole numbers), none of them negative."""

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Attributes = ()


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes in running order, constants in the order they are written; shapes are for one image.

    `layers` are those of the network, by name, `map_type` is the type of its quantized feature maps. `values` are the numbers
    of constants that are no weights.
    """

    image: Tensor
    output: Tensor
    layers: Mapping[str, Layer]
    map_type: str = INT8
    nodes: list[Node] = field(default_factory=list)
    constants: list[Tensor] = field(default_factory=list)
    values: dict[str, Values] = field(default_factory=dict)

    def constant(self, name: str, shape: tuple[int, ...] = (), dtype: str = FLOAT, values: Values | None = None) -> str:
        """Add a constant; its name."""
        self.constants.append(Tensor(name, shape, dtype))
        if values is not None:
            self.values[name] = values
        return name

    def numbers(self, name: str, numbers: Sequence[float], dtype: str = FLOAT) -> str:
        """Add a constant list of numbers; its name."""
        return self.constant(name, (len(numbers),), dtype, lambda: numbers)

    def add(self, op: str, out: str, *inputs: str, **attributes: int | tuple[int, ...]) -> str:
        """Add a node that is called after its only output; its name."""
        self.nodes.append(Node(op, out, inputs, (out,), tuple(sorted(attributes.items()))))
        return out
