"""Where and how training runs: section `launch` and its command line.

No stage declares the section, so it triggers no rebuild: an engine changes where numbers lie and in which order they are
added, not what is computed. `osler launch` tells the trainer through the environment what it started.

Several processes of one machine are torchrun's. On several machines srun starts one torchrun on each, inside the allocation
that the command runs in; they meet at `rendezvous`. Paths are the same on all machines.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Mapping
from typing import Any, Literal, Self, get_args

from pydantic import Field, ValidationError, model_validator

from osler.build.cluster import Cluster
from osler.build.section import BuildError, Section
from osler.build.slurm import of_stage
from osler.build.stage import Jobs
from osler.build.submission import Submit
from osler.build.validation import PARAMS, validated
from osler.model.devices import EngineName, Recomputed
from osler.training.tracker import TrackerName

LAUNCH = "OSLER_LAUNCH"  # the section as JSON, for the trainer
PORT = 29400
StageName = Literal[
    "pretrain", "cpt", "trunk", "anneal", "sft", "neftune", "adapter", "continual", "evaluate", "evaluate_adapter"
]
EVALUATIONS = ("evaluate", "evaluate_adapter")


class Launch(Section):
    """Section `launch`."""

    engine: EngineName = Field(
        description="python: one process; ddp: whole copies; fsdp, deepspeed: weights and optimizer divided"
    )
    zero_stage: Literal[1, 2, 3] | None = Field(
        default=None,
        description="of deepspeed: divided are optimizer (1), gradients too (2), weights too (3); null for other engines",
    )
    processes: int = Field(ge=1, le=1024, description="on each machine, one a GPU")
    nodes: int = Field(ge=1, le=100_000, description="machines")
    rendezvous: str | None = Field(
        default=None,
        pattern=r"^[^\s:]+:(6[0-4]\d{3}|[1-5]\d{4}|[1-9]\d{0,3})$",
        description="host:port of one of several machines; null: this one's, port 29400",
    )
    max_restarts: int = Field(
        default=0,
        ge=0,
        le=1000,
        description="torchrun's: how often failed processes start again, from the last checkpoint",
    )
    stop_minutes_before_end: float | None = Field(
        default=None,
        gt=0,
        description="of a SLURM job: then training stops with a checkpoint and exit code 75; null: its end is not looked at",
    )
    submit: Submit | None = Field(
        default=None,
        description="outside an allocation each training stage and evaluation is a SLURM job of its own; null: none is",
    )
    stages: dict[StageName, dict[str, Any]] | None = Field(
        default=None, description="stage -> keys of this section that are others for it, as sft: {nodes: 2}"
    )
    micro_batch_rows: int | None = Field(
        default=None,
        ge=1,
        description="rows that a process holds at once, the others of its batch after them; null: all",
    )
    activation_checkpointing: Recomputed = Field(
        description="compute a layer's activations again instead of keeping them; selective: some of them"
    )
    offload: Literal["optimizer", "all"] | None = Field(
        default=None,
        description="kept in the machine's memory, which is slow and fits one GPU: the optimizer (deepspeed), or the"
        " weights too (fsdp, deepspeed with zero_stage 3); null: nothing",
    )
    shard_processes: int | None = Field(
        default=None,
        ge=1,
        description="of fsdp: how many processes divide one copy of the model, as those of a machine; null: all",
    )
    jobs: Jobs
    cluster: Cluster | None = Field(
        default=None, description="machines of a Ray cluster, for stages that treat files one by one; null: this one"
    )
    checkpoint_every_steps: int = Field(ge=1, description="what a crash costs at most")
    keep_every_steps: int | None = Field(
        default=None,
        ge=1,
        description="milestones: checkpoints of these steps stay, a multiple of checkpoint_every_steps; null: the last two only",
    )
    heldout_every_steps: int | None = Field(
        default=None,
        ge=1,
        description="of continued pretraining: then the loss on held-out documents is shown, scratch/live; null: never",
    )
    accept_code_change: bool = Field(description="resume a checkpoint that other code wrote")
    tracker: TrackerName | None = Field(
        default=None, description="shows runs as they train, beside scratch/live; its package has to be installed"
    )

    @model_validator(mode="after")
    def _milestones_are_checkpoints(self) -> Self:
        if self.keep_every_steps and self.keep_every_steps % self.checkpoint_every_steps:
            raise ValueError("keep_every_steps must be a multiple of checkpoint_every_steps")
        return self

    def world(self) -> int:
        """Processes on all machines."""
        return self.processes * self.nodes

    def of(self, stage: str) -> "Launch":
        """The section of one stage, without `stages`.

        Raises:
            BuildError: its keys are not those of this section, or do not fit together.
        """
        name, where = stage.partition("@")[0], "launch"
        own = (self.stages or {}).get(name) or {}  # type: ignore[call-overload]
        if own:
            where = f"launch.stages.{name}"
        if "stages" in own:
            raise BuildError(f"{PARAMS}: {where}.stages: a stage has none of its own; take it out")
        values = of_stage(self.model_dump(mode="json"), name)
        asked: Launch = validated(where, values, Launch)
        if name not in EVALUATIONS:
            fit(asked, where)
        if asked.submit:
            asked.submit.check(f"{where}.submit")
        return asked


def fit(launch: Launch, where: str) -> None:
    """Engine, stage and number of processes must fit together.

    Raises:
        BuildError: names the keys, below `where`.
    """
    if launch.engine == "python" and launch.world() != 1:
        raise BuildError(
            f"{PARAMS}: {where}.processes: {launch.processes} on {launch.nodes} nodes, but engine python runs 1;"
            " use ddp, fsdp or deepspeed"
        )
    if launch.engine == "ddp" and launch.world() == 1:
        raise BuildError(f"{PARAMS}: {where}.processes: 1, but engine ddp is for several; use python")
    if launch.max_restarts and launch.engine == "python":
        raise BuildError(
            f"{PARAMS}: {where}.max_restarts: {launch.max_restarts} with engine python, which starts no torchrun; set 0,"
            " or take ddp"
        )
    if launch.submit and launch.stop_minutes_before_end:
        _check_end(launch.stop_minutes_before_end, launch.submit, where)
    if (launch.engine == "deepspeed") != (launch.zero_stage is not None):
        raise BuildError(
            f"{PARAMS}: {where}.zero_stage: {launch.zero_stage or 'null'} with engine {launch.engine};"
            " 1, 2 or 3 for deepspeed and null for the others"
        )
    _check_parts(launch, where)


def _check_end(minutes_before: float, submit: Submit, where: str) -> None:
    """A job must have time to train before it stops.

    Raises:
        BuildError: it has none.
    """
    minutes = submit.minutes()
    if minutes is not None and minutes_before >= minutes:
        raise BuildError(
            f"{PARAMS}: {where}.stop_minutes_before_end: {minutes_before:g}, and a job has {minutes:g} minutes in all"
            f" (submit.time: {submit.time}); stop later, or ask for more time"
        )


def check_stages(launch: Launch) -> None:
    """The section of every stage must be whole.

    That is looked at before the first of them starts.

    Raises:
        BuildError: names the keys.
    """
    for name, own in (launch.stages or {}).items():
        if name in EVALUATIONS and (unknown := sorted({*own} - {"jobs", "submit"})):
            raise BuildError(
                f"{PARAMS}: launch.stages.{name}.{unknown[0]}: of an evaluation only jobs and submit can be others; take it"
                " out"
            )
    for stage in get_args(StageName):
        if "cluster" in ((launch.stages or {}).get(stage) or {}):
            raise BuildError(f"{PARAMS}: launch.stages.{stage}.cluster: no training uses a Ray cluster; take it out")
        launch.of(stage)


def started_launch(environment: Mapping[str, str]) -> Launch:
    """The section that this process was started with.

    Raises:
        BuildError: it was not started by `osler launch`.
    """
    try:
        return Launch.model_validate_json(environment[LAUNCH])
    except (KeyError, ValidationError):
        raise BuildError("a trainer is started by `osler launch`, as dvc.yaml says") from None


def brings_weights(environment: Mapping[str, str]) -> bool:
    """Whether this process loads the model's weights.

    Under fsdp and deepspeed the first one alone does; it gives the others their parts.
    """
    divides = started_launch(environment).engine in ("fsdp", "deepspeed")
    return not divides or environment.get("RANK", "0") == "0"


def command(launch: Launch, module: str, host: str) -> list[str]:
    """The trainer's command line, on the machine called `host`.

    Raises:
        BuildError: engine, stage and number of processes do not fit together.
    """
    fit(launch, "launch")
    if launch.engine == "python":
        return [sys.executable, "-m", module]
    torchrun = [sys.executable, "-m", "osler.training.agent", f"--nproc-per-node={launch.processes}"]
    torchrun += [f"--max-restarts={launch.max_restarts}"] * bool(launch.max_restarts)
    if launch.nodes == 1:
        return [*torchrun, "--standalone", "-m", module]
    return [
        *("srun", f"--nodes={launch.nodes}", f"--ntasks={launch.nodes}", "--ntasks-per-node=1", "--kill-on-bad-exit=1"),
        *(*torchrun, f"--nnodes={launch.nodes}", f"--rdzv-id={module}", "--rdzv-backend=c10d"),
        *(f"--rdzv-endpoint={launch.rendezvous or f'{host}:{PORT}'}", "-m", module),
    ]


def _check_parts(launch: Launch, where: str) -> None:
    """Refuse what an engine cannot keep in the machine's memory, or divide among so many.

    Raises:
        BuildError: names the key.
    """
    able = {
        "fsdp": ("all",),
        "deepspeed": ("optimizer", "all") if launch.zero_stage == 3 else ("optimizer",),
    }.get(launch.engine, ())
    if launch.offload and launch.offload not in able:
        stage = f" with zero_stage {launch.zero_stage}" if launch.zero_stage else ""
        raise BuildError(
            f"{PARAMS}: {where}.offload: {launch.offload} with engine {launch.engine}{stage};"
            f" use {' or '.join((*able, 'null'))}"
        )
    if launch.shard_processes and (launch.engine != "fsdp" or launch.world() % launch.shard_processes):
        raise BuildError(
            f"{PARAMS}: {where}.shard_processes: {launch.shard_processes} with engine {launch.engine} on"
            f" {launch.world()} processes; it is for fsdp, and has to divide their number"
        )


def die_with_parent() -> None:
    """End this process with the torchrun or trainer that started it.

    It does so on Linux; elsewhere nothing is done. A torchrun's workers inherit no lock, so those of a killed one would
    train on unnoticed, beside those of the next one.
    """
    if not sys.platform.startswith("linux"):
        return
    set_parent_death_signal = 1  # PR_SET_PDEATHSIG of linux/prctl.h
    ctypes.CDLL(None, use_errno=True).prctl(set_parent_death_signal, signal.SIGKILL, 0, 0, 0)
    if os.getppid() == 1:  # it died before
        sys.exit("osler: the process that started this worker is gone")
