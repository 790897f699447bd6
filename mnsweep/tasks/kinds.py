"""The kinds of labels by name. To add one, add a row here and in `training/objectives/table.py`."""

from mnsweep.names import TASKS
from mnsweep.tasks.attributes import Attributes
from mnsweep.tasks.boxes import Boxes
from mnsweep.tasks.classes import Classes
from mnsweep.tasks.identities import Identities
from mnsweep.tasks.kind import Kind
from mnsweep.tasks.places import Places

KINDS: dict[str, Kind] = {
    "classes": Classes(),
    "attributes": Attributes(),
    "identities": Identities(),
    "places": Places(),
    "boxes": Boxes(),
}


def kind_of(task: str) -> Kind:
    """The kind of label that a task learns from."""
    return KINDS[TASKS[task].learns]
