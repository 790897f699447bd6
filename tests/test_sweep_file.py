"""Sweep files: what is written reads back, and what is wrong is one line that names the file and the key."""

import re
import time
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnsweep.cell import Cell, Deployment, Design
from mnsweep.errors import MnsweepError
from mnsweep.reproduction.networks import network_of
from mnsweep.reproduction.printed import printed
from mnsweep.space import Space
from mnsweep.sweep.file import Sweep, parse_sweep, read_sweep, write_sweep
from mnsweep.sweep.find import find_sweep_file
from tests.families import TASK_CLASSES

REPOSITORY = Path(__file__).parents[1]
FILE = Path("some/mine.toml")
DESIGNS = st.builds(
    Design.of,
    st.floats(0, 2, exclude_min=True) | st.sampled_from([0.25, 1.0, 1e-5]),
    st.integers(32, 1024),
    classes=st.sampled_from([1000, 10]),
    width_rule=st.sampled_from(["paper", "round8"]),
    conv_padding=st.sampled_from(["same", "keras", "symmetric"]),
    activation=st.sampled_from(["relu6", "relu"]),
)
CELLS = st.builds(Cell, DESIGNS, st.builds(Deployment, threads=st.integers(1, 9), batch=st.integers(1, 9)))
SWEEPS = st.builds(
    Sweep,
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,9}", fullmatch=True),
    st.lists(CELLS, min_size=1, max_size=5, unique=True).map(tuple),
    st.sampled_from(["slim-2018-08", "paper"]),
)


@settings(max_examples=100, deadline=None)
@given(SWEEPS)
def test_a_sweep_reads_back_to_itself(sweep: Sweep) -> None:
    assert parse_sweep(write_sweep(sweep), FILE) == sweep


def ids(text: str) -> list[str]:
    return [cell.id for cell in parse_sweep(text, FILE).cells]


