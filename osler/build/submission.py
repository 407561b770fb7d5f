"""Section `launch.submit`: how a stage is handed to SLURM (slurm.py)."""

from typing import Annotated

from pydantic import Field

from osler.build.section import BuildError, Section
from osler.build.validation import PARAMS

OWN = (
    "job-name",
    "comment",
    "output",
    "error",
    "open-mode",
    "nodes",
    "ntasks-per-node",
    "chdir",
    "parsable",
    "array",
    "wrap",
)


class Submit(Section):
    """Section `launch.submit`."""

    partition: str | None = Field(default=None, min_length=1, description="SLURM's; null: its default")
    account: str | None = Field(default=None, min_length=1, description="who pays; null: your default")
    time: str | None = Field(
        default=None,
        pattern=r"^(\d+-)?\d+(:\d+){0,2}$",
        description="limit of a job, as 2-00:00:00; null: the partition's",
    )
    gpus_per_node: int | str | None = Field(default=None, description="a number, or kind and number as h100:8")
    cpus_per_task: int | None = Field(default=None, ge=1, description="cores on each machine")
    requeue: bool = Field(default=True, description="a job that is preempted, or whose machine fails, starts again")
    arguments: tuple[Annotated[str, Field(pattern=r"^--[a-z][a-z-]*(=\S.*)?$")], ...] = Field(
        default=(), description="more of sbatch's, as --qos=high"
    )
    poll_seconds: float = Field(default=10.0, gt=0, le=120, description="between two looks at the queue")

    def check(self) -> None:
        """Raises a BuildError for an argument that this module sets itself."""
        for argument in self.arguments:
            if (name := argument[2:].partition("=")[0]) in OWN:
                raise BuildError(
                    f"{PARAMS}: launch.submit.arguments: {argument}: osler sets --{name} itself; take it out"
                )
