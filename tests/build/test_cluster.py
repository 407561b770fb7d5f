"""Shards on a Ray cluster of two nodes of this machine: the same entries in the same order, whatever is lost on the way.

Skipped where Ray is not installed (`make ray`, which CI runs).
"""

import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import requires, version
from importlib.util import find_spec
from pathlib import Path
from socket import gethostname
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from osler.build import cluster
from osler.build.cluster import HANDED, Cluster, Failed, Making, Program, check_ray, outcome, room, worker_environment
from osler.build.files import folder_hash
from osler.build.fingerprint import fingerprint
from osler.build.portability import SETTINGS
from osler.build.section import BuildError
from osler.build.shard_store import ROOT, Store, made_entry
from osler.build.stage import bound
from osler.build.validation import validated
from osler.commands.check import check_files
from osler.commands.doctor import pinned
from tests.build import test_parts
from tests.build.test_parts import folder as folder
from tests.support import shards

NEEDS_RAY = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: `make ray`")
STARTS = 3
SMALL = {"object_store_memory": 80 << 20, "include_dashboard": False}


class Nodes:
    """A cluster of a head and a second node, with one CPU each, as processes of this machine."""

    def __init__(self) -> None:
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        from ray.cluster_utils import Cluster as LocalCluster

        self._cluster = LocalCluster()
        self._add()
        self.second = self._add()

    def _add(self) -> Any:
        """Start a node, again where a busy machine took longer than the 30 s that Ray gives it."""
        ended_by = signal.getsignal(signal.SIGTERM)
        try:
            for attempts_left in reversed(range(STARTS)):
                try:
                    node = self._cluster.add_node(wait=False, num_cpus=1, **SMALL)
                    self._cluster.wait_for_nodes(timeout=60)
                    return node
                except Exception as error:
                    if "timed out during startup" not in str(error) or not attempts_left:
                        raise
        finally:
            signal.signal(signal.SIGTERM, ended_by)  # Ray sets its own

    def mend(self) -> None:
        """Start the second node again, if it was killed."""
        self.second = self.second or self._add()

    def kill(self) -> None:
        """Kill all processes of the second node, without a word to the head."""
        self._cluster.remove_node(self.second, allow_graceful=False)
        self.second = None

    def section(self, **changes: Any) -> Cluster:
        """The section that names it."""
        return Cluster(**{"address": self._cluster.address, "cpus": 1, "retries": 3} | changes)

    def end(self) -> None:
        """End all of it."""
        self._cluster.shutdown()


@pytest.fixture(scope="module")
def started() -> Iterator[Nodes]:
    """Two nodes, for all tests of this file: 5 s."""
    nodes = Nodes()
    yield nodes
    nodes.end()


@pytest.fixture
def nodes(started: Nodes) -> Nodes:
    """Two nodes that are alive."""
    started.mend()
    return started


def is_alive(process: int) -> bool:
    """Whether a process runs; one that only waits to be counted as dead does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Work:
    """Input files of given texts below a folder, and what is made of them."""

    def __init__(self, folder: Path, *texts: str) -> None:
        self.folder, self.marks = folder, folder / "marks"
        for name in ("inputs", "marks"):
            (folder / name).mkdir()
        for number, text in enumerate(texts):
            (folder / f"inputs/{number:02d}").write_text(text)

    def made(self, section: Cluster | None, store: str = "shards/stage", until: Path | None = None) -> list[str]:
        """The texts made, in the order of the inputs."""
        inputs = sorted((self.folder / "inputs").iterdir())
        work = partial(shards.worked, marks=self.marks, until=until)
        entries = Store(self.folder / store, jobs=1, cluster=section).mapped(shards.__file__, inputs, work)
        return [(entry / "out.txt").read_text() for entry in entries]

    def marked(self) -> list[list[str]]:
        """Name, process and node of every start of a shard."""
        return [path.name.split(".") for path in sorted(self.marks.iterdir())]


@pytest.fixture
def portable(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process has the environment of `numerics.portable`, and one thread."""
    for name, value in {**SETTINGS, "POLARS_MAX_THREADS": "1"}.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("bad", "{input}: bad; mend it"),
        ("wrong", "{input}: on .*: ZeroDivisionError: nothing to divide by; {log} has the traceback"),
        ("full", "{input}: on .*: .*out.txt: the disk is full, .* bytes are free on it; free more, and run again"),
    ],
)
def test_a_worker_says_in_one_line_what_failed(tmp_path: Path, text: str, said: str) -> None:
    """With the input's name; a traceback that is not for users lies in a log."""
    log = tmp_path / "log.txt"
    found = outcome_here(Work(tmp_path, text), log)
    assert isinstance(found, Failed)
    assert re.fullmatch(said.format(input=tmp_path / "inputs/00", log=log), found.why)
    assert log.exists() == (text == "wrong")
    assert not log.exists() or "in worked\n" in log.read_text()


