"""A stage as a SLURM job of its own, which a login node submits and waits for.

`launch.submit` asks for it. Outside an allocation the stage's command then submits itself with sbatch, waits for the job, and
ends with its exit code; inside one it runs as ever. The job carries the stage in its name and, in its comment, this project
and a hash of all that the stage depends on. So a build that was killed and is run again finds the job and waits for it, and
one whose params have changed meanwhile neither takes the old job for its own nor starts a second one beside it. Nothing else
is kept: SLURM is asked what runs.

sbatch, squeue, sacct and srun are called as they are. submitit would pickle a Python function and keep a folder of its own
for each job, to run what is here one line of shell.
"""

import fcntl
import getpass
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from osler.build.pipeline import Declaration, declarations
from osler.build.recorded import locked_stages
from osler.build.section import STOPPED, BuildError
from osler.build.submission import Submit
from osler.build.validation import PARAMS, validated

STOPPED_FILE = "stopped"
KEY = "OSLER_JOB"  # of the job that this process runs in
LEFT = 130  # exit code of one that no longer waits: its job goes on
LOG_SECONDS = 30.0  # between lines in a log file
TAIL_LINES = 20  # of a failed job's log
ALIVE = {
    *("PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED", "RESIZING", "SIGNALING", "STAGE_OUT", "STOPPED"),
    *("REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD"),
}


@dataclass(frozen=True)
class Job:
    """What a stage's job is known by.

    `name` and `project` are equal for all jobs of the stage in this project, `key` for those of the same inputs.
    """

    stage: str
    name: str
    project: str
    key: str
    folder: Path  # its log lies there

    @property
    def log(self) -> Path:
        """What it prints."""
        return self.folder / "log"

    @property
    def stopped(self) -> Path:
        """Why a trainer has stopped, `time` or `signal`, and at which step."""
        return self.folder / STOPPED_FILE


@dataclass(frozen=True)
class Seen:
    """A job in SLURM's eyes."""

    state: str
    nodes: str
    code: int


def of_stage(launch: Any, stage: str) -> Any:
    """Section `launch` with the keys that `launch.stages` has for `stage`."""
    if not isinstance(launch, Mapping):
        return launch
    stages = launch.get("stages") or {}
    own = stages.get(stage.partition("@")[0], {}) if isinstance(stages, Mapping) else {}
    return {key: value for key, value in launch.items() if key != "stages"} | dict(
        own if isinstance(own, Mapping) else {}
    )


def asked(launch: Any, stage: str) -> Submit | None:
    """How the stage is to be submitted.

    It is None where it is not at all, or where this process is inside an allocation.

    Raises:
        BuildError: the section is not whole.
    """
    value = of_stage(launch, stage).get("submit")
    if value is None or "SLURM_JOB_ID" in os.environ:
        return None
    submit: Submit = validated("launch.submit", value, Submit)
    submit.check()
    return submit


def as_job(root: Path, params: Mapping[str, Any], stage: str, nodes: int, command: Sequence[str]) -> int | None:
    """Have a job run the stage's `command`, where `launch.submit` asks for it.

    Returns:
        Its exit code; LEFT where this process was told to leave the job alone; None: no job is to do it, but this process.

    Raises:
        BuildError: see `finished`; or this is the job of something else.
    """
    if KEY in os.environ and os.environ[KEY] != job_of(root, params, stage).key:
        raise BuildError("params, code or inputs have changed since this job was submitted; run `dvc repro` again")
    if not (submit := asked(params.get("launch"), stage)):
        return None
    return finished(job_of(root, params, stage), submit, nodes, command)


def job_of(root: Path, params: Mapping[str, Any], stage: str) -> Job:
    """The job of a stage.

    Its key is of params, code and deps as they are now.
    """
    declared = declarations(root, params)[stage]
    key = hashlib.sha256(json.dumps(_inputs(root, declared), sort_keys=True).encode()).hexdigest()[:16]
    project = f"osler-{hashlib.sha256(str(root).encode()).hexdigest()[:12]}"
    return Job(stage, f"osler-{stage}", project, key, root / "scratch" / "jobs" / stage)


