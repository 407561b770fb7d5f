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
from typing import Literal

from pydantic import Field, ValidationError

from osler.build.section import BuildError, Section
from osler.build.stage import Jobs
from osler.model.devices import EngineName, Recomputed

LAUNCH = "OSLER_LAUNCH"  # the section as JSON, for the trainer
PORT = 29400


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
    micro_batch_rows: int | None = Field(
        default=None,
        ge=1,
        description="rows that a process holds at once, the others of its batch after them; null: all",
    )
    activation_checkpointing: Recomputed = Field(
        description="compute a layer's activations again instead of keeping them; selective: some of them"
    )
    jobs: Jobs
    checkpoint_every_steps: int = Field(ge=1, description="what a crash costs at most")
    accept_code_change: bool = Field(description="resume a checkpoint that other code wrote")

    def world(self) -> int:
        """Processes on all machines."""
        return self.processes * self.nodes


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

    Under fsdp the first one alone does; it gives the others their parts.
    """
    return started_launch(environment).engine != "fsdp" or environment.get("RANK", "0") == "0"


def command(launch: Launch, module: str, host: str) -> list[str]:
    """The trainer's command line, on the machine called `host`.

    Raises:
        BuildError: engine, stage and number of processes do not fit together.
    """
    if launch.engine == "python" and launch.world() != 1:
        raise BuildError(
            f"params.yaml: launch.processes: {launch.processes} on {launch.nodes} nodes, but engine python runs 1;"
            " use ddp, fsdp or deepspeed"
        )
    if launch.engine != "python" and launch.world() == 1:
        raise BuildError(f"params.yaml: launch.processes: 1, but engine {launch.engine} is for several; use python")
    if (launch.engine == "deepspeed") != (launch.zero_stage is not None):
        raise BuildError(
            f"params.yaml: launch.zero_stage: {launch.zero_stage or 'null'} with engine {launch.engine};"
            " 1, 2 or 3 for deepspeed and null for the others"
        )
    if launch.engine == "python":
        return [sys.executable, "-m", module]
    torchrun = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={launch.processes}"]
    if launch.nodes == 1:
        return [*torchrun, "--standalone", "-m", module]
    return [
        *("srun", f"--nodes={launch.nodes}", f"--ntasks={launch.nodes}", "--ntasks-per-node=1", "--kill-on-bad-exit=1"),
        *(*torchrun, f"--nnodes={launch.nodes}", f"--rdzv-id={module}", "--rdzv-backend=c10d"),
        *(f"--rdzv-endpoint={launch.rendezvous or f'{host}:{PORT}'}", "-m", module),
    ]


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
