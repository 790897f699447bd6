"""Starting: `--help` against a bare typer program, `count` of one cell, `rebuild` of 16, `pick` on 5,000."""

import compileall
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import mnsweep
from mnsweep.estimate.fit import Estimate
from mnsweep.machine.fingerprint import read_machine
from mnsweep.space import Space
from mnsweep.sweep.cells_file import from_csv, to_csv
from mnsweep.sweep.store import CELLS, SweepFolder
from mnsweep.sweep.table import measured_table
from tests.bench.figure import Figures, interleaved_ratio, seconds

REFERENCE = Path(__file__).parents[2] / "results" / "reference" / "paper"  # 16 cells
BARE = """
import typer
app = typer.Typer()

@app.command()
def one(alpha: str = "1", res: int = 2) -> None:
    "One thing."

@app.command()
def two(alpha: str = "1", res: int = 2) -> None:
    "Another thing."

app()
"""


def call(*command: str, cwd: str | None = None) -> None:
    subprocess.run(command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)


def _estimate(p50_ms: float) -> Estimate:
    exact = {"ci_low_ms": 1.0, "ci_high_ms": 1.1 * p50_ms, "relative_ci_pct": 1.0, "p90_ms": None, "p99_ms": None}
    return Estimate(p50_ms=p50_ms, **exact, samples=100, rounds=20, stability="stable")  # type: ignore[arg-type]


def write_large_sweep(results: Path) -> None:
    cells = Space(alpha="0.25:1.24:0.01", res="128:226:2").cells()
    assert len(cells) == 5_000
    estimates = {cell.id: _estimate(cell.design.alpha * 10) for cell in cells}
    folder = SweepFolder(results / "large" / read_machine().key)
    folder.replace(CELLS, to_csv(measured_table(cells, estimates, "slim-2018-08")))


if __name__ == "__main__":
    figures = Figures()
    compileall.compile_dir(Path(mnsweep.__file__).parent, quiet=1)  # as pip leaves an installed package
    program = str(Path(sys.executable).with_name("mnsweep"))
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder) / "bare.py"
        bare.write_text(BARE)
        ratio = interleaved_ratio(lambda: call(program, "--help"), lambda: call(sys.executable, str(bare), "--help"), 15)
        figures.at_most("mnsweep --help against a bare typer program", ratio, 1.3, "×")
        count = seconds(lambda: call(program, "count", "--alpha", "0.33", "--res", "200"))
        figures.at_most("mnsweep count of one cell", count, 0.6, "s")
        count_in_python = seconds(lambda: call(sys.executable, "-c", "import mnsweep; mnsweep.count(0.33, 200)"))
        figures.report("mnsweep.count of one cell, from Python", count_in_python, "s")
        shutil.copytree(REFERENCE, Path(folder) / "paper")
        rebuild = seconds(lambda: call(program, "rebuild", str(Path(folder) / "paper")))
        figures.at_most("mnsweep rebuild of 16 cells", rebuild, 2.0, "s")
        write_large_sweep(Path(folder) / "results")
        pick = seconds(lambda: call(program, "pick", "--max-latency-ms", "8", cwd=folder))
        figures.at_most("mnsweep pick on 5,000 cells", pick, 0.5, "s")
        (table,) = Path(folder).glob(f"results/large/*/{CELLS}")
        text = table.read_text()
        figures.at_most("reading 5,000 cells", seconds(lambda: from_csv(text, table)), 0.15, "s")
    figures.finish()
