"""Every number of every option at its extremes: refused in one line before anything runs, or it works."""

from collections.abc import Iterator
from typing import get_args, get_type_hints

import pytest

from mnsweep.app.exploration import RULES
from mnsweep.app.requests import ExploreRequest, GridRequest
from mnsweep.cli.main import app
from mnsweep.errors import MnsweepError
from mnsweep.options import build, flag, settings_of
from mnsweep.sweep.store import SweepFolder
from tests.fakes import FakeWorker
from tests.fuzz import STATUSES
from tests.test_cli import Run, run

__all__ = ["run"]
SMALL = ("--alpha", "0.25,0.5", "--res", "32")
BASES: dict[str, tuple[str, ...]] = {
    "grid": ("--quick", *SMALL, "--name", "bounds"),
    "explore": ("--alpha", "0.25:1.0:0.05", "--res", "128,160", "--measure", "8", "--verify", "1"),
    "predict": SMALL,
    "pick": ("--max-latency-ms", "5"),
    "count": SMALL,
    "export": ("--alpha", "0.25", "--res", "32", "--out", "m.onnx"),
    "profile": ("--alpha", "0.25", "--res", "32"),
    "paper": (),
    "classify": ("m.onnx", "cat.png"),
    "evaluate": ("m.onnx", "--data", "."),
    "import": ("m.onnx",),
    "compare": (),
    "data": ("letters", "d"),
    "report": (),
    "time": ("m.onnx",),
    "train": ("--data", ".", "--name", "x"),
}
AXES = ("alpha", "res", "threads", "batch", "pad")  # numbers among others, so texts to the command line
VALUES = ("0", "-1", "1e-300", "0.5", "1e10", "1e300", "inf", "nan", "9" * 5000)


def numbers() -> Iterator[tuple[str, str]]:
    """Each option that takes numbers, by command and flag."""
    for command in app.registered_commands:
        for name, hint in get_type_hints(command.callback).items():
            if name in AXES or {int, float} & {hint, *get_args(hint)}:
                yield str(command.name), flag(name)


@pytest.fixture
def made_up(sweep_folder: SweepFolder, monkeypatch: pytest.MonkeyPatch) -> FakeWorker:
    """A written sweep, and a worker that takes no time, for all commands; nothing is drawn."""
    worker = FakeWorker(ms_of=lambda key, deployment: 1.0)
    for module in ("session", "app.classify", "app.evaluate", "app.export", "app.interleave", "app.profile", "app.time"):
        monkeypatch.setattr(f"mnsweep.{module}.WorkerProcess", lambda *_, **__: worker if _ else worker())
    monkeypatch.setattr("mnsweep.sweep.derive._plots", lambda *_: {})
    monkeypatch.setattr("mnsweep.app.profile.draw", lambda *_: {})
    monkeypatch.setattr("mnsweep.app.explore.RULES", RULES.__class__(least_rounds=2, most_rounds=2, least_processes=1))
    return worker


@pytest.mark.parametrize(("command", "name"), numbers())
def test_a_number_is_refused_before_anything_runs_or_works(made_up: FakeWorker, run: Run, command: str, name: str) -> None:
    for value in VALUES:
        started = made_up.started
        ran = run(command, *BASES[command], f"{name}={value}")
        assert ran.code in STATUSES and "Traceback" not in ran.err, (value, ran)
        if ran.code == 2:
            assert ran.err.count("mnsweep: ") == 1 and len(ran.err) < 600, (value, ran)
            assert made_up.started == started, (value, "it ran first", ran.err[-400:])


def test_all_commands_with_numbers_are_tried() -> None:
    tried = set(numbers())
    assert {command for command, _ in tried} == set(BASES)
    assert {("grid", "--max-latency-ms"), ("grid", "--sustain-s"), ("export", "--seed"), ("pick", "--margin-pct")} <= tried
    assert len(tried) > 45


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--max-latency-ms", "0"),
        ("--cell-timeout-s", "inf"),
        ("--cell-timeout-s", "1e10"),
        ("--time-budget-s", "nan"),
        ("--ci-pct", "nan"),
        ("--sustain-s", "inf"),
    ],
)
def test_what_ended_a_sweep_in_its_middle_is_refused(run: Run, flag: str, value: str) -> None:
    ran = run("grid", *SMALL, flag, value)
    assert ran.code == 2 and flag in ran.err and ran.err.count("\n") == 1


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), -float("inf"), 10**400, -(10**400), 10**5000, -1.0], ids=lambda _: ""
)
@pytest.mark.parametrize("name", ["ci_pct", "time_budget_s", "max_latency_ms", "cell_timeout_s", "sustain_s"])
def test_python_is_held_to_the_same_bounds(name: str, value: float) -> None:
    if (name, value) == ("time_budget_s", float("inf")):
        return  # without a limit: see below
    with pytest.raises(MnsweepError, match=rf"`{name}` .* is not a finite number of at least") as caught:
        build(GridRequest, {name: value})
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("request_kind", [GridRequest, ExploreRequest])
def test_only_a_time_budget_may_be_endless(request_kind: type) -> None:
    assert build(request_kind, {"time_budget_s": float("inf")}).measuring.time_budget_s == float("inf")
    assert [s.name for s in settings_of(request_kind) if s.option.endless] == ["time_budget_s"]


def test_the_defaults_are_within_their_bounds() -> None:
    defaults = {s.name: s.default for s in settings_of(GridRequest) if not s.is_required}
    assert build(GridRequest, defaults) == GridRequest()
