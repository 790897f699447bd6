"""`mnsweep data`: generate a data set to train on."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mnsweep.app.requests import DataRequest
from mnsweep.errors import MnsweepError
from mnsweep.machine.fingerprint import read_machine
from mnsweep.pictures.faces import write_faces
from mnsweep.pictures.generated import Wanted
from mnsweep.pictures.glyphs import write_glyphs
from mnsweep.pictures.landscapes import write_places
from mnsweep.pictures.scenes import write_scenes


@dataclass(frozen=True, slots=True)
class DataSet:
    """A data set: what writes it, and the tasks that it is for, each with what to evaluate on, from its folder."""

    write: Callable[[Path, Wanted, int], Iterator[int]]
    tasks: dict[str, str]


DATA_SETS = {
    "glyphs": DataSet(write_glyphs, {"classify": "val", "dogs": "val"}),
    "scenes": DataSet(write_scenes, {"ssd": "", "faster-rcnn": ""}),
    "faces": DataSet(write_faces, {"attributes": "val", "embedding": "val"}),
    "places": DataSet(write_places, {"planet": "val"}),
}
WITH_CLASSES = "glyphs"


def make_data(request: DataRequest, progress: Callable[[str, int, int], None] = lambda what, of, done: None) -> Path:
    """Write the data set into a new folder. Raises `MnsweepError` for an unknown one or a folder in use."""
    if request.name not in DATA_SETS:
        raise MnsweepError(f"`name` {request.name!r:.40}: no such data set", f"choose from {', '.join(DATA_SETS)}")
    if request.wrong_labels and request.name != WITH_CLASSES:
        raise MnsweepError(f"`wrong_labels` {request.wrong_labels:g}: {request.name} has no classes", f"use {WITH_CLASSES}")
    total = request.images + request.validation
    wanted = Wanted(request.images, request.validation, request.size, request.seed, request.wrong_labels)
    for done in DATA_SETS[request.name].write(request.folder, wanted, read_machine().usable_threads):
        progress(request.name, total, done)
    return request.folder
