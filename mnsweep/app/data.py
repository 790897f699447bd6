"""`mnsweep data`: generate a data set to train on."""

from collections.abc import Callable
from pathlib import Path

from mnsweep.app.requests import DataRequest
from mnsweep.errors import MnsweepError
from mnsweep.machine.fingerprint import read_machine
from mnsweep.pictures.glyphs import write_glyphs

GLYPHS = "glyphs"


def make_data(request: DataRequest, progress: Callable[[str, int, int], None] = lambda what, of, done: None) -> Path:
    """Write the data set as class folders, train/ and val/. Raises `MnsweepError` for an unknown one or a folder in use."""
    if request.name != GLYPHS:
        raise MnsweepError(f"`name` {request.name!r:.40}: no such data set", f"choose {GLYPHS}")
    total = request.images + request.validation
    for done in write_glyphs(
        request.folder,
        train=request.images,
        validation=request.validation,
        size=request.size,
        seed=request.seed,
        processes=read_machine().usable_threads,
    ):
        progress(GLYPHS, total, done)
    return request.folder
