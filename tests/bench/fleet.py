"""Fleets: kills over real OpenSSH and over a real Dask cluster, overhead, a thousand cells on 200 machines, two trainers.

    python -m tests.bench.fleet kills [ROUNDS]      three machines in network namespaces, each with an sshd of its own (root)
    python -m tests.bench.fleet cluster [ROUNDS]    the same with a scheduler and workers
    python -m tests.bench.fleet overhead [TURNS]    a sweep over OpenSSH against the same sweep here, interleaved (root)
    python -m tests.bench.fleet many [MACHINES] [CELLS]   what the client takes
    python -m tests.bench.fleet train               8 designs on two workers against one after another

`kills` and `overhead` need openssh-server and iproute2. Of the three machines two play back what was recorded, one measures.
"""

import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from mnsweep.fleet import client
from mnsweep.fleet.client import Report
from mnsweep.fleet.hosts import Host
from mnsweep.sweep.derive import conclude
from mnsweep.sweep.store import BLOCKS, SweepFolder
from tests import far, preload
from tests.bench.figure import Figures
from tests.conftest import write_folder

PYTHON = sys.executable
SILENCE_S = 6.0  # so that a round of a broken connection takes seconds
PACE_S = 0.02
ALPHAS, SIZES = "0.1:1.0:0.02", "64:224:4"
GRID = ("grid", "--alpha", "0.25", "--res", "128", "--time-budget-s", "10", "--name", "grid")
CLIENT = (PYTHON, "-m", "tests.bench.fleet", "client")


def run_client(words: Sequence[str]) -> None:
    """The program, with less patience."""
    from mnsweep.cli.main import main

    client.SILENCE_S = SILENCE_S
    sys.argv[1:] = words
    main()


class Rig:
    """Machines in network namespaces: an address, a machine id, a lock and an sshd of its own for each."""

    def __init__(self, root: Path, count: int) -> None:
        self.root, self.names = root, [f"m{number}" for number in range(1, count + 1)]
        self.daemons: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "Rig":
        sh(f"ssh-keygen -q -t ed25519 -N '' -f {self.root}/key && cp {self.root}/key.pub {self.root}/authorized")
        Path("/run/sshd").mkdir(exist_ok=True)
        config = ["BatchMode yes", f"IdentityFile {self.root}/key", f"UserKnownHostsFile {self.root}/known"]
        known = []
        for number, name in enumerate(self.names, 1):
            home = self.root / name
            home.mkdir()
            (home / "machine-id").write_text(f"{number:032x}\n")
            sh(f"ssh-keygen -q -t ed25519 -N '' -f {home}/host")
            here, there = f"10.77.{number}.1", f"10.77.{number}.2"
            (home / "sshd_config").write_text(
                f"ListenAddress {there}\nHostKey {home}/host\nAuthorizedKeysFile {self.root}/authorized\nStrictModes no\n"
                f"PidFile {home}/pid\nUsePAM no\nSetEnv MNSWEEP_LOCK_DIR={home} PYTHONPATH={far.ROOT}\n"
            )
            sh(
                f"ip netns add {name}; ip link add {name}a type veth peer name {name}b; ip link set {name}b netns {name};"
                f"ip addr add {here}/24 dev {name}a; ip link set {name}a up; ip netns exec {name} ip link set lo up;"
                f"ip netns exec {name} ip addr add {there}/24 dev {name}b; ip netns exec {name} ip link set {name}b up"
            )
            script = f"mount --bind {home}/machine-id /etc/machine-id; exec /usr/sbin/sshd -D -f {home}/sshd_config"
            self.daemons.append(subprocess.Popen(["ip", "netns", "exec", name, "unshare", "-m", "sh", "-c", script]))
            config += [f"Host {name}", f"  HostName {there}", f"  HostKeyAlias {name}"]
            known.append(f"{name} {(home / 'host.pub').read_text()}")
        (self.root / "known").write_text("".join(known))
        (self.root / "config").write_text("\n".join(config) + "\n")
        for number in range(1, len(self.names) + 1):
            wait_for(lambda number=number: answers(f"10.77.{number}.2"), 20)  # type: ignore[misc]
        return self

    def __exit__(self, *error: object) -> None:
        for daemon in self.daemons:
            daemon.kill()
            daemon.wait()
        for name in self.names:
            sh(f"ip netns pids {name} | xargs -r kill -9; ip link del {name}a; ip netns del {name}")

    def ssh(self, name: str) -> str:
        return f"ssh -F {self.root}/config -o ServerAliveInterval=2 -o ServerAliveCountMax=2 -o ConnectTimeout=5 {name}"

    def cut(self, name: str, *, off: bool) -> None:
        """Drop all packets from and to a machine, without a word to either side."""
        sh(f"ip netns exec {name} ip link set {name}b {'down' if off else 'up'}")