def _inputs(root: Path, declared: Declaration) -> dict[str, Any]:
    """All that a stage's outs depend on: params, fingerprints as they are, md5 of what dvc.lock has of the other deps."""
    made = {out["path"]: out.get("md5") for entry in locked_stages(root).values() for out in entry.get("outs", ())}
    found: dict[str, Any] = {"params": declared.params}
    for dep in declared.deps:
        if dep.endswith(".fp"):
            found[dep] = (root / dep).read_text(encoding="utf-8") if (root / dep).is_file() else None
            continue
        for path, md5 in made.items():
            if path == dep or path.startswith(f"{dep}/") or dep.startswith(f"{path}/"):
                found[path] = md5
    return found


def set_end(environment: dict[str, str] | os._Environ[str]) -> None:
    """Say when this job ends, where SLURM has not.

    Before 23.02 it does not.
    """
    if "SLURM_JOB_ID" not in environment or "SLURM_JOB_END_TIME" in environment or not shutil.which("squeue"):
        return
    done = _called(["squeue", "--noheader", f"--jobs={environment['SLURM_JOB_ID']}", "--format=%e"])
    if (said := done.stdout.strip()).isdigit():
        environment["SLURM_JOB_END_TIME"] = said


def finished(job: Job, submit: Submit, nodes: int, command: Sequence[str]) -> int:
    """Wait for the job of a stage.

    It is submitted if there is none yet. A job that stopped since its time was over is followed by another one, as long as
    they get on.

    Args:
        command: what the job runs.

    Returns:
        Its exit code; LEFT where this process was told to leave.

    Raises:
        BuildError: SLURM is not here, refuses the job, or runs one of other inputs.
    """
    before = ""
    while True:
        with _one_at_a_time(job.folder):
            number = running(job) or submitted(job, submit, nodes, command)
        code = waited(job, number, submit.poll_seconds)
        why = job.stopped.read_text(encoding="utf-8") if code == STOPPED and job.stopped.is_file() else ""
        if not why.startswith("time") or why == before:
            return code
        before = why
        print(f"{job.stage}: the time of job {number} was over; the next one goes on", flush=True)


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Between a look for the job and its submission no other process submits one."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def running(job: Job) -> str | None:
    """The number of the stage's job that is waiting or running.

    Raises:
        BuildError: it is of other inputs, or SLURM does not answer.
    """
    done = _called(["squeue", "--noheader", f"--user={getpass.getuser()}", f"--name={job.name}", "--format=%i|%T|%k"])
    if done.returncode:
        raise BuildError(f"squeue: {_line(done.stderr)}; run again when SLURM answers")
    for line in done.stdout.splitlines():
        number, state, comment = line.strip().split("|", 2)
        project, _, key = comment.partition(" ")
        if project != job.project or state not in ALIVE:
            continue
        if key != job.key:
            raise BuildError(
                f"job {number} still runs {job.stage} with params, code or inputs of before; wait for its end, or"
                f" `scancel {number}` (checkpoints stay), then run this again"
            )
        print(f"{job.stage}: job {number} is {state.lower()} since an earlier run", flush=True)
        return number
    return None


def submitted(job: Job, submit: Submit, nodes: int, command: Sequence[str]) -> str:
    """Submit the stage; the job's number.

    Raises:
        BuildError: sbatch refuses it.
    """
    options = {
        **{"job-name": job.name, "comment": f"{job.project} {job.key}", "chdir": str(Path.cwd())},
        **{"output": str(job.log), "open-mode": "append", "nodes": nodes, "ntasks-per-node": 1},
        **{key.replace("_", "-"): getattr(submit, key) for key in ("partition", "account", "time")},
        **{key.replace("_", "-"): getattr(submit, key) for key in ("gpus_per_node", "cpus_per_task")},
    }
    arguments = [f"--{key}={value}" for key, value in options.items() if value is not None]
    arguments += ["--requeue" if submit.requeue else "--no-requeue", *submit.arguments]
    job.log.unlink(missing_ok=True)
    words = " ".join("'" + word.replace("'", "'\\''") + "'" for word in command)
    script = f"#!/bin/sh\nexec {words}\n"  # exec: what SLURM signals is the stage
    done = _called(["sbatch", "--parsable", *arguments], script, os.environ | {KEY: job.key})
    if done.returncode:
        raise BuildError(f"sbatch: {_line(done.stderr)}; see launch.submit in {PARAMS}")
    number = done.stdout.strip().partition(";")[0]
    print(f"{job.stage}: submitted as job {number}, log {job.log}", flush=True)
    return number