LONG_KEY, QUOTED_KEY = ".".join(["a"] * 50_000), ".".join(['"a"'] * 50_000)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{LONG_KEY} = 1", "line 1: a key has more than 16 parts"),
        (f"\n[{LONG_KEY}]", "line 2: a key has more than 16 parts"),
        (f"[[{QUOTED_KEY}]]", "line 1: a key has more than 16 parts"),
        (f"prediction = {{ {LONG_KEY.replace('.', ' . ')} = 1 }}", "line 1: a key has more than 16 parts"),
        ("schema_version = 0x" + "f" * 5_000, "line 1: a word or a number has 1,000 letters or more"),
        ("alpha = " + "1" * 5_000, "line 1: a word or a number has 1,000 letters or more"),
        ("#" * 20_000_001, "is larger than 20 MB"),
    ],
    ids=["key", "table", "array of tables", "inline table", "hexadecimal", "decimal", "size"],
)
def test_a_file_that_takes_too_long_to_parse_is_refused_at_once(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "sweep.toml"
    path.write_text(text)
    start = time.process_time()
    with pytest.raises(MnsweepError, match=re.escape(f"{path}: {said}")) as raised:
        read_sweep(path)
    assert "\n" not in str(raised.value)
    with pytest.raises(MnsweepError, match=re.escape(said)):  # as the text of a results folder
        parse_sweep(text, FILE)
    assert time.process_time() - start < 2


@pytest.mark.parametrize(
    "piece", ["a", "-", '"', "'", '"a" ', "a.", "a.a.a.a.a.a.a.a.a.a.a.a.a.a.a ", "a .  ", "\n", "1.5, ", "# "]
)
def test_looking_for_long_keys_takes_no_longer_than_the_text_is_long(piece: str) -> None:
    start = time.process_time()
    with pytest.raises(MnsweepError):
        parse_sweep(piece * (2_000_000 // len(piece)) + '\n"', FILE)
    assert time.process_time() - start < 5


def test_a_long_text_in_a_comment_is_no_long_key() -> None:
    dots = "# " + ". . " * 100 + "-" * 900 + " www.example.com/a.b.c.d/e.f\n"
    assert len(ids(dots + 'cells = ["a0.25_r96"]')) == 1


def test_paper_file_is_the_grid_of_the_flags() -> None:
    sweep = read_sweep(REPOSITORY / "sweeps" / "paper.toml")
    expected = [f"a{a}_r{r}" for a, r in product((0.25, 0.5, 0.75, 1.0), (128, 160, 192, 224))]
    assert [cell.id for cell in sweep.cells] == expected
    assert sweep.cells == Space(alpha="0.25:1.0:0.25", res="128,160,192,224").cells()
    assert (sweep.name, sweep.quality_source) == ("paper", "slim-2018-08")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('alpha = "0.25:0.5:0.25"\nres = 128', ["a0.25_r128", "a0.5_r128"]),
        ("alpha = 1\nres = [128, 160]", ["a1.0_r128", "a1.0_r160"]),
        ("designs = [[0.33, 200], [1, 224]]", ["a0.33_r200", "a1.0_r224"]),
        ("alpha = 0.5\nres = 96\ndesigns = [[0.33, 200]]", ["a0.5_r96", "a0.33_r200"]),
        ("designs = [[0.33, 200]]\nthreads = [1, 2]", ["a0.33_r200", "a0.33_r200_t2"]),
        ('designs = [[0.33, 200]]\nclasses = 10\nconv_padding = "keras"', ["a0.33_r200_c10_keras"]),
        ('cells = ["a0.25_r96_t2"]', ["a0.25_r96_t2"]),
        ('designs = [[0.5, 300]]\ntask = "ssd"', ["a0.5_r300_ssd"]),
        ('alpha = 1\nres = 224\nvariant = "vgg16"\ntask = "dogs"', ["a1.0_r224_vgg16_dogs"]),
        ('alpha = 0.25\nres = 96\ncells = ["a0.25_r96", "a0.25_r96_b2"]', ["a0.25_r96", "a0.25_r96_b2"]),
    ],
)
def test_what_a_file_says_is_what_is_swept(text: str, expected: list[str]) -> None:
    assert ids(text) == expected


def test_visual_wake_words_is_a_named_design() -> None:
    sweep = read_sweep(REPOSITORY / "sweeps" / "vww.toml")
    assert sweep.cells[0].design == Design.of(0.25, 96, variant="conv-bias", classes=2, activation="relu")
    assert {cell.design for cell in sweep.cells} == {sweep.cells[0].design}


def test_a_file_without_axes_is_the_grid_of_no_flags() -> None:
    assert parse_sweep("batch = 2", FILE).cells == Space(batch=2).cells()


def test_name_is_the_files_unless_it_says_otherwise() -> None:
    assert parse_sweep("alpha = 1", FILE).name == "mine"
    assert parse_sweep('name = "other"', FILE).name == "other"


TOO_LONG = "1" + "0" * 400


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("alpah = 1", "alpah"),
        ("max_designs = 1", "max_designs"),
        ("[alpha]\nfrom = 1", "alpha"),
        ("alpha = true", "alpha"),
        ("alpha = [true]", "alpha"),
        ("alpha = [[0.5]]", "alpha"),
        ("alpha = []", "alpha"),
        ('alpha = ""', "alpha"),
        ('alpha = "wide"', "alpha"),
        ("alpha = nan", "alpha"),
        ("alpha = 0", "alpha"),
        (f"alpha = {TOO_LONG}", "alpha"),
        ("alpha = 2024-01-01", "alpha"),
        ("res = 224.5", "res"),
        ('res = "128:32:8"', "res"),
        ("threads = 0", "threads"),
        ("batch = -1", "batch"),
        ('classes = "many"', "classes"),
        ("classes = true", "classes"),
        ("classes = 0", "classes"),
        ("width_rule = 8", "width_rule"),
        ('width_rule = "wide"', "width_rule"),
        ('conv_padding = "none"', "conv_padding"),
        ('activation = "gelu"', "activation"),
        ("name = 3", "name"),
        ('name = "a/b"', "name"),
        ('name = ""', "name"),
        ("quality_source = 3", "quality_source"),
        ('quality_source = ["paper"]', "quality_source"),
        ('quality_source = "hearsay"', "quality_source"),
        ("schema_version = 2", "schema_version"),
        ('schema_version = "1"', "schema_version"),
        ("designs = 3", "designs"),
        ('designs = "0.5"', "designs"),
        ("designs = [0.5]", "designs"),
        ("designs = [[0.5]]", "designs"),
        ("designs = [[0.5, 160, 1]]", "designs"),
        ('designs = [["0.5", 160]]', "designs"),
        ("designs = [[0.5, 160.0]]", "designs"),
        ("designs = [[true, 160]]", "designs"),
        ("designs = [[3.0, 160]]", "alpha 3.0"),
        ("designs = [[nan, 160]]", "alpha nan"),
        ("designs = [[0.5, 8]]", "resolution 8"),
        (f"designs = [[{TOO_LONG}, 160]]", ""),
        ("cells = 3", "cells"),
        ('cells = "a0.25_r128"', "cells"),
        ("cells = [3]", "cells[0]"),
        ("cells = [[0.25, 128]]", "cell"),
        ('cells = ["a0.25"]', "cell 'a0.25'"),
        ('cells = ["a0.25_r128_x"]', "cell 'a0.25_r128_x'"),
        ('cells = ["a.25_r128"]', "cell 'a.25_r128'"),
        ('cells = ["a9.0_r128"]', "alpha 9.0"),
        ("alpha = [", "is not TOML"),
        ("alpha 1", "is not TOML"),
        ("alpha = 1\nalpha = 2", "is not TOML"),
        (f"alpha = {'1' * 5000}", ""),  # more digits than Python converts
    ],
)
def test_what_is_wrong_is_one_line_that_names_file_and_key(text: str, key: str) -> None:
    with pytest.raises(MnsweepError) as error:
        parse_sweep(text, FILE)
    assert_one_line(error, FILE, key)


