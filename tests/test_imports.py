"""Who imports what: a light start, and floors that import from below only."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
TORCH, RUNTIME = "torch", "onnxruntime"
SLOW_TO_LOAD = ("scipy", "pandas", "matplotlib")  # a third of a second each


def imported(folder: Path, *arguments: str) -> set[str]:
    """Packages and modules that a Python process imported, by its own account."""
    command = [sys.executable, "-X", "importtime", *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert "Traceback" not in ran.stderr, ran.stderr[-2000:]
    return {part for name in re.findall(r"^import time: .*\| +(\S+)$", ran.stderr, re.MULTILINE) for part in prefixes(name)}


def prefixes(name: str) -> set[str]:
    parts = name.split(".")
    return {".".join(parts[:i]) for i in range(1, len(parts) + 1)}


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [
        (["-m", "mnsweep", "--help"], {TORCH, RUNTIME, "onnx", "numpy", "pandas", "matplotlib"}),
        (["-m", "mnsweep", "count", "--alpha", "0.33", "--res", "200"], {TORCH, RUNTIME, *SLOW_TO_LOAD, "msgspec"}),
        (["-m", "mnsweep", "pick", "--max-latency-ms", "10"], {TORCH, RUNTIME, "pandas"}),
        (["-m", "mnsweep", "grid", "--dry-run"], {TORCH, RUNTIME, "pandas", "matplotlib", "scipy.optimize", "scipy.stats"}),
        (["-m", "mnsweep", "rebuild", "."], {TORCH, RUNTIME, "pandas", "scipy.optimize", "scipy.stats"}),
        (["-c", "import mnsweep; mnsweep.count(0.33, 200)"], {TORCH, RUNTIME, "scipy", "matplotlib"}),
        (["-m", "mnsweep", "paper"], {TORCH, RUNTIME, "onnx", "pandas", "matplotlib"}),
        (["-c", "import mnsweep.session"], {TORCH, RUNTIME}),
        (["-c", "import mnsweep.api"], {TORCH, RUNTIME}),
        (["-c", "import mnsweep"], {TORCH, RUNTIME, "onnx", "numpy", "pandas", "matplotlib"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
@pytest.mark.usefixtures("sweep_folder")
def test_the_start_is_light(tmp_path: Path, arguments: list[str], heavy: set[str]) -> None:
    packages = imported(tmp_path, *arguments)
    assert "mnsweep" in packages
    assert not packages & heavy


def test_the_test_above_can_fail(tmp_path: Path) -> None:
    assert TORCH in imported(tmp_path, "-c", "import mnsweep.graph.torch_net")
    assert RUNTIME in imported(tmp_path, "-c", "import onnxruntime")


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("lint-imports")
    return subprocess.run(
        [program, "--no-cache"], capture_output=True, text=True, check=False, cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
    )  # fmt: skip


def test_every_floor_imports_from_below_only() -> None:
    ran = lint_imports(REPOSITORY)
    assert ran.returncode == 0, ran.stdout
    assert " 0 broken" in ran.stdout


@pytest.mark.parametrize(
    ("module", "line"), [("cell", "import mnsweep.space"), ("arch/cost", "import numpy"), ("sweep/store", "import torch")]
)
def test_a_wrong_import_breaks_a_contract(tmp_path: Path, module: str, line: str) -> None:
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    shutil.copytree(REPOSITORY / "mnsweep", tmp_path / "mnsweep", ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "mnsweep" / f"{module}.py").open("a") as file:
        file.write(f"\n{line}\n")
    ran = lint_imports(tmp_path)
    assert ran.returncode == 1, ran.stdout
    assert line.split()[1] in ran.stdout
