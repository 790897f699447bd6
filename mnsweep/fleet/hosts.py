"""Which machines a fleet has: names, command prefixes and groups, as `fleet.toml` and the command line give them.

[hosts.pi]                                # every key may be left out
ssh = "me@pi.local"                       # what OpenSSH calls it; default: the name
python = "~/mnsweep/bin/python"           # default: what 'mnsweep fleet setup' made, or else python3
results_dir = "~/results"                 # default: ~/.local/share/mnsweep/results
[hosts.node7]
prefix = "srun -w node7 --"               # a command in front, in place of OpenSSH
[groups]
shelf = ["pi", "node7"]
"""

import os
import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from mnsweep.decoding import DamagedError, from_builtins
from mnsweep.errors import MnsweepError
from mnsweep.fleet.agent import HOME
from mnsweep.options import at_home

FILE = "fleet.toml"
VARIABLE = "MNSWEEP_FLEET"
AGENT = "-P -m mnsweep.fleet.agent"
MOST_HOSTS = 10_000
SSH = (
    "ssh",
    "-T",
    "-o",
    "BatchMode=yes",
    "-o",
    "ConnectTimeout=20",
    "-o",
    "ServerAliveInterval=10",
    "-o",
    "ServerAliveCountMax=3",
)
_DESTINATION = re.compile(r"[A-Za-z0-9_%+=\[][A-Za-z0-9_.%+=@:\[\]/-]{0,252}")  # no option, and nothing that a shell reads


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One way to run a command on a machine: through OpenSSH (`destination`), or behind the words of a `prefix`."""

    name: str
    destination: str = ""
    prefix: tuple[str, ...] = ()
    python: str = ""
    results_dir: str = ""

    @property
    def agent(self) -> tuple[str, ...]:
        """The command that starts the agent there.

        A shell there reads the line that OpenSSH sends; words behind a prefix hold nothing that a shell would read.
        """
        if self.prefix:
            python = self.python or "python3"
            return (*self.prefix, shlex.quote(python) if self.prefix[0].endswith("ssh") else python, *AGENT.split())
        return self.shell(f"exec {self.interpreter} {AGENT}")

    @property
    def interpreter(self) -> str:
        """The interpreter there, as words for a POSIX shell."""
        if self.python:
            return in_shell(self.python)
        own = in_shell(f"{HOME}/env/bin/python")
        return f'"$(if [ -x {own} ]; then echo {own}; else echo python3; fi)"'

    def shell(self, script: str) -> tuple[str, ...]:
        """The command that runs a script in a POSIX shell there, whatever the login shell is."""
        if self.prefix:
            words = ("sh", "-c", script)
            return (*self.prefix, *map(shlex.quote, words)) if self.prefix[0].endswith("ssh") else (*self.prefix, *words)
        return (*SSH, "--", self.destination, f"exec sh -c {shlex.quote(script)}")


def in_shell(path: str) -> str:
    """A path as one word of a POSIX shell; `~/` is the home folder there."""
    return f'"$HOME"/{shlex.quote(path[2:])}' if path.startswith("~/") else shlex.quote(path)


class _Listed(msgspec.Struct, forbid_unknown_fields=True):
    ssh: str | None = None
    prefix: str | None = None
    python: str = ""
    results_dir: str = ""


class _File(msgspec.Struct, forbid_unknown_fields=True):
    hosts: dict[str, _Listed] = {}
    groups: dict[str, list[str]] = {}


@dataclass(frozen=True, slots=True)
class Inventory:
    """The hosts and groups of a `fleet.toml`, by name."""

    hosts: Mapping[str, Host] = field(default_factory=dict)
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def named(self, name: str) -> Iterator[Host]:
        """The hosts of a name: of a group, one of the file, or one that only OpenSSH knows. Raises `MnsweepError`."""
        if name in self.groups:
            for member in self.groups[name]:
                yield self._host(member)
        else:
            yield self._host(name)

    def _host(self, name: str) -> Host:
        if name in self.hosts:
            return self.hosts[name]
        if any(letter.isspace() for letter in name.strip()):
            return Host(name=name, prefix=_words(name))
        if not _DESTINATION.fullmatch(name):
            raise MnsweepError(
                f"`on` {name!r:.80}: is no name of a host", f"write user@host, a name of {FILE}, or a command prefix"
            )
        return Host(name=name, destination=name)


def hosts_of(text: str, inventory: Inventory) -> list[Host]:
    """The hosts that a user named, e.g. `pi,shelf,srun -w node7 --`. Raises `MnsweepError` for one that is named twice."""
    names = [part.strip() for part in text.split(",")]
    if not all(names):
        raise MnsweepError(f"`on` {text!r:.80}: a name is missing", "write something like pi,me@board.local")
    hosts = [host for name in names for host in inventory.named(name)]
    if len(hosts) > MOST_HOSTS:
        raise MnsweepError(f"`on`: {len(hosts):,} hosts are more than {MOST_HOSTS:,}")
    seen = set[str]()
    for host in hosts:
        if host.name in seen:
            raise MnsweepError(f"`on`: {host.name} is named twice", "name it once")
        seen.add(host.name)
    return hosts


def read_inventory(path: Path | None = None) -> Inventory:
    """The inventory in a file, by default in $MNSWEEP_FLEET or ./fleet.toml; empty where there is none.

    Raises `MnsweepError`, which names the file and the key, for one that is not valid.
    """
    asked = path or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
    path = at_home(asked or FILE)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        file = from_builtins(content, _File)
    except FileNotFoundError:
        if asked:
            raise MnsweepError(f"{path}: no such file", f"write one, or unset {VARIABLE}") from None
        return Inventory()
    except (OSError, UnicodeDecodeError) as error:
        raise MnsweepError(f"{path}: {getattr(error, 'strerror', '') or 'is not text'}") from None
    except (tomllib.TOMLDecodeError, RecursionError, DamagedError) as error:
        raise MnsweepError(f"{path}: {_reason(error)}", "see 'mnsweep guide fleet'") from None
    hosts = {name: _listed(path, name, listed) for name, listed in file.hosts.items()}
    for group, members in file.groups.items():
        if group in hosts:
            raise MnsweepError(f"{path}: {group} is a host and a group", "rename one of them")
        if not members:
            raise MnsweepError(f"{path}: groups.{group}: is empty", "list some hosts")
    return Inventory(hosts, {name: tuple(members) for name, members in file.groups.items()})


def _listed(path: Path, name: str, listed: _Listed) -> Host:
    if listed.ssh is not None and listed.prefix is not None:
        raise MnsweepError(f"{path}: hosts.{name}: ssh and prefix contradict each other", "leave one of them out")
    if listed.prefix is not None:
        return Host(name=name, prefix=_words(listed.prefix), python=listed.python, results_dir=listed.results_dir)
    destination = name if listed.ssh is None else listed.ssh
    if not _DESTINATION.fullmatch(destination):
        raise MnsweepError(f"{path}: hosts.{name}: {destination!r:.80} is no host of OpenSSH", 'write ssh = "user@host"')
    return Host(name=name, destination=destination, python=listed.python, results_dir=listed.results_dir)


def _words(prefix: str) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(prefix))
    except ValueError as error:
        raise MnsweepError(f"prefix {prefix!r:.80}: {error}", "quote it as for a shell") from None
    if not words:
        raise MnsweepError("a prefix is empty", "write a command, e.g. srun -w node7 --")
    return words


def _reason(error: Exception) -> str:
    return error.what if isinstance(error, DamagedError) else "is not TOML: " + str(error)