def sh(script: str) -> None:
    subprocess.run(["sh", "-c", script], check=True, stdout=subprocess.DEVNULL)


def answers(address: str) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((address, 22)) == 0


def wait_for(condition: Callable[[], bool], patience_s: float) -> None:
    until = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError("it never came")
        time.sleep(0.05)


def kept(folder: Path) -> dict[str, bytes]:
    """The records below a folder of results, by machine."""
    return {path.parent.name: path.read_bytes() for path in folder.glob(f"grid/*/{BLOCKS}")}


def prefixed(before: dict[str, bytes], after: dict[str, bytes]) -> bool:
    return all(after.get(key, b"").startswith(content[: content.rfind(b"\n") + 1]) for key, content in before.items())


def killed(pattern: str) -> None:
    subprocess.run(["pkill", "-9", "-f", pattern], check=False)


def kills(figures: Figures, rounds: int = 50) -> None:
    """Rounds in which something is killed; all that had arrived is there afterwards, once, and the sweeps are complete."""
    random.seed(0)
    with tempfile.TemporaryDirectory(prefix="rig-") as root_name, Rig(Path(root_name), 3) as rig:
        root = rig.root
        recorded = write_folder(SweepFolder(root / "recorded" / "grid" / "m")).path
        text = ""
        for name in rig.names[:2]:
            words = far.playing(name, root / name, recorded, pace_s=PACE_S)
            text += f'[hosts.{name}]\nprefix = "{rig.ssh(name)} {words}"\n'
        text += f'[hosts.m3]\nprefix = "{rig.ssh("m3")}"\npython = "{PYTHON}"\nresults_dir = "{root}/m3/results"\n'
        (root / "fleet.toml").write_text(text + '[groups]\nall = ["m1", "m2", "m3"]\n')
        troubles: dict[str, Callable[[], None]] = {
            "client": lambda: killed("bench.fleet client"),
            "agent": lambda: killed("tests.far m1"),
            "real agent": lambda: killed("mnsweep.fleet.agent"),
            "command": lambda: killed("playback.py"),
            "real command": lambda: killed("mnsweep.fleet.child"),
            "connection": lambda: killed(f"ssh -F {root}/config"),
            "packets": lambda: rig.cut(random.choice(rig.names), off=True),
        }
        good = 0
        for number in range(rounds):
            results = root / "results"
            for folder in (results, root / "m3/results", *(root / name / ".local" for name in rig.names)):
                shutil.rmtree(folder, ignore_errors=True)
            trouble = list(troubles)[number % len(troubles)]
            good += _round(trouble, troubles[trouble], rig, root, results)
            print(f"round {number + 1}: {trouble}: {good} good so far", flush=True)
    figures.at_least("kills over OpenSSH: nothing lost, nothing twice", good, rounds, "rounds")


