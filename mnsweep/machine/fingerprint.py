"""The fingerprint of a machine; latencies are stored by machine.

Checked facts define the machine: if one differs, it is a different machine, and the latencies are never mixed.
Informative facts are only recorded. No fact names a host, a user or a path: the system's machine id is
included as a salted hash, so that two cloud machines of the same model stay distinct.
"""

import hashlib
import json
import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mnsweep.machine.facts import cpuinfo_field, read_facts, read_text
from mnsweep.wording import count_of

INSTRUCTION_SETS = {  # our name → the kernel's flag
    "AVX2": "avx2",
    "AVX-512": "avx512f",
    "AVX-512 VNNI": "avx512_vnni",
    "AVX-512 BF16": "avx512_bf16",
    "AVX VNNI": "avx_vnni",
    "AMX": "amx_tile",
    "NEON": "asimd",
    "NEON dot product": "asimddp",
    "SVE": "sve",
}
DOT_PRODUCTS = ("VNNI", "AMX", "dot product")  # parts of our names for instruction sets with 8-bit dot products
ARM = ("aarch64", "arm64", "armv7l", "armv8l")  # as `platform.machine` names it
_SALT = b"mnsweep machine 1"


@dataclass(frozen=True, slots=True)
class Machine:
    """A fingerprint: `checked` facts determine the key, `informative` facts do not."""

    checked: Mapping[str, str | int]
    informative: Mapping[str, str | int | float]

    @property
    def key(self) -> str:
        """A folder name: processor, number of logical CPUs, and eight hex digits of the hash of the checked facts."""
        digest = hashlib.sha256(json.dumps(self.checked, sort_keys=True).encode()).hexdigest()
        slug = re.sub(r"[^a-z0-9]+", "-", str(self.checked["cpu"]).lower()).strip("-")[:32].strip("-")
        return f"{slug or 'cpu'}-{self.checked['logical_cpus']}c-{digest[:8]}"

    @property
    def has_int8_dot_products(self) -> bool:
        """Whether the processor sums groups of four 8-bit products in 32 bits."""
        return any(name in str(self.checked.get("instruction_sets", "")) for name in DOT_PRODUCTS)

    @property
    def int8_weight_bits(self) -> int:
        """Bits that int8 weights may use: 7 where sums of two 8-bit products may saturate at 16 bits, else 8.

        They saturate on x86 processors without 8-bit dot products (onnxruntime documentation, "Quantize ONNX models"; oneDNN
        documentation, "Nuances of int8 computations"). Where the processor is unknown, 7 bits are right on any.
        """
        return self._int8_weights[0]

    @property
    def int8_weight_reason(self) -> str:
        """The reason for `int8_weight_bits`, in words."""
        return self._int8_weights[1]

    @property
    def _int8_weights(self) -> tuple[int, str]:
        if self.has_int8_dot_products:
            return 8, "this CPU has 8-bit dot products, whose sums do not saturate"
        if str(self.checked.get("architecture", "")).lower() in ARM:
            return 8, "sums of 8-bit products do not saturate on ARM"
        if self.checked.get("instruction_sets"):
            return 7, "sums of 8-bit products saturate on this CPU (it has no VNNI)"
        return 7, "this CPU is not known to have 8-bit dot products, and sums of 8-bit products may saturate without them"

    @property
    def usable_threads(self) -> int:
        """Threads that affinity and the container's CPU quota allow; a larger pool would be throttled."""
        cpus, quota = self.informative.get("usable_cpus", 1), self.informative.get("cpu_quota", float("inf"))
        return int(max(1.0, min(float(cpus), float(quota))))

    @property
    def memory_limit_gib(self) -> float | None:
        """The container's memory limit in GiB; None if there is none."""
        limit = self.informative.get("memory_limit_gib")
        return None if limit is None else float(limit)

    @property
    def title(self) -> str:
        """Processor and number of logical CPUs, for captions."""
        cpus = int(self.checked["logical_cpus"])
        return f"{self.checked['cpu']} ({count_of(cpus, 'CPU')})"


def read_machine(root: Path = Path("/")) -> Machine:
    """Read the fingerprint of this machine; `root` contains proc, sys and etc (a different folder in tests)."""
    cpuinfo = read_text(root / "proc/cpuinfo")
    checked: dict[str, str | int] = {
        "cpu": _cpu_model(cpuinfo),
        "architecture": platform.machine(),
        "instruction_sets": ", ".join(_instruction_sets(cpuinfo)),
        "logical_cpus": os.cpu_count() or 1,
        "os": platform.system(),
        "machine_id": _salted_machine_id(root),
    }
    return Machine(checked, read_facts(root).known())


def _cpu_model(cpuinfo: str) -> str:
    return cpuinfo_field(cpuinfo, "model name") or cpuinfo_field(cpuinfo, "Model") or platform.processor() or platform.machine()


def _instruction_sets(cpuinfo: str) -> list[str]:
    flags = set((cpuinfo_field(cpuinfo, "flags") or cpuinfo_field(cpuinfo, "Features")).split())
    return [name for name, flag in INSTRUCTION_SETS.items() if flag in flags]


def _salted_machine_id(root: Path) -> str:
    machine_id = read_text(root / "etc/machine-id").strip() or read_text(root / "var/lib/dbus/machine-id").strip()
    return hashlib.sha256(_SALT + machine_id.encode()).hexdigest()[:16] if machine_id else "none"
