"""A Dask cluster: measuring on each machine once, work on any worker, in clear on the loopback interface only."""

import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mnsweep
from mnsweep.app import shards, train_elsewhere
from mnsweep.app.elsewhere import grid_on
from mnsweep.app.fleet import status
from mnsweep.app.requests import EvaluateRequest, GridRequest, TrainRequest
from mnsweep.app.train_plan import plan_train
from mnsweep.errors import MnsweepError
from mnsweep.fleet import cluster, tasks
from mnsweep.fleet.cluster import checked_address, run_all
from mnsweep.fleet.local import local_cluster
from mnsweep.fleet.watching import Watcher
from mnsweep.machine.fingerprint import read_machine
from mnsweep.options import request_from
from mnsweep.sweep.store import BLOCKS, SweepFolder
from tests import far, preload
from tests.conftest import write_folder
from tests.test_cli import Run, run

__all__ = ["run"]
dask, distributed = pytest.importorskip("dask"), pytest.importorskip("distributed")
pytestmark = pytest.mark.filterwarnings("ignore")  # Dask's own


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path, Path]]:
    """The address of two workers on one machine that plays back, what it plays, and its home."""
    recorded = write_folder(SweepFolder(tmp_path_factory.mktemp("recorded") / "grid" / "m")).path
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(far.ROOT))
        for name, value in ((preload.RECORDED, recorded), (preload.HOME, home), (preload.PACE, 0.005)):
            patch.setenv(name, str(value))
        patch.setenv("MNSWEEP_LOCK_DIR", str(home))
        with dask.config.set({"distributed.worker.preload": ["tests.preload"]}), local_cluster(2) as address:
            yield address, recorded, home


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MNSWEEP_PLOTS", "none")
    monkeypatch.delenv("MNSWEEP_RESULTS", raising=False)


def test_two_workers_on_one_machine_measure_once(made_up: tuple[str, Path, Path]) -> None:
    address, recorded, home = made_up
    (found,) = status(None, address)
    assert (found.workers, found.can_measure, found.can_train, found.machine) == (2, True, True, read_machine().key)
    measured = grid_on(request_from(GridRequest, fleet=address, alpha=0.25, res=128))
    assert list(measured.outcomes) == [read_machine().key] and not measured.troubles
    (here,) = Path("results").glob(f"grid/*/{BLOCKS}")
    (there,) = home.glob(f".local/share/mnsweep/results/grid/*/{BLOCKS}")
    assert here.read_bytes() == there.read_bytes() == (recorded / BLOCKS).read_bytes()


def echo(text: str, said: str) -> str:
    """A task: says what it was told, and fails where that is `bad`; `wait` outlives the worker it was given to first."""
    tasks._queue(said).put(f"{text}\theard {text}")
    if text == "bad":
        raise MnsweepError("it was bad", "be good")
    if text.startswith("wait "):
        mark = Path(text[5:])
        if not mark.exists():
            mark.touch()
            time.sleep(60)
    return text.upper()


def test_work_goes_to_any_worker_and_on_from_a_lost_one(made_up: tuple[str, Path, Path], tmp_path: Path) -> None:
    address, *_ = made_up
    heard = set[str]()

    class Heard(Watcher):
        def said(self, host: str, text: str) -> None:
            heard.add(text)

    waits = f"wait {tmp_path / 'mark'}"

    def errands(workers: int, cpus: int) -> Mapping[str, str]:
        assert workers == 2 and cpus >= 1
        return {"a": "a", "b": "bad", "c": waits}

    def kill() -> None:
        while not (tmp_path / "mark").exists():
            time.sleep(0.05)
        with distributed.Client(address) as client:
            client.run(_leave, nanny=False, on_error="ignore")

    killer = threading.Thread(target=kill)
    killer.start()
    done = run_all(address, echo, errands, Heard(), insecure=False)
    killer.join()
    assert done.texts == {"a": "A", "c": waits.upper()} and "it was bad" in done.troubles["b"].what
    assert {"heard a", "heard bad"} <= heard


def _leave() -> None:
    if not os.environ.get("_GONE"):
        os._exit(9)


def environment(text: str, said: str) -> str:
    """A task: how much a command of the worker would find in its environment of what a nanny puts there."""
    tasks.forget_the_nanny()
    return str(sum(name in os.environ for name in dask.config.get("distributed.nanny.pre-spawn-environ")))


def test_commands_run_as_they_do_outside_of_dask(made_up: tuple[str, Path, Path]) -> None:
    """A nanny tells the allocator to return memory at once, which slows down what is timed or trained."""
    done = run_all(made_up[0], environment, lambda workers, cpus: {"a": ""}, Watcher(), insecure=False)
    assert done.texts == {"a": "0"} and len(dask.config.get("distributed.nanny.pre-spawn-environ")) > 0


def test_addresses_in_clear_are_of_this_machine_only() -> None:
    for good in ("tcp://127.0.0.1:8786", "tcp://localhost:8786", "tcp://[::1]:1", "tls://10.0.0.4:8786"):
        assert checked_address(good, insecure=False) == good
    assert checked_address("tcp://10.0.0.4:8786", insecure=True)
    with pytest.raises(MnsweepError, match="anybody on the way could read it"):
        checked_address("tcp://10.0.0.4:8786", insecure=False)
    for bad in ("10.0.0.4", "tcp://", "tcp://h", "http://h:1", "tcp://h:x", "tcp://h:99999999"):
        with pytest.raises(MnsweepError, match="no address of a scheduler"):
            checked_address(bad, insecure=True)


