"""Import a file of any known format: recognize it, read its operators, match them, and say where the network comes from."""

import importlib
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mnsweep.errors import MnsweepError, UnavailableError
from mnsweep.importing.families import FAMILIES, label_offset
from mnsweep.importing.infer import Given, network_of
from mnsweep.importing.operators import Source
from mnsweep.importing.trained import Provenance, Trained, is_ours, read_trained, sha256_of
from mnsweep.importing.walk import walk
from mnsweep.pictures.preprocessing import Preprocessing, from_document

MOST_REASON = 200  # letters of a parser's own words
MOST_MB = 2_000  # the largest MobileNet in fp32 has 70 MB
READERS = {  # by the end of a file's name: the module that reads it, and the packages that it needs
    ".tflite": "tflite_file",
    ".lite": "tflite_file",
    ".h5": "keras_file",
    ".hdf5": "keras_file",
    ".keras": "keras_file",
    ".onnx": "onnx_graph",
    ".safetensors": "state_dict",
    ".pth": "torch_file",
    ".pt": "torch_file",
    ".bin": "torch_file",
    ".index": "slim_checkpoint",
}
HOLD_ARRAYS_ALONE = (
    "state_dict",
    "torch_file",
    "keras_file",
    "slim_checkpoint",
)  # their readers are told what the arrays leave unsaid
DAMAGE = (  # what parsers raise for bytes that are not what they should be
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the user says beside the file; None leaves it to the file, and where that is silent to its family."""

    res: int | None = None
    conv_padding: str | None = None
    epsilon: float | None = None
    label_offset: int | None = None
    mean: float | None = None
    std: float | None = None
    crop: str | None = None
    interpolation: str | None = None


NOTHING_ASKED = Asked()


def import_file(path: Path, asked: Asked = NOTHING_ASKED) -> Trained:
    """The trained network in a file. It is read as untrusted data: nothing in it is executed, no other file is opened.

    Raises `MnsweepError`, which names the file, and what does not fit in it; `UnavailableError` where a package is missing.
    """
    _check_file(path)
    if path.suffix.lower() == ".safetensors" and is_ours(path):
        return read_trained(path)
    with _naming(path):
        return _imported(path, asked)


def read_source(path: Path) -> Source:
    """The operators in a file, whatever network they are. Raises as `import_file` does."""
    _check_file(path)
    with _naming(path):
        return _read(path, NOTHING_ASKED)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Name the file in whatever is wrong with it."""
    try:
        yield
    except UnavailableError:
        raise
    except MnsweepError as error:
        raise MnsweepError(f"{path}: {error.what}", error.fix) from None
    except DAMAGE as error:
        reason = " ".join(str(error).split())[:MOST_REASON]
        raise MnsweepError(f"{path}: is damaged or of another format ({type(error).__name__}: {reason})") from None


def _check_file(path: Path) -> None:
    try:
        if not path.is_file():
            raise MnsweepError(f"{path}: is not a file" if path.exists() else f"{path}: no such file")
        size_mb = path.stat().st_size / 1e6
    except OSError as error:
        raise MnsweepError(f"{path}: {error.strerror}") from None
    if path.suffix.lower() not in READERS:
        what = f"{path}: {path.suffix or 'a file without a suffix'} is no known format"
        raise MnsweepError(what, f"known: {', '.join(READERS)}")
    if not size_mb:
        raise MnsweepError(f"{path}: is empty", "was it downloaded or copied whole?")
    if size_mb > MOST_MB:
        raise MnsweepError(f"{path}: has {size_mb:,.0f} MB; no MobileNet has more than {MOST_MB:,}")


def _read(path: Path, asked: Asked) -> Source:
    name = READERS[path.suffix.lower()]
    try:
        reader = importlib.import_module(f"mnsweep.importing.{name}")
    except ModuleNotFoundError as error:
        raise UnavailableError(f"{path}: reading it needs {error.name}", f"pip install {error.name}") from None
    given = {"conv_padding": asked.conv_padding, "epsilon": asked.epsilon} if name in HOLD_ARRAYS_ALONE else {}
    source: Source = reader.read(path, **given)
    return source


def _imported(path: Path, asked: Asked) -> Trained:
    source = _read(path, asked)
    chain = walk(source)
    design, weights = network_of(chain, source, Given(res=asked.res, conv_padding=asked.conv_padding, epsilon=asked.epsilon))
    assumed = [*source.assumed]
    pixels = chain.preprocessing
    if pixels is None:
        pixels = FAMILIES[source.family].preprocessing
        if asked.mean is None:
            assumed.append(f"input values from {pixels.range[0]:g} to {pixels.range[1]:g}")
    trained = Trained(
        design=design,
        weights=weights,
        preprocessing=_preprocessing(pixels, asked),
        provenance=Provenance(
            path.name,
            sha256_of(path),
            source.family,
            label_offset=label_offset(design.classes) if asked.label_offset is None else asked.label_offset,
            license=source.license,
            assumed=tuple(assumed),
            ignored=tuple(chain.ignored),
            labels=source.labels,
        ),
    )
    trained.check()
    return trained


def _preprocessing(pixels: Preprocessing, asked: Asked) -> Preprocessing:
    names = ("mean", "std", "crop", "interpolation")
    given = {name: value for name in names if (value := getattr(asked, name)) is not None}
    return from_document(given, pixels)
