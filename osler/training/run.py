"""A run: its rows in order, its recipe, and what it continues.

A stage makes one for each seed: by `continued_pretraining.py`, `finetuning.py`, or itself (`pretrain`). The loop (loop.py) asks
it for the batches and the learning rate of each step.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from osler.build.section import BuildError
from osler.tokens.shards import PackedRows
from osler.training.amendments import Amendments, is_skipped, peak
from osler.training.batches import IGNORED, Batch, batch_noise, batch_of, conversation_count, label_count, noise_seed
from osler.training.heldout_loss import Heldout
from osler.training.recipe import Recipe, Schedule, learning_rate


@dataclass(frozen=True)
class Past:
    """What a run goes on from besides a model's weights.

    It is a place in the order, which is whole steps, and AdamW's moments.
    """

    moments: Path
    steps: int
    tokens: int
    idle_steps: int = 0  # of the steps those that updated nothing: AdamW has not counted them


@dataclass(frozen=True)
class Prepared:
    """A step that can be learned from.

    It has this process's micro-batches, and numbers of the batch of all processes. Without micro-batches nothing is learned in it.
    """

    parts: list[Batch]
    labels: int
    tokens: int  # padding is none
    conversations: int = 0  # with labels; counted where the run has consistency


@dataclass(frozen=True)
class Run:
    """What to train on.

    `order_N2` has an entry for each row of the run and of its past. It gives the place of the row's source among the
    sorted names of `sources`, and the row there.
    """

    title: str
    sources: Mapping[str, PackedRows]
    order_N2: npt.NDArray[np.int64]
    recipe: Recipe
    seed: int
    alpha: float = 0.0  # NEFTune's; 0 trains without noise
    schedule: Schedule | None = None  # None: warm-up and cosine
    past: Past | None = None
    amendments: Amendments | None = None  # None: its section has no such key
    heldout: Heldout | None = None  # looked at as it runs; no result depends on it
    consistency: float = 0.0  # weight of the distance from the clean pass (consistency.py); 0 has none

    def label(self) -> str:
        """What the run is called where people read it."""
        return f"{self.title} seed {self.seed}"

    def first_step(self) -> int:
        """Steps of the past."""
        return self.past.steps if self.past else 0

    def rows_before(self) -> int:
        """Rows of the past."""
        return self.first_step() * self.rows_per_step()

    def rate(self, step: int) -> float:
        """The learning rate of step `step`."""
        recipe = self.recipe
        if (amended := peak(self.amendments or (), step + 1)) is not None:
            recipe = recipe.model_copy(update={"learning_rate": amended})
        if self.schedule:
            return self.schedule.rate(recipe, step, self.steps())
        return learning_rate(recipe, step, self.steps())

    def is_skipped(self, step: int) -> bool:
        """Whether an amendment leaves step `step` out."""
        return is_skipped(self.amendments or (), step + 1)

    def rows_per_step(self) -> int:
        """Rows in the global batch.

        Raises:
            BuildError: the batch is not a whole number of rows.
        """
        width = self.row_tokens()
        rows, rest = divmod(self.recipe.batch_tokens, width)
        if rest or not rows:
            raise BuildError(
                f"params.yaml: batch_tokens of {self.title}: {self.recipe.batch_tokens} is no multiple of"
                f" pack.sequence_length_tokens {width}"
            )
        return rows

    def row_tokens(self) -> int:
        """Tokens of a row; every source's are of one length."""
        return int(next(iter(self.sources.values())).tokens_RT.shape[1])

    def rows_read(self, start: int, stop: int | None = None) -> dict[str, int]:
        """Rows from place `start` of the order, by source.

        They go to `stop`, or to the order's end. Epochs are counted.
        """
        counts = np.bincount(self.order_N2[start:stop, 0], minlength=len(self.sources)).tolist()
        return dict(zip(sorted(self.sources), counts, strict=True))

    def steps(self) -> int:
        """Steps of the run and its past.

        The last one may be smaller.
        """
        return -(-len(self.order_N2) // self.rows_per_step())

    def global_batch(self, step: int) -> list[tuple[PackedRows, int]]:
        """The rows of step `step`."""
        rows = self.rows_per_step()
        sources = [self.sources[name] for name in sorted(self.sources)]
        return [(sources[int(index)], int(row)) for index, row in self.order_N2[step * rows : (step + 1) * rows]]

    def rows_of(self, step: int) -> dict[str, list[int]]:
        """The rows of step `step`, by source."""
        rows, names = self.rows_per_step(), sorted(self.sources)
        found: dict[str, list[int]] = {}
        for index, row in self.order_N2[step * rows : (step + 1) * rows].tolist():
            found.setdefault(names[index], []).append(row)
        return found

    def prepared(self, step: int, rank: int, processes: int, limit: int | None, hidden: int) -> Prepared:
        """Step `step` of process `rank`.

        Each process counts the labels and tokens of all: only lengths are read for it, and no process has to wait for
        another one's number.
        """
        rows = self.global_batch(step)
        labels = sum(label_count(source, row) for source, row in rows)
        tokens = sum(sum(source.segment_lengths(row)) for source, row in rows)
        skipped = self.is_skipped(step)
        parts = [] if skipped else self.micro_batches(step, rank, processes, limit, hidden)
        conversations = sum(conversation_count(source, row) for source, row in rows) if self.consistency else 0
        return Prepared(parts, labels, tokens, conversations)

    def micro_batches(self, step: int, rank: int, processes: int, limit: int | None, hidden: int) -> list[Batch]:
        """What process `rank` reads in step `step`.

        It is every `processes`-th row of the global batch, `limit` at a time. All processes get as many micro-batches
        as the one with most rows; one without a row takes part in it, so that it answers the others, and learns
        nothing.
        """
        rows = self.global_batch(step)
        mine = range(rank, len(rows), processes)
        most = -(-len(rows) // processes)
        batches = []
        for start in range(0, most, limit or most):
            part = mine[start : start + (limit or most)]
            batch = batch_of([rows[index] for index in part] or rows[:1])
            if not part:
                batch.labels_BT.fill_(IGNORED)
                batch.kept_BT.fill_(False)
                batch.lengths.clear()
            elif self.alpha:
                seeds = [noise_seed(self.seed, step, index) for index in part]
                batch.noise_BTD = batch_noise(batch.lengths, self.row_tokens(), hidden, self.alpha, seeds)
            batches.append(batch)
        return batches
