"""The README is true: its commands exist, its map is the package, its set-up commands can be found by `.ci/run`."""

import re
from pathlib import Path

import pytest
import typer.main

from mnsweep.cli.main import app

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
MODULES = sorted(p for p in (ROOT / "mnsweep").rglob("*.py") if p.name not in ("__init__.py", "__main__.py"))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_shown(name: str) -> None:
    assert f"mnsweep {name}" in README


def test_no_other_command_is_shown() -> None:
    shown = set(re.findall(r"^\$ mnsweep ([a-z]+)", README, re.MULTILINE))
    assert shown
    assert shown <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_flag_that_is_shown_exists(name: str) -> None:
    known = {flag for option in COMMANDS[name].params for flag in option.opts} | {"--help"}
    for line in re.findall(rf"^\$ mnsweep {name}( .*)?$", README, re.MULTILINE):
        assert set(re.findall(r"--[a-z0-9-]+", line)) <= known


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name: str) -> None:
    assert f"mnsweep {name}" in COMMANDS[name].epilog
    assert all(getattr(option, "help", None) for option in COMMANDS[name].params if option.opts[0].startswith("--"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_is_on_the_map(path: Path) -> None:
    inside = path.parent != ROOT / "mnsweep"
    (row,) = [
        line for line in README.splitlines() if line.startswith(f"| `{path.parent.name}/`" if inside else f"| `{path.name}`")
    ]
    assert not inside or f"`{path.stem}`" in row


@pytest.mark.parametrize("which", ["main command", "test command"])
def test_set_up_commands_stand_behind_their_marks(which: str) -> None:
    match = re.search(rf"<!-- {which} -->\n```bash\n(.+)\n```", README)
    assert match
    assert match[1].startswith("python3 -m venv .venv && ")


def test_every_file_that_is_linked_is_there() -> None:
    for target in re.findall(r"\]\(((?!http)[^)#]+)\)", README):
        assert (ROOT / target).exists(), target
