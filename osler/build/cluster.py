"""The shards of a stage on the machines of a Ray cluster: section `launch.cluster`.

Each shard is one Ray task, the same function that a process of joblib's would run. Tasks and not joblib's Ray backend: that one
returns nothing before all is done, so that no progress could be shown, hands everything over at once, and fails as a whole when
one of its actors is lost. A task is tried again elsewhere, some wait here until others are done, and its log has the shard's name.

Shards go in and out by paths: the project, its `.venv` and the raw files lie at the same path on a file system that all machines
share, and where a task runs does not matter. What a task sends back is a path, too. A worker is refused whose code or packages
are other than here, and has the environment that decides on bytes (osler/build/portability.py): entries are those of one process.

Connecting takes 1 s and the first worker of a machine 2 to 4 s, each time that a stage has shards to make.
Source:
    docs.ray.io: `ray.init`, "Task fault tolerance", "Limiting pending tasks".
"""

import os
import shlex
import shutil
import signal
import socket
import sys
import time
import traceback
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from itertools import zip_longest
from pathlib import Path
from typing import Any

from pydantic import Field

from osler.build.fingerprint import fingerprint
from osler.build.portability import SETTINGS
from osler.build.section import BuildError, Section
from osler.build.shortages import shortage

ROOT = Path(__file__).resolve().parents[2]
INSTALL = "run `make ray`"
# of this process' environment, what decides on bytes or on the network; no secrets: Ray keeps it where its users can read it
HANDED = (*SETTINGS, "PYTHONHASHSEED", "OMP_WAIT_POLICY", "HF_HUB_OFFLINE", "DO_NOT_TRACK", "TZ", "LANG", "LC_ALL")
SEEN_SECONDS = 90.0  # a shared file system may show for a minute what was there before
ALONE_SECONDS = 300.0  # without any machine that could run a task
POLL_SECONDS = 5.0
PROBE_SECONDS = 10.0


class Cluster(Section):
    """Section `launch.cluster`."""

    address: str = Field(
        pattern=r"^(auto|[^\s:/]+:(6[0-4]\d{3}|[1-5]\d{4}|[1-9]\d{0,3}))$",
        description="host:port of a Ray cluster that this machine is in; auto: the one that `ray start` made here",
    )
    cpus: int = Field(ge=1, le=1024, description="CPUs of the task that makes one shard")
    memory_gb: float | None = Field(
        default=None,
        gt=0,
        le=100_000,
        description="GB (1e9 bytes) of a task: no more run on a machine than fit; null: CPUs alone count",
    )
    tasks: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        description="handed to the cluster at once; null: twice what it can run at once",
    )
    retries: int = Field(ge=0, le=100, description="of a task whose worker or machine was lost")


@dataclass(frozen=True)
class Making:
    """One shard to make.

    It has the name of what it is made of, and the function that makes it, which must be picklable.
    """

    name: str
    make: Callable[[], Path]


@dataclass(frozen=True)
class Program:
    """What a worker must run, too.

    The file of the stage's module, and its fingerprint with packages.
    """

    module: str
    code: str


@dataclass(frozen=True)
class Failed:
    """Why a shard was not made, in one line."""

    why: str


def check_ray() -> None:
    """Check that Ray is installed here.

    Raises:
        BuildError: says how to install it.
    """
    if find_spec("ray") is None:
        raise BuildError(f"params.yaml: launch.cluster: {sys.prefix} has no package ray; {INSTALL}, or set null")