def outcome_here(
    work: "Work", log: Path, changed: Callable[[str], str] = str, marker: Path | None = None
) -> Path | Failed:
    """What a worker would send back for the first input, had the stage the changed fingerprint."""
    path, place = work.folder / "inputs/00", work.folder / "store/key"
    make = partial(made_entry, place, partial(shards.worked, path, marks=work.marks))
    program = Program(shards.__file__, changed(fingerprint(Path(shards.__file__), ROOT, with_packages=True)))
    return outcome(Making(str(path), make), program, marker or work.marks, log, str(Path.cwd()))


def test_a_worker_with_other_code_or_files_makes_nothing(tmp_path: Path) -> None:
    """The keys are of code and packages of the stage: others would make other bytes under them."""
    work, log = Work(tmp_path, "one"), tmp_path / "log.txt"
    advice = f"let all machines use {ROOT} and its environment, and run again"
    found = [
        outcome_here(work, log, changed=lambda text: f"{text}numpy 0.1\n"),
        outcome_here(work, log, changed=lambda text: f"{text}0123\n"),
        outcome_here(work, log, marker=tmp_path / "no marker"),
    ]
    assert found == [
        Failed(f"{gethostname()}: other packages than the stage: nothing for numpy 0.1; {advice}"),
        Failed(f"{gethostname()}: other code than when the stage began; {advice}"),
        Failed(
            f"{gethostname()}: has no {tmp_path}/no marker; let all machines share the project's file system, at the same path"
        ),
    ]
    assert not work.marked()
    assert isinstance(outcome_here(work, log), Path)


@NEEDS_RAY
def test_a_failed_shard_stops_the_stage_and_leaves_the_finished(tmp_path: Path, nodes: Nodes) -> None:
    """It is named in one line, and what was made before it is not made again."""
    work = Work(tmp_path, "text", "wrong")
    logs, bad = tmp_path / "cluster/stage", tmp_path / "inputs/01"
    with pytest.raises(
        BuildError, match=f"^{bad}: on .*: ZeroDivisionError: nothing to divide by; {logs}/1.txt has the traceback$"
    ):
        work.made(nodes.section(tasks=1))
    bad.write_text("good")
    assert len(work.made(nodes.section(tasks=1))) == 2
    assert not logs.exists()
    assert [name for name, *_ in work.marked()] == ["00", "01", "01"]


@NEEDS_RAY
@pytest.mark.campaign
def test_a_shard_that_ends_its_worker_each_time(tmp_path: Path, nodes: Nodes) -> None:
    """After as many retries as are asked for the stage ends, with the shard's name."""
    work = Work(tmp_path, "lost")
    said = f"^{tmp_path}/inputs/00: its worker was lost 3 times, the last time as WorkerCrashedError; "
    with pytest.raises(BuildError, match=said):
        work.made(nodes.section(retries=2))
    assert len(work.marked()) == 3


