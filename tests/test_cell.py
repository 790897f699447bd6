"""Designs, deployments, cells and their ids."""

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnsweep.cell import Cell, Deployment, Design, parse_cell
from mnsweep.errors import MnsweepError
from mnsweep.names import choices
from tests.families import CLASSIFICATION, DETECTION, MOBILENETS, NATIVE_RESOLUTION, TASK_CLASSES

DESIGN = Design.of(1.0, 224)
ALPHAS = st.floats(0, 2, exclude_min=True) | st.integers(1, 200).map(lambda hundredths: hundredths / 100)
MOBILENET_DESIGNS = st.builds(
    Design.of,
    ALPHAS,
    st.integers(32, 1024),
    variant=st.sampled_from(MOBILENETS),
    task=st.sampled_from(choices("task")),
    classes=st.integers(1, 10**6) | st.none(),
    width_rule=st.sampled_from(["paper", "round8"]),
    conv_padding=st.sampled_from(["same", "keras", "symmetric"]),
    activation=st.sampled_from(["relu6", "relu"]),
)
OTHER_DESIGNS = st.builds(
    lambda variant, **more: Design.of(1.0, NATIVE_RESOLUTION[variant], variant=variant, **more),
    st.sampled_from(sorted(NATIVE_RESOLUTION)),
    task=st.sampled_from(CLASSIFICATION),
    classes=st.integers(1, 10**6) | st.none(),
    activation=st.sampled_from(["relu6", "relu"]),
)
DEPLOYMENTS = st.builds(
    Deployment,
    precision=st.sampled_from(["fp32", "bf16", "int8"]),
    runtime=st.sampled_from(["onnxruntime", "openvino", "onnxruntime:CUDAExecutionProvider"]),
    threads=st.integers(1, 1024),
    batch=st.integers(1, 1024),
    pad=st.sampled_from(["auto", "none"]) | st.integers(2, 256).map(str),
)


def cell_of(design: Design, deployment: Deployment) -> Cell:
    """The two together; a detector in the only precision and batch that it has."""
    return Cell(design, replace(deployment, precision="fp32", batch=1) if design.task in DETECTION else deployment)


CELLS = st.builds(cell_of, MOBILENET_DESIGNS | OTHER_DESIGNS, DEPLOYMENTS)


@given(CELLS)
@settings(max_examples=100, deadline=None)
def test_an_id_reads_back_to_its_cell(cell: Cell) -> None:
    assert parse_cell(cell.id) == cell


@given(st.lists(CELLS, unique=True, max_size=20))
@settings(max_examples=50, deadline=None)
def test_ids_are_unique_even_where_file_names_ignore_case(cells: list[Cell]) -> None:
    assert len({cell.id.lower() for cell in cells}) == len(cells)


@given(CELLS)
@settings(max_examples=100, deadline=None)
def test_an_id_is_a_safe_file_name(cell: Cell) -> None:
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*[A-Za-z0-9]", cell.id)
    assert len(cell.id) < 200


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (Cell(Design.of(0.25, 128)), "a0.25_r128"),
        (Cell(Design.of(1.0, 224), Deployment(threads=2, batch=8)), "a1.0_r224_t2_b8"),
        (Cell(Design.of(0.3, 224), Deployment("int8", "openvino", pad="none")), "a0.3_r224_int8_openvino_pnone"),
        (Cell(Design.of(0.3, 224), Deployment(pad="16")), "a0.3_r224_p16"),
        (
            Cell(Design.of(0.3, 224), Deployment(runtime="onnxruntime:CUDAExecutionProvider", pad="8")),
            "a0.3_r224_onnxruntime-CUDAExecutionProvider_p8",
        ),
        (
            Cell(Design.of(0.35, 200, classes=10, width_rule="round8", conv_padding="keras", activation="relu")),
            "a0.35_r200_c10_round8_keras_relu",
        ),
        (Cell(Design.of(1.0, 224, variant="full-conv")), "a1.0_r224_full-conv"),
        (Cell(Design.of(0.5, 300, task="ssd"), Deployment(threads=2)), "a0.5_r300_ssd_t2"),
        (Cell(Design.of(0.5, 192, task="dogs", classes=120)), "a0.5_r192_dogs"),
        (Cell(Design.of(0.5, 192, task="dogs", classes=1000)), "a0.5_r192_dogs_c1000"),
        (Cell(Design.of(1.0, 224, variant="vgg16", activation="relu6"), Deployment("int8")), "a1.0_r224_vgg16_int8"),
        (Cell(Design.of(0.25, 96, variant="conv-bias", classes=2, activation="relu")), "a0.25_r96_conv-bias_c2_relu"),
    ],
)
def test_an_id_shows_what_is_not_the_default(cell: Cell, expected: str) -> None:
    assert cell.id == expected


