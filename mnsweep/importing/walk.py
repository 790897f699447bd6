"""Match a file's operators to the layers of a MobileNet, by the graph and not by names.

The operators must form one chain from the image to the answer. Each convolution or linear layer takes what belongs to it: the
padding before it; the bias, batch norm and activation after it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnsweep.importing import operators as o
from mnsweep.importing.operators import Operator, Padding, Source
from mnsweep.importing.problems import FormatError, misfit
from mnsweep.pictures.preprocessing import Preprocessing

KNOWN = (o.CONV, o.LINEAR, o.BATCH_NORM, o.ACTIVATION, o.PAD, o.POOL, o.RESHAPE, o.SOFTMAX, o.NOTHING, o.AFFINE, o.BIAS)
SHOWN = 5  # operators that do not fit, in a message


@dataclass(slots=True)
class Stage:
    """A layer with weights as the file has it; `output` is the feature map after everything that belongs to it."""

    operator: Operator
    padding: Padding
    output: str
    bias: NDArray[Any] | None
    batch_norm: Operator | None = None
    activation: str = "none"


@dataclass(slots=True)
class Chain:
    """The layers in order; `pool_at` is how many of them come before the pool, `pooled` the feature map after it."""

    stages: list[Stage] = field(default_factory=list)
    pool: Operator | None = None
    pool_at: int = -1
    pooled: str = ""
    preprocessing: Preprocessing | None = None
    ignored: list[str] = field(default_factory=list)


def walk(source: Source) -> Chain:
    """The chain of layers. Raises `FormatError`, which lists the operators, where one does not fit."""
    _check_known(source)
    chain, pad = Chain(preprocessing=source.preprocessing), None
    for operator in _in_order(source):
        match operator.kind:
            case o.PAD:
                pad = operator.padding
                continue
            case o.CONV | o.LINEAR:
                chain.stages.append(_stage(operator, pad))
                pad = None
            case o.AFFINE:
                chain.preprocessing = _composed(chain, operator)
            case o.POOL:
                if chain.pool:
                    raise misfit(operator.name, "is a second pool")
                chain.pool, chain.pool_at, chain.pooled = operator, len(chain.stages), operator.output
            case o.BATCH_NORM | o.BIAS | o.ACTIVATION:
                _append(chain, operator)
            case o.SOFTMAX:
                chain.ignored.append(operator.name)
        if pad:
            raise misfit(operator.name, "follows zero padding; only a convolution may")
    if not chain.stages:
        raise FormatError("has no convolution")
    return chain


def _check_known(source: Source) -> None:
    unknown = [operator for operator in source.operators if operator.kind not in KNOWN]
    joins = [operator for operator in source.operators if operator.kind in KNOWN and len(operator.inputs) != 1]
    odd = [*(f"{u.name} ({u.kind})" if u.kind not in u.name else u.name for u in unknown), *(j.name for j in joins)]
    if odd:
        more = f" and {len(odd) - SHOWN} more" if len(odd) > SHOWN else ""
        raise FormatError(f"operators that no MobileNetV1 has: {', '.join(odd[:SHOWN])}{more}")


def _in_order(source: Source) -> Iterator[Operator]:
    """The operators along the only path from the image."""
    readers: dict[str, list[Operator]] = {}
    for operator in source.operators:
        readers.setdefault(operator.inputs[0], []).append(operator)
    name, left = source.image, len(source.operators)
    while found := readers.get(name):
        if len(found) > 1:
            raise FormatError(f"{name} is read by {len(found)} operators: {', '.join(r.name for r in found[:SHOWN])}")
        yield found[0]
        name, left = found[0].output, left - 1
        if left < 0:
            raise FormatError("is damaged: its operators form a circle")
    if left:
        raise FormatError(f"{left} of its {len(source.operators)} operators do not follow from the image {source.image}")


def _stage(operator: Operator, pad: Padding | None) -> Stage:
    if pad and operator.padding not in ("valid", (0, 0, 0, 0)):
        raise misfit(operator.name, "is padded twice")
    padding = pad or operator.padding
    return Stage(operator, padding, operator.output, operator.arrays.get("bias"), activation=operator.activation)


def _append(chain: Chain, operator: Operator) -> None:
    """Add a bias, batch norm or activation to the layer before it."""
    after_pool = chain.pool_at == len(chain.stages)
    stage = chain.stages[-1] if chain.stages and not after_pool else None
    if stage is None or stage.activation != "none":
        raise misfit(operator.name, "does not follow a convolution directly")
    if operator.kind == o.ACTIVATION:
        stage.activation = operator.activation
    elif stage.batch_norm:
        raise misfit(operator.name, "follows batch norm")
    elif operator.kind == o.BIAS:
        added = np.asarray(operator.arrays["bias"], np.float32).reshape(-1)
        stage.bias = added if stage.bias is None else stage.bias + added
    else:
        stage.batch_norm = operator
    stage.output = operator.output


def _composed(chain: Chain, operator: Operator) -> Preprocessing:
    """The preprocessing with the image's own scaling in the graph added: pixel · factor + offset, the same for all channels."""
    factors, offsets = (np.unique(np.asarray(operator.arrays[part], np.float64)) for part in ("factor", "offset"))
    if chain.stages or len(factors) != 1 or len(offsets) != 1 or not factors[0]:
        raise misfit(operator.name, "scales something else than the whole image")
    before = chain.preprocessing or Preprocessing(mean=0, std=1)  # a graph that scales pixels takes them as they are
    # (x − mean) / std · f + b = (x − (mean − b · std / f)) / (std / f)
    std = before.std / factors[0]
    return Preprocessing(mean=float(before.mean - offsets[0] * std), std=float(std), crop=before.crop)
