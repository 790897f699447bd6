"""Rates, roofs and findings, against closed forms, the paper's Table 2, and names as the runtimes really write them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from mnsweep.arch.channel_padding import multiples_of, pad_channels
from mnsweep.arch.expand import Layer, expand
from mnsweep.cell import Deployment, Design
from mnsweep.plots.roofline import collect, draw, roofline
from mnsweep.profiling.lint import Finding, lint
from mnsweep.profiling.roofline import OTHER, Roof, Row, in_words, kinds, layer_bytes, layer_of, rows
from mnsweep.worker.base import NodeTime

FULL = expand(Design.of(1.0, 224))
NAMES = [layer.name for layer in FULL]
LAYERS = {layer.name: layer for layer in FULL}
ROOF = Roof(100.0, 20.0)
UNKNOWN = Roof(None, None)
PNG = b"\x89PNG"


def node(name: str, op: str = "Conv", implementation: str = "", us: float = 10.0) -> NodeTime:
    return NodeTime(name=name, op=op, implementation=implementation, ns=1e3 * us)


# --- roofs


@pytest.mark.parametrize(
    ("intensity", "gflops", "bound"),
    [(1.0, 20.0, "memory"), (4.9, 98.0, "memory"), (5.0, 100.0, "compute"), (50.0, 100.0, "compute")],
)
def test_the_lower_roof_holds(intensity: float, gflops: float, bound: str) -> None:
    assert ROOF.ridge == 5.0
    assert ROOF.gflops(intensity) == pytest.approx(gflops)
    assert ROOF.bound(intensity) == bound


@pytest.mark.parametrize("roof", [UNKNOWN, Roof(None, 20.0), Roof(100.0, None)])
def test_half_a_roof_bounds_nothing(roof: Roof) -> None:
    assert (roof.ridge, roof.gflops(1.0), roof.bound(1.0)) == (None, None, None)
    row = Row("stem", "stem", 1.0, 5, 10, 5)
    assert (row.bound(roof), row.roof_pct(roof)) == (None, None)
    assert row.peak_pct(roof) == (None if roof.peak_gflops is None else pytest.approx(1e-5))


def test_rates_of_a_row_by_hand() -> None:
    row = Row("pointwise1", "pointwise", ms=0.1, mult_adds=500_000, flops=2_000_000, moved_bytes=1_000_000)  # a batch of 2
    assert row.gflops == pytest.approx(20.0)
    assert row.intensity == 2.0
    assert row.bound(ROOF) == "memory"
    assert row.peak_pct(ROOF) == pytest.approx(20.0)
    assert row.roof_pct(ROOF) == pytest.approx(50.0)  # of 2 × 20


@pytest.mark.parametrize("row", [Row("pool", "pool", 1.0, 0, 0, 100), Row("stem", "stem", 0.0, 5, 10, 5)])
def test_without_work_or_time_there_is_no_rate(row: Row) -> None:
    assert (row.gflops, row.peak_pct(ROOF), row.roof_pct(ROOF)) == (None, None, None)


@pytest.mark.parametrize(
    ("name", "precision", "batch", "expected"),
    [
        ("stem", "fp32", 1, 4 * (3 * 224**2 + 32 * 112**2 + 27 * 32)),
        ("depthwise2", "fp32", 1, 4 * (64 * 112**2 + 64 * 56**2 + 9 * 64)),
        ("pointwise1", "bf16", 1, 2 * (32 * 112**2 + 64 * 112**2 + 32 * 64)),
        ("pointwise1", "int8", 3, 3 * (32 * 112**2 + 64 * 112**2) + 32 * 64),  # weights are read once for the batch
        ("classifier", "fp32", 1, 4 * (1024 + 1000 + 1024 * 1000)),
        ("pool", "fp32", 1, 4 * (1024 * 49 + 1024)),
    ],
)
def test_bytes_of_a_layer_by_hand(name: str, precision: str, batch: int, expected: int) -> None:
    assert layer_bytes(LAYERS[name], precision, batch) == expected


# --- operators to rows


@pytest.mark.parametrize(
    ("name", "op", "row"),
    [
        ("stem_nchwc", "Conv", "stem"),  # onnxruntime
        ("depthwise1_nchwc", "Conv", "depthwise1"),
        ("depthwise12_nchwc", "Conv", "depthwise12"),
        ("depthwise1", "FusedConv", "depthwise1"),
        ("pointwise13_token_137", "QLinearConv", "pointwise13"),
        ("pointwise1.relu6", "Clip", "pointwise1"),
        ("pool", "QLinearGlobalAveragePool", "pool"),
        ("classifier", "QGemm", "classifier"),
        ("ReorderOutput_token_15", "ReorderOutput", None),
        ("Transpose_token_139", "Transpose", None),
        ("classifier.flat", "Flatten", None),
        ("image.quantize", "QuantizeLinear", None),
        ("stem.quantize", "QuantizeLinear", None),
        ("stem.weight.dequantize", "DequantizeLinear", None),
        ("stem/WithoutBiases", "Convolution", "stem"),  # OpenVINO
        ("depthwise1/WithoutBiases", "GroupConvolution", "depthwise1"),
        ("depthwise13/WithoutBiases", "GroupConvolution", "depthwise13"),
        ("logits", "FullyConnected", "classifier"),
        ("classifier/WithoutBiases", "FullyConnected", "classifier"),
        ("image_abcd_acdb_stem/WithoutBiases", "Reorder", None),
        ("stem/WithoutBiases_acdb_abcd_depthwise1/WithoutBiases", "Reorder", None),
        ("image.quantize", "Subgraph", None),
        ("classifier.flat.quantize", "Subgraph", None),
        ("depthwise", "Conv", None),
        ("depthwise14", "Conv", None),
    ],
)  # fmt: skip
def test_an_operator_belongs_to_the_row_that_it_is_named_after(name: str, op: str, row: str | None) -> None:
    assert layer_of(node(name, op), NAMES) == row


def test_the_longest_name_is_meant() -> None:
    assert layer_of(node("block1.project/bias"), ["block1", "block1.project", "end"]) == "block1.project"


def test_rows_take_all_time_and_no_operator_twice() -> None:
    ran = [
        node("stem_nchwc", us=7),
        node("depthwise1", us=2),
        node("depthwise1.relu6", "Clip", us=1),
        node("ReorderInput", "ReorderInput", us=4),
    ]
    found = rows(FULL, ran, "fp32", batch=2)
    assert [row.name for row in found] == [*NAMES, OTHER]
    ms = {row.name: row.ms for row in found if row.ms}
    assert ms == {"stem": pytest.approx(0.007), "depthwise1": pytest.approx(0.003), OTHER: pytest.approx(0.004)}
    stem = found[0]
    assert (stem.kind, stem.mult_adds, stem.flops) == ("stem", 10_838_016, 2 * 2 * 10_838_016)
    assert stem.moved_bytes == 4 * (2 * (3 * 224**2 + 32 * 112**2) + 27 * 32)
    assert found[1].operators == tuple(ran[1:3])
    assert (found[-1].mult_adds, found[-1].flops, found[-1].gflops) == (0, 0, None)


# --- kinds, as in Table 2


TABLE_2 = {"pointwise": (94.86, 74.59), "depthwise": (3.06, 1.06), "head": (0.18, 24.33)}  # mult-adds, params in %


def test_shares_of_work_are_those_of_table_2() -> None:
    ours = {kind.name: kind for kind in kinds(rows(FULL, [], "fp32"), FULL)}
    for name, (mult_adds_pct, params_pct) in TABLE_2.items():
        assert ours[name].mult_adds_pct == pytest.approx(mult_adds_pct, abs=0.006)
        assert ours[name].params_pct == pytest.approx(params_pct, abs=0.25)  # ours have batch norm in them
    assert ours["stem"].mult_adds_pct == pytest.approx(1.91, abs=0.006)  # the paper's 1.19 is a slip
    assert sum(kind.mult_adds_pct for kind in ours.values()) == pytest.approx(100)
    assert sum(kind.params_pct for kind in ours.values()) == pytest.approx(100)


def test_kinds_add_time_up_and_count_work_on_paper() -> None:
    logical = expand(Design.of(0.3, 64))
    deployed = pad_channels(logical, multiples_of(16, logical))
    found = rows(
        deployed, [node("stem", us=30), node("depthwise1", us=10), node("depthwise2", us=40), node("Reorder", us=20)], "fp32"
    )
    by_name = {kind.name: kind for kind in kinds(found, logical)}
    assert list(by_name) == ["stem", "depthwise", "pointwise", "pool", "head", OTHER]
    assert [kind.time_pct for kind in by_name.values()] == pytest.approx([30, 50, 0, 0, 0, 20])
    assert by_name["depthwise"].ms == pytest.approx(0.05)
    deployed_flops = sum(row.flops for row in found if row.kind == "depthwise")
    assert by_name["depthwise"].gflops == pytest.approx(deployed_flops / 5e4)
    on_paper = {kind.name: kind for kind in kinds(rows(logical, [], "fp32"), logical)}
    assert by_name["head"].params_pct == on_paper["head"].params_pct
    assert by_name["pointwise"].gflops is None and by_name[OTHER].params_pct == 0


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["depthwise10", "depthwise9", "pointwise1"], "depthwise9–10, pointwise1"),
        (["stem", "classifier"], "stem, classifier"),
        (["depthwise1", "depthwise3", "depthwise5"], "depthwise1, depthwise3, depthwise5"),
        ([], ""),
    ],
)
def test_names_in_words(names: list[str], words: str) -> None:
    assert in_words(names) == words


# --- findings


def blocked(layers: Sequence[Layer] = FULL, left: Mapping[str, float] | None = None) -> list[NodeTime]:
    """What onnxruntime runs in fp32, 10 µs each; those `left` out of the blocked layout take as many microseconds as said."""
    slow = left or {}
    convolutions = [layer.name for layer in layers if layer.op == "conv"]
    return [
        *(node(n, "FusedConv", us=slow[n]) if n in slow else node(f"{n}_nchwc", "Conv", "blocked") for n in convolutions),
        node("pool_nchwc", "GlobalAveragePool", "blocked"),
        node("ReorderOutput", "ReorderOutput", "blocked", us=5),
        node("classifier.flat", "Flatten", us=5),
        node("classifier", "Gemm"),
    ]


def found(ran: Sequence[NodeTime], how: Deployment, roof: Roof = UNKNOWN) -> dict[str, Finding]:
    return {finding.rule: finding for finding in lint(rows(FULL, ran, how.precision), how, roof)}


def test_a_blocked_graph_needs_nothing() -> None:
    findings = found(blocked(), Deployment())
    assert list(findings) == ["blocked-layout", "reorders"]
    assert findings["blocked-layout"].text == "all 27 convolutions run in onnxruntime's blocked layout"
    assert findings["reorders"].text == "1 change of layout: 0.005 ms, 1.7 % of the time"  # 5 of 300 µs
    assert not any(finding.fix or finding.changes for finding in findings.values())


@pytest.mark.parametrize(("pad", "change"), [("none", ("pad", "auto")), ("6", ("pad", "auto")), ("auto", ("pad", "16"))])
def test_convolutions_that_left_the_blocked_layout_are_named(pad: str, change: tuple[str, str]) -> None:
    left = {"depthwise1": 100.0, "depthwise2": 70.0, "pointwise2": 50.0}
    reorders = [node(f"Reorder{end}_{i}", f"Reorder{end}", "blocked") for end in ("Input", "Output") for i in (1, 2)]
    findings = found([*blocked(left=left), *reorders], Deployment(pad=pad))
    finding = findings["blocked-layout"]
    assert finding.layers == ("depthwise1", "depthwise2", "pointwise2")
    assert "3 of 27 convolutions left onnxruntime's blocked layout (42 % of the time)" in finding.text  # 220 of 530 µs
    assert "depthwise1–2, pointwise2" in finding.text
    assert finding.changes == (change,) and f"`pad` {change[1]}" in finding.fix
    assert findings["reorders"].text.startswith("5 changes of layout: 0.045 ms")
    assert "go away" in findings["reorders"].fix


def test_where_nothing_can_be_blocked_padding_does_not_help() -> None:
    none = dict.fromkeys((layer.name for layer in FULL if layer.op == "conv"), 10.0)
    finding = found(blocked(left=none), Deployment())["blocked-layout"]
    assert "27 of 27" in finding.text and finding.changes == (("runtime", "openvino"),)


def test_an_activation_of_its_own_is_no_convolution_that_left() -> None:
    findings = found([*blocked(), node("depthwise3.relu6", "Clip")], Deployment())
    assert findings["activation"].layers == ("depthwise3",) and findings["activation"].fix
    assert not findings["blocked-layout"].fix


INT8 = [node(f"{layer.name}_token_7", "QLinearConv") for layer in FULL if layer.op == "conv"]
INT8 += [node("image.quantize", "QuantizeLinear"), node("pool", "QLinearGlobalAveragePool"), node("classifier", "QGemm")]


def test_int8_that_fused_needs_nothing() -> None:
    findings = found(INT8, Deployment("int8"))
    assert findings["quantized"].text == "all 29 layers run in 8 bits" and not findings["quantized"].fix


def test_int8_that_did_not_fuse_is_named() -> None:
    ran = [n for n in INT8 if not n.name.startswith(("stem", "depthwise1_"))]
    ran += [node("stem", "FusedConv"), node("depthwise1", "Conv"), node("stem.weight.dequantize", "DequantizeLinear", us=4)]
    finding = found(ran, Deployment("int8"))["quantized"]
    assert finding.layers == ("stem", "depthwise1")
    assert (
        finding.text
        == "in fp32, not in 8 bits: stem, depthwise1; quantize and dequantize operators that did not fuse: 1 (0.004 ms)"
    )
    assert finding.fix and finding.changes == (("runtime", "openvino"),)


def test_a_lone_pair_is_found_where_all_layers_are_quantized() -> None:
    finding = found([*INT8, node("stem.quantize", "QuantizeLinear")], Deployment("int8"))["quantized"]
    assert finding.text.startswith("quantize and dequantize operators that did not fuse: 1 ") and not finding.layers


OPENVINO = [node(f"{layer.name}/WithoutBiases", "Convolution", "jit_avx2_I8") for layer in FULL if layer.op == "conv"]
OPENVINO += [node("logits", "FullyConnected", "jit_gemm_i8"), node("pool", "ReduceMean", "jit_avx2_f32")]


def test_openvino_tells_precision_and_kernel() -> None:
    clean = found(OPENVINO, Deployment("int8", "openvino"))
    assert clean["precision"].text == "all 28 layers that multiply run in int8" and not clean["precision"].fix
    assert "reference-kernel" not in clean and "blocked-layout" not in clean

    ran = [replace(n, implementation="ref_any_f32") if n.name.startswith("pointwise2/") else n for n in OPENVINO]
    findings = found(ran, Deployment("int8", "openvino"))
    assert findings["reference-kernel"].layers == findings["precision"].layers == ("pointwise2",)
    assert "ref_any_f32" in findings["precision"].text
    assert findings["reference-kernel"].changes == (("runtime", "onnxruntime"),)


@pytest.mark.parametrize(("precision", "implementation"), [("fp32", "brgconv_avx2_f32"), ("bf16", "brgconv_avx512_amx_bf16")])
def test_openvino_in_the_precision_that_was_asked_for(precision: str, implementation: str) -> None:
    ran = [replace(n, implementation=implementation) for n in OPENVINO]
    assert not found(ran, Deployment(precision, "openvino"))["precision"].fix
    other = "fp32" if precision == "bf16" else "bf16"
    assert len(found(ran, Deployment(other, "openvino"))["precision"].layers) == 28


def test_a_prefix_of_a_kernel_is_no_reference_kernel() -> None:
    ran = [replace(n, implementation="jit_prefetch_I8") for n in OPENVINO]
    assert "reference-kernel" not in found(ran, Deployment("int8", "openvino"))


def test_other_providers_are_not_held_against_the_cpu() -> None:
    findings = found(blocked(left={"stem": 50.0}), Deployment(runtime="onnxruntime:CUDAExecutionProvider"))
    assert list(findings) == ["reorders"]


def test_a_slow_kernel_is_told_from_a_slow_machine() -> None:
    """The classifier takes 1 ms of 1.28: 2.05 GFLOP/s, at 0.5 FLOP per byte of 20 GB/s: a fifth of its roof of 9.98."""
    ran = [replace(n, ns=1e6) if n.name == "classifier" else n for n in blocked()]
    assert "below-roof" not in found(ran, Deployment(), Roof(1e9, 20.0))  # 20.5 %
    finding = found(ran, Deployment(), Roof(1e9, 21.0))["below-roof"]  # 19.5 %
    assert finding.layers == ("classifier",) and "classifier at 20 % (Gemm)" in finding.text
    assert finding.changes == (("runtime", "openvino"),)
    assert "below-roof" not in found(ran, Deployment(), UNKNOWN)


def test_only_what_takes_long_is_worth_a_word() -> None:
    """All 28 layers take 10 µs of 300, and are far below a roof that no machine has."""
    assert "below-roof" not in found(blocked(), Deployment(), Roof(1e9, 1e9))


def test_many_reorders_around_blocked_convolutions_are_nobody_s_fault() -> None:
    reorders = [node(f"ReorderInput_{i}", "ReorderInput", "blocked") for i in range(4)]
    finding = found([*blocked(), *reorders], Deployment())["reorders"]
    assert finding.text.startswith("5 changes") and not finding.fix


def test_what_left_the_fast_path_is_not_said_twice() -> None:
    findings = found(blocked(left={"depthwise1": 1000.0}), Deployment(pad="none"), ROOF)
    assert findings["blocked-layout"].layers == ("depthwise1",) and "below-roof" not in findings


# --- the picture


def points_of(ran: Sequence[NodeTime]) -> tuple[Row, ...]:
    return rows(FULL, ran, "fp32")


def test_points_are_what_multiplies_and_ran() -> None:
    ran = [n for n in blocked() if n.name != "stem_nchwc"]
    points = {p.name: p for p in collect(points_of(ran), flagged=["depthwise2"])}
    assert set(points) == {n for n in NAMES if n not in ("stem", "pool")}
    first = points["depthwise1"]
    assert first.place == pytest.approx((2 * 3_612_672 / (4 * (2 * 32 * 112**2 + 288)), 2 * 3_612_672 / 1e4))
    assert first.time_pct == pytest.approx(100 * 10 / 290)
    assert [name for name, p in points.items() if p.flagged] == ["depthwise2"]


def test_the_picture_names_roofs_and_layers_and_is_always_the_same() -> None:
    points = collect(points_of(blocked()))
    drawn = draw(points, ROOF, "a caption", "x_roofline")
    assert set(drawn) == {"x_roofline.png", "x_roofline.svg"} and drawn["x_roofline.png"].startswith(PNG)
    assert draw(points, ROOF, "a caption", "x_roofline") == drawn
    svg = drawn["x_roofline.svg"].decode()
    for text in ("matrix product: 100 GFLOP/s", "memory: 20 GB/s", "a caption", "FLOP per byte", "pointwise7–11", "stem 3 %"):
        assert text in svg, text
    assert "hollow" not in svg


def test_what_is_flagged_is_hollow_and_int8_counts_operations() -> None:
    svg = draw(collect(points_of(blocked()), ["stem"]), ROOF, "", "x", "GOP/s")["x.svg"].decode()
    assert "hollow" in svg and "(OP per byte)" in svg and "GFLOP" not in svg
    stem, depthwise = "stroke: #e69f00", "fill: #56b4e9"
    assert f"fill: #ffffff; {stem}" in svg and depthwise in svg


def test_the_line_is_the_lower_roof_and_turns_at_its_ridge() -> None:
    line = roofline([0.5, 2.0], ROOF)
    assert (5.0, 100.0) in line and line == sorted(line)
    assert all(y == pytest.approx(min(100, 20 * x)) for x, y in line)
    assert line[0][0] < 0.5 and line[-1][0] > 5.0
    assert {y for _, y in roofline([0.5, 2.0], Roof(100.0, None))} == {100.0}
    assert roofline([0.5], UNKNOWN) == []


@pytest.mark.parametrize(
    ("roof", "shown"), [(UNKNOWN, set()), (Roof(100.0, None), {"matrix product"}), (Roof(None, 20.0), {"memory"})]
)
def test_a_roof_that_is_not_known_is_not_drawn(roof: Roof, shown: set[str]) -> None:
    svg = draw(collect(points_of(blocked())), roof, "", "x")["x.svg"].decode()
    assert {text for text in ("matrix product", "memory") if text in svg} == shown


def test_nothing_to_draw_is_said() -> None:
    assert "no layer was profiled" in draw((), ROOF, "", "x")["x.svg"].decode()
