"""Read Keras files: whole models and weights alone, of Keras 2 (.h5) and Keras 3 (.keras, .weights.h5).

A whole model has a configuration, which gives the graph, the padding, the epsilon and the activation; weights alone are those
of the Keras application unless the user says otherwise. Nothing in the file is executed: a Lambda layer ends the import.
Source: `keras/src/legacy/saving/legacy_h5_format.py`, `keras/src/saving/saving_lib.py`.
"""

import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from mnsweep.importing.keras_graph import operators_of, parts_of
from mnsweep.importing.operators import Source
from mnsweep.importing.ordered import KERNEL_AXES, Part, Told, batch_norm_part, natural, source_of
from mnsweep.importing.problems import FormatError

CONFIG, WEIGHTS = "config.json", "model.weights.h5"  # members of a .keras file
MOST_UNPACKED = 16  # times the file: weights hardly compress, so more is no network
MOST_LAYERS = 10_000
VARIABLES = "vars"  # the group of a layer's own arrays in Keras 3
Layers = Mapping[str, Mapping[str, NDArray[Any]]]  # arrays by part, by layer


def read(path: Path, conv_padding: str | None = None, epsilon: float | None = None) -> Source:
    """The operators of the network. `conv_padding` and `epsilon` are the user's, for weights without a configuration."""
    if path.suffix.lower() == ".keras":
        return _read_archive(path)
    with _opened(path) as file:
        arrays = _Arrays(MOST_UNPACKED * path.stat().st_size)
        if "model_config" in file.attrs:
            layers = dict(_keras2_layers(file["model_weights"], arrays))
            return operators_of(json.loads(_text(file.attrs["model_config"])), layers)
        layers = dict(_keras2_layers(file, arrays)) if "layer_names" in file.attrs else dict(_keras3_layers(file, arrays))
        return _weights_alone(layers, Told(family="keras", conv_padding=conv_padding, epsilon=epsilon))


def _opened(content: Any) -> Any:
    try:
        return h5py.File(content, "r")
    except OSError as error:
        raise FormatError(f"is not an HDF5 file: {error}") from None


def _read_archive(path: Path) -> Source:
    try:
        with zipfile.ZipFile(path) as archive:
            if {CONFIG, WEIGHTS} - {*archive.namelist()}:
                raise FormatError(f"is a zip file without {CONFIG} and {WEIGHTS}")
            config, weights = archive.getinfo(CONFIG), archive.getinfo(WEIGHTS)
            most_bytes = MOST_UNPACKED * path.stat().st_size
            if config.file_size + weights.file_size > most_bytes:
                raise FormatError("unpacks to more than a MobileNet has")
            document, content = json.loads(archive.read(config)), io.BytesIO(archive.read(weights))
    except (zipfile.BadZipFile, NotImplementedError, zipfile.zlib.error) as error:  # type: ignore[attr-defined]
        raise FormatError(f"is not a .keras file: {error}") from None
    with _opened(content) as file:
        return operators_of(document, dict(_keras3_layers(file, _Arrays(most_bytes))))


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _names(value: Any) -> list[str]:
    names = [_text(name) for name in value]
    if len(names) > MOST_LAYERS:
        raise FormatError(f"has {len(names):,} names in one list")
    return names


class _Arrays:
    """Reads arrays, of `most_bytes` together: a small file may claim to hold huge ones."""

    def __init__(self, most_bytes: int) -> None:
        self.left_bytes = most_bytes

    def read(self, dataset: Any) -> NDArray[Any]:
        if not isinstance(dataset, h5py.Dataset):
            raise FormatError("is damaged: a name of an array is that of a group")
        self.left_bytes -= dataset.size * 4
        if dataset.dtype.kind != "f" or self.left_bytes < 0 or dataset.external:
            raise FormatError(f"{dataset.name} is no array of floats of a size that a MobileNet has, inside of this file")
        return np.asarray(dataset[()], np.float32)


def _keras2_layers(file: Any, arrays: _Arrays) -> Iterator[tuple[str, dict[str, NDArray[Any]]]]:
    """The arrays of each layer; those of a model inside of the model under the names of its own layers."""
    for layer in _names(file.attrs["layer_names"]):
        group, found = file[layer], dict[str, dict[str, NDArray[Any]]]()
        for name in _names(group.attrs["weight_names"]):
            path = name.split(":")[0].split("/")
            found.setdefault(path[-2] if len(path) > 1 else layer, {})[path[-1]] = arrays.read(group[name])
        if len(found) == 1:
            found = {layer: next(iter(found.values()))}
        yield from found.items()


def _keras3_layers(file: Any, arrays: _Arrays) -> Iterator[tuple[str, dict[str, NDArray[Any]]]]:
    """The arrays of each layer by their numbers: Keras 3 keeps the order, not the names."""
    found: dict[str, dict[str, NDArray[Any]]] = {}

    def visit(name: str, item: Any) -> None:
        if len(found) > MOST_LAYERS:
            raise FormatError(f"has more than {MOST_LAYERS:,} layers")
        group, _, number = name.rpartition("/")
        if isinstance(item, h5py.Dataset) and group.endswith(f"/{VARIABLES}"):
            of_layer = file[group].attrs.get("name")
            layer = _text(of_layer) if of_layer is not None else group.removesuffix(f"/{VARIABLES}").rpartition("/")[2]
            found.setdefault(layer, {})[number] = arrays.read(item)

    file.visititems(visit)
    yield from found.items()


def _weights_alone(layers: Layers, told: Told) -> Source:
    convolutions, norms, head = [], [], []
    for name in sorted(layers, key=natural):
        parts = parts_of(name, layers[name])
        if "mean" in parts:
            norms.append(batch_norm_part(name, parts))
        elif parts["weight"].ndim == KERNEL_AXES:
            convolutions.append(Part(name, parts))
        else:
            head.append(Part(name, parts))
    if not convolutions:
        raise FormatError("holds no convolutions")
    return source_of(convolutions, norms, head, told)