def worker_environment(cpus: int, environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that workers get, before their Python starts."""
    found = {name: environment[name] for name in HANDED if name in environment}
    path = os.pathsep.join([str(ROOT), *filter(None, [environment.get("PYTHONPATH")])])
    return found | {"PYTHONPATH": path, "POLARS_MAX_THREADS": str(cpus), "OMP_NUM_THREADS": str(cpus)}


@contextmanager
def connected(cluster: Cluster) -> Iterator[Any]:
    """Package ray, connected to the cluster meanwhile.

    Raises:
        BuildError: Ray is not installed, or there is no such cluster.
    """
    check_ray()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_task_oom_retries", str(cluster.retries))  # else one that needs too much never ends
    where = f"params.yaml: launch.cluster.address: {cluster.address}"
    if cluster.address != "auto":
        host, _, port = cluster.address.rpartition(":")
        try:
            socket.create_connection((host, int(port)), PROBE_SECONDS).close()
        except OSError as error:
            raise BuildError(
                f"{where}: nothing answers ({error}); start Ray as docs/scale.md says, or set null"
            ) from None
    import ray

    ended_by = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(
            address=cluster.address,
            runtime_env={
                "env_vars": worker_environment(cluster.cpus, os.environ),
                "py_executable": shlex.quote(sys.executable),
            },
            logging_level="ERROR",
        )
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise BuildError(
            f"{where}: no cluster to join ({error}); start Ray here as docs/scale.md says, or set null"
        ) from None
    finally:
        signal.signal(signal.SIGTERM, ended_by)  # Ray sets its own
    try:
        yield ray
    finally:
        ray.shutdown()


def room(ray: Any, cluster: Cluster) -> int:
    """How many tasks the machines that are alive can run at once."""
    wanted = {"CPU": float(cluster.cpus)} | ({"memory": cluster.memory_gb * 1e9} if cluster.memory_gb else {})
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return sum(int(min(has.get(what, 0.0) // amount for what, amount in wanted.items())) for has in alive)


def made_on(cluster: Cluster, shards: Sequence[Making], program: Program, logs: Path) -> Iterator[Path]:
    """Make shards on the cluster; yield each entry when it is there.

    Args:
        cluster: the section.
        shards: what is to be made. A lost one is made again: making one twice must do no harm.
        program: of the stage.
        logs: folder on the shared file system for tracebacks of failed shards; emptied first.

    Raises:
        BuildError: there is no cluster, or a shard failed, or its worker was lost too often; the others are canceled.
    """
    with connected(cluster) as ray:
        marker = marked(logs)
        options = {"num_cpus": cluster.cpus, "max_retries": cluster.retries}
        if cluster.memory_gb:
            options["memory"] = int(cluster.memory_gb * 1e9)
        task = ray.remote(**options)(outcome)
        waiting, running = deque(enumerate(shards)), dict[Any, Making]()
        fits = room(ray, cluster)
        fitted = time.monotonic()
        machines = sum(node["Alive"] for node in ray.nodes())
        print(f"{logs.name}: {len(shards)} shards on {machines} machines, {fits} at once", file=sys.stderr, flush=True)
        try:
            while waiting or running:
                while waiting and len(running) < (cluster.tasks or 2 * fits):
                    number, shard = waiting.popleft()
                    log = logs / f"{number}.txt"
                    named = task.options(name=Path(shard.name).name)
                    running[named.remote(shard, program, marker, log, str(Path.cwd()))] = shard
                done = ray.wait(list(running), timeout=POLL_SECONDS)[0] if running else ()
                for reference in done:
                    yield result(ray, reference, running.pop(reference), cluster)
                fits = room(ray, cluster)
                fitted = time.monotonic() if fits else fitted
                if time.monotonic() - fitted > ALONE_SECONDS:
                    raise BuildError(
                        f"params.yaml: launch.cluster: no machine of {cluster.address} has {asked(cluster)}; start one, or"
                        " ask for less"
                    )
                if not running and not fits:
                    time.sleep(1)
        finally:
            for reference in running:
                ray.cancel(reference)
    shutil.rmtree(logs)


def asked(cluster: Cluster) -> str:
    """What a task asks of a machine, in words."""
    return f"{cluster.cpus} CPUs" + (f" and {cluster.memory_gb:g} GB" if cluster.memory_gb else "")


def marked(logs: Path) -> Path:
    """A new file in the emptied folder.

    By it a worker knows the file system.
    """
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir(parents=True)
    marker = logs / f"{uuid.uuid4().hex}.marker"
    marker.touch()
    return marker


def result(ray: Any, reference: Any, shard: Making, cluster: Cluster) -> Path:
    """The entry that a finished task made.

    Raises:
        BuildError: it failed, or its worker was lost too often, or the entry cannot be seen here.
    """
    try:
        found = ray.get(reference)
    except ray.exceptions.RayError as error:
        lost = (
            ray.exceptions.WorkerCrashedError,
            ray.exceptions.NodeDiedError,
            ray.exceptions.OutOfMemoryError,
            ray.exceptions.LocalRayletDiedError,
        )
        if isinstance(error, lost):
            raise BuildError(
                f"{shard.name}: its worker was lost {cluster.retries + 1} times, the last time as {type(error).__name__};"
                " give a task more memory (launch.cluster.memory_gb), or see Ray's own logs; what is finished stays"
            ) from None
        raise BuildError(f"{shard.name}: {type(error).__name__} on the cluster: {error}") from None
    if isinstance(found, Failed):
        raise BuildError(found.why)
    entry: Path = found
    until = time.monotonic() + SEEN_SECONDS
    while not entry.is_dir():
        if time.monotonic() > until:
            raise BuildError(
                f"{entry}: made by a worker, but not seen here; let all machines share the project's file system"
            )
        time.sleep(0.2)
    return entry


@cache
def other_code(program: Program) -> str | None:
    """How the program of this process differs, or None.

    It is looked at once a process.
    """
    here, there = (
        set(text.splitlines()) for text in (fingerprint(Path(program.module), ROOT, with_packages=True), program.code)
    )
    if here == there:
        return None
    versions = [sorted(line for line in lines if " " in line) for lines in (here - there, there - here)]
    differing = ", ".join(f"{one} for {other}" for one, other in zip_longest(*versions, fillvalue="nothing"))
    return f"other packages than the stage: {differing}" if differing else "other code than when the stage began"


def outcome(shard: Making, program: Program, marker: Path, log: Path, folder: str) -> Path | Failed:
    """Make a shard, in a worker.

    Args:
        shard: what to make.
        program: that made the keys.
        marker: a file that is here where the file system is the one of the stage.
        log: for the traceback of an error that is not for users.
        folder: the stage's working folder.

    Returns:
        The entry, or in one line why there is none.
    """
    machine = socket.gethostname()
    if not marker.exists():
        return Failed(f"{machine}: has no {marker}; let all machines share the project's file system, at the same path")
    os.chdir(folder)
    if differing := other_code(program):
        return Failed(f"{machine}: {differing}; let all machines use {ROOT} and its environment, and run again")
    try:
        return shard.make()
    except BuildError as error:
        return Failed(str(error))
    except Exception as error:  # noqa: BLE001 - one line of it for the stage, and all of it in the log
        if line := shortage(error):
            return Failed(f"{shard.name}: on {machine}: {line}")
        log.write_text(f"{shard.name} on {machine}, process {os.getpid()}\n{traceback.format_exc()}", encoding="utf-8")
        return Failed(f"{shard.name}: on {machine}: {type(error).__name__}: {error}; {log} has the traceback")
