"""Small runs of the training loop."""

from typing import Any

import numpy as np
import torch

from osler.tokens.mixture import row_order
from osler.tokens.shards import PackedRows
from osler.training.recipe import Recipe
from osler.training.run import Run

VOCABULARY, WIDTH = 50, 16


def rows_of(lengths: list[list[int]], seed: int = 0, learned: bool = False) -> PackedRows:
    """Rows of WIDTH random tokens with the given segments; with `learned`, labels on every second token."""
    rng = np.random.default_rng(seed)
    tokens = rng.integers(3, VOCABULARY, (len(lengths), WIDTH)).astype(np.uint16)
    labels = np.tile(np.arange(WIDTH) % 2, (len(lengths), 1)).astype(np.uint8) if learned else None
    ends = np.cumsum([len(row) for row in lengths])
    return PackedRows(tokens, ends, np.array([n for row in lengths for n in row], np.int32), labels)


def recipe(**changes: Any) -> Recipe:
    values: dict[str, Any] = {
        "batch_tokens": 2 * WIDTH,
        "learning_rate": 1e-2,
        "final_learning_rate_fraction": 0.1,
        "warmup_fraction": 0.1,
        "weight_decay": 0.1,
        "betas": (0.9, 0.98),
        "epsilon": 1e-8,
        "gradient_clip": 1.0,
    }
    return Recipe(**values | changes)


def a_run(alpha: float = 0.0, rows: int = 20, **changes: Any) -> Run:
    packed = rows_of([[9, 4], [16]] * 5)
    return Run("test", {"x": packed}, row_order({"x": rows}, {"x": 10}, 1), recipe(**changes), 3, alpha)


def weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


class Killed(Exception):
    """Stands for kill -9."""


class KilledAt:
    """Within, the run ends before step `step` as if it was killed."""

    def __init__(self, step: int) -> None:
        self.step = step

    def __enter__(self) -> None:
        self.original = original = Run.global_batch

        def killed(run: Run, step: int) -> Any:
            if step == self.step:
                raise Killed
            return original(run, step)

        Run.global_batch = killed  # type: ignore[method-assign, assignment]

    def __exit__(self, kind: Any, *rest: object) -> bool:
        Run.global_batch = self.original  # type: ignore[method-assign]
        return kind is Killed
