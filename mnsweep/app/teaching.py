"""Teachers for a training: MobileNets and TorchScript run in torch, other ONNX and TensorFlow Lite files in a worker."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mnsweep.accuracy.scores import Probabilities
from mnsweep.app.models import ONNX, TFLITE, Classifier, Wanted, open_classifier
from mnsweep.cell import Design
from mnsweep.errors import MnsweepError, UnavailableError
from mnsweep.importing.read import import_file
from mnsweep.machine.fingerprint import Machine
from mnsweep.pictures.pixels import Pixels
from mnsweep.pictures.preprocessing import Preprocessing
from mnsweep.tasks.kinds import kind_of
from mnsweep.training.objectives.objective import Teacher
from mnsweep.training.teacher import of_pixels, open_teacher
from mnsweep.worker.proxy import CellError, NewWorker

KEY = "teacher"


@contextmanager
def teaching(
    path: Path | None, design: Design, own: Preprocessing, machine: Machine, new_worker: NewWorker
) -> Iterator[Teacher | None]:
    """The teacher of a file for students of `design` whose input is made as `own`; None without a file.

    Raises `MnsweepError` where the file can't be read, or has other classes.
    """
    if path is None:
        yield None
    elif _is_of_a_worker(path):
        classifier = open_classifier(path, Wanted(), machine, new_worker)
        with _asked(path, classifier, design, own, new_worker) as teacher:
            yield teacher
    else:
        yield open_teacher(path, design.classes, design.resolution, own)


def _is_of_a_worker(path: Path) -> bool:
    """Whether it is a file that runs, and no MobileNet that torch runs faster."""
    if path.suffix.lower() not in (ONNX, TFLITE):
        return False
    try:
        return not import_file(path).has_classifier
    except MnsweepError:
        return True


@contextmanager
def _asked(path: Path, classifier: Classifier, design: Design, own: Preprocessing, new_worker: NewWorker) -> Iterator[Teacher]:
    with new_worker() as worker:
        try:
            if obstacle := worker.offer(classifier.runtime).obstacle:
                raise UnavailableError(f"`teacher` {path}: {obstacle}")
            worker.classifier(KEY, classifier.content, classifier.runtime, classifier.precision, 1)
        except CellError as error:
            raise MnsweepError(f"`teacher` {path}: {classifier.runtime} does not run it: {error}") from None
        offset, chooses = classifier.label_offset or 0, kind_of(design.task).chooses
        softmax = classifier.has_softmax or not chooses

        def outputs(pixels: Pixels) -> Probabilities:
            told = worker.classify(KEY, pixels, classifier.preprocessing, has_softmax=softmax)
            return told.probabilities[:, offset:]

        yield of_pixels(outputs, path, design.classes, classifier.resolution, own, chooses=chooses)