def _round(trouble: str, strike: Callable[[], None], rig: Rig, root: Path, results: Path) -> bool:
    command = [*CLIENT, *GRID, "--on", "all", "--results-dir", str(results), "-q"]
    environment = {**os.environ, "MNSWEEP_PLOTS": "none", "MNSWEEP_FLEET": str(root / "fleet.toml")}
    first = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with_patience = time.monotonic() + 60
    while sum(content.count(b"\n") for content in kept(results).values()) < 4 and time.monotonic() < with_patience:
        time.sleep(0.02)
    time.sleep(random.uniform(0.0, 2.5))
    strike()
    if trouble == "packets":
        time.sleep(random.choice([1.0, 2 * SILENCE_S]))
        for name in rig.names:
            rig.cut(name, off=False)
    try:
        first.wait(timeout=120)
    except subprocess.TimeoutExpired:
        first.kill()
        print("the client hung")
        return False
    before = kept(results)
    again = subprocess.run(command, env=environment, capture_output=True, timeout=180, check=False)
    after = kept(results)
    there = dict[str, bytes]()
    for folder in (root / "m1/.local/share/mnsweep/results", root / "m2/.local/share/mnsweep/results", root / "m3/results"):
        there |= kept(folder)
    recorded = (root / "recorded/grid/m" / BLOCKS).read_bytes()
    complete = sum(content == recorded for content in after.values()) == 2 and len(after) == 3
    for path in results.glob("grid/*"):
        conclude(SweepFolder(path))  # raises where a line is there twice, or damaged
    if ok := again.returncode == 0 and prefixed(before, after) and after == there and complete:
        return ok
    print(again.returncode, again.stderr.decode()[-500:], prefixed(before, after), after == there, complete)
    return False


def overhead(figures: Figures, turns: int = 5) -> None:
    """A sweep there and here in turns: how much longer it takes, and whether the latencies differ."""
    with tempfile.TemporaryDirectory(prefix="rig-") as root_name, Rig(Path(root_name), 1) as rig:
        root = rig.root
        text = f'[hosts.m1]\nprefix = "{rig.ssh("m1")}"\npython = "{PYTHON}"\nresults_dir = "{root}/m1/results"\n'
        (root / "fleet.toml").write_text(text)
        environment = {**os.environ, "MNSWEEP_FLEET": str(root / "fleet.toml"), "MNSWEEP_LOCK_DIR": str(root)}
        words = ["grid", "--sweep", "paper", "--time-budget-s", "40", "--ci-pct", "0.2", "-q"]
        ratios = []
        for turn in range(turns):
            took = {}
            for side in ("here", "there") if turn % 2 else ("there", "here"):
                more = ["--on", "m1"] if side == "there" else []
                began = time.monotonic()
                results = ["--name", f"{side}{turn}", "--results-dir", str(root / side)]
                subprocess.run(
                    [PYTHON, "-m", "mnsweep", *words, *results, *more], env=environment, check=True, capture_output=True
                )
                took[side] = time.monotonic() - began
            ratios.append(took["there"] / took["here"])
            print(f"turn {turn + 1}: {took['here']:.1f} s here, {took['there']:.1f} s there", flush=True)
            _compared(root, turn)
    figures.at_most("longer over OpenSSH, the median turn", 100 * (median(ratios) - 1), 3, "%")


def _compared(root: Path, turn: int) -> None:
    from mnsweep.app.compare import compare_sweeps
    from mnsweep.app.requests import CompareRequest
    from mnsweep.options import request_from

    (here,), (there,) = root.glob(f"here/here{turn}/*"), root.glob(f"there/there{turn}/*")
    (comparison,) = compare_sweeps(request_from(CompareRequest, sweeps=[str(here), str(there)])).comparisons
    overall, cells = comparison.verdicts.overall, comparison.verdicts.cells
    outside = sum(r.verdict in ("faster", "slower") for r in cells)
    print(f"  latencies there: {overall.verdict}, {overall.ratio:.3f} ×; {outside} of {len(cells)} cells called", flush=True)


