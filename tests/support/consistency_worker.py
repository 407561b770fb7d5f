"""What each of two processes does for test_consistency.py: a run of NEFTune with consistency, under each engine.

`python -m torch.distributed.run --nproc-per-node=2 tests/support/consistency_worker.py FOLDER`.
"""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from osler.training.checkpoints import Checkpoint, State
from osler.training.loop import Weights, train
from osler.training.run import Run
from tests.support.runs import VOCABULARY, a_run, rows_of
from tests.support.tiny import NUMERICS, launch, tiny_model

ENGINES: dict[str, dict[str, Any]] = {
    "ddp": {"engine": "ddp"},
    "fsdp": {"engine": "fsdp", "activation_checkpointing": True},
    "zero3": {"engine": "deepspeed", "zero_stage": 3},
}
FLOAT64 = ("ddp", "fsdp")  # DeepSpeed keeps float32 weights
LENGTHS = [[9, 4], [16], [3, 5, 4, 2], [1, 8], [2, 2, 2, 2, 2, 2, 2]]  # rows of 2, 1, 4, 1 and 7 conversations


def consistent_run(weight: float = 3.0, alpha: float = 20.0, rows: int = 23, **changes: Any) -> Run:
    """Steps of four rows, the last one of three, whose rows have unequal numbers of conversations; labels on half the tokens."""
    values = {"batch_tokens": 64, "learning_rate": 1e-3, "epsilon": 1e-2, "gradient_clip": 5.0} | changes
    run = a_run(alpha, rows=rows, **values)
    return replace(run, sources={"x": rows_of(LENGTHS * 2, learned=True)}, consistency=weight)


def trained(folder: Path, run: Run, double: bool = True, **asked: Any) -> tuple[State, Weights]:
    """The end of the run, of a model that only the first process may have the weights of."""
    model = tiny_model(VOCABULARY).double() if double else tiny_model(VOCABULARY)
    if asked.get("engine") in ("fsdp", "deepspeed") and os.environ.get("RANK") == "1":
        model = model.to("meta")
    return train(model, run, NUMERICS, Checkpoint(folder, "x", False), launch(**asked))


def main(folder: Path) -> None:
    """Write the log and the weights of each engine."""
    NUMERICS.apply()
    for name, settings in ENGINES.items():
        asked = {"processes": 2, "micro_batch_rows": 1} | settings
        state, weights = trained(folder / f"{name}-checkpoints", consistent_run(), name in FLOAT64, **asked)
        if weights:
            save_file({key: value.contiguous() for key, value in weights.items()}, folder / f"{name}.safetensors")
            (folder / f"{name}.json").write_text(json.dumps(state.log))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
