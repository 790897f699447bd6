"""The grammar of axes: lists and ranges, exact, and one line for whatever is wrong."""

from collections.abc import Sequence
from decimal import Decimal
from time import perf_counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnsweep.errors import MnsweepError
from mnsweep.space import Space


def alphas(text: str | float | Sequence[str | int | float]) -> list[float]:
    return [design.alpha for design in Space(alpha=text, res="32").designs()]


def resolutions(text: str | float | Sequence[str | int | float]) -> list[int]:
    return [design.resolution for design in Space(alpha="1", res=text).designs()]


def in_one_line(error: MnsweepError) -> str:
    message = str(error)
    assert len(message.splitlines()) == 1, message
    return message


def thousandths(low: int, high: int) -> st.SearchStrategy[Decimal]:
    return st.integers(low, high).map(lambda n: Decimal(n) / 1000)


RANGES = st.tuples(thousandths(1, 2000), thousandths(1, 2000), thousandths(5, 3000)).map(
    lambda r: (min(r[:2]), max(r[:2]), r[2])
)
ITEMS = st.lists(thousandths(1, 2000).map(lambda value: (value,)) | RANGES, min_size=1, max_size=5)


def written_out(item: tuple[Decimal, ...]) -> list[Decimal]:
    if len(item) == 1:
        return list(item)
    start, stop, step = item
    values = []
    while start < stop:
        values.append(start)
        start += step
    return [*values, stop]


@given(ITEMS, st.sampled_from([",", ", "]))
@settings(max_examples=80, deadline=None)
def test_lists_and_ranges_against_decimal_arithmetic(items: list[tuple[Decimal, ...]], comma: str) -> None:
    text = comma.join(":".join(map(str, item)) for item in items)
    expected = dict.fromkeys(value for item in items for value in written_out(item))
    assert alphas(text) == [float(str(value)) for value in expected]


@given(st.lists(st.integers(32, 1024) | st.tuples(*[st.integers(32, 1024)] * 2, st.integers(1, 500)), min_size=1, max_size=4))
@settings(max_examples=100, deadline=None)
def test_whole_number_ranges_against_builtin_range(items: list[Any]) -> None:
    expected: list[int] = []
    texts = []
    for item in items:
        start, stop, step = (item, item, 1) if isinstance(item, int) else (*sorted(item[:2]), item[2])
        texts.append(str(item) if isinstance(item, int) else f"{start}:{stop}:{step}")
        expected += [*range(start, stop, step), stop]
    assert resolutions(",".join(texts)) == list(dict.fromkeys(expected))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.1:0.7:0.1", ["0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7"]),
        ("0.25:1.0:0.05", [f"{n / 100}" for n in range(25, 101, 5)]),
        ("0.25:0.5:0.1", ["0.25", "0.35", "0.45", "0.5"]),
        ("0.25:0.5:7", ["0.25", "0.5"]),
        ("0.5:0.5:0.1", ["0.5"]),
        ("1,0.25,1.0,0.5,.25", ["1.0", "0.25", "0.5"]),
        ("0.5,0.25:0.75:0.25", ["0.5", "0.25", "0.75"]),
        (" 0.5 , 1e-1 ", ["0.5", "0.1"]),
        ("+.5,2.", ["0.5", "2.0"]),
    ],
)
def test_an_axis_gives_these_alphas(text: str, expected: list[str]) -> None:
    assert [repr(alpha) for alpha in alphas(text)] == expected


def test_values_that_are_one_float_are_one_design() -> None:
    assert alphas("0.5,0.50000000000000000001") == [0.5]


def test_an_axis_takes_numbers_and_lists_as_well_as_text() -> None:
    assert alphas(0.5) == alphas([0.5]) == alphas(["0.5"]) == alphas("0.5") == [0.5]
    assert alphas([1, 0.25, "0.5:1:0.25"]) == [1.0, 0.25, 0.5, 0.75]
    assert resolutions(224) == resolutions([224, 224.0]) == [224]


def test_cells_keep_the_order_given_with_alpha_outermost() -> None:
    cells = Space(alpha="1,0.5", res="224,128", threads="2,1", batch="1,8").cells()
    settings_of = [(c.design.alpha, c.design.resolution, c.deployment.threads, c.deployment.batch) for c in cells]
    assert settings_of == [(a, r, t, b) for a in (1.0, 0.5) for r in (224, 128) for t in (2, 1) for b in (1, 8)]


def test_the_other_settings_reach_every_design() -> None:
    designs = Space(classes=10, width_rule="round8", conv_padding="keras", activation="relu").designs()
    assert len(designs) == 16
    assert {(d.classes, d.width_rule, d.conv_padding, d.activation) for d in designs} == {(10, "round8", "keras", "relu")}


def test_a_task_brings_its_classes_unless_they_are_given() -> None:
    dogs = Space(task="dogs", variant="shallow")
    assert {(d.variant, d.task, d.classes) for d in dogs.designs()} == {("shallow", "dogs", 120)}
    assert {d.classes for d in Space(task="planet", classes=9_766).designs()} == {9_766}
    assert {d.classes for d in Space().designs()} == {1000}


