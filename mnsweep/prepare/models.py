"""The ONNX file of a cell, built from its settings, resolved padding and calibration ranges."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TypeAlias

from mnsweep.arch.channel_padding import Channels, pad_channels, to_text
from mnsweep.arch.expand import expand
from mnsweep.arch.layer import Layer
from mnsweep.cell import Cell, Design
from mnsweep.errors import MnsweepError
from mnsweep.graph.file_size import SYNTHETIC, impossible, metadata, onnx_bytes
from mnsweep.graph.integers import Integers, dequantized, padded_integers
from mnsweep.graph.lowering import Range
from mnsweep.graph.onnx_file import About, build_onnx
from mnsweep.graph.tflite_lowering import build_tflite
from mnsweep.graph.weights import Weights, padded, random_weights
from mnsweep.importing.self_description import properties_of, tflite_metadata
from mnsweep.importing.trained import Trained
from mnsweep.names import PRECISIONS, runtime_named
from mnsweep.result import UNPADDED
from mnsweep.version import VERSION
from mnsweep.worker.base import Offer
from mnsweep.worker.proxy import CellError

SEED = 0  # for random weights and images
TFLITE = "tflite"
WITHOUT_CALIBRATION = "none: trained with quantization"
Ranges: TypeAlias = Mapping[str, Range]  # by feature map


@dataclass(slots=True, kw_only=True)
class Prepared:
    """What cells need in addition to their settings, determined before anything is timed.

    `weight_bits` is the width of int8 weights on this processor, and `seed` is that of the random weights, which a design has
    that has no `trained` network. `ranges` (by design) are the feature map ranges, and `calibration` names the images that they
    come from. `notes` go into the metadata of the files: a file that is timed has none, so that its size is known without it.
    By cell id: `channels` is the resolved padding; `skipped` and `failures` give the reason why a cell is unavailable here or
    failed during preparation; `remarks` are notes for the user about a setting. `offers` are those of the runtimes asked.
    `probes` are the measurements that `auto` padding is resolved from: milliseconds by channel count.
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
    trained: Mapping[Design, Trained] = field(default_factory=dict)
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
        trained = self.trained.get(cell.design)
        weights = {**(properties_of(trained) if trained else {"weights": f"random, seed {self.seed}"}), **self.notes}
        of_session = runtime_named(cell.deployment.runtime).session
        session = ", ".join([f"in {cell.deployment.precision}", *map("=".join, of_session.items())])
        resolved = {"deployed_channels": to_text(self.channels[cell.id]) or UNPADDED, "measured_with": session, **weights}
        properties = {"cell": cell.id, **{name: str(value) for name, value in settings.items()}, **resolved}
        return About(cell.design.variant, VERSION, properties)

    def model_of(self, cell: Cell, *, symbolic: bool = False, exported: bool = False, file_format: str | None = None) -> bytes:
        """The file that is timed, in the runtime's format or another: the network with its trained weights or random ones.

        With `symbolic`, its batch dimension is symbolic: it takes any batch. With `exported`, it says what it is. Raises
        `CellError` for a cell that has failed already, is unavailable here, or has a file that cannot be built.
        """
        if reason := self.obstacle(cell):
            raise CellError(reason)
        int8 = PRECISIONS[cell.deployment.precision].quantized
        about = self.about(cell, symbolic=symbolic) if exported else None
        file_format = file_format or runtime_named(cell.deployment.runtime).file_format
        with building(self.deployed_layers(cell), int8):  # before weights of that size are made
            logical, weights = self.network(cell)
            deployed = pad_channels(logical, self.channels[cell.id])
            integers = isinstance(weights, Integers)
            arrays = padded_integers(weights, deployed) if isinstance(weights, Integers) else padded(weights, deployed)
            batch = None if symbolic else cell.deployment.batch
            ranges = self.ranges[cell.design] if int8 and not integers else None
            calibration = WITHOUT_CALIBRATION if integers else self.calibration_of(cell.design)
            if file_format != TFLITE:
                return build_onnx(deployed, arrays, batch, ranges, calibration, self.weight_bits, about)
            told = {**about.properties, **metadata(int8, calibration)} if about else {}
            own = tflite_metadata(VERSION, told) if about else None
            return build_tflite(deployed, arrays, batch, ranges, name=cell.design.variant, metadata=own, in_bytes=exported)

    def calibration_of(self, design: Design) -> str:
        """The images that the ranges of a design come from, in words."""
        trained = self.trained.get(design)
        own = trained is not None and bool(trained.ranges) and self.ranges.get(design) is trained.ranges
        return trained.calibrated_on if trained is not None and own else self.calibration

    def has_integers(self, design: Design) -> bool:
        """Whether the design has a network that was trained with quantization."""
        return design in self.trained and self.trained[design].is_quantized

    def network(self, cell: Cell) -> tuple[Sequence[Layer], Weights | Integers]:
        """The logical layers of a cell, and its weights: trained ones where there are any, else seeded random ones.

        In int8, a network that was trained with quantization keeps its integers; in fp32 it becomes the float network that they
        stand for. Raises `CellError` for weights without a classifier.
        """
        trained = self.trained.get(cell.design)
        if trained is None:
            layers = expand(cell.design)
            return layers, random_weights(layers, self.seed)
        if not trained.has_classifier:
            raise CellError(f"its weights have no classifier ({trained.provenance.file})")
        layers, weights = trained.layers(), trained.weights
        if isinstance(weights, Integers) and not PRECISIONS[cell.deployment.precision].quantized:
            weights = dequantized(layers, weights)
        return layers, weights


@contextmanager
def building(layers: Sequence[Layer], int8: bool = False) -> Iterator[None]:
    """Turn whatever prevents the ONNX file of these layers into a `CellError`, also its size, before memory is taken."""
    from google.protobuf.message import EncodeError

    if reason := impossible(onnx_bytes(layers, int8)):
        raise CellError(reason)
    try:
        yield
    except MnsweepError as error:
        raise CellError(str(error)) from None
    except MemoryError:
        raise CellError("its ONNX file cannot be built: there is too little memory") from None
    except (EncodeError, ValueError) as error:
        raise CellError(f"its ONNX file cannot be built: {type(error).__name__}: {error}".splitlines()[0]) from None
