"""Writers of files that hold trained networks, as other programs write them."""

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnsweep.arch.expand import Layer
from mnsweep.graph.weights import Weights

Arrays = Mapping[str, NDArray[np.float32]]


def slim_arrays(layers: tuple[Layer, ...], weights: Weights) -> dict[str, NDArray[np.float32]]:
    """The arrays under the names and in the layouts of TF-slim."""
    found: dict[str, NDArray[np.float32]] = {}
    for layer in layers:
        if not layer.weight_shape:
            continue
        array = weights.arrays[f"{layer.name}.weight"]
        number = "".join(c for c in layer.name if c.isdigit())
        scope = {"stem": "Conv2d_0", "classifier": "Logits/Conv2d_1c_1x1"}.get(layer.name, f"Conv2d_{number}_{layer.kind}")
        if layer.kind == "depthwise":
            found[f"MobilenetV1/{scope}/depthwise_weights"] = array.transpose(2, 3, 0, 1)
        else:
            found[f"MobilenetV1/{scope}/weights"] = array.reshape(*array.shape[:2], *layer.kernel).transpose(2, 3, 1, 0)
        for ours, theirs in {"scale": "gamma", "shift": "beta", "mean": "moving_mean", "variance": "moving_variance"}.items():
            if f"{layer.name}.{ours}" in weights.arrays:
                found[f"MobilenetV1/{scope}/BatchNorm/{theirs}"] = weights.arrays[f"{layer.name}.{ours}"]
        if f"{layer.name}.bias" in weights.arrays:
            found[f"MobilenetV1/{scope}/biases"] = weights.arrays[f"{layer.name}.bias"]
    return found


def varint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def block(entries: list[tuple[bytes, bytes]]) -> bytes:
    """A block of a LevelDB table: keys share prefixes, every 16th stands alone; type and checksum follow."""
    out, restarts, before = b"", [], b""
    for number, (key, value) in enumerate(entries):
        shared = 0
        if number % 16 == 0:
            restarts.append(len(out))
        else:
            while shared < min(len(before), len(key)) and before[shared] == key[shared]:
                shared += 1
        out += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        before = key
    out += b"".join(struct.pack("<I", place) for place in restarts) + struct.pack("<I", len(restarts))
    return out + b"\0" + b"\0" * 4


def write_checkpoint(path: Path, arrays: Mapping[str, NDArray[Any]]) -> Path:
    """`path`.index and its data file, as TensorFlow's BundleWriter writes them, without checksums."""
    data, entries = b"", [(b"", b"\x08\x01")]
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        shape = b"".join(b"\x12" + varint(len(d)) + d for d in (b"\x08" + varint(n) for n in array.shape))
        kind = {"f": 1, "i": 9}[array.dtype.kind]
        message = b"\x08" + varint(kind) + b"\x12" + varint(len(shape)) + shape
        message += b"\x20" + varint(len(data)) + b"\x28" + varint(array.nbytes) + b"\x35" + b"\0" * 4
        entries.append((name.encode(), message))
        data += array.tobytes()
    content, index = b"", []
    for start in range(0, len(entries), 40):
        part = block(entries[start : start + 40])
        index.append((entries[min(start + 39, len(entries) - 1)][0], varint(len(content)) + varint(len(part) - 5)))
        content += part
    meta, root = block([]), block(index)
    handles = varint(len(content)) + varint(len(meta) - 5) + varint(len(content) + len(meta)) + varint(len(root) - 5)
    content += meta + root + handles.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)
    file = path.with_name(f"{path.name}.index")
    file.write_bytes(content)
    path.with_name(f"{path.name}.data-00000-of-00001").write_bytes(data)
    return file
