"""Checks of the executed graph: which layers left the runtime's fast path, and what to do about it.

onnxruntime's fast fp32 convolutions work on blocks of 8 or 16 channels; operators on blocked feature maps are named `_nchwc`.
A convolution whose channel count can't be blocked leaves this layout, and its feature maps are reordered before and after it.
A layer whose quantize/dequantize pairs do not fuse stays in fp32. OpenVINO kernel names end in the precision.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from mnsweep.cell import Deployment
from mnsweep.names import PRECISIONS, runtime_named
from mnsweep.profiling.roofline import OTHER, Operator, Roof, Row, in_words
from mnsweep.wording import count_of

BLOCKED = "blocked"
LAYOUT_OPS = ("Reorder", "Transpose")
ENDS = 2  # layout changes that every network needs: one after the image, one before the classifier
CONVOLUTIONS = ("Conv", "FusedConv")  # onnxruntime's, in fp32
FLOAT_OPS = (*CONVOLUTIONS, "Gemm", "MatMul", "FusedMatMul", "GlobalAveragePool")
ACTIVATIONS = ("Clip", "Relu")
ENDS_OF_TASKS = ("head", "boxes")  # a clip or sigmoid in these is not the activation of a convolution
PAIR_OPS = ("QuantizeLinear", "DequantizeLinear")
OWN_PAIRS = ("image", "logits")  # these are always quantized or dequantized
SUFFIXES = {"fp32": "f32", "bf16": "bf16", "int8": "i8"}  # of OpenVINO's kernel names
SLOW_SHARE_PCT, FAR_BELOW_PCT = 5.0, 20.0  # report layers above this share of the time and below this share of the roof


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of a rule. `fix` says what to do, and is empty if nothing needs to be done.

    `layers` are the names of the affected layers. `changes` are deployment settings worth trying, as (name, value).
    """

    rule: str
    text: str
    fix: str = ""
    layers: tuple[str, ...] = ()
    changes: tuple[tuple[str, str], ...] = ()


def lint(rows: Sequence[Row], deployment: Deployment, roof: Roof) -> tuple[Finding, ...]:
    """Run all rules on a profiled graph. Rules that find no problem report that too."""
    total_ms = sum(row.ms for row in rows) or 1.0
    findings = [finding for rule in _rules(deployment) if (finding := rule(rows, deployment, total_ms))]
    dropped = {name for finding in findings for name in finding.layers}
    findings.append(_reorders(rows, total_ms, bool(dropped)))
    if slow := _below_roof([row for row in rows if row.name not in dropped], deployment, total_ms, roof):
        findings.append(slow)
    return tuple(findings)


_Rule = Callable[[Sequence[Row], Deployment, float], Finding | None]


def _rules(deployment: Deployment) -> Sequence[_Rule]:
    """The rules for the runtime; other execution providers have other layouts, and no rules here."""
    return _RULES.get((deployment.runtime, PRECISIONS[deployment.precision].quantized), ())


def _blocked(rows: Sequence[Row], deployment: Deployment, total_ms: float) -> Finding:
    convolutions = [row for row in rows if _of(row, CONVOLUTIONS)]
    left = [row for row in convolutions if any(o.implementation != BLOCKED for o in _of(row, CONVOLUTIONS))]
    names, of_all = tuple(row.name for row in left), f"{len(left)} of {len(convolutions)} convolutions"
    if not left:
        return Finding("blocked-layout", f"all {len(convolutions)} convolutions run in onnxruntime's blocked layout")
    text = f"{of_all} left onnxruntime's blocked layout ({_share(left, total_ms)}): {in_words(names)}"
    if deployment.pad != "auto":
        fix = "`pad` auto: fills channels with zeros up to a count that can be blocked, the logits stay the same"
        return Finding("blocked-layout", text, fix, names, (("pad", "auto"),))
    if len(left) == len(convolutions):
        other = runtime_named(deployment.runtime).compare_with
        fix = f"this onnxruntime may have none for this CPU: compare `runtime` {other}"
        return Finding("blocked-layout", text, fix, names, (("runtime", other),))
    fix = "`pad` auto found no count at which they were faster; `pad` 16 would block them all, to compare"
    return Finding("blocked-layout", text, fix, names, (("pad", "16"),))


def _activations(rows: Sequence[Row], deployment: Deployment, total_ms: float) -> Finding | None:
    alone = [row for row in rows if row.kind not in ENDS_OF_TASKS and _of(row, ACTIVATIONS)]
    if not alone:
        return None
    names = tuple(row.name for row in alone)
    text = f"activations that did not fuse into their convolution: {in_words(names)}"
    return Finding("activation", text, "another version of onnxruntime may fuse them", names)