def assert_one_line(error: pytest.ExceptionInfo[MnsweepError], path: Path, key: str) -> None:
    message = str(error.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    assert key in message or f"`{key}` " in message


def test_too_large_a_grid_is_refused_before_it_is_written_out() -> None:
    with pytest.raises(MnsweepError) as error:
        parse_sweep('res = "32:1024:0.0000001"', FILE)
    assert_one_line(error, FILE, "res")


@pytest.mark.parametrize(("content", "key"), [(b"\xff\xfe", "is not text"), (None, "No such file")])
def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path, content: bytes | None, key: str) -> None:
    path = tmp_path / "mine.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(MnsweepError) as error:
        read_sweep(path)
    assert_one_line(error, path, key)


def test_a_folder_is_no_sweep_file(tmp_path: Path) -> None:
    with pytest.raises(MnsweepError) as error:
        read_sweep(tmp_path)
    assert_one_line(error, tmp_path, "directory")


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A results folder, in an empty current directory."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "results"


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True)
    path.write_text("alpha = 1\n")
    return path


def test_a_name_is_looked_up_here_then_in_the_package_then_among_results(results: Path) -> None:
    kept = put(results / "paper" / "machine" / "sweep.toml")
    own = put(results / "own" / "machine" / "sweep.toml")
    assert find_sweep_file("own", results) == own
    bundled = find_sweep_file("paper", results)
    assert bundled != kept and bundled.read_text() == (REPOSITORY / "sweeps" / "paper.toml").read_text()
    here = put(Path("sweeps/paper.toml"))
    assert find_sweep_file("paper", results) == here


def test_a_path_is_itself(results: Path) -> None:
    assert find_sweep_file(str(put(results / "x.toml")), results) == results / "x.toml"
    Path("y.toml").write_text("")
    assert find_sweep_file("y.toml", results) == Path("y.toml")


@pytest.mark.parametrize("name", ["nothing", "no/such.toml", "such.toml", "*", "[", "x" * 300, ""])
def test_what_is_not_found_is_one_line(results: Path, name: str) -> None:
    put(results / "own" / "machine" / "sweep.toml")
    with pytest.raises(MnsweepError) as error:
        find_sweep_file(name, results)
    message = str(error.value)
    assert message.startswith(f"`sweep` {name}: no such") and "\n" not in message
    if name == "nothing":
        assert "known: attributes, cliffs, deploy, dogs, " in message and str(results) in message


@pytest.mark.parametrize("task", ["dogs", "planet", "attributes", "embedding", "ssd", "faster-rcnn"])
def test_every_application_has_a_sweep_with_the_paper_s_numbers(task: str) -> None:
    path = REPOSITORY / "sweeps" / f"{task}.toml"
    sweep = read_sweep(path)
    assert sweep.name == task and path.read_text().startswith(f"# mnsweep grid --sweep sweeps/{task}.toml\n")
    assert {cell.design.task for cell in sweep.cells} == {task}
    assert {cell.design.classes for cell in sweep.cells} == {TASK_CLASSES[task]}
    of_the_paper = {network_of(row) for row in printed()}
    wanted = {design for design in of_the_paper if design and design.task == task and design.variant == "mobilenet"}
    assert wanted and wanted <= {cell.design for cell in sweep.cells}
