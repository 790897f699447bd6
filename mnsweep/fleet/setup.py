"""An environment with this mnsweep on another machine, and its removal."""

import base64
import csv
import hashlib
import io
import re
import shlex
import subprocess
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import distribution
from importlib.resources import files
from pathlib import Path

from mnsweep.fleet.agent import HOME
from mnsweep.fleet.hosts import Host, in_shell
from mnsweep.fleet.trouble import HostError, why_not
from mnsweep.sweep.find import bundled_folders
from mnsweep.version import VERSION

ENVIRONMENT = f"{HOME}/env"
WHEEL = f"mnsweep-{VERSION}-py3-none-any.whl"
TORCH = "torch"  # which only training needs, and which is larger than everything else
PIP = "pip install --quiet --disable-pip-version-check"
PIP_ALONE = "pip install --quiet --disable-pip-version-check --no-deps --force-reinstall"
LONGEST_S = 3600.0  # a small board may compile
SAID_LINES = 20
_EXTRA = re.compile(r"""extra\s*==\s*['"]([^'"]+)['"]""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What is to be made on a host: with the base interpreter `python`, torch or not, and optional parts (`extras`)."""

    host: Host
    python: str = "python3"
    torch: bool = False
    extras: Sequence[str] = ()

    @property
    def requirements(self) -> list[str]:
        """What pip installs beside mnsweep."""
        return list(_requirements(self.extras, self.torch))

    @property
    def steps(self) -> list[str]:
        """What is done there, in words."""
        torch = "" if self.torch else ", without torch, which only training needs"
        return [
            f"make a virtual environment in {ENVIRONMENT}, with {self.python}",
            f"copy {WHEEL} there, built from this installation",
            f"pip install it with what it needs{torch}; to undo it: mnsweep fleet setup {shlex.quote(self.host.name)} --remove",
        ]

    @property
    def script(self) -> str:
        """The script that does it; the wheel comes through its standard input."""
        home, environment = in_shell(HOME), in_shell(ENVIRONMENT)
        python, wanted = f"{environment}/bin/python", " ".join(map(shlex.quote, self.requirements))
        return (
            f"set -e; mkdir -p {home}; cat > {home}/{WHEEL}; {in_shell(self.python)} -m venv --clear {environment}; "
            f"{python} -m {PIP} {wanted}; {python} -m {PIP_ALONE} {home}/{WHEEL}; rm {home}/{WHEEL}"
        )


def _requirements(extras: Sequence[str], torch: bool) -> Iterator[str]:
    for requirement in distribution("mnsweep").requires or []:
        needed, _, marker = requirement.partition(";")
        extra = _EXTRA.search(marker)
        if extra is not None and extra[1] not in extras:
            continue
        if torch or re.match(r"[A-Za-z0-9._-]+", needed.strip())[0] != TORCH:  # type: ignore[index]
            yield needed.strip()


def set_up(setup: Setup) -> None:
    """Make the environment. Raises `HostError`, with what was said last, where it fails; what was there before is gone."""
    _run(setup.host, setup.script, wheel())


def remove(host: Host) -> None:
    """Remove the environment; what was measured stays."""
    _run(host, f"rm -rf {in_shell(ENVIRONMENT)}", b"")


def _run(host: Host, script: str, content: bytes) -> None:
    try:
        done = subprocess.run(host.shell(script), input=content, capture_output=True, timeout=LONGEST_S, check=False)
    except OSError as error:
        raise HostError(f"{host.shell(script)[0]}: {error.strerror}", "install it, or correct the prefix") from None
    except subprocess.TimeoutExpired:
        raise HostError(f"did not end within {LONGEST_S:.0f} s", "look there by hand") from None
    if done.returncode:
        said = [line for line in done.stderr.decode(errors="replace").splitlines() if line.strip()][-SAID_LINES:]
        if host.destination and done.returncode == 255:
            raise why_not(host, done.returncode, said, greeted=False)
        raise HostError(f"the set-up failed there: {said[-1] if said else done.returncode:.300}", "mend it there and try again")


def wheel() -> bytes:
    """What is installed here as a wheel (PyPA, "Binary distribution format"), whether it came from one or from sources."""
    about = distribution("mnsweep")
    info = f"mnsweep-{VERSION}.dist-info"
    content = dict(_package())
    content[f"{info}/METADATA"] = (about.read_text("METADATA") or "").encode()
    content[f"{info}/entry_points.txt"] = (about.read_text("entry_points.txt") or "").encode()
    content[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: mnsweep\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    record = io.StringIO()
    rows = csv.writer(record, lineterminator="\n")
    for name, data in content.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        rows.writerow([name, f"sha256={digest}", len(data)])
    rows.writerow([f"{info}/RECORD", "", ""])
    content[f"{info}/RECORD"] = record.getvalue().encode()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return packed.getvalue()


def _package() -> Iterator[tuple[str, bytes]]:
    package = Path(str(files("mnsweep")))
    for path in sorted(package.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield f"mnsweep/{path.relative_to(package).as_posix()}", path.read_bytes()
    for folder in bundled_folders():
        if folder.parent != package:
            for path in sorted(folder.glob("*.toml")):
                yield f"mnsweep/sweeps/{path.name}", path.read_bytes()
