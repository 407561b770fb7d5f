"""Section `continual`: classification tasks that one model learns one after another.

Checked without torch or peft. Stage `task_rows` makes rows of it, `continual` trains adapters (task_adapters.py) and
`evaluate_continual` asks them.

After HiDe-PET (Wang et al. 2024, arXiv 2407.05229): an adapter a task, a shared one that each starts from, and Gaussians of the
frozen model's states by which the task of a text is inferred. What is different here is said where it is done: what the shared
adapter is in task_adapters.py, how a task is inferred in osler/inference/task_inference.py, and how an answer is given in
osler/evaluation/continual_answers.py.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from osler.build.section import EACH_ONCE, Section, Seed
from osler.training.adapters import GatedHead, KeyValuePrefix, LowRank, Rescaled, SoftPrompt, Tuning, WeightDecomposed

CONTINUAL = "continual-"  # of the names of their folders
DISTRIBUTIONS = "distributions.safetensors"  # in them: what is kept of each task's texts
TaskName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_-]*$")]
ONE_PROCESS = (
    "tasks in sequence are trained by one process: write `stages: {continual: {engine: python, processes: 1, nodes: 1}}`"
    " under launch"
)
LabelWords = Annotated[str, Field(min_length=1)]


class InTurn(Section):
    """What all methods have.

    It is the tasks, their rows, and how a task is inferred.
    """

    tasks: Annotated[tuple[TaskName, ...], Field(min_length=2), EACH_ONCE] = Field(
        description="of `task`, of metric label; learned in this order"
    )
    labels: dict[TaskName, dict[str, LabelWords]] = Field(
        description="task -> target -> words that are answered with it; rows of other targets are left out. A task that is not"
        " here has its targets as words"
    )
    train_fraction: float = Field(
        gt=0, lt=1, description="of a task's groups, where none of its rows is of the split dev; else these are learned"
    )
    train_rows: int = Field(ge=2, le=1 << 30, description="of a task, at most; the others go to the ledger")
    test_rows: int = Field(ge=1, le=1 << 30, description="of a task, at most; the others go to the ledger")
    rows_seed: Seed = Field(description="of which rows are learned and which tested, the same for all training seeds")
    source_limit_tokens: int = Field(ge=1, le=1 << 24, description="of a text, which is cut behind them")
    shared_step: float = Field(
        ge=0,
        le=1,
        description="share of the way that the shared adapter goes to each task's; 0: it stays the first one's",
    )
    infer_by: Literal["distance", "head"] = Field(
        description="how a text's task is inferred: nearest class by Mahalanobis, or a linear head"
    )
    shrinkage: float = Field(
        gt=0, le=1, description="of covariances towards a sphere of the same trace; 1 is Euclidean distance"
    )
    draws_per_class: int = Field(ge=2, le=1_000_000, description="from each class's Gaussian, to train the head on")

    @model_validator(mode="after")
    def _labels_of_tasks(self) -> Self:
        for task, words in self.labels.items():
            if task not in self.tasks:
                raise ValueError(f"labels has {task}, which is none of tasks; take it out")
            if len(set(words.values())) < 2:
                raise ValueError(f"labels.{task} has fewer than two different words; a task has at least two")
        return self


class _InTurn(InTurn, Tuning):
    rows: Literal["tasks"] = Field(default="tasks", description="what it learns: always those of its tasks")

    def method_settings(self) -> dict[str, Any]:
        """What an adapter depends on besides rows, recipe and noise."""
        return {key: value for key, value in super().method_settings().items() if key not in InTurn.model_fields}


class LowRankInTurn(_InTurn, LowRank):
    """LoRA."""


class WeightDecomposedInTurn(_InTurn, WeightDecomposed):
    """DoRA."""


class RescaledInTurn(_InTurn, Rescaled):
    """IA3."""


class SoftPromptInTurn(_InTurn, SoftPrompt):
    """Prompt tuning."""


class KeyValuePrefixInTurn(_InTurn, KeyValuePrefix):
    """Prefix tuning."""


class GatedHeadInTurn(_InTurn, GatedHead):
    """A gated residual network."""


ContinualSection = Annotated[
    LowRankInTurn | WeightDecomposedInTurn | RescaledInTurn | SoftPromptInTurn | KeyValuePrefixInTurn | GatedHeadInTurn,
    Field(discriminator="method"),
]


def trainings(section: Mapping[str, Any]) -> int:
    """How often rows of tasks are trained on, of one seed.

    It is summed over tasks: its own adapter, the one in turn, the one at once. The first
    two adapters are those in turn, too.
    """
    return 3 * len(section["tasks"]) - 2


def planned_tokens(section: Mapping[str, Any]) -> int:
    """Tokens that one seed trains on at most, without templates and labels."""
    rows = trainings(section) * section["epochs"] * section["train_rows"]
    return int(rows * section["source_limit_tokens"])