def many(figures: Figures, machines: int = 200, cells: int = 1_000) -> None:
    """The client's CPU seconds and memory for machines that send all their records at once."""
    with tempfile.TemporaryDirectory(prefix="many-") as root_name:
        root = Path(root_name)
        _write_many(root / "recorded", cells)
        replay = f"{PYTHON} -S {Path(__file__).parent / 'replay.py'} {root / 'recorded'}"
        text = "".join(f'[hosts.h{number}]\nprefix = "{replay} {number}"\n' for number in range(machines))
        (root / "fleet.toml").write_text(
            text + f"[groups]\nall = [{', '.join(f'{chr(34)}h{n}{chr(34)}' for n in range(machines))}]\n"
        )
        environment = {**os.environ, "MNSWEEP_FLEET": str(root / "fleet.toml"), "MNSWEEP_PLOTS": "none"}
        done = subprocess.run(
            [PYTHON, "-m", "tests.bench.fleet", "follow", str(root)], env=environment, check=True, capture_output=True
        )
        cpu_s, total_s, mib, complete = map(float, done.stdout.split())
    figures.at_most(f"CPU of the client that follows {machines} machines of {cells} cells", cpu_s, 60, "s")
    figures.report("with the estimates and tables of all of them", total_s, "s")
    figures.at_most("memory of the client", mib, 2048, "MiB")
    figures.at_least("machines complete", complete, machines, "")


def follow(root: Path) -> None:
    """The client of `many`, in a process of its own: CPU seconds of following and of all, MiB, sweeps that are complete."""
    from mnsweep.app import elsewhere
    from mnsweep.app.requests import GridRequest
    from mnsweep.fleet.client import Fleet
    from mnsweep.options import request_from

    followed = []
    ask = Fleet.ask

    def noted(self: Fleet, hosts: Sequence[Host]) -> list[Report]:
        reports = ask(self, hosts)
        followed.append(time.process_time())
        return reports

    Fleet.ask = noted  # type: ignore[method-assign]
    request = request_from(GridRequest, on="all", alpha=ALPHAS, res=SIZES, results_dir=root / "results")
    measured = elsewhere.grid_on(request)
    recorded = (root / "recorded" / BLOCKS).stat().st_size
    complete = sum(path.stat().st_size == recorded for path in (root / "results").glob(f"grid/*/{BLOCKS}"))
    for trouble in {str(trouble) for trouble in measured.troubles.values()}:
        print(trouble, file=sys.stderr)
    mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(followed[0], time.process_time(), mib, complete)


def _write_many(folder: Path, cells: int) -> None:
    """Records of a sweep of many cells: 3 processes of 4 rounds, one block of 5 runs each."""
    from mnsweep.record import Block, Process, to_line
    from mnsweep.space import Space
    from mnsweep.sweep.file import Sweep, write_sweep

    chosen = Space(alpha=ALPHAS, res=SIZES).cells()[:cells]
    folder.mkdir(parents=True)
    (folder / "sweep.toml").write_text(write_sweep(Sweep("grid", tuple(chosen))))
    ids = tuple(cell.id for cell in chosen)
    with (folder / BLOCKS).open("w") as file:
        for process in range(1, 4):
            file.write(to_line(Process(number=process, started_at="2026-01-01", settings={"seed": 0}, cells=ids)))
            for number in range(1, 5):
                for at, cell in enumerate(ids):
                    ns = 10**6 + 997 * at + 13 * number
                    block = Block(
                        cell=cell,
                        process=process,
                        round=number,
                        at_s=float(number * cells + at),
                        first_ns=ns,
                        samples_ns=(ns,) * 5,
                    )
                    file.write(to_line(block))


