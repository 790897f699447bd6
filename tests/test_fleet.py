"""Other machines: what they measure arrives here whole, once and checked, whatever happens on the way."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

import mnsweep
from mnsweep.app.elsewhere import grid_on
from mnsweep.app.requests import GridRequest
from mnsweep.decoding import DamagedError
from mnsweep.errors import MnsweepError, StoreError
from mnsweep.fleet.client import Fleet, Job
from mnsweep.fleet.hosts import Host, Inventory, hosts_of, read_inventory
from mnsweep.fleet.messages import Kept, Lines
from mnsweep.fleet.replica import Replica, kept_of
from mnsweep.fleet.setup import WHEEL, Setup, wheel
from mnsweep.fleet.trouble import why_not
from mnsweep.fleet.watching import Watcher
from mnsweep.options import request_from
from mnsweep.record import to_line
from mnsweep.sweep.store import BLOCKS, SweepFolder
from tests import far
from tests.conftest import made_up_blocks, write_folder
from tests.test_cli import Run, run

__all__ = ["run"]
GRID = ("grid", "--quick", "--alpha", "0.25,0.5", "--res", "64")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(far.ROOT))
    for name in ("MNSWEEP_RESULTS", "MNSWEEP_FLEET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MNSWEEP_PLOTS", "none")


def records(name: str = "grid") -> dict[str, bytes]:
    """What is here of each machine, by its key."""
    return {path.parent.name: path.read_bytes() for path in Path("results").glob(f"{name}/*/{BLOCKS}")}


def only(found: dict[str, bytes]) -> bytes:
    (content,) = found.values()
    return content


def there(home: Path, name: str = "grid") -> bytes:
    (path,) = (home / ".local/share/mnsweep/results").glob(f"{name}/*/{BLOCKS}")
    return path.read_bytes()


# Names and prefixes.


def test_hosts_are_names_prefixes_and_groups(tmp_path: Path) -> None:
    (tmp_path / "fleet.toml").write_text(
        '[hosts.pi]\nssh = "me@10.0.0.4"\npython = "~/py thon"\nresults_dir = "/data"\n'
        '[hosts.node7]\nprefix = "srun -w node7 --"\n[groups]\nshelf = ["pi", "node7"]\n'
    )
    pi, node, other, cabin = hosts_of("shelf, other,docker exec -i 'a b'", read_inventory())
    assert pi.agent[-2:] == ("me@10.0.0.4", "exec sh -c 'exec \"$HOME\"/'\"'\"'py thon'\"'\"' -P -m mnsweep.fleet.agent'")
    assert pi.agent[0] == "ssh" and "BatchMode=yes" in pi.agent and pi.results_dir == "/data"
    assert not any("StrictHostKeyChecking" in word for word in pi.agent), "never switched off"
    assert node.agent == ("srun", "-w", "node7", "--", "python3", "-P", "-m", "mnsweep.fleet.agent")
    assert other.destination == "other" and cabin.prefix == ("docker", "exec", "-i", "a b")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,a", "named twice"),
        ("a,", "a name is missing"),
        ("-oProxyCommand=x", "no name of a host"),
        ("a;reboot", "no name of a host"),
        ("$(reboot)", "no name of a host"),
        ("docker 'x", "No closing quotation"),
    ],
)
def test_bad_names_are_refused(text: str, said: str) -> None:
    with pytest.raises(MnsweepError, match=said):
        hosts_of(text, Inventory())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[hosts.pi]\nshh = "x"\n', r"fleet.toml: hosts\[...\]: .*unknown field"),
        ("[hosts\n", "is not TOML"),
        ('[hosts.pi]\nssh = "a"\nprefix = "b"\n', "hosts.pi: ssh and prefix contradict"),
        ('[hosts.pi]\nssh = "-oX"\n', "no host of OpenSSH"),
        ("[groups]\nall = []\n", "groups.all: is empty"),
        ("[hosts.all]\n[groups]\nall = ['x']\n", "all is a host and a group"),
    ],
)
def test_a_bad_file_is_refused(text: str, said: str) -> None:
    Path("fleet.toml").write_text(text)
    with pytest.raises(MnsweepError, match=said):
        read_inventory()


def test_a_shell_there_reads_one_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenSSH hands one line to a login shell; a stand-in for it shows what arrives, whatever is in the names."""
    fake = tmp_path / "bin/ssh"
    fake.parent.mkdir()
    fake.write_text('#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done\necho "host $2"; exec sh -c "$3"\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    odd = tmp_path / "home/it's $(odd)"
    odd.mkdir(parents=True)
    (odd / "python").write_text('#!/bin/sh\necho "$0 $@"\n')
    (odd / "python").chmod(0o755)
    for python in (f"{odd}/python", "~/it's $(odd)/python"):
        host = Host(name="pi", destination="me@pi", python=python)
        said = subprocess.run(host.agent, capture_output=True, text=True, check=True).stdout
        assert said == f"host me@pi\n{odd}/python -P -m mnsweep.fleet.agent\n"
    own = tmp_path / "home/.local/share/mnsweep/env/bin/python"
    own.parent.mkdir(parents=True)
    own.write_text("#!/bin/sh\necho its own\n")
    own.chmod(0o755)
    said = subprocess.run(Host(name="pi", destination="pi").agent, capture_output=True, text=True, check=True).stdout
    assert said.endswith("its own\n"), "what 'fleet setup' made comes first"


@pytest.mark.parametrize(
    ("status", "said", "means"),
    [
        (255, "Host key verification failed.", "its host key is unknown or has changed; connect once by hand"),
        (255, "me@pi: Permission denied (publickey).", "it refuses the key; add yours there"),
        (255, "ssh: connect to host pi port 22: Connection refused", "nothing answers to OpenSSH there"),
        (255, "ssh: connect to host pi port 22: No route to host", "it is not reachable"),
        (255, "ssh: Could not resolve hostname pi: x", "no such host"),
        (
            1,
            "/usr/bin/python3: No module named mnsweep.fleet",
            "its Python has no mnsweep; install it there: 'mnsweep fleet setup",
        ),
        (127, "sh: 1: python3: not found", "there is no Python"),
        (2, "unknown option -P", "its Python is older than 3.11"),
    ],
)
def test_what_openssh_says_is_told_in_words(status: int, said: str, means: str) -> None:
    trouble = why_not(Host(name="pi", destination="pi"), status, ["motd", said], greeted=False)
    assert str(trouble).startswith(means) and trouble.exit_code == 2


def test_an_installation_is_packed_as_a_wheel_that_pip_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole of `fleet setup`, but for what pip would fetch: into an environment that has it."""
    name = tmp_path / WHEEL
    name.write_bytes(wheel())
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(tmp_path / "there")]
    subprocess.run([*pip, str(name)], check=True)
    (tmp_path / "there/mnsweep/sweeps/paper.toml").read_text()
    said = subprocess.run(
        [sys.executable, "-c", "import mnsweep; print(mnsweep.__file__, len(mnsweep.count(0.25, 32)))"],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "there")},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert said == f"{tmp_path / 'there/mnsweep/__init__.py'} 1\n"


def test_a_set_up_says_what_it_does_and_undoes_it(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    plan = Setup(host=Host(name="env --", prefix=("env", "--")), extras=("openvino",))
    assert not any(each.startswith("torch") for each in plan.requirements) and "numpy>=2.0" in plan.requirements
    assert any(each.startswith("openvino") for each in plan.requirements)
    monkeypatch.setattr(Setup, "requirements", property(lambda self: ["--version"]))  # pip then fetches nothing
    monkeypatch.setattr("mnsweep.fleet.setup.wheel", lambda: b"no wheel")
    done = run("fleet", "setup", "env --", "--yes")
    assert done.code == 2 and "the set-up failed there" in done.err and "make a virtual environment" in done.err
    environment = tmp_path / ".local/share/mnsweep/env"
    assert (environment / "bin/python").exists()
    assert run("fleet", "setup", "env --", "--yes", "--remove").code == 0 and not environment.exists()
    assert run("fleet", "setup", "env --,nice --", "--yes").code == 2


# What both sides have.


def lines(at: int = 0) -> Lines:
    return Lines(at, tuple(msgspec.Raw(to_line(record).encode()[:-1]) for record in made_up_blocks()))


def test_a_replica_takes_each_line_once_and_in_order(tmp_path: Path) -> None:
    everything, folder = lines(), SweepFolder(tmp_path / "r" / "grid" / "m")
    with Replica(folder) as replica:
        assert replica.add(Lines(0, everything.lines[:3])) == replica.size > 0
        assert replica.add(Lines(0, everything.lines[:5])) > 0, "some of them again"
        assert replica.add(Lines(0, everything.lines[:5])) == 0
        with pytest.raises(DamagedError, match="some are missing"):
            replica.add(Lines(replica.size + 1, everything.lines[5:]))
        replica.add(everything)
        assert replica.kept == kept_of(folder.path / BLOCKS)
        assert replica.begins_with(kept_of(folder.path / BLOCKS, 100)) and not replica.begins_with(Kept(100, "0" * 64))
        with pytest.raises(StoreError, match="another mnsweep is following"), Replica(folder):
            pass
    assert (folder.path / BLOCKS).read_bytes() == b"".join(bytes(line) + b"\n" for line in everything.lines)
    with Replica(folder) as again:
        assert again.kept == kept_of(folder.path / BLOCKS)
        assert b"".join(bytes(x) for each in again.after(0) for x in each.lines) == b"".join(map(bytes, everything.lines))


@pytest.mark.parametrize(
    "line",
    [
        b'{"kind":"block","cell":"a0.25_r64","process":9,"round":1,"at_s":0,"first_ns":1,"samples_ns":[1]}',
        b'{"kind":"process","number":1,"started_at":"x","settings":{},"cells":[],"path":"/etc"}',
        b"[]",
        '{"kind":"failure","cell":"ä","process":1,"reason":"x"}'.encode(),
    ],
)
def test_a_replica_keeps_nothing_that_is_not_valid(tmp_path: Path, line: bytes) -> None:
    folder, good = SweepFolder(tmp_path / "r" / "grid" / "m"), lines().lines[0]
    with Replica(folder) as replica, pytest.raises(DamagedError):
        replica.add(Lines(0, (good, msgspec.Raw(line))))
    assert (folder.path / BLOCKS).read_bytes() == bytes(good) + b"\n", "what came before it is kept"


def test_a_replica_notices_another_writer(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path / "r" / "grid" / "m")
    with Replica(folder) as replica:
        replica.add(Lines(0, lines().lines[:2]))
        with (folder.path / BLOCKS).open("ab") as other:
            other.write(b"{}\n")
        with pytest.raises(StoreError, match="another program writes"):
            replica.add(Lines(replica.size, lines().lines[2:3]))


# Machines.


def test_a_grid_is_measured_there_and_kept_here(tmp_path: Path, run: Run) -> None:
    done = run(*GRID, "--on", f"{far.prefix('one', tmp_path / 'one', 'junk')},{far.prefix('two', tmp_path / 'two')}", "--json")
    assert done.code == 0, done.err
    document = done.json
    assert [len(machine["cells"]) for machine in document["machines"]] == [2, 2] and document["troubles"] == []
    assert set(records()) == {machine["machine"] for machine in document["machines"]}
    assert sorted(records().values()) == sorted([there(tmp_path / "one"), there(tmp_path / "two")])
    before = records()
    again = run(*GRID, "--on", far.prefix("one", tmp_path / "one"))
    assert again.code == 0 and records() == before
    assert "a0.5_r64" in again.out
    together = run("pick", "--sweep", "grid", "--all-machines", "--max-latency-ms", "1000", "--json")
    assert len(together.json["machines"]) == 2
    assert "rank correlation" not in run("compare", "grid", "--all-machines").out, "2 cells have no order worth a number"


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `playback` plays: the sweep `grid` of a complete folder."""
    return write_folder(SweepFolder(tmp_path_factory.mktemp("recorded") / "grid" / "m")).path


PLAYED = ("grid", "--alpha", "0.25", "--res", "128")


def test_what_was_lost_there_is_brought_back(tmp_path: Path, recorded: Path) -> None:
    on = far.playing("one", tmp_path / "one", recorded)
    request = request_from(GridRequest, on=on, alpha=0.25, res=128)
    assert not grid_on(request).troubles
    (path,) = (tmp_path / "one/.local/share/mnsweep/results").glob("grid/*")
    everything = (recorded / BLOCKS).read_bytes()
    assert only(records()) == (path / BLOCKS).read_bytes() == everything
    (path / BLOCKS).write_bytes(everything[: len(everything) // 2])  # with a line that was cut short
    assert not grid_on(request).troubles and (path / BLOCKS).read_bytes() == everything == only(records())


def test_other_measurements_there_are_never_mixed(tmp_path: Path, run: Run, recorded: Path) -> None:
    on = far.playing("one", tmp_path / "one", recorded)
    assert run(*PLAYED, "--on", on).code == 0
    (folder,) = (tmp_path / "one/.local/share/mnsweep/results").glob("grid/*")
    content = (folder / BLOCKS).read_bytes()
    (folder / BLOCKS).write_bytes(content.replace(b'"first_ns":2', b'"first_ns":3', 1))
    here = records()
    refused = run(*PLAYED, "--on", on)
    assert refused.code == 2 and "other measurements" in refused.err and records() == here
    assert run(*PLAYED, "--on", on, "--fresh").code == 0 and len(list(Path("results/grid").iterdir())) == 2


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        ("version", "has mnsweep 99.0, and this is"),
        ("garbage:3", "sent what mnsweep does not send"),
        ("chatter", "more than a megabyte of text that is no message"),
        ("refused", "mnsweep does not start there: Permission denied"),
    ],
)
def test_a_host_in_trouble_is_named_and_the_others_go_on(
    tmp_path: Path, run: Run, recorded: Path, trouble: str, said: str
) -> None:
    bad = far.playing("bad", tmp_path / "bad", recorded, trouble)
    both = run(*PLAYED, "--on", f"{bad},{far.playing('good', tmp_path / 'good', recorded, 'junk')}", "--json")
    assert both.code == 3 and said in both.err and both.err.count("mnsweep: ") == 1
    assert len(both.json["machines"]) == 1 and len(both.json["troubles"]) == 1


def test_a_host_alone_in_trouble_is_one_line(run: Run) -> None:
    alone = run(*PLAYED, "--on", "nosuch --")
    assert alone.code == 2 and alone.err.count("\n") == 1 and "nosuch --: nosuch: No such file" in alone.err


def played(tmp_path: Path, recorded: Path, *words: str, pace_s: float = 0.0) -> Host:
    return Host(name="one", prefix=tuple(far.playing("one", tmp_path / "one", recorded, *words, pace_s=pace_s).split()))


def test_a_connection_that_is_lost_is_made_again(tmp_path: Path, recorded: Path) -> None:
    said: list[str] = []

    class Heard(Watcher):
        def said(self, host: str, text: str) -> None:
            said.append(text)

    job = Job(command="grid", words=(), sweep="grid")
    (report,) = Fleet(job, Heard(), pauses_s=(0.01,) * 2).ask([played(tmp_path, recorded, "dies:9", pace_s=0.01)])
    assert report.trouble is None, "each connection brought something new"
    assert only(records()) == there(tmp_path / "one") == (recorded / BLOCKS).read_bytes()
    assert "the connection was lost; trying again" in " ".join(said)


def test_a_host_that_is_lost_for_good_is_named(tmp_path: Path, recorded: Path) -> None:
    job = Job(command="grid", words=(), sweep="grid")
    (report,) = Fleet(job, pauses_s=(0.01,)).ask([played(tmp_path, recorded, "dies:2")])
    assert report.trouble is not None and report.trouble.exit_code == 3 and "was lost" in report.trouble.what


def test_a_silent_host_is_given_up(tmp_path: Path, recorded: Path) -> None:
    job = Job(command="grid", words=(), sweep="grid", silence_s=1.0)
    (report,) = Fleet(job, pauses_s=()).ask([played(tmp_path, recorded, "mute:2")])
    assert report.trouble is not None and "not answered for 1 s" in report.trouble.what


def test_one_machine_under_two_names_is_measured_once(tmp_path: Path, run: Run, recorded: Path) -> None:
    on = f"{far.playing('one', tmp_path / 'one', recorded)},{far.playing('one', tmp_path / 'one', recorded, 'again')}"
    done = run(*PLAYED, "--on", on)
    assert done.code == 3 and "is the same machine as" in done.err and len(records()) == 1


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_client_that_is_killed_loses_nothing(tmp_path: Path, recorded: Path, number: signal.Signals) -> None:
    slow = far.playing("one", tmp_path / "one", recorded, pace_s=0.1)
    command = [sys.executable, "-m", "mnsweep", *PLAYED, "--on"]
    client = subprocess.Popen([*command, slow], stderr=subprocess.DEVNULL)
    wait_for(lambda: any(content.count(b"\n") > 3 for content in records().values()))
    client.send_signal(number)
    assert client.wait() == (130 if number is signal.SIGINT else -9)
    before = only(records())
    wait_for(lambda: not alive(str(tmp_path / "one")))
    assert there(tmp_path / "one").startswith(before)
    job = Job(command="grid", words=(), sweep="grid")
    (report,) = Fleet(job).ask([played(tmp_path, recorded)])
    assert report.trouble is None and only(records()) == (recorded / BLOCKS).read_bytes() == there(tmp_path / "one")


def wait_for(condition: Callable[[], bool], patience_s: float = 60.0) -> None:
    until = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < until, "it never came"
        time.sleep(0.02)


def alive(word: str) -> bool:
    """Whether a process with a word in its command is there."""
    return bool(subprocess.run(["pgrep", "-f", f"playback.py .*{word}"], capture_output=True, check=False).stdout)


def test_files_are_explored_timed_and_picked_there(tmp_path: Path, run: Run) -> None:
    on = far.prefix("one", tmp_path / "one")
    explored = run("explore", "--alpha", "0.25:0.5:0.05", "--res", "128,160", "--measure", "8", "--verify", "0", "--on", on)
    assert explored.code == 0, explored.err
    picked = run("pick", "--on", on, "--sweep", "explore", "--max-latency-ms", "1000", "--export", "best.onnx", "--json")
    assert picked.code == 0, picked.err
    (machine,) = picked.json["machines"]
    assert machine["choice"]["latency_source"] == "measured" and Path("best.onnx").is_file()
    timed = run("time", "best.onnx", "--on", on, "--json")
    assert timed.code == 0, timed.err
    (machine,) = timed.json["machines"]
    assert machine["cells"][0]["cell"].startswith("best-")
    assert not list(Path("/tmp").glob("mnsweep-*/*/best.onnx")), "the copy is gone"
    looked = run("doctor", "--no-timing", "--on", on, "--json")
    assert looked.json["machines"][0]["findings"]


def test_status_tells_what_each_machine_is(tmp_path: Path, run: Run) -> None:
    on = f"{far.prefix('one', tmp_path / 'one', 'clock')},{far.prefix('two', tmp_path / 'two', 'version')},nosuch --"
    done = run("fleet", "status", "--on", on, "--json")
    assert done.code == 3
    one, two, none = done.json["hosts"]
    assert one["machine"].startswith("cpu-of-one") and one["can_measure"] and one["ahead_s"] < -1e6
    assert "99.0" in two["trouble"] and "No such file" in none["trouble"]
    assert run("fleet", "status").code == 2
    frame = mnsweep.fleet_status(on=far.prefix("one", tmp_path / "one"))
    assert frame["can_measure"].tolist() == [True]


def test_python_gets_a_frame_of_all_machines(tmp_path: Path) -> None:
    on = f"{far.prefix('one', tmp_path / 'one')},nosuch --"
    frame = mnsweep.grid(0.25, 64, quick=True, on=on)
    assert frame["cell"].tolist() == ["a0.25_r64"] and frame.columns[0] == "host"
    assert list(frame.attrs["troubles"]) == ["nosuch --"]
    with pytest.raises(MnsweepError, match="nosuch --: nosuch: No such file"):
        mnsweep.grid(0.25, 64, quick=True, on="nosuch --")


def test_what_belongs_to_one_machine_is_refused(run: Run) -> None:
    for words in (("--dry-run",), ("--csv",), ("--markdown",)):
        assert run(*GRID, "--on", "x", *words).code == 2
    assert run("pick", "--on", "x", "--max-latency-ms", "1").code == 2
    assert run(*GRID, "--on", "x", "--fleet", "tcp://127.0.0.1:1").code == 2
