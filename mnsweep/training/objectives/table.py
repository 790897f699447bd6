"""Objectives by kind of label. To add one, add a row here and in `tasks/kinds.py`."""

from collections.abc import Callable

from mnsweep.cell import Design
from mnsweep.names import TASKS
from mnsweep.tasks.kind import Examples
from mnsweep.training.objectives.attributes import AttributeObjective
from mnsweep.training.objectives.boxes import BoxObjective
from mnsweep.training.objectives.classes import ClassObjective, PlaceObjective
from mnsweep.training.objectives.identities import IdentityObjective
from mnsweep.training.objectives.objective import Objective
from mnsweep.training.objectives.proposals import ProposalObjective
from mnsweep.training.recipe import Recipe

Maker = Callable[[Design, Examples, Recipe], Objective]
_OBJECTIVES: dict[str, Maker] = {
    "classes": lambda design, examples, recipe: ClassObjective(design.classes),
    "attributes": lambda design, examples, recipe: AttributeObjective(),
    "identities": lambda design, examples, recipe: IdentityObjective(examples),
    "places": lambda design, examples, recipe: PlaceObjective(examples),
    "boxes": lambda design, examples, recipe: BoxObjective(examples, recipe),
    "boxes in two stages": lambda design, examples, recipe: ProposalObjective(examples, recipe),
}


def objective_of(design: Design, validation: Examples, recipe: Recipe) -> Objective:
    """What networks of this design learn; `validation` are the pictures that each epoch is scored on."""
    task = TASKS[design.task]
    two_stages = task.learns == "boxes" and task.head == "faster-rcnn"
    return _OBJECTIVES["boxes in two stages" if two_stages else task.learns](design, validation, recipe)
