"""A made-up machine: `python -m tests.far NAME HOME [WORD…]` plays what OpenSSH would start there.

Its fingerprint, lock and home are its own. The words that mnsweep puts behind the prefix are ignored; others are troubles of
the connection that it gets into, or `play=FOLDER` and `pace=S`: the ordinary command is then `tests/playback.py`, otherwise
the real one with a worker that takes no time (`--run`).
"""

import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from mnsweep.cell import Deployment
from mnsweep.fleet import agent, messages
from mnsweep.machine import fingerprint
from mnsweep.machine.fingerprint import Machine

PREFIX = (sys.executable, "-m", "tests.far")
REST = ("python3", "-P", "-m", "mnsweep.fleet.agent")
ROOT = Path(__file__).parents[1]


def prefix(name: str, home: Path, *words: str) -> str:
    """The value of --on for a machine."""
    return " ".join([*PREFIX, name, str(home), *words])


def playing(name: str, home: Path, recorded: Path, *words: str, pace_s: float = 0.0) -> str:
    """The value of --on for a machine that plays back what was recorded."""
    return prefix(name, home, f"play={recorded}", f"pace={pace_s}", *words)


def machine_named(name: str) -> Machine:
    """The fingerprint of a made-up machine."""
    machine = _read_machine()
    return replace(machine, checked={**machine.checked, "machine_id": name, "cpu": f"cpu of {name}"})


_read_machine = fingerprint.read_machine


def _be(name: str, home: Path) -> None:
    """Take on the fingerprint, the lock and the home of a machine, before anything else is imported."""
    fingerprint.read_machine = agent.read_machine = lambda root=Path("/"): machine_named(name)  # type: ignore[attr-defined]
    home.mkdir(parents=True, exist_ok=True)
    os.environ |= {"HOME": str(home), "MNSWEEP_LOCK_DIR": str(home), "PYTHONPATH": str(ROOT)}


def run(name: str, home: Path, words: list[str]) -> None:
    """The ordinary command there, with a worker that takes no time."""
    _be(name, home)
    import mnsweep.app.time
    import mnsweep.session
    from mnsweep.cli.main import main
    from tests.fakes import FakeWorker, by_pixels

    def ms_of(key: str, deployment: Deployment) -> float:
        return by_pixels(key, deployment) if key.startswith(("a0", "a1")) else 1.0

    worker = FakeWorker(ms_of=ms_of, seed=len(name))
    for module in (mnsweep.session, mnsweep.app.time):
        module.WorkerProcess = lambda *_, **__: worker  # type: ignore[attr-defined]
    sys.argv[1:] = words
    main()


def _get_into(troubles: dict[str, str]) -> None:
    """Each trouble is a word; some begin with the message of a number."""
    if "junk" in troubles:
        sys.stdout.write("Welcome to the machine ä\n\x1b[2J{}\n" * 3)
    if "chatter" in troubles:
        sys.stdout.write("x" * (2 << 20))
    sys.stdout.flush()
    if "version" in troubles:
        agent.VERSION = "99.0"  # type: ignore[attr-defined]
    if "clock" in troubles:
        agent.time.time = lambda: 1e9  # type: ignore[attr-defined]
    if "refused" in troubles:
        sys.exit("Permission denied (publickey).")
    for kind in ("dies", "garbage", "mute"):
        if kind in troubles:
            _disturb(kind, int(troubles[kind] or 0))


def _disturb(kind: str, at: int) -> None:
    """Change what the agent sends, from its message number `at` on."""
    sent = iter(range(10**9))

    def encoded(message: Any) -> bytes:
        number = next(sent)
        if number >= at and kind == "dies":
            os._exit(7)
        if number >= at and kind == "mute":
            time.sleep(3600)
        if number == at and kind == "garbage":
            return b'{"kind":"lines","at":0,"lines":[{"kind":"block","cell":"../../etc","process":1}]}'
        return messages.encoded(message)

    agent.encoded = encoded  # type: ignore[attr-defined]


def main() -> None:
    """Play the machine."""
    if sys.argv[1] == "--run":
        run(sys.argv[2], Path(sys.argv[3]), sys.argv[4:])
        return
    name, home = sys.argv[1], Path(sys.argv[2])
    words = dict(word.replace(":", "=").partition("=")[::2] for word in sys.argv[3:] if word not in REST)
    _be(name, home)
    agent.COMMAND = (*PREFIX, "--run", name, str(home))
    if recorded := words.get("play"):
        folder = home / ".local/share/mnsweep/results" / Path(recorded).parent.name / machine_named(name).key
        agent.COMMAND = (sys.executable, "-S", str(ROOT / "tests/playback.py"), recorded, str(folder), words["pace"])
    agent.POLL_S = 0.05
    os.chdir(home)
    _get_into(words)
    agent.main()


if __name__ == "__main__":
    main()
