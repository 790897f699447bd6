"""Made-up workers and clocks: nothing runs and nothing waits, what is asked is noted, and what fails is settable."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from random import Random
from typing import Any, Self

import numpy as np
import onnx
from numpy.typing import NDArray

from mnsweep.cell import Deployment, parse_cell
from mnsweep.pictures.pixels import Pixels
from mnsweep.pictures.preprocessing import Preprocessing
from mnsweep.worker.base import Array, Input, Model, NodeTime, Offer
from mnsweep.worker.classify import Answers
from mnsweep.worker.proxy import CellError, WorkerLostError
from mnsweep.worker.timing import Timing

TIMED_OUT = "no answer within 60 s (`cell_timeout_s`)"


@dataclass(slots=True)
class FakeClock:
    """Time that passes only when it is spent, and not even then once it is `stopped`."""

    now_s: float = 0.0
    stopped: bool = False

    def advance(self, seconds: float) -> None:
        self.now_s += 0.0 if self.stopped else seconds

    def s(self) -> float:
        return self.now_s

    def ns(self) -> int:
        return round(self.now_s * 1e9)


def by_pixels(key: str, deployment: Deployment) -> float:
    """Milliseconds of a run that grow with pixels and channels, as mult-adds of the pointwise layers nearly do."""
    design = parse_cell(key).design
    return 200e-6 * design.alpha * design.resolution**2


@dataclass(eq=False, kw_only=True)
class FakeWorker:
    """Every worker of a made-up machine: calling it starts another, so that it is a `Worker` and a `NewWorker`.

    Truth: `ms_of` tells the milliseconds of a run, a block moves by `noise_pct`, always alike for one `seed`, its runs
    are multiples `runs` of that and the one before them `first`. With a `clock` a block takes its time on it, and has as
    many runs as were asked for. `chain_ns` are the padding chains of a probe, `offers` the runtimes.

    Trouble: keys that it `refuses` to open, a key it is `lost_at`, blocks that are `disturbed` (a key, or a key and the
    number of its block), Ctrl-C after `interrupted_after` blocks, and whatever `before` raises, which hears each request.
    """

    ms_of: Callable[[str, Deployment], float] = by_pixels
    noise_pct: float = 0.1
    seed: int = 0
    runs: Sequence[float] = (1.0, 1.0002, 1.0004, 1.0001, 1.0)
    first: float = 1.0
    clock: FakeClock | None = None
    chain_ns: Callable[[int], float] = lambda count: 1000 * count if count % 8 == 0 else 3000 * count  # blocks of 8
    version: str = "1.0"
    offers: Mapping[str, Offer] = field(default_factory=dict)
    nodes_of: Callable[[bytes], list[NodeTime]] = lambda model: []
    bytes_per_s: float | None = 20e9
    probabilities_of: Callable[[Pixels], NDArray[np.float32]] = lambda pixels: np.zeros((len(pixels), 2), np.float32)
    inputs_of: Sequence[Input] = (Input("image", "float32", (1, 3, 8, 8)),)
    refuses: Collection[str] = ()
    lost_at: str | None = None
    disturbed: Collection[str] = ()
    interrupted_after: int | None = None
    before: Callable[..., None] = lambda verb, *arguments: None
    started: int = 0
    requests: list[tuple[Any, ...]] = field(default_factory=list)  # (verb, *arguments)
    asked: Counter[str] = field(default_factory=Counter)  # runtimes, ranges and chains
    opened: Counter[str] = field(default_factory=Counter)
    blocks: Counter[str] = field(default_factory=Counter)
    deployments: dict[str, Deployment] = field(default_factory=dict)

    def __call__(self) -> Self:
        return self

    def __enter__(self) -> Self:
        self.started += 1
        return self

    def __exit__(self, *exc: object) -> None: ...

    def arguments_of(self, verb: str) -> list[tuple[Any, ...]]:
        """What was asked with this verb, in order."""
        return [request[1:] for request in self.requests if request[0] == verb]

    def _hear(self, *request: Any) -> None:
        self.requests.append(request)
        self.before(*request)

    def ready(self) -> None: ...

    def pin(self, threads: int) -> None:
        self._hear("pin", threads)

    def offer(self, runtime: str) -> Offer:
        self.asked[runtime] += 1
        self._hear("offer", runtime)
        return self.offers.get(runtime, Offer(self.version, ("fp32", "int8")))

    def ranges(self, model: bytes, images: Sequence[Array]) -> dict[str, tuple[float, float]]:
        self.asked["ranges"] += 1
        self._hear("ranges", model, images)
        names = [output.name for output in onnx.load_from_string(model).graph.output]
        return dict.fromkeys(["image", *names], (-1.0, 6.0))

    def inputs(self, path: Path, runtime: str) -> list[Input]:
        self._hear("inputs", path, runtime)
        if path.name in self.refuses:
            raise CellError("not today")
        return list(self.inputs_of)

    def open(self, key: str, model: Model, deployment: Deployment) -> None:
        if "chain" in key:
            self.asked["chain"] += 1
        else:
            self.opened[key] += 1
        self._hear("open", key, model, deployment)
        if key in self.refuses:
            raise CellError("not today")
        self.deployments[key] = deployment

    def node_times(self, model: bytes, deployment: Deployment, runs: int) -> list[NodeTime]:
        self._hear("node_times", model, deployment, runs)
        return self.nodes_of(model)

    def classifier(self, key: str, content: bytes, runtime: str, precision: str, threads: int) -> None:
        self._hear("classifier", key, content, runtime, precision, threads)

    def classify(self, key: str, pixels: Pixels, preprocessing: Preprocessing, *, has_softmax: bool) -> Answers:
        self._hear("classify", key, pixels, preprocessing, has_softmax)
        return Answers(self.probabilities_of(pixels), 1e-3 * len(pixels))

    def bandwidth(self, threads: int) -> float:
        self._hear("bandwidth", threads)
        if self.bytes_per_s is None:
            raise CellError("MemoryError")
        return self.bytes_per_s

    def time(self, key: str, min_runs: int, min_ms: float) -> Timing:
        self._hear("time", key, min_runs, min_ms)
        if "chain" in key:
            ns = round(self.chain_ns(int(key.split()[-1])))
            return Timing(ns, (ns,) * 5)
        self.blocks[key] += 1
        if key == self.lost_at:
            raise WorkerLostError(TIMED_OUT)
        if self.interrupted_after is not None and self.blocks.total() > self.interrupted_after:
            raise KeyboardInterrupt
        return self._block(key, f"{key} {self.blocks[key]}", min_runs, min_ms)

    def _block(self, key: str, name: str, min_runs: int, min_ms: float) -> Timing:
        moved = 1 + Random(f"{name} {self.seed}").gauss(0, self.noise_pct / 100)
        ns, runs = 1e6 * self.ms_of(key, self.deployments[key]) * moved, self.runs
        if self.clock:
            runs = (1.0,) * max(min_runs, ceil(min_ms * 1e6 / ns))
            self.clock.advance((len(runs) + 1) * ns / 1e9)
        disturbed = ("made up",) if {key, name} & {*self.disturbed} else ()
        return Timing(round(self.first * ns), tuple(round(run * ns) for run in runs), disturbed)
