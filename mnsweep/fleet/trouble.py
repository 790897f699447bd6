"""What can go wrong between two machines, in words."""

import re
from collections.abc import Sequence

from mnsweep.errors import MnsweepError
from mnsweep.fleet.hosts import Host

PARTIAL = 3  # the exit status where some of it was done
SSH_FAILED = 255  # the exit status of OpenSSH where it has no connection
NOT_FOUND = (126, 127)
_KEY = "its host key is unknown or has changed"
_OF_SSH = (  # what OpenSSH says → what it means, and what to do
    ("REMOTE HOST IDENTIFICATION HAS CHANGED", _KEY, "ask who runs it; if the new key is right: ssh-keygen -R, then ssh once"),
    ("Host key verification failed", _KEY, "connect once by hand to check and add it: ssh {host}"),
    ("No .* host key is known", _KEY, "connect once by hand to check and add it: ssh {host}"),
    ("Permission denied", "it refuses the key", "add yours there (ssh-copy-id {host}), or to the agent (ssh-add)"),
    ("Could not resolve", "no such host", "correct the name, or add it to ~/.ssh/config"),
    ("Connection refused", "nothing answers to OpenSSH there", "start sshd there, or correct the port in ~/.ssh/config"),
    ("timed out|No route|unreachable", "it is not reachable", "switch it on, or check the network"),
)
_OF_PYTHON = (
    ("No module named .?mnsweep", "its Python has no mnsweep", "install it there: 'mnsweep fleet setup {name}'"),
    ("unknown option -P|Unknown option: -P", "its Python is older than 3.11", "name another one in fleet.toml: python = …"),
    ("not found|No such file", "there is no Python", "install Python 3.11 there, or name one in fleet.toml: python = …"),
)


class HostError(MnsweepError):
    """A host that can't be used, or that was lost meanwhile (`is_lost`). What `may_pass` may go well with another try."""

    def __init__(self, what: str, fix: str = "", *, is_lost: bool = False, may_pass: bool = False) -> None:
        super().__init__(what, fix)
        self.may_pass = may_pass or is_lost
        self.exit_code = PARTIAL if is_lost else MnsweepError.exit_code


def why_not(host: Host, status: int | None, said: Sequence[str], *, greeted: bool) -> HostError:
    """Why a connection ended, from the exit status of its process and the lines that it `said`."""
    text = "\n".join(said)
    if host.destination and status == SSH_FAILED:
        for pattern, what, fix in _OF_SSH:
            if re.search(pattern, text):
                return HostError(what, fix.format(host=host.destination), is_lost=greeted, may_pass=True)
    if greeted:
        return HostError("the connection was lost", "the same command continues", is_lost=True)
    for pattern, what, fix in _OF_PYTHON:
        if re.search(pattern, text) or (status in NOT_FOUND and pattern.startswith("not found")):
            return HostError(what, fix.format(name=host.name))
    last = said[-1] if said else f"ended with status {status}, and said nothing"
    return HostError(f"mnsweep does not start there: {last:.200}", "try it by hand", may_pass=True)
