"""A torch module of the rows: the logical network, batch norm unfolded."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import nn

from mnsweep.arch.layers import Layer
from mnsweep.build.weights import TF_EPSILON, Weights, check, shapes

TF_SLIM_MOMENTUM = 0.0003  # in torch's convention; the Keras application uses 0.01
_ACTIVATIONS: dict[str, type[nn.Module]] = {"relu6": nn.ReLU6, "relu": nn.ReLU, "none": nn.Identity}
_BATCH_NORM = {"scale": "weight", "shift": "bias", "mean": "running_mean", "variance": "running_var"}


class Conv(nn.Module):
    """One convolution row: padding as the row says (it may differ before and after), batch norm, activation."""

    def __init__(self, layer: Layer, epsilon: float) -> None:
        super().__init__()
        before, after = layer.padding
        self.pad = nn.ZeroPad2d((before, after, before, after)) if before != after else nn.Identity()
        self.conv = nn.Conv2d(
            layer.in_channels,
            layer.out_channels,
            layer.kernel,
            layer.stride,
            padding=before if before == after else 0,
            groups=layer.groups,
            bias=layer.bias,
        )
        norm = nn.BatchNorm2d(layer.out_channels, epsilon, TF_SLIM_MOMENTUM)
        self.norm = norm if layer.batch_norm else nn.Identity()
        self.activation = _ACTIVATIONS[layer.activation]()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, in, size, size) → (batch, out, out_size, out_size)."""
        return cast(torch.Tensor, self.activation(self.norm(self.conv(self.pad(x)))))


def _module(layer: Layer, epsilon: float) -> nn.Module:
    if layer.op == "conv":
        return Conv(layer, epsilon)
    if layer.op == "global_pool":
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Linear(layer.in_channels, layer.out_channels, bias=layer.bias)


class TorchNet(nn.Module):
    """The rows as a module: image (batch, 3, res, res) → logits (batch, classes), fp32.

    Submodules carry the names of their rows. `epsilon` is batch norm's (1e-3 in TF and Keras).
    """

    def __init__(self, layers: Sequence[Layer], epsilon: float = TF_EPSILON) -> None:
        super().__init__()
        self.layers = tuple(layers)
        self.rows = nn.ModuleDict({layer.name: _module(layer, epsilon) for layer in layers})

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Run every row in order, each on the output of the row it names."""
        maps = {"image": image}
        for layer in self.layers:
            maps[layer.name] = self.rows[layer.name](maps[layer.inputs[0]])
        return maps[self.layers[-1].name]


def to_torch(layers: Sequence[Layer], weights: Weights) -> TorchNet:
    """A module in eval mode that carries `weights`; raises `MnsweepError` when an array is missing."""
    check(layers, weights)
    net = TorchNet(layers, weights.epsilon)
    names = [name for layer in layers for name in shapes(layer)]
    state = {_state_key(net, name): torch.from_numpy(weights.arrays[name].copy()) for name in names}
    net.load_state_dict(state, strict=False)  # batch norm's step counters are all that is left out
    return net.eval()


def from_torch(net: TorchNet) -> Weights:
    """The module's arrays under their row names: the inverse of `to_torch`."""
    names = [name for layer in net.layers for name in shapes(layer)]
    state = net.state_dict()
    epsilon = next((m.eps for m in net.modules() if isinstance(m, nn.BatchNorm2d)), TF_EPSILON)
    return Weights({name: state[_state_key(net, name)].numpy().copy() for name in names}, epsilon)


def _state_key(net: TorchNet, name: str) -> str:
    row, _, part = name.rpartition(".")
    if part in _BATCH_NORM:
        return f"rows.{row}.norm.{_BATCH_NORM[part]}"
    return f"rows.{row}.conv.{part}" if isinstance(net.rows[row], Conv) else f"rows.{row}.{part}"
