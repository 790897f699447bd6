"""Read a TensorFlow checkpoint of TF-slim (`NAME.ckpt.index` beside `NAME.ckpt.data-00000-of-00001`) without TensorFlow.

The index is a LevelDB table: blocks of entries whose keys share prefixes; each value is a small protocol buffer that says
where an array lies in the data file. Averages of weights are preferred over the weights: the published accuracies are theirs.
Source: TensorFlow's `core/util/tensor_bundle`, `core/lib/io/format.cc` and `core/protobuf/tensor_bundle.proto`.
"""

from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnsweep.importing.keras_graph import parts_of
from mnsweep.importing.operators import Source
from mnsweep.importing.ordered import KERNEL_AXES, Part, Told, batch_norm_part, natural, source_of
from mnsweep.importing.problems import FormatError

MAGIC = 0xDB4775248B80FB57
FOOTER_BYTES, TRAILER_BYTES, MOST_INDEX_BYTES = 48, 5, 50_000_000
MOST_ENTRIES = 100_000
FLOAT32, AXES = 1, 8  # TensorFlow's number of the type; axes of an array, at most
MOST_HANDLE_BYTES = 20  # of a block's place: two numbers
AVERAGE = "/ExponentialMovingAverage"
NORM = "BatchNorm"
_NAMES = {"weights": "kernel", "depthwise_weights": "kernel", "biases": "bias"}


def read(path: Path, conv_padding: str | None = None, epsilon: float | None = None) -> Source:
    """The operators of the network whose arrays the checkpoint holds; other arrays, e.g. of an optimizer, are left out."""
    shard = path.with_name(f"{path.name.removesuffix('.index')}.data-00000-of-00001")
    if not shard.is_file():
        raise FormatError(f"has no {shard.name} beside it", "keep the files of a checkpoint together")
    content, size = path.read_bytes(), shard.stat().st_size
    if len(content) > MOST_INDEX_BYTES:
        raise FormatError("is too large for the index of a MobileNet")
    places = {name: place for name, value in _entries(content) if name and (place := _place(name, value, size))}
    with shard.open("rb") as file:
        arrays = {name: _array(file, *place) for name, place in places.items()}
    return _source(_preferred(arrays), Told(family="tf-slim", conv_padding=conv_padding, epsilon=epsilon))


def _source(arrays: Mapping[str, NDArray[Any]], told: Told) -> Source:
    layers: dict[str, dict[str, NDArray[Any]]] = {}
    for name, array in arrays.items():
        layer, _, part = name.rpartition("/")
        layers.setdefault(layer, {})[_NAMES.get(part, part)] = array
    convolutions: list[Part] = []
    norms: list[Part] = []
    for layer in sorted(layers, key=natural):
        parts = parts_of(layer, layers[layer])
        if layer.endswith(NORM):
            norms.append(batch_norm_part(layer, parts))
        elif parts["weight"].ndim == KERNEL_AXES:
            convolutions.append(Part(layer, parts))
    return source_of(convolutions, norms, (), told)


def _preferred(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The network's arrays, averaged ones where there are any."""
    parts = ("weights", "depthwise_weights", "biases", "gamma", "beta", "moving_mean", "moving_variance")
    plain = {name: array for name, array in arrays.items() if name.rpartition("/")[2] in parts}
    return {name: arrays.get(name + AVERAGE, array) for name, array in plain.items()}


def _entries(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Keys and values of the table, in order."""
    footer = content[-FOOTER_BYTES:]
    if len(footer) < FOOTER_BYTES or int.from_bytes(footer[-8:], "little") != MAGIC:
        raise FormatError("is not the index of a checkpoint")
    _, _, after = _handle(footer, 0)  # of an index of statistics
    place, size, _ = _handle(footer, after)
    left = MOST_ENTRIES
    for _, handle in _block(content, place, size):
        place, size, _ = _handle(handle[:MOST_HANDLE_BYTES], 0)
        for key, value in _block(content, place, size):
            left -= 1
            if left < 0:
                raise FormatError(f"has more than {MOST_ENTRIES:,} entries")
            yield key.decode(), value


def _block(content: bytes, place: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    if place + size + TRAILER_BYTES > len(content) or size < 4:
        raise FormatError("is damaged: a block lies outside of the file")
    if content[place + size]:
        raise FormatError("is compressed; checkpoints of TensorFlow are not")
    block = content[place : place + size]
    restarts = int.from_bytes(block[-4:], "little")
    end, at, key = size - 4 * (restarts + 1), 0, b""
    while at < end:
        shared, at = _varint(block, at)
        own, at = _varint(block, at)
        length, at = _varint(block, at)
        if shared > len(key) or at + own + length > end:
            raise FormatError("is damaged: an entry is longer than its block")
        key = key[:shared] + block[at : at + own]
        yield key, block[at + own : at + own + length]
        at += own + length


def _handle(data: bytes, at: int) -> tuple[int, int, int]:
    place, at = _varint(data, at)
    size, at = _varint(data, at)
    return place, size, at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of 7 bits a byte, and the place after it."""
    value = shift = 0
    while True:
        byte = data[at]  # an IndexError at the end: the file is damaged
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
        if shift > 63:
            raise FormatError("is damaged: a number has too many bytes")


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Numbers and values of a protocol buffer's fields: integers, or bytes of a nested message."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield number, value
        elif kind == 2:
            length, at = _varint(message, at)
            yield number, message[at : at + length]
            at += length
        elif kind == 5:
            at += 4
        else:
            at += 8


def _place(name: str, value: bytes, size_bytes: int) -> tuple[tuple[int, ...], int] | None:
    """Shape and place of an array of float32 in the data file; None for other types, e.g. a step counter."""
    fields = dict(_fields(value))
    dims = [dict(_fields(dim)).get(1, 0) for number, dim in _fields(fields.get(2, b"")) if number == 2]
    if fields.get(1) != FLOAT32:
        return None
    place, length = fields.get(4, 0), fields.get(5, 0)
    if len(dims) > AXES or length != 4 * prod(dims) or place + length > size_bytes or fields.get(3, 0):
        raise FormatError(f"is damaged, or in several shards: {name} has the shape {dims} and {length} bytes")
    return tuple(dims), place


def _array(file: Any, shape: tuple[int, ...], place: int) -> NDArray[Any]:
    file.seek(place)
    return np.frombuffer(file.read(4 * prod(shape)), "<f4").reshape(shape)
