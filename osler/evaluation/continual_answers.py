"""What adapters of tasks answer, each test row after each task that has been learned.

A model reads the text alone, without an instruction that would name its task, and gives the label whose words are likeliest as
an answer: the sum of their tokens' log-probabilities. Who is asked:

own: the adapter of the task that is inferred from the text (task_inference.py), among that task's labels;
in_turn: one adapter that was trained on the tasks in turn, among the labels of all tasks so far;
at_once: one adapter that was trained on all tasks, among all labels; after the last task only;
own_told, in_turn_told, at_once_told: the same where somebody says which task it is, among its labels.

HiDe-PET (arXiv 2407.05229, of which the abstract was read) has a prediction beyond the inferred task, "task-adaptive", which may
mend an error in it. Here an error in the task is an error in the label, since tasks share none.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from osler.inference.interface import Model, Prompt
from osler.inference.task_inference import Classes, by_distance, by_head

ANSWERS = pl.Schema(
    {
        "item_id": pl.String,
        "task": pl.String,
        "group": pl.String,
        "seed": pl.Int64,
        "method": pl.String,
        "after": pl.Int64,  # tasks that had been learned
        "label": pl.String,
        "answer": pl.String,  # null where the task was not inferred: its adapter was not asked
        "correct": pl.Boolean,
    }
)
INFERRED = pl.Schema(
    {
        "item_id": pl.String,
        "task": pl.String,
        "group": pl.String,
        "seed": pl.Int64,
        "after": pl.Int64,
        "distance": pl.String,  # the task inferred by each way
        "head": pl.String,
    }
)
OWN, IN_TURN, AT_ONCE, TOLD = "own", "in_turn", "at_once", "_told"
Sums = dict[str, tuple[float, ...]]
"""item_id -> log-probability of each label of the tasks so far, in their order."""


@dataclass(frozen=True)
class Asking:
    """What one seed's adapters are asked.

    Args:
        tested: rows of the split test (osler/training/task_rows.py), of all tasks.
        labels: of each task, in the order they are learned.
        loaded: the model with the adapter of a folder, to ask; None: without one.
        folder: of the adapters.
    """

    tested: pl.DataFrame
    labels: Mapping[str, Sequence[str]]
    loaded: Callable[[Path | None], Model]
    folder: Path
    seed: int

    @property
    def tasks(self) -> list[str]:
        return list(self.labels)

    def rows(self, tasks: Sequence[str]) -> pl.DataFrame:
        """Those of some tasks."""
        return self.tested.filter(pl.col("task").is_in(list(tasks)))

    def sums(self, adapter: str, tasks: Sequence[str], options: Sequence[str]) -> Sums:
        """What an adapter says of labels, for rows of `tasks`.


        The labels are those of the tasks `options`.
        """
        rows = self.rows(tasks)
        words = tuple(label for task in options for label in self.labels[task])
        prompts = [Prompt((("user", text),), words) for text in rows["text"]]
        scored = self.loaded(self.folder / adapter).likelihoods(prompts)
        return dict(zip(rows["item_id"].to_list(), (each.sums for each in scored), strict=True))

    def inferred(self, classes: Mapping[str, Classes], shrinkage: float, draws: int) -> pl.DataFrame:
        """The task of each row after each task, as INFERRED.

        It is inferred from the states of the model without an adapter.
        """
        states = self.loaded(None).embeddings(self.tested["text"].to_list())
        frames = []
        for after in range(1, len(self.tasks) + 1):
            known = {task: classes[task] for task in self.tasks[:after]}
            here = self.tested["task"].is_in(list(known))
            seen = states[here.to_numpy()]
            frames.append(
                self.rows(list(known))
                .select("item_id", "task", "group")
                .with_columns(
                    seed=pl.lit(self.seed, pl.Int64),
                    after=pl.lit(after, pl.Int64),
                    distance=pl.Series(by_distance(seen, known, shrinkage), dtype=pl.String),
                    head=pl.Series(by_head(seen, known, shrinkage, draws, self.seed), dtype=pl.String),
                )
            )
        return pl.concat(frames).select(list(INFERRED))

    def answers(self, inferred: pl.DataFrame, infer_by: str) -> pl.DataFrame:
        """All answers as ANSWERS.

        Args:
            inferred: see `inferred`.
            infer_by: the column of it that says whose adapter is asked.
        """
        own: Sums = {}
        for task in self.tasks:
            own |= self.sums(f"tasks/{task}", (task,), (task,))
        frames = []
        for after, last in enumerate(self.tasks, start=1):
            known = self.tasks[:after]
            guesses = inferred.filter(pl.col("after") == after)
            guess = dict(guesses.select("item_id", infer_by).iter_rows())
            frames += [self.table(OWN + TOLD, after, own), self.table(OWN, after, own, guess=guess)]
            turn = self.sums(f"in_turn/{last}", known, known)
            frames += [
                self.table(IN_TURN, after, turn, known),
                self.table(IN_TURN + TOLD, after, turn, known, told=True),
            ]
        once, count = self.sums("at_once", self.tasks, self.tasks), len(self.tasks)
        frames += [self.table(AT_ONCE, count, once, self.tasks)]
        frames += [self.table(AT_ONCE + TOLD, count, once, self.tasks, told=True)]
        return pl.concat(frames)

    def table(
        self,
        method: str,
        after: int,
        sums: Sums,
        options: Sequence[str] | None = None,
        guess: Mapping[str, str] | None = None,
        told: bool = False,
    ) -> pl.DataFrame:
        """The likeliest label of each row of the first `after` tasks.

        It is the first one of equally likely ones.

        Args:
            options: tasks whose labels `sums` has; None: the row's own.
            guess: item_id -> task; a row whose task is not guessed gets no answer.
            told: only the row's own labels count.
        """
        found = []
        for item_id, task, group, label in (
            self.rows(self.tasks[:after]).select("item_id", "task", "group", "label").iter_rows()
        ):
            owners = [(one, word) for one in options or (task,) for word in self.labels[one]]
            scores = [
                (-score, place)
                for place, (score, (owner, _)) in enumerate(zip(sums[item_id], owners, strict=True))
                if owner == task or not told
            ]
            asked = guess is None or guess[item_id] == task
            answer = owners[min(scores)[1]][1] if asked else None
            found.append((item_id, task, group, self.seed, method, after, label, answer, answer == label))
        return pl.DataFrame(found, schema=ANSWERS, orient="row")