def test_a_whole_alpha_is_one_cell_with_one_id_however_it_is_written() -> None:
    assert Cell(Design.of(1, 224)).id == "a1.0_r224"


NO_IDS = [
    "",
    "a",
    "r128",
    "a0.25",
    "a0.25_r",
    "a0.25-r128",
    "a0.25_r128_",
    "a0.25_r128__t2",
    "a0.25_r128_t",
    "a0.25_r128_t2x",
    "a0.25_r128_t-2",
    "a0.25_r128_t\uff12",
    "a0.25_r\uff11\uff12\uff18",
    "a0.25_r128_t0",
    "a0.25_r128_t02",
    "a0.25_r128_t1",
    "a0.25_r128_t2_t3",
    "a0.25_r128_same",
    "a0.25_r128_relu_keras",
    "a0.25_r224_vgg16",
    "a1.0_r224_googlenet_relu",
    "a1.0_r224_googlenet_relu6",
    "a1.0_r224_dogs_full-conv",
    "a1.0_r224_dogs_c120",
    "a1.0_r300_ssd_int8",
    "a1.0_r300_faster-rcnn_b2",
    "a1.0_r300_faster_rcnn",
    "a0.25_r128_t2_c10",
    "a0.25_r128_int9",
    "a0.25_r128\n",
    " a0.25_r128",
    "A0.25_R128",
    "a.25_r128",
    "a0.250_r128",
    "a1_r128",
    "a0.25_r0128",
    "a0.25_r31",
    "a0.0_r128",
    "a2.5_r128",
    "a1e999_r128",
    "a1.2.3_r128",
    "ae_r128",
    "a-0.25_r128",
    "ainf_r128",
    "a0.25_r128.0",
    "../a0.25_r128",
    "a0.25_r" + "9" * 5000,
    "a0.25_r128_c" + "9" * 5000,
]


@pytest.mark.parametrize("text", NO_IDS, ids=lambda text: repr(text[:30]))
def test_what_is_not_an_id_is_refused(text: str) -> None:
    with pytest.raises(MnsweepError) as error:
        parse_cell(text)
    assert len(str(error.value).splitlines()) == 1


@given(st.text() | st.text(alphabet="a0.25e_r128-ctbkersymround", max_size=25).map("a0.5_r64_".__add__))
@settings(max_examples=100, deadline=None)
def test_any_text_is_an_id_or_refused(text: str) -> None:
    try:
        cell = parse_cell(text)
    except MnsweepError:
        return
    assert cell.id == text


@pytest.mark.parametrize("alpha", [0, 0.0, -0.5, 2.0000001, float("nan"), float("inf"), float("-inf"), "0.5", None], ids=repr)
def test_a_bad_alpha_is_named(alpha: float) -> None:
    with pytest.raises(MnsweepError, match=re.escape(f"alpha {alpha!r}")):
        replace(DESIGN, alpha=alpha)


@pytest.mark.parametrize("resolution", [0, 31, 1025, -224, 224.0, 224.5, "224", True, None], ids=repr)
def test_a_bad_resolution_is_named(resolution: int) -> None:
    with pytest.raises(MnsweepError, match=re.escape(f"resolution {resolution!r}")):
        replace(DESIGN, resolution=resolution)


@pytest.mark.parametrize("name", ["variant", "task", "width_rule", "conv_padding", "activation"])
@pytest.mark.parametrize("value", ["nonsense", "", "RELU6", None, []], ids=repr)
def test_a_bad_choice_of_a_design_is_named(name: str, value: object) -> None:
    with pytest.raises(MnsweepError, match=re.escape(f"{name} {value!r}")):
        replace(DESIGN, **{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["precision", "runtime", "pad"])
def test_a_bad_choice_of_a_deployment_is_named(name: str) -> None:
    with pytest.raises(MnsweepError, match=f"{name} 'nonsense'.*choose from"):
        Deployment(**{name: "nonsense"})  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [0, -1, 1.0, "1", True, None], ids=repr)