def test_a_network_to_compare_with_needs_no_axes() -> None:
    assert [cell.id for cell in Space(variant="inception-v3").cells()] == ["a1.0_r299_inception-v3"]
    with pytest.raises(MnsweepError, match=r"write `alpha` 1\.0 `res` 224"):
        Space(alpha="0.25,1.0", variant="vgg16").designs()


@pytest.mark.parametrize("name", ["variant", "task"])
def test_an_unknown_variant_or_task_is_one_line_that_says_what_there_is(name: str) -> None:
    with pytest.raises(MnsweepError, match=f"{name} 'nonsense' is unknown; choose from .*(mobilenet|classify)") as error:
        Space(**{name: "nonsense"}).designs()  # type: ignore[arg-type]
    in_one_line(error.value)


def test_the_default_is_the_papers_grid() -> None:
    expected = [(a, r) for a in (0.25, 0.5, 0.75, 1.0) for r in (128, 160, 192, 224)]
    assert [(d.alpha, d.resolution) for d in Space().designs()] == expected


BAD_ALPHAS = [
    "0",
    "0.0",
    "-1",
    "-0.5",
    "nan",
    "abc",
    "0.25,,0.5",
    ",",
    "0.5,",
    "1e9",
    "2.01",
    "0.5:0.1:0.1",
    "",
    " ",
    "1:2",
    "1:2:3:4",
    "::",
    "0.5::0.1",
    "0:1:0.5",
    "0.5:3:0.5",
    "inf",
    "-inf",
    "0x1",
    "1/2",
    "1_0",
    "0.5.1",
    "0.5 1",
    "0.5;1",
    "\u00bd",
    "\uff10.\uff15",
    "\u0660.\u0665",
    "0.5:1:0",
    "0.5:1:-0.1",
    "0.5:1:nan",
    "1e9999",
    "1e400",
    "-1e400",
    "1e-400",
    "0.5\nabc",
    "0.25\n0.5\n1.0",
    "0.5\u2028x",
    "9" * 5000,
    "0." + "1" * 5000,
]


@pytest.mark.parametrize("text", BAD_ALPHAS, ids=lambda text: repr(text[:20]))
def test_a_bad_alpha_is_one_line_that_names_the_flag(text: str) -> None:
    with pytest.raises(MnsweepError) as error:
        alphas(text)
    assert "`alpha`" in in_one_line(error.value)


BAD_RESOLUTIONS = [
    "0",
    "31",
    "1025",
    "224.5",
    "-224",
    "1e9",
    "abc",
    "",
    "32:64:0.5",
    "32:2000:100",
    "224px",
    "\uff12\uff12\uff14",
]


@pytest.mark.parametrize("text", BAD_RESOLUTIONS)
def test_a_bad_resolution_is_one_line_that_names_the_flag(text: str) -> None:
    with pytest.raises(MnsweepError) as error:
        resolutions(text)
    assert f"`res` {text}".rstrip() in in_one_line(error.value)


@pytest.mark.parametrize("flag", ["threads", "batch"])
@pytest.mark.parametrize("text", ["0", "-1", "1.5", "1025", "auto", "", "1:2"])
def test_a_bad_deployment_is_one_line_that_names_the_flag(flag: str, text: str) -> None:
    axis: dict[str, Any] = {flag: text}
    with pytest.raises(MnsweepError) as error:
        Space(**axis).deployments()
    assert f"`{flag}`" in in_one_line(error.value)


@pytest.mark.parametrize("value", [[], [None], [True], True, [[0.5]]], ids=repr)
def test_a_value_of_another_type_is_refused(value: Any) -> None:
    with pytest.raises(MnsweepError) as error:
        alphas(value)
    assert "`alpha`" in in_one_line(error.value)


@given(st.text() | st.text(alphabet="0123456789.:,eE+- ", max_size=20), st.sampled_from(["alpha", "res"]))
@settings(max_examples=150, deadline=None)
def test_any_text_is_an_axis_or_refused_in_one_line(text: str, name: str) -> None:
    axes: dict[str, Any] = {"alpha": "1", "res": "32"} | {name: text}
    try:
        designs = Space(**axes).designs()
    except MnsweepError as error:
        in_one_line(error)
    else:
        assert 1 <= len(designs) <= 10_000


def test_a_slip_of_the_keyboard_is_refused_at_once_with_the_number_of_designs() -> None:
    start = perf_counter()
    with pytest.raises(MnsweepError) as error:
        Space(alpha="1", res="1:1000000:1").designs()
    assert perf_counter() - start < 0.5
    assert "1,000,000 designs" in in_one_line(error.value)
    assert "`res` 1:1000000:1" in str(error.value)


def test_a_refused_grid_counts_the_product_of_both_axes() -> None:
    with pytest.raises(MnsweepError, match=r"`alpha` .*`res` .*10,010 designs.*10,000.*`max_designs`"):
        Space(alpha="0.001:1.001:0.001", res="32:41:1").designs()
    assert len(Space(alpha="0.001:1:0.001", res="32:41:1").designs()) == 10_000


def test_a_larger_limit_admits_more_designs_but_no_bad_values() -> None:
    assert len(Space(alpha="0.0001:1.5:0.0001", res="32", max_designs=15_000).designs()) == 15_000
    with pytest.raises(MnsweepError, match="`res` 1:1000000:1: the resolution is a whole number of pixels from 32 to 1024"):
        Space(alpha="1", res="1:1000000:1", max_designs=10**7).designs()
