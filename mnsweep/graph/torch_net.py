"""The layers as a torch module: the logical network, with separate batch norm."""

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import nn
from torch.nn import functional

from mnsweep.arch.layer import IMAGE, LRN_ALPHA, LRN_BETA, LRN_BIAS, Layer
from mnsweep.errors import MnsweepError
from mnsweep.graph.torch_boxes import module_of
from mnsweep.graph.weights import TF_EPSILON, Weights, check, shapes

TF_SLIM_MOMENTUM = 0.0003  # in torch's convention; the Keras application uses 0.01
_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu6": nn.ReLU6,
    "relu": nn.ReLU,
    "none": nn.Identity,
    "sigmoid": nn.Sigmoid,
    "l2_norm": lambda: UnitLength(),
}
_BATCH_NORM = {"scale": "weight", "shift": "bias", "mean": "running_mean", "variance": "running_var"}


class UnitLength(nn.Module):
    """Scales each vector to unit length (L2 normalization)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, n) → (batch, n)."""
        return functional.normalize(x)


class Conv(nn.Module):
    """One convolution: the layer's padding (which may be asymmetric), batch norm, activation."""

    def __init__(self, layer: Layer, epsilon: float) -> None:
        super().__init__()
        top, left, bottom, right = layer.pads
        even = (top, left) == (bottom, right)
        self.pad = nn.Identity() if even else nn.ZeroPad2d((left, right, top, bottom))
        self.conv = nn.Conv2d(
            layer.in_channels,
            layer.out_channels,
            layer.kernel,
            layer.stride,
            padding=(top, left) if even else 0,
            groups=layer.groups,
            bias=layer.bias,
        )
        norm = nn.BatchNorm2d(layer.out_channels, epsilon, TF_SLIM_MOMENTUM)
        self.norm = norm if layer.batch_norm else nn.Identity()
        self.activation = _ACTIVATIONS[layer.activation]()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, in, size, size) → (batch, out, out_size, out_size)."""
        return cast(torch.Tensor, self.activation(self.norm(self.conv(self.pad(x)))))


class Linear(nn.Module):
    """One linear layer on a flattened feature map, with its activation."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.linear = nn.Linear(layer.weight_shape[1], layer.out_channels, bias=layer.bias)
        self.activation = _ACTIVATIONS[layer.activation]()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, in, size, size) or (batch, in · size²) → (batch, out)."""
        return cast(torch.Tensor, self.activation(self.linear(x.flatten(1))))


class Concat(nn.Module):
    """Concatenates feature maps of the same size along the channels."""

    def forward(self, *maps: torch.Tensor) -> torch.Tensor:
        """(batch, channels, size, size) each → (batch, all channels, size, size)."""
        return torch.cat(maps, 1)


def _pool(layer: Layer) -> nn.Module:
    """A pooling layer; max pooling ignores padding, average pooling counts it as zeros."""
    top, left, bottom, right = layer.pads
    window = layer.kernel, layer.stride
    if layer.op == "max_pool":
        return nn.Sequential(nn.ConstantPad2d((left, right, top, bottom), float("-inf")), nn.MaxPool2d(*window))
    return nn.Sequential(nn.ZeroPad2d((left, right, top, bottom)), nn.AvgPool2d(*window))


def _module(layer: Layer, layers: dict[str, Layer], resolution: int, epsilon: float) -> nn.Module:
    if (of_boxes := module_of(layer, layers, resolution)) is not None:
        return of_boxes
    match layer.op:
        case "conv":
            return Conv(layer, epsilon)
        case "linear":
            return Linear(layer)
        case "global_pool":
            return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        case "max_pool" | "avg_pool":
            return _pool(layer)
        case "concat":
            return Concat()
        case "lrn":
            return nn.LocalResponseNorm(layer.kernel[0], LRN_ALPHA, LRN_BETA, LRN_BIAS)
    raise MnsweepError(f"layer {layer.name}: {layer.op} has no torch module")


class TorchNet(nn.Module):
    """The layers as a module: image (batch, 3, res, res) → logits (batch, classes) or detections (batch, 100, 6), fp32.

    `parts` holds the submodules by layer name. `epsilon` is the batch-norm epsilon (1e-3 in TF and Keras).
    """

    def __init__(self, layers: Sequence[Layer], epsilon: float = TF_EPSILON) -> None:
        super().__init__()
        self.layers = tuple(layers)
        by_name, resolution = {layer.name: layer for layer in layers}, layers[0].in_size
        self.parts = nn.ModuleDict({layer.name: _module(layer, by_name, resolution, epsilon) for layer in layers})

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Run the layers in order, each on the outputs of its input layers."""
        maps = {IMAGE: image}
        self.run(self.layers, maps)
        return maps[self.layers[-1].name]

    def run(self, layers: Sequence[Layer], maps: dict[str, torch.Tensor]) -> None:
        """Run some of the layers, and add their outputs to `maps`, which has those of the layers before them."""
        for layer in layers:
            maps[layer.name] = self.parts[layer.name](*(maps[name] for name in layer.inputs))


def to_torch(layers: Sequence[Layer], weights: Weights) -> TorchNet:
    """A module in eval mode with these `weights`; raises `MnsweepError` when an array is missing or has the wrong shape."""
    check(layers, weights)
    net = TorchNet(layers, weights.epsilon)
    names = [name for layer in layers for name in shapes(layer)]
    state = {_state_key(net, name): torch.from_numpy(weights.arrays[name].copy()) for name in names}
    net.load_state_dict(state, strict=False)  # only batch norm's step counters are missing
    return net.eval()


def from_torch(net: TorchNet) -> Weights:
    """The module's arrays, named as in `weights.py`: the inverse of `to_torch`."""
    names = [name for layer in net.layers for name in shapes(layer)]
    state = net.state_dict()
    epsilon = next((m.eps for m in net.modules() if isinstance(m, nn.BatchNorm2d)), TF_EPSILON)
    return Weights({name: state[_state_key(net, name)].numpy().copy() for name in names}, epsilon)


def _state_key(net: TorchNet, name: str) -> str:
    layer, _, part = name.rpartition(".")
    if part in _BATCH_NORM:
        return f"parts.{layer}.norm.{_BATCH_NORM[part]}"
    return f"parts.{layer}.{'conv' if isinstance(net.parts[layer], Conv) else 'linear'}.{part}"