def test_nobody_there_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "CONNECT_S", 0.5)
    done = run("grid", "--quick", "--fleet", "tcp://127.0.0.1:1")
    assert done.code == 2 and done.err.count("\n") == 1 and "no scheduler answers" in done.err
    monkeypatch.setattr(tasks, "import_module", lambda name: __import__("no_such_module"))
    done = run("grid", "--quick", "--fleet", "tcp://127.0.0.1:1")
    assert done.code == 4 and "pip install 'mnsweep[fleet]'" in done.err


@contextmanager
def encrypted(folder: Path) -> Iterator[str]:
    """A scheduler with TLS and no workers; the configuration is in the environment, as users have it."""
    certificate = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run(
        [*certificate, *names, "-keyout", "key.pem", "-out", "cert.pem"], cwd=folder, check=True, capture_output=True
    )
    roles = [(role, kind) for role in ("scheduler", "client", "worker") for kind in ("cert", "key")]
    files: dict[str, Any] = {f"tls_{role}_{kind}": str(folder / f"{kind}.pem") for role, kind in roles}
    security = distributed.Security(require_encryption=True, tls_ca_file=str(folder / "cert.pem"), **files)
    options = {"host": "tls://127.0.0.1", "security": security, "dashboard": False}
    scheduler = {"cls": distributed.Scheduler, "options": options}
    with distributed.SpecCluster(scheduler=scheduler, security=security) as made:
        yield str(made.scheduler_address)


def test_an_encrypted_scheduler_needs_the_certificates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "CONNECT_S", 2.0)
    with encrypted(tmp_path) as address:
        assert address.startswith("tls://")
        with pytest.raises(MnsweepError, match="no scheduler answers"):
            status(None, address)
        own = {f"distributed.comm.tls.client.{name}": str(tmp_path / f"{name}.pem") for name in ("cert", "key")}
        with dask.config.set({"distributed.comm.tls.ca-file": str(tmp_path / "cert.pem"), **own}):
            assert status(None, address) == []
            with pytest.raises(MnsweepError, match="none of 0 workers offers MEASURE"):
                grid_on(request_from(GridRequest, fleet=address))


# What is asked of trainers.


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return mnsweep.data("glyphs", tmp_path / "glyphs", images=32, validation=16, size=32)


def test_each_network_is_an_errand_of_its_own(pictures: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = Path("s.toml")
    sweep.write_text('alpha = [0.25, 0.5]\nres = [32, 64]\nprecision = ["fp32", "int8"]\n')
    settings = {"data": pictures, "name": "r", "sweep": str(sweep), "set": "epochs=1", "fleet": "tcp://127.0.0.1:1"}
    asked: dict[str, Any] = {}

    def run_here(address: str, task: Any, errands: Any, watcher: Watcher, *, insecure: bool) -> cluster.Done:
        asked.update({name: json.loads(text) for name, text in errands(2, 1).items()})
        return cluster.Done({}, {name: MnsweepError("lost") for name in asked})

    monkeypatch.setattr(train_elsewhere, "run_all", run_here)
    done = train_elsewhere.train_elsewhere(request_from(TrainRequest, **settings))
    assert len(asked) == 4 == len(done.failures) and all(each["threads"] == 1 for each in asked.values())
    words = asked["a0.5_r64_c16"]["words"]
    planned = run(*words, "--dry-run", "--json")
    assert planned.code == 0, planned.err
    (training,) = planned.json["plan"]
    assert training["cell"] == "a0.5_r64_c16"
    shared = train_elsewhere.train_elsewhere(request_from(TrainRequest, **settings, share_resolutions=True))
    assert len(shared.failures) == 4
    plan = plan_train(request_from(TrainRequest, **settings, share_resolutions=True), read_machine())
    assert list(train_elsewhere._families(plan.trainings)) == ["a0.25_r64_c16", "a0.5_r64_c16"]


def test_pictures_in_shards_answer_as_all_of_them(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mnsweep.export(0.25, 32, "m.onnx", classes=16)
    said = list[str]()

    def run_here(address: str, task: Any, errands: Any, watcher: Watcher, *, insecure: bool) -> cluster.Done:
        texts = errands(1, 1)
        said.extend(texts)
        return cluster.Done({name: task(text, "") for name, text in reversed(texts.items())}, {})

    monkeypatch.setattr(shards, "run_all", run_here)
    settings = {"model": "m.onnx", "data": pictures / "train", "mean": 127.5, "std": 127.5, "label_offset": 0}
    alone = mnsweep.evaluate("m.onnx", pictures / "train", mean=127.5, std=127.5, label_offset=0)
    together = shards.evaluate_elsewhere(request_from(EvaluateRequest, **settings, fleet="tcp://127.0.0.1:1"))
    assert len(said) == 2 and together.score is not None
    assert together.score.quality_pct == alone["top1_pct"][0] and together.images == 32
    Path("other.onnx").write_bytes(Path("m.onnx").read_bytes() + b"\n")
    shard = json.loads(json.dumps({"model": "other.onnx", "sha256": "0" * 64, "wanted": {}, "pictures": []}))
    with pytest.raises(MnsweepError, match="is another file there"):
        shards.answer_shard(json.dumps(shard), "")
    assert np.isfinite(together.images_per_s)
