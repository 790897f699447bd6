"""Warnings for deployments that gain nothing over their twins in the same sweep, with the likely reason."""

from collections.abc import Sequence
from dataclasses import fields, replace

from mnsweep.arch.expand import expand
from mnsweep.cell import Deployment, Design
from mnsweep.machine.fingerprint import Machine
from mnsweep.names import PRECISIONS
from mnsweep.result import UNPADDED, Result

EVEN = 8
_SETTINGS = [f.name for part in (Design, Deployment) for f in fields(part)]


def with_warnings(results: Sequence[Result], machine: Machine) -> list[Result]:
    """The results, with a warning on each cell whose twin, which differs in only one setting, is faster.

    An int8 cell is compared with fp32, and a padded cell with the unpadded one. A difference within the two intervals gives
    no warning.
    """
    by_settings = {_key(r): r for r in results if r.latency_p50_ms is not None}
    return [replace(r, warning=_warning(r, by_settings, machine)) for r in results]


def _key(result: Result, **changed: object) -> tuple[object, ...]:
    return tuple(changed.get(name, getattr(result, name)) for name in _SETTINGS)


def _warning(result: Result, by_settings: dict[tuple[object, ...], Result], machine: Machine) -> str | None:
    found = []
    as_fp32 = by_settings.get(_key(result, precision="fp32")) if PRECISIONS[result.precision].quantized else None
    padded = result.pad != "none" and result.deployed_channels != UNPADDED
    unpadded = by_settings.get(_key(result, pad="none")) if padded else None
    if times := _slower(result, as_fp32):
        found.append(f"int8 takes {times:.2f} × as long as fp32: {_why_int8_is_slow(result, machine)}")
    if times := _slower(result, unpadded):
        found.append(f"padding takes {times:.2f} × as long as none")
    return "; ".join(found) or None


def _slower(result: Result, twin: Result | None) -> float | None:
    """The ratio of latencies, result over twin, if the result is slower by more than both intervals; otherwise None."""
    if twin is None or result.latency_p50_ms is None or twin.latency_p50_ms is None:
        return None
    ratio = result.latency_p50_ms / twin.latency_p50_ms
    doubt_pct = (result.relative_ci_pct or 0.0) + (twin.relative_ci_pct or 0.0)
    return ratio if ratio > 1 + doubt_pct / 100 else None


def _has_uneven_channels(result: Result) -> bool:
    """Whether any layer has a channel count that kernels can't block, i.e. not a multiple of eight."""
    layers = expand(result.design)
    return any(layer.out_channels % EVEN for layer in layers[:-1])


def _why_int8_is_slow(result: Result, machine: Machine) -> str:
    if not machine.has_int8_dot_products:
        return "this CPU has no 8-bit dot products (VNNI, AMX), and quantizing is not free"
    if result.pad == "none" and _has_uneven_channels(result):
        return "unaligned channel counts keep int8 kernels off their fast path: try `pad` auto"
    return "in a network this small, quantizing and changing layouts costs more than the arithmetic saves"
