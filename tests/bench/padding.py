"""What zero-padding channels gains, on the cells of sweeps/cliffs.toml: the paper's widths against `auto`, interleaved."""

import tempfile
from statistics import geometric_mean

import mnsweep
from mnsweep.machine.fingerprint import read_machine
from tests.bench.figure import Figures

STEEP = (0.3, 0.35, 0.45, 0.55, 0.6, 0.7)

if __name__ == "__main__":
    figures = Figures()
    with tempfile.TemporaryDirectory() as folder:
        table = mnsweep.grid(sweep="sweeps/cliffs.toml", results_dir=folder)
    ms = table.pivot(index="alpha", columns="pad", values="latency_p50_ms")
    ci = table.pivot(index="alpha", columns="pad", values="relative_ci_pct").max(axis=1)
    gain = ms["none"] / ms["auto"]
    for alpha in ms.index:
        widths = table.query("alpha == @alpha and pad == 'auto'")["deployed_channels"].item()
        times = f"{ms['none'][alpha]:.3f} → {ms['auto'][alpha]:.3f} ms, × {gain[alpha]:.3f} ± {ci[alpha]:.1f} %"
        print(f"           α {alpha:.2f}: {times}  {widths}")
    sets = read_machine().checked["instruction_sets"]
    print(f"           on a CPU with {sets} (the targets are for one with AVX-512)")
    steep = geometric_mean(gain[list(STEEP)])
    figures.at_least(f"unpadded / padded, geometric mean at α {' '.join(map(str, STEEP))}", steep, 1.5, "×")
    figures.at_most("auto against none, worst α", (1 / gain).max(), 1.03, "×")
    figures.finish()