def test_a_bad_count_is_named(count: int) -> None:
    with pytest.raises(MnsweepError, match=re.escape(f"classes {count!r}")):
        replace(DESIGN, classes=count)
    with pytest.raises(MnsweepError, match=re.escape(f"threads {count!r}")):
        Deployment(threads=count)
    with pytest.raises(MnsweepError, match=re.escape(f"batch {count!r}")):
        Deployment(batch=count)


@pytest.mark.parametrize(("alpha", "resolution"), [(2.0, 32), (5e-324, 1024)])
def test_the_ends_of_both_ranges_belong_to_them(alpha: float, resolution: int) -> None:
    assert Design.of(alpha, resolution).rho == resolution / 224


@pytest.mark.parametrize("task", choices("task"))
def test_a_task_has_as_many_outputs_as_it_needs(task: str) -> None:
    assert Design.of(1.0, 300, task=task).classes == TASK_CLASSES[task]
    assert Design.of(1.0, 300, task=task, classes=7).classes == 7


@pytest.mark.parametrize("variant", NATIVE_RESOLUTION)
def test_a_network_to_compare_with_has_one_form(variant: str) -> None:
    native = NATIVE_RESOLUTION[variant]
    assert Design.of(1.0, native, variant=variant).activation == "relu"
    wrong: list[dict[str, object]] = [{"alpha": 0.5}, {"resolution": native + 1}, {"width_rule": "round8"}]
    wrong.append({"conv_padding": "keras"})
    wrong.extend({"task": task} for task in choices("task") if task not in CLASSIFICATION)
    for settings_of in wrong:
        with pytest.raises(MnsweepError, match=f"{variant}.*; (write|leave)"):
            Design.of(**{"alpha": 1.0, "resolution": native, "variant": variant, **settings_of})  # type: ignore[arg-type]


@pytest.mark.parametrize("task", DETECTION)
def test_a_detector_takes_one_image_in_fp32(task: str) -> None:
    design = Design.of(1.0, 300, task=task)
    for deployment in (Deployment("int8"), Deployment("bf16", "openvino"), Deployment(batch=2)):
        with pytest.raises(MnsweepError, match=f"task {task}"):
            Cell(design, deployment)


@pytest.mark.parametrize(("size", "missing"), [((), "alpha"), ((0.5,), "resolution"), ((None, 224), "alpha")])
@pytest.mark.parametrize("variant", MOBILENETS)
def test_a_mobilenet_needs_a_size(size: tuple[float, ...], missing: str, variant: str) -> None:
    with pytest.raises(MnsweepError, match=f"{variant} has no {missing} of its own"):
        Design.of(*size, variant=variant)  # type: ignore[arg-type]


@pytest.mark.parametrize("variant", NATIVE_RESOLUTION)
def test_a_network_to_compare_with_knows_its_size(variant: str) -> None:
    assert Design.of(variant=variant) == Design.of(1.0, NATIVE_RESOLUTION[variant], variant=variant)


def test_a_design_fills_nothing_in() -> None:
    with pytest.raises(TypeError, match="classes"):
        Design(alpha=1.0, resolution=224, variant="mobilenet", task="dogs", width_rule="paper", conv_padding="same",
               activation="relu6")  # type: ignore[call-arg]  # fmt: skip
    with pytest.raises(MnsweepError, match="alpha 1 "):
        replace(DESIGN, alpha=1)
    with pytest.raises(MnsweepError, match="vgg16 has no activation to choose; leave `activation` out"):
        replace(Design.of(variant="vgg16"), activation="relu6")


@pytest.mark.parametrize(("name", "value"), [("variant", None), ("task", []), ("width_rule", "nonsense"), ("activation", "x")])
def test_a_bad_choice_is_named_before_anything_is_filled_in(name: str, value: object) -> None:
    with pytest.raises(MnsweepError, match=re.escape(f"{name} {value!r} is unknown")):
        Design.of(1.0, 224, **{name: value})  # type: ignore[arg-type]