def _pairs(rows: Sequence[Row], deployment: Deployment, total_ms: float) -> Finding:
    names = [row.name for row in rows if _of(row, FLOAT_OPS)]
    lone = [o for row in rows for o in _of(row, PAIR_OPS) if not o.name.startswith(OWN_PAIRS)]
    if not names and not lone:
        return Finding(
            "quantized", f"all {count_of(sum(bool(r.operators) for r in rows if r.name != OTHER), 'layer')} run in 8 bits"
        )
    text = f"quantize and dequantize operators that did not fuse: {len(lone)} ({sum(o.ns for o in lone) / 1e6:.3f} ms)"
    if names:
        text = f"in fp32, not in 8 bits: {in_words(names)}; {text}"
    other = runtime_named(deployment.runtime).compare_with
    fix = f"another version of onnxruntime may fuse them; or compare `runtime` {other}"
    return Finding("quantized", text, fix, tuple(names), (("runtime", other),))


def _reference(rows: Sequence[Row], deployment: Deployment, total_ms: float) -> Finding | None:
    slow = [row for row in rows if any(re.search(r"(^|_)ref(_|$)", o.implementation) for o in row.operators)]
    if not slow:
        return None
    names = tuple(row.name for row in slow)
    text = f"on OpenVINO's slow reference kernels ({_share(slow, total_ms)}): {in_words(names)}"
    other = runtime_named(deployment.runtime).compare_with
    return Finding("reference-kernel", text, f"compare `runtime` {other}", names, (("runtime", other),))


def _precision(rows: Sequence[Row], deployment: Deployment, total_ms: float) -> Finding:
    computing = [row for row in rows if row.flops and row.operators]
    left = [row for row in computing if not _main(row).implementation.lower().endswith(SUFFIXES[deployment.precision])]
    if not left:
        return Finding("precision", f"all {count_of(len(computing), 'layer')} that multiply run in {deployment.precision}")
    names, kernels = tuple(row.name for row in left), ", ".join(sorted({_main(row).implementation for row in left}))
    text = f"not in {deployment.precision} ({_share(left, total_ms)}): {in_words(names)} ({kernels})"
    other = runtime_named(deployment.runtime).compare_with
    return Finding("precision", text, f"compare `runtime` {other}", names, (("runtime", other),))


def _reorders(rows: Sequence[Row], total_ms: float, dropped: bool) -> Finding:
    moves = [o for row in rows if row.name == OTHER for o in row.operators if o.op.startswith(LAYOUT_OPS)]
    ms = sum(o.ns for o in moves) / 1e6
    text = f"{count_of(len(moves), 'change')} of layout: {ms:.3f} ms, {100 * ms / total_ms:.1f} % of the time"
    needless = len(moves) > ENDS and dropped
    return Finding("reorders", text, "they stand around the layers above, and go away with that" if needless else "")


def _below_roof(rows: Collection[Row], deployment: Deployment, total_ms: float, roof: Roof) -> Finding | None:
    far = [row for row in rows if 100 * row.ms >= SLOW_SHARE_PCT * total_ms and (row.roof_pct(roof) or 100) < FAR_BELOW_PCT]
    if not far:
        return None
    each = ", ".join(f"{row.name} at {row.roof_pct(roof):.0f} % ({_kernel(row)})" for row in far)
    text = f"far below {'its' if len(far) == 1 else 'their'} roof ({_share(far, total_ms)}): {each}"
    other = runtime_named(deployment.runtime).compare_with
    fix = f"the kernel is the limit, not the machine: compare `runtime` {other}"
    return Finding("below-roof", text, fix, tuple(row.name for row in far), (("runtime", other),))


_RULES: Mapping[tuple[str, bool], Sequence[_Rule]] = {  # by runtime, and whether the network is quantized
    ("onnxruntime", False): (_blocked, _activations),
    ("onnxruntime", True): (_pairs,),
    ("openvino", False): (_reference, _precision),
    ("openvino", True): (_reference, _precision),
}


def _of(row: Row, ops: Collection[str]) -> list[Operator]:
    return [operator for operator in row.operators if operator.op in ops]


def _share(rows: Collection[Row], total_ms: float) -> str:
    return f"{100 * sum(row.ms for row in rows) / total_ms:.0f} % of the time"


def _main(row: Row) -> Operator:
    return max(row.operators, key=lambda operator: operator.ns)


def _kernel(row: Row) -> str:
    return _main(row).implementation or _main(row).op
