"""`mnsweep import`: a trained network from somebody else's file, as weights that other commands take."""

from dataclasses import asdict, dataclass
from pathlib import Path

from mnsweep.app.requests import ImportRequest
from mnsweep.app.writing import check_target
from mnsweep.errors import MnsweepError
from mnsweep.importing.read import Asked, import_file
from mnsweep.importing.trained import SUFFIX, Trained, to_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What was imported; `path` is the written file, None if none was asked for."""

    trained: Trained
    path: Path | None


def import_weights(request: ImportRequest) -> Imported:
    """Read a file and write its weights. Raises `MnsweepError` where it is no MobileNet, or can't be read or written."""
    if request.out is not None and request.out.suffix != SUFFIX:
        raise MnsweepError(f"`out` {request.out}: weights are written as safetensors", f"let its name end in {SUFFIX}")
    if request.out is not None:
        check_target("out", request.out, [request.file])
    asked = Asked(res=request.res, conv_padding=request.conv_padding, epsilon=request.epsilon, **asdict(request.pixels))
    trained = import_file(request.file, asked)
    if request.out is not None:
        try:
            request.out.write_bytes(to_bytes(trained))
        except OSError as error:
            raise MnsweepError(f"`out` {request.out}: {error.strerror}") from None
    return Imported(trained=trained, path=request.out)
