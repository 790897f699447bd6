"""Words for users: settings and flags that exist, the terminal's line ends, numbers without powers of ten."""

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
import typer.main

import mnsweep
from mnsweep.app import requests
from mnsweep.cli.main import app
from mnsweep.cli.show import results_table
from mnsweep.options import settings_of
from mnsweep.sweep.store import SweepFolder
from mnsweep.wording import count_of, three_digits
from tests.conftest import make_result
from tests.fuzz import run

OF_OTHER_PROGRAMS = (
    *("--force-reinstall", "--cpuset-cpus", "--cpus", "--clear", "--disable-pip-version-check", "--no-deps", "--resources"),
)
SOURCE = Path(__file__).parents[1] / "mnsweep"
COMMAND: Any = typer.main.get_command(app)
COMMANDS = {  # those of a group too, as `fleet status`
    " ".join(filter(None, (name, own))): command
    for name, group in COMMAND.commands.items()
    for own, command in {"": group, **getattr(group, "commands", {})}.items()
}
MESSAGE = re.compile(r"""(?:(?:Error|warn|remark|fix\w*)\(?|\bfix\b\s*=)[^\n]*?(f?"[^"\n]*"[^\n]*)""")


def known_settings() -> set[str]:
    kinds = [kind for kind in vars(requests).values() if isinstance(kind, type) and is_dataclass(kind)]
    named = {setting.name for kind in kinds for setting in settings_of(kind)}
    flags = {p.name for command in COMMAND.commands.values() for p in command.params}
    return named | flags | {f.name for kind in kinds for f in fields(kind)}


def settings_in_messages() -> Iterator[tuple[str, str]]:
    """Names in backticks in the strings that are handed to errors, warnings and fixes: (file, name)."""
    for path in sorted(SOURCE.rglob("*.py")):
        for text in MESSAGE.findall(path.read_text(encoding="utf-8")):
            for name in re.findall("`([a-z][a-z0-9_]*)`", text):
                yield path.name, name


def test_every_setting_in_a_message_exists() -> None:
    found = set(settings_in_messages())
    assert len(found) > 20
    in_python = known_settings() | {*mnsweep.__all__, "progress", "listener"}
    known = dict.fromkeys(("api.py", "charts.py", "checks.py", "frames.py", "progress.py"), in_python)
    assert {(file, name) for file, name in found if name not in known.get(file, known_settings())} == set()


def test_every_flag_in_a_text_exists() -> None:
    flags = {option for command in COMMANDS.values() for p in command.params for option in (*p.opts, *p.secondary_opts)}
    flags |= {option for p in COMMAND.params for option in p.opts} | {"--help", "--install-completion"}
    for path in SOURCE.rglob("*.py"):
        for name in re.findall(r"(?<![\w-])(--[a-z][a-z0-9-]+)\b", path.read_text(encoding="utf-8")):
            assert name in {*flags, *OF_OTHER_PROGRAMS}, f"{path}: {name}"


def test_a_command_s_own_example_uses_its_own_flags() -> None:
    for name, command in COMMANDS.items():
        _, shown = command.epilog.split("mnsweep ", 1)
        used = max((other for other in COMMANDS if shown.startswith(other)), key=len)
        assert used.startswith(name)
        assert set(re.findall(r"--[a-z-]+", shown)) <= {option for p in COMMANDS[used].params for option in p.opts}, name


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_is_broken_by_the_terminal_and_not_by_the_source(name: str) -> None:
    paragraphs = COMMANDS[name].help.split("\n\n")
    assert all("\n" not in paragraph for paragraph in paragraphs)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("pick", "--max-latency-ms", "10ms"), "--max-latency-ms 10ms': it is not a number"),
        (("pick", "--max-latency-ms=10ms"), "--max-latency-ms 10ms': it is not a number"),
        (("grid", "--max-designs", "1.5"), "--max-designs 1.5': it is not a whole number"),
        (("grid", "--ci-pct", "0"), "the lowest value is 0.01"),
        (("count", "--alpha", ""), "--alpha: the value is empty; give one"),
        (("count", "--precision", ""), "--precision: the value is empty; give one"),
        (("count", "--alpha", "0.5,"), "--alpha 0.5,: a value is missing beside a comma"),
    ],
)
def test_bad_values_are_named_in_plain_words(arguments: tuple[str, ...], words: str) -> None:
    ran = run(*arguments)
    assert ran.status == 2 and words in ran.err and "Input should" not in ran.err and ran.err.count("\n") == 1


@pytest.mark.parametrize(
    ("value", "text"), [(0.5, "0.5"), (12.34, "12.3"), (999.4, "999"), (999.6, "1,000"), (1763.0, "1,763")]
)
def test_numbers_have_no_power_of_ten(value: float, text: str) -> None:
    assert three_digits(value) == text


def test_rates_have_no_power_of_ten() -> None:
    table = results_table(
        [make_result("a0.25_r128", images_per_s=1763.0), make_result("a0.25_r128_b8", images_per_s=12345.6)], measured=True
    )
    (rates,) = (list(column.cells) for column in table.table.columns if "per s" in str(column.header))
    assert rates == ["1,763", "12,346"]


def test_rebuild_advises_no_flag_that_it_lacks(sweep_folder: SweepFolder) -> None:
    (sweep_folder.path / "cells.csv").unlink()
    (sweep_folder.path / "cells.csv").mkdir()
    ran = run("rebuild", str(sweep_folder.path))
    assert ran.status == 2 and "nothing that was measured is lost" in ran.err and "--results-dir" not in ran.err


def test_plural_forms() -> None:
    assert (count_of(1, "cell"), count_of(0, "cell"), count_of(2, "feasible cell")) == ("1 cell", "0 cells", "2 feasible cells")
