"""Section `launch.submit`: how a stage is handed to SLURM (slurm.py)."""

from typing import Annotated

from pydantic import Field

from osler.build.section import BuildError, Section
from osler.build.validation import PARAMS

OWN = (
    *("job-name", "comment", "output", "error", "open-mode", "nodes", "ntasks", "ntasks-per-node", "chdir", "parsable"),
    *("array", "wrap", "wait", "test-only", "export", "requeue", "no-requeue", "partition", "account", "time"),
    *("gpus-per-node", "cpus-per-task"),
)


class Submit(Section):
    """Section `launch.submit`."""

    partition: str | None = Field(default=None, pattern=r"^\S+$", description="SLURM's; null: its default")
    account: str | None = Field(default=None, min_length=1, description="who pays; null: your default")
    time: str | None = Field(
        default=None,
        pattern=r"^(\d+-)?\d+(:\d+){0,2}$",
        description="limit of a job, as 2-00:00:00; null: the partition's",
    )
    gpus_per_node: (
        Annotated[int, Field(ge=1)] | Annotated[str, Field(pattern=r"^([A-Za-z][\w.-]*:)?[1-9]\d*$")] | None
    ) = Field(default=None, description="a number, or kind and number as h100:8")
    cpus_per_task: int | None = Field(default=None, ge=1, description="cores on each machine")
    requeue: bool = Field(default=True, description="a job that is preempted, or whose machine fails, starts again")
    arguments: tuple[Annotated[str, Field(pattern=r"^--[a-z][a-z-]*(=\S.*)?$")], ...] = Field(
        default=(), description="more of sbatch's, as --qos=high"
    )
    poll_seconds: float = Field(default=10.0, gt=0, le=120, description="between two looks at the queue")

    def minutes(self) -> float | None:
        """The limit of a job in minutes; None: it is the partition's.

        Source:
            sbatch(1), --time: minutes, minutes:seconds, hours:minutes:seconds, and behind days- hours[:minutes[:seconds]].
        """
        if self.time is None:
            return None
        days, _, rest = self.time.rpartition("-")
        parts = [int(part) for part in rest.split(":")]
        if days:
            hours, minutes, seconds = (*parts, 0, 0)[:3]
            return 1440 * int(days) + 60 * hours + minutes + seconds / 60
        hours, minutes, seconds = (0, *parts, 0)[:3] if len(parts) < 3 else parts
        return 60 * hours + minutes + seconds / 60

    def check(self, where: str = "launch.submit") -> None:
        """Refuse an argument that this module sets itself.

        Raises:
            BuildError: names the key, below `where`.
        """
        for argument in self.arguments:
            name = argument[2:].partition("=")[0]
            if own := [one for one in OWN if one.startswith(name)]:
                raise BuildError(
                    f"{PARAMS}: {where}.arguments: {argument}: osler sets --{own[0]} itself, from other keys; take it out"
                )