def waited(job: Job, number: str, poll_seconds: float) -> int:
    """Wait until a job has ended; its exit code.

    How far it is is shown. Ctrl-C and SIGTERM leave it running.
    """

    def leave(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, leave)
    parent = os.getppid()
    try:
        seen = _ended(job, number, poll_seconds, parent)
    except KeyboardInterrupt:
        print(
            f"\nosler: {job.stage}: job {number} goes on; run again to wait for it, or end it with `scancel {number}`"
            f" (`scancel --signal=TERM {number}` lets it write a checkpoint)",
            file=sys.stderr,
            flush=True,
        )
        return LEFT
    finally:
        signal.signal(signal.SIGTERM, before)
    if seen.state == "COMPLETED":
        print(*_tail(job.log, 1), sep="\n", flush=True)
        return 0
    code = seen.code or 1
    print(*_tail(job.log, TAIL_LINES), sep="\n", file=sys.stderr)
    advice = "" if code == STOPPED else "; the lines above are the end of its log"
    print(
        f"osler: {job.stage}: job {number} ended {seen.state}, exit code {code}{advice}: {job.log}",
        file=sys.stderr,
        flush=True,
    )
    return code


def _ended(job: Job, number: str, poll_seconds: float, parent: int) -> Seen:
    """What became of a job.

    A state that is an end is looked at twice: one that is put back into the queue passes through some.
    """
    last: Seen | None = None
    shown, told = "", 0.0
    while True:
        seen = state_of(number)
        if seen and seen.state not in ALIVE and (seen.state == "COMPLETED" or last == seen):
            return seen
        if os.getppid() != parent:  # the build was killed: the next one finds the job
            raise KeyboardInterrupt
        if seen and seen.state in ALIVE:
            where = f" on {seen.nodes}" if seen.nodes else ""
            line = f"{job.stage}: job {number} {seen.state.lower()}{where}"
            line += "".join(f": {said}" for said in _tail(job.log, 1) if seen.nodes)
            changed = last is None or (last.state, last.nodes) != (seen.state, seen.nodes)
            if sys.stderr.isatty():
                print(f"\r\x1b[K{line[: shutil.get_terminal_size().columns - 1]}", end="", file=sys.stderr, flush=True)
            elif changed or (line != shown and time.monotonic() - told >= LOG_SECONDS):
                print(line, file=sys.stderr, flush=True)
                shown, told = line, time.monotonic()
        last = seen
        time.sleep(poll_seconds)


def state_of(number: str) -> Seen | None:
    """What SLURM says of a job; None where it does not answer.

    squeue knows it until some minutes after its end, sacct, where there is accounting, longer.
    """
    form = "--Format=State:30,exit_code:20,NodeList:200"
    done = _called(["squeue", "--noheader", "--states=all", f"--jobs={number}", form])
    if done.returncode == 0 and (words := done.stdout.split()):
        status = int(words[1])
        code = status >> 8 or (128 + (status & 127) if status & 127 else 0)
        return Seen(words[0], "".join(words[2:3]), code)
    if done.returncode and "nvalid job id" not in done.stderr:
        return None
    kept = _called(
        ["sacct", "--noheader", "--allocations", "--parsable2", f"--jobs={number}", "--format=State,ExitCode"]
    )
    if found := re.match(r"(\w+)[^|]*\|(\d+):(\d+)", kept.stdout):
        return Seen(found[1], "", int(found[2]) or (128 + int(found[3]) if int(found[3]) else 0))
    return Seen("in a way that SLURM has forgotten", "", 1)


def _called(
    command: Sequence[str], text: str = "", environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run one of SLURM's commands.

    Raises:
        BuildError: it is not there.
    """
    try:
        return subprocess.run(
            command,
            input=text,
            env={**(environment or os.environ)} | {"SLURM_TIME_FORMAT": "%s"},
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        raise BuildError(f"{PARAMS}: launch.submit: this machine has no {command[0]} (SLURM)") from None


def _tail(log: Path, lines: int) -> list[str]:
    """The last lines of a log, of its last 16 KB."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - (1 << 14)))
            text = stream.read().decode(errors="replace")
    except FileNotFoundError:
        return []
    return [line for line in re.split(r"[\r\n]+", text) if line.strip()][-lines:]


def _line(text: str) -> str:
    return " ".join(text.split())
