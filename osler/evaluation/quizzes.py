"""What is asked of each benchmark, from the artifact `items`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from osler.build.section import BuildError
from osler.evaluation.exemplars import exemplar_pool, leaked
from osler.evaluation.protocols import AnswerProtocol
from osler.evaluation.questions import Item, items_of


@dataclass(frozen=True)
class Quiz:
    """One benchmark's test items, and solved questions that may precede them.

    `pool` has none that is a test item too. `development` are all of the benchmark's own.
    """

    items: list[Item]
    pool: list[Item]
    development: list[Item]

    def shown(self, strategy: str, protocol: AnswerProtocol) -> list[Item]:
        """Those that a strategy may show under a protocol.

        One with exemplars of its own has all to take them from, and sees to it that none precedes itself (few_shot).
        """
        return self.development if strategy == "few_shot" and protocol.fixes(self.items[0]) else self.pool


def quizzes_of(items: Path, benchmarks: Sequence[str]) -> dict[str, Quiz]:
    """The quiz of each listed benchmark with test items in a folder.

    Raises:
        BuildError: none has.
    """
    everything: list[Item] = items_of(pl.concat(pl.read_parquet(items / f"{listed}.parquet") for listed in benchmarks))
    test = [item for item in everything if item.split == "test"]
    if not test:
        raise BuildError(f"{items}: no benchmark item has the split `test`; list one in params.yaml: benchmark")
    if unfit := leaked(everything):
        print(
            f"{len(unfit)} dev items are test items too and no exemplars: {', '.join(item.item_id for item in unfit)}"
        )
    return {
        listed: Quiz(
            [item for item in test if item.benchmark == listed],
            exemplar_pool(everything, listed),
            [item for item in everything if item.benchmark == listed and item.split == "dev"],
        )
        for listed in sorted({item.benchmark for item in test})
    }
