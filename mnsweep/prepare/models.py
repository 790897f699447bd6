"""The ONNX file of a cell, built from its settings, resolved padding and calibration ranges."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TypeAlias

from mnsweep.arch.channel_padding import Channels, pad_channels, to_text
from mnsweep.arch.expand import expand
from mnsweep.arch.layer import Layer
from mnsweep.cell import Cell, Design
from mnsweep.graph.file_size import SYNTHETIC, impossible, onnx_bytes
from mnsweep.graph.lowering import Range
from mnsweep.graph.onnx_file import About, build_onnx
from mnsweep.graph.weights import padded, random_weights
from mnsweep.names import PRECISIONS, runtime_named
from mnsweep.result import UNPADDED
from mnsweep.version import VERSION
from mnsweep.worker.base import Offer
from mnsweep.worker.proxy import CellError

SEED = 0  # for random weights and images
Ranges: TypeAlias = Mapping[str, Range]  # by feature map


@dataclass(slots=True, kw_only=True)
class Prepared:
    """What cells need in addition to their settings, determined before anything is timed.

    `weight_bits` is the width of int8 weights on this processor, and `seed` is that of the random weights. `ranges` (by design)
    are the feature map ranges, and `calibration` names the images that they come from. `notes` go into the metadata of the
    files: a file that is timed has none, so that its size is known without it. By cell id: `channels` is the resolved
    padding; `skipped` and `failures` give the reason why a cell is unavailable here or failed during preparation; `remarks`
    are notes for the user about a setting. `offers` are those of the runtimes asked. `probes` are the measurements that `auto`
    padding is resolved from: milliseconds by channel count.
    """

    weight_bits: int
    seed: int = SEED
    calibration: str = SYNTHETIC
    notes: Mapping[str, str] = field(default_factory=dict)
    channels: dict[str, Channels] = field(default_factory=dict)
    offers: dict[str, Offer] = field(default_factory=dict)
    probes: dict[tuple[str, str], Mapping[int, float]] = field(default_factory=dict)  # by runtime and precision
    probe_failures: dict[tuple[str, str], str] = field(default_factory=dict)
    ranges: dict[Design, Ranges] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    remarks: dict[str, str] = field(default_factory=dict)

    @property
    def versions(self) -> dict[str, str]:
        """The version of each runtime that runs here."""
        return {runtime: offer.version for runtime, offer in self.offers.items() if not offer.obstacle}

    def obstacle(self, cell: Cell) -> str | None:
        """Why the cell cannot be built; None if it can."""
        return self.failures.get(cell.id) or self.skipped.get(cell.id)

    def deployed_layers(self, cell: Cell) -> tuple[Layer, ...]:
        """The layers of the deployed network."""
        return pad_channels(expand(cell.design), self.channels[cell.id])

    def about(self, cell: Cell, *, symbolic: bool = False) -> About:
        """What an exported file says: design, deployment with the resolved padding, and where the weights are from."""
        settings = {**asdict(cell.design), **asdict(cell.deployment)} | ({"batch": "symbolic"} if symbolic else {})
        weights = {"weights": f"random, seed {self.seed}", **self.notes}
        of_session = runtime_named(cell.deployment.runtime).session
        session = ", ".join([f"in {cell.deployment.precision}", *map("=".join, of_session.items())])
        resolved = {"deployed_channels": to_text(self.channels[cell.id]) or UNPADDED, "measured_with": session, **weights}
        properties = {"cell": cell.id, **{name: str(value) for name, value in settings.items()}, **resolved}
        return About(cell.design.variant, VERSION, properties)

    def model_of(self, cell: Cell, *, symbolic: bool = False, exported: bool = False) -> bytes:
        """The ONNX file that is timed: the deployed network with seeded random weights.

        With `symbolic`, its batch dimension is symbolic: it takes any batch. With `exported`, it says what it is. Raises
        `CellError` for a cell that has failed already, is unavailable here, or has a file that cannot be built.
        """
        if reason := self.obstacle(cell):
            raise CellError(reason)
        logical, int8 = expand(cell.design), PRECISIONS[cell.deployment.precision].quantized
        deployed = pad_channels(logical, self.channels[cell.id])
        with building(deployed, int8):
            return build_onnx(
                deployed,
                padded(random_weights(logical, self.seed), deployed),
                batch=None if symbolic else cell.deployment.batch,
                ranges=self.ranges[cell.design] if int8 else None,
                calibration=self.calibration,
                weight_bits=self.weight_bits,
                about=self.about(cell, symbolic=symbolic) if exported else None,
            )


@contextmanager
def building(layers: Sequence[Layer], int8: bool = False) -> Iterator[None]:
    """Turn whatever prevents the ONNX file of these layers into a `CellError`, also its size, before memory is taken."""
    from google.protobuf.message import EncodeError

    if reason := impossible(onnx_bytes(layers, int8)):
        raise CellError(reason)
    try:
        yield
    except MemoryError:
        raise CellError("its ONNX file cannot be built: there is too little memory") from None
    except (EncodeError, ValueError) as error:
        raise CellError(f"its ONNX file cannot be built: {type(error).__name__}: {error}".splitlines()[0]) from None