@NEEDS_RAY
@pytest.mark.campaign
def test_no_more_tasks_wait_there_than_may(tmp_path: Path, nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    """`tasks`, or twice what fits; what a machine cannot hold does not fit."""
    import ray

    running = []
    wait = ray.wait

    def counted(references: list[Any], **options: Any) -> Any:
        running.append(len(references))
        return wait(references, **options)

    monkeypatch.setattr(ray, "wait", counted)
    work = Work(tmp_path, *(f"text {number}" for number in range(9)))
    work.made(nodes.section(tasks=3), "three/stage")
    assert max(running) == 3
    running.clear()
    work.made(nodes.section(), "null/stage")
    assert max(running) == 4
    with cluster.connected(nodes.section()) as connected:
        assert room(connected, nodes.section()) == 2
        assert room(connected, nodes.section(cpus=2)) == 0
        assert room(connected, nodes.section(memory_gb=1e5)) == 0
    monkeypatch.setattr(cluster, "ALONE_SECONDS", 0.5)
    with pytest.raises(
        BuildError, match=r"launch.cluster: no machine of .* has 2 CPUs and 100000 GB; start one, or ask for less"
    ):
        work.made(nodes.section(cpus=2, memory_gb=1e5), "much/stage")


@NEEDS_RAY
@pytest.mark.campaign
def test_an_interrupt_ends_what_runs(tmp_path: Path, nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    """No shard goes on, and the cluster is free for the next stage."""
    work = Work(tmp_path, *(f"text {number}" for number in range(4)))

    def interrupt(*_: Any) -> int:
        if work.marked():
            raise KeyboardInterrupt
        return 2

    monkeypatch.setattr(cluster, "room", interrupt)
    monkeypatch.setattr(cluster, "POLL_SECONDS", 0.1)
    with pytest.raises(KeyboardInterrupt):
        work.made(nodes.section(), until=tmp_path / "never")
    monkeypatch.undo()
    assert len(work.made(nodes.section())) == 4


@NEEDS_RAY
def test_no_cluster_is_one_line(tmp_path: Path) -> None:
    """Nobody at the address."""
    work = Work(tmp_path, "one")
    with pytest.raises(
        BuildError, match="params.yaml: launch.cluster.address: localhost:9: nothing answers .*docs/scale.md"
    ):
        work.made(Cluster(address="localhost:9", cpus=1, retries=0))


@NEEDS_RAY
def test_the_lock_has_what_ray_needs() -> None:
    """`make ray` installs it without dependencies: requirements.lock has them, in versions that it takes."""
    pins = {canonicalize_name(name): pin for name, pin in pinned((ROOT / "requirements.lock").read_text()).items()}
    assert pinned((ROOT / "requirements-ray.lock").read_text()) == {"ray": version("ray")}
    wanted = [Requirement(line) for line in requires("ray") or ()]
    needed = [one for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]
    assert {"protobuf", "msgpack"} <= {one.name for one in needed}
    assert [str(one) for one in needed if pins[canonicalize_name(one.name)] not in one.specifier] == []


def test_without_ray_the_check_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line that names the key, before anything is built, and so does a stage."""
    monkeypatch.setattr(cluster, "find_spec", lambda _: None)
    said = f"params.yaml: launch.cluster: {sys.prefix} has no package ray; run `make ray`, or set null"
    section = Cluster(address="auto", cpus=1, retries=0)
    numerics = {
        "portable": False, "threads": 1, "dtype": "float32", "attention": "sdpa", "compile": False, "liger": False,
    }  # fmt: skip
    launch = {"nodes": 1, "cluster": section.model_dump()}
    params: dict[str, Any] = {"source": {}, "numerics": numerics, "launch": launch, "evaluate": {"vllm": None}}
    for refused in (check_ray, partial(check_files, params, tmp_path), partial(Work(tmp_path, "one").made, section)):
        with pytest.raises(BuildError) as error:
            refused()
        assert str(error.value) == said


@pytest.mark.parametrize(
    ("address", "is_one"),
    [("auto", True), ("10.0.0.7:6379", True), ("head:1", True), ("head", False), ("head:0", False), ("head:65536", False),
     ("ray://head:10001", False), ("", False)],
)  # fmt: skip
def test_an_address_is_a_host_and_a_port(address: str, is_one: bool) -> None:
    """Or the cluster that was started here."""
    section = {"address": address, "cpus": 1, "retries": 0}
    if is_one:
        assert validated("launch.cluster", section, Cluster).address == address
        return
    with pytest.raises(BuildError, match=r"params.yaml: launch.cluster.address: "):
        validated("launch.cluster", section, Cluster)


def test_a_worker_gets_what_decides_on_bytes_and_no_secret() -> None:
    """Kernels, seed of hashes and threads; the project before other folders."""
    here = {
        **SETTINGS,
        "PYTHONHASHSEED": "7",
        "HF_TOKEN": "secret",
        "PYTHONPATH": "/elsewhere",
        "POLARS_MAX_THREADS": "64",
    }
    found = worker_environment(2, here)
    assert found == {
        **SETTINGS,
        "PYTHONHASHSEED": "7",
        "PYTHONPATH": f"{ROOT}:/elsewhere",
        "POLARS_MAX_THREADS": "2",
        "OMP_NUM_THREADS": "2",
    }
    assert not any(word in name for name in HANDED for word in ("TOKEN", "KEY", "SECRET", "PASSWORD"))


def test_a_stage_gets_the_cluster_in_its_store(tmp_path: Path) -> None:
    """`launch.cluster` reaches the store, and its absence changes nothing."""
    from osler.build.pipeline import Declaration

    def main(store: Store) -> None:
        raise AssertionError(store)

    declared = Declaration("screen@notes", (), (), {}, ())
    section = Cluster(address="auto", cpus=2, retries=1)
    for cluster_section in (None, section):
        launch = {"jobs": 1} | ({"cluster": section.model_dump()} if cluster_section else {})
        assert bound(main, declared, tmp_path, {"launch": launch})["store"].cluster == cluster_section


@NEEDS_RAY
@pytest.mark.usefixtures("portable")
def test_a_lost_worker_and_a_lost_node_change_no_byte(tmp_path: Path, nodes: Nodes) -> None:
    """One worker kills itself, the second node is killed midway: order, texts and entries are those of one process."""
    work = Work(tmp_path, *(f"text {number}" for number in range(7)), "lost once")
    (tmp_path / "inputs/07").rename(tmp_path / "inputs/00a")
    killed = tmp_path / "killed"
    second = nodes.second.node_id

    def kill_midway(*_: Any) -> int:
        at_work = {node: int(pid) for name, pid, node in work.marked() if name != "00a"}
        if len(at_work) == 2 and not killed.exists():
            nodes.kill()
            while is_alive(at_work[second]):
                time.sleep(0.05)
            killed.touch()
        return 2

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cluster, "room", kill_midway)
        patch.setattr(cluster, "POLL_SECONDS", 0.1)
        found = work.made(nodes.section(), until=killed)
    started = [name for name, *_ in work.marked()]
    assert len(set(started)) == 8
    assert len(started) > 9, "that of the worker and that of the node were started again"
    for mark in work.marks.iterdir():
        mark.unlink()
    (work.marks / "00a.0.here").touch()  # so that it lives
    assert found == work.made(None, "alone/stage")
    assert found == [f"{text} COMPATIBLE 1" for text in ("text 0", "lost once", *(f"text {n}" for n in range(1, 7)))]
    assert folder_hash(tmp_path / "shards/stage") == folder_hash(tmp_path / "alone/stage")
    assert work.made(nodes.section()) == found, "nothing to make needs no cluster"


@NEEDS_RAY
@pytest.mark.campaign
@pytest.mark.usefixtures("portable")
def test_whole_stages_with_a_node_killed_in_each(folder: Path, nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    """ingest, screen, overlap and tokenize: a node is killed as soon as both have worked; all bytes are those of one process."""
    for name in "efghijklmnop":
        test_parts.write(folder, name)
    alone = test_parts.built(folder, store="alone")
    kills: list[int] = []

    def store(section: Cluster) -> Callable[..., Store]:
        return lambda place, jobs: Store(place, jobs, cluster=section)

    def room_and_kill(*_: Any) -> int:
        finished = len(list((folder / "store").glob("*/[!.]*/*")))
        if finished - sum(kills[-1:]) >= 10:
            kills.append(finished)
            nodes.kill()
            nodes.mend()
        return 2

    monkeypatch.setattr(cluster, "room", room_and_kill)
    monkeypatch.setattr(test_parts, "Store", store(nodes.section(retries=10)))
    assert test_parts.built(folder) == alone
    shutil.rmtree(folder / "out")
    print(f"{len(kills)} nodes killed over {len(list((folder / 'store').glob('*/*/*')))} shards")
    assert len(kills) >= 4