@contextmanager
def local(workers: int, cwd: Path) -> Iterator[str]:
    """A scheduler and workers, by the command that users have."""
    with subprocess.Popen(
        [PYTHON, "-m", "mnsweep", "fleet", "local", str(workers)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=cwd
    ) as cluster:
        assert cluster.stdout is not None
        yield cluster.stdout.readline().decode().strip()
        cluster.send_signal(signal.SIGINT)


def cluster(figures: Figures, rounds: int = 50) -> None:
    """Rounds in which a worker, the command, the client or the scheduler is killed."""
    random.seed(0)
    good = 0
    strikes = {
        "worker": lambda: killed("multiprocessing.spawn"),
        "scheduler": lambda: killed("mnsweep fleet local"),
        "client": lambda: killed("bench.fleet client"),
        "command": lambda: killed("playback.py"),
    }
    with tempfile.TemporaryDirectory(prefix="cluster-") as root_name:
        root = Path(root_name)
        recorded = write_folder(SweepFolder(root / "recorded" / "grid" / "m")).path
        os.environ |= {"HOME": str(root), "MNSWEEP_LOCK_DIR": str(root), "MNSWEEP_PLOTS": "none", "PYTHONPATH": str(far.ROOT)}
        os.environ |= {preload.RECORDED: str(recorded), preload.HOME: str(root), preload.PACE: str(2 * PACE_S)}
        os.environ["DASK_DISTRIBUTED__WORKER__PRELOAD"] = '["tests.preload"]'
        there = root / ".local/share/mnsweep/results"
        for number in range(rounds):
            results = root / "results"
            for folder in (results, there):
                shutil.rmtree(folder, ignore_errors=True)
            strike, began = list(strikes)[number % len(strikes)], time.monotonic()
            with local(2, root) as address:
                command = [*CLIENT, *GRID, "--fleet", address, "--results-dir", str(results), "-q"]
                first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                until = time.monotonic() + 60
                while not any(content.count(b"\n") > 2 for content in kept(results).values()) and time.monotonic() < until:
                    time.sleep(0.02)
                time.sleep(random.uniform(0.0, 2.0))
                strikes[strike]()
                first.wait(timeout=180)
                before = kept(results)
            with local(2, root) as address:
                command[command.index("--fleet") + 1] = address
                again = subprocess.run(command, capture_output=True, timeout=180, check=False)
            after = kept(results)
            for path in results.glob("grid/*"):
                conclude(SweepFolder(path))
            complete = list(after.values()) == [(recorded / BLOCKS).read_bytes()]
            ok = again.returncode == 0 and prefixed(before, after) and after == kept(there) and complete
            good += ok
            took = f"{time.monotonic() - began:.0f} s"
            print(
                f"round {number + 1}: {strike}, {took}: {good} good so far",
                "" if ok else again.stderr.decode()[-300:],
                flush=True,
            )
    figures.at_least("kills with Dask: nothing lost, nothing twice", good, rounds, "rounds")


def train(figures: Figures) -> None:
    """8 small designs on two workers with one thread each against one after another with one thread."""
    words = ["--alpha", "0.25,0.5", "--res", "32,40,48,64", "--data", "glyphs", "--set", "epochs=4", "-q"]
    with tempfile.TemporaryDirectory(prefix="train-") as root_name:
        root = Path(root_name)
        os.environ |= {"HOME": str(root), "MNSWEEP_LOCK_DIR": str(root)}
        program = [PYTHON, "-m", "mnsweep"]
        subprocess.run(
            [*program, "data", "glyphs", "glyphs", "--images", "1500", "--validation", "300", "--size", "64"],
            cwd=root,
            check=True,
        )
        took = {}
        began = time.monotonic()
        subprocess.run(
            ["taskset", "-c", "0", *program, "train", *words, "--name", "alone"],
            cwd=root,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        took["alone"] = time.monotonic() - began
        with local(2, root) as address:
            began = time.monotonic()
            fleet = ["--fleet", address, "--name", "fleet"]
            subprocess.run([*program, "train", *words, *fleet], cwd=root, check=True, stdout=subprocess.DEVNULL)
            took["fleet"] = time.monotonic() - began
        pairs = [
            (path, root / "results/fleet/training" / path.name) for path in root.glob("results/alone/training/*.safetensors")
        ]
        alike = sum(other.is_file() and path.read_bytes() == other.read_bytes() for path, other in pairs)
    print(
        f"{took['alone']:.0f} s one after another, {took['fleet']:.0f} s on two workers; {alike} of {len(pairs)} files the same"
    )
    figures.at_least("two workers against one after another", took["alone"] / took["fleet"], 1.6, "times as fast")
    figures.at_least("networks that are the same, bit for bit", alike, 8, "of 8")


if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    if what == "client":
        run_client(rest)
    elif what == "follow":
        follow(Path(rest[0]))
    else:
        found = Figures()
        benches: dict[str, Callable[..., None]] = {
            each.__name__: each for each in (kills, cluster, overhead, many, train)
        }  # fmt: skip
        benches[what](found, *map(int, rest))
        found.finish()
