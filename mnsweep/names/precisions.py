"""Precisions: the arithmetic of the runtime, the precision of the ONNX file, and the source of the quality."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """One precision; `item_bytes` is the size of a feature-map value or a weight while the network runs.

    A `quantized` network uses 8-bit integer arithmetic and needs the range of each feature map. `file` is the precision of
    the ONNX file, `quality_of` the precision whose published quality applies, and `provenance` the words for this.
    """

    name: str
    item_bytes: int
    quantized: bool = False
    file: str
    quality_of: str
    provenance: str = "published"


_ROWS = (
    Precision(name="fp32", item_bytes=4, file="fp32", quality_of="fp32"),
    # The file stays fp32 and the runtime rounds; 8 bits of mantissa move top-1 by less than the printed precision.
    Precision(name="bf16", item_bytes=2, file="fp32", quality_of="fp32", provenance="inherited from fp32, published"),
    Precision(
        name="int8",
        item_bytes=1,
        quantized=True,
        file="int8",
        quality_of="int8",
        provenance="published, quantization-aware training",
    ),
)
PRECISIONS: dict[str, Precision] = {row.name: row for row in _ROWS}  # the default first
