"""The latency models of another machine's sweep, for an exploration here to start from."""

from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path

from mnsweep.cell import Deployment
from mnsweep.errors import MnsweepError
from mnsweep.options import at_home
from mnsweep.prediction.deployments import is_modelled, like_models
from mnsweep.prediction.like import FEWEST_THERE, Like
from mnsweep.sweep.derive import read
from mnsweep.sweep.find import is_file, on_all_machines
from mnsweep.sweep.knowledge import Knowledge
from mnsweep.sweep.store import BLOCKS, SweepFolder
from mnsweep.wording import count_of

NAMED = 3  # folders in an error


def like_of(name: str, deployments: Sequence[Deployment], results_dir: Path, own: SweepFolder) -> Like:
    """The models of sweep `name`, or of the sweep in that folder, for `deployments`; fitted to all that was measured there.

    A name may be of a sweep on any one machine, but not of the folder `own` that is explored now. Raises `MnsweepError` where
    there is no such sweep, or where too little was measured of one of the deployments.
    """
    folder = _folder(name, results_dir, own)
    known = read(folder)
    models = like_models(known.sweep.cells, known.latency_ms, known.channels)
    for deployment in deployments:
        if deployment not in models:
            raise _no_model(name, known, deployment, models)
    return Like(folder.read_machine().key, known.sweep.name, tuple(models[deployment] for deployment in deployments))


def _folder(name: str, results_dir: Path, own: SweepFolder) -> SweepFolder:
    path = at_home(name)
    found = [SweepFolder(path)] if name and is_file(path / BLOCKS) else on_all_machines(results_dir, name, own.machine)
    others = [folder for folder in found if folder.path.resolve() != own.path.resolve()]
    elsewhere = [folder for folder in others if folder.machine != own.machine] or others
    if not elsewhere:
        raise MnsweepError(f"`like` {name}: is the sweep to explore itself", "name another one, or use another `name`")
    if len(elsewhere) > 1:
        folders = ", ".join(str(folder.path) for folder in elsewhere[:NAMED])
        raise MnsweepError(
            f"`like` {name}: was measured on {count_of(len(elsewhere), 'other machine')}", f"name one: {folders}"
        )
    return elsewhere[0]


def _no_model(name: str, known: Knowledge, deployment: Deployment, models: Collection[Deployment]) -> MnsweepError:
    cells = [cell for cell in known.cells(known.estimates) if cell.deployment == deployment and is_modelled(cell)]
    if cells:
        text = f"`like` {name}: has {count_of(len(cells), 'measured cell')} with {_words(deployment)}: too few to learn from"
        return MnsweepError(text, f"measure at least {FEWEST_THERE} there")
    fix = f"it has {'; '.join(map(_words, models))}" if models else "name another sweep"
    return MnsweepError(f"`like` {name}: has no measured cells with {_words(deployment)}", fix)


def _words(deployment: Deployment) -> str:
    return ", ".join(f"{name} {value}" for name, value in asdict(deployment).items())
