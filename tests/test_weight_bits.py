"""int8 weights have 7 bits where sums of products might saturate, and an exported file says which and why."""

from pathlib import Path

import onnx
import pytest

from mnsweep.machine.fingerprint import read_machine
from tests.fakes import FakeWorker
from tests.test_cli import Run, run
from tests.test_machine import ARM, be, write_root

__all__ = ["run"]
EXPORT = ("export", "--alpha", "0.25", "--res", "32", "--out", "m.onnx", "--pad", "none")


def cpuinfo(flags: str) -> dict[str, str]:
    return {"proc/cpuinfo": f"processor\t: 0\nmodel name\t: Abacus\nflags\t\t: {flags}\n"}


@pytest.mark.parametrize(
    ("files", "architecture", "bits", "reason"),
    [
        (cpuinfo("fpu avx2 avx512f avx512_vnni"), "x86_64", 8, "has 8-bit dot products"),
        (cpuinfo("fpu avx2 avx_vnni"), "x86_64", 8, "has 8-bit dot products"),
        (cpuinfo("fpu avx2"), "x86_64", 7, "it has no VNNI"),
        (cpuinfo("fpu avx2 avx512f"), "x86_64", 7, "it has no VNNI"),
        (cpuinfo("fpu sse4_1 sse4_2"), "x86_64", 7, "not known to have"),
        ({}, "x86_64", 7, "not known to have"),  # a container that masks /proc, or macOS on Intel
        ({"proc/cpuinfo": ""}, "x86_64", 7, "not known to have"),
        ({}, "AMD64", 7, "not known to have"),  # Windows
        ({}, "riscv64", 7, "not known to have"),
        ({}, "", 7, "not known to have"),
        (ARM, "aarch64", 8, "has 8-bit dot products"),
        ({}, "arm64", 8, "on ARM"),  # macOS
        ({}, "ARM64", 8, "on ARM"),  # Windows
    ],
)
def test_weights_have_seven_bits_unless_eight_are_known_to_be_right(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run: Run,
    files: dict[str, str],
    architecture: str,
    bits: int,
    reason: str,
) -> None:
    be(monkeypatch, "Linux", architecture, 2)
    machine = read_machine(write_root(tmp_path / "root", files))
    assert (machine.int8_weight_bits, reason in machine.int8_weight_reason) == (bits, True)
    monkeypatch.setattr("mnsweep.app.export.read_machine", lambda: machine)
    monkeypatch.setattr("mnsweep.app.export.WorkerProcess", FakeWorker())
    ran = run(*EXPORT, "--precision", "int8")
    assert f"m.onnx has weights of {bits} bits: {machine.int8_weight_reason}\n" in ran.err
    model = onnx.load("m.onnx")
    told = {entry.key: entry.value for entry in model.metadata_props}
    assert told["int8_weight_bits"] == str(bits) and told["int8_weight_bits_reason"] == machine.int8_weight_reason
    weights = [onnx.numpy_helper.to_array(t) for t in model.graph.initializer if t.name.endswith(".weight")]
    assert max(abs(array.astype(int)).max() for array in weights) == 2 ** (bits - 1) - 1


def test_a_file_without_int8_says_nothing_of_bits(run: Run) -> None:
    assert "bits" not in run(*EXPORT).err
    assert not [entry for entry in onnx.load("m.onnx").metadata_props if "bits" in entry.key]
