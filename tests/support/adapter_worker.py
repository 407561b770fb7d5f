"""What each of two processes does for test_adapter_engines.py: each method on each engine, whole, and killed and resumed.

`python -m torch.distributed.run --nproc-per-node=2 tests/support/adapter_worker.py FOLDER`.
"""

import os
import sys
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from osler.model.adapters import adapt
from osler.training.checkpoints import Checkpoint
from osler.training.loop import train
from tests.support.runs import VOCABULARY, KilledAt, a_run
from tests.support.tiny import NUMERICS, launch, tiny_model

METHODS: dict[str, dict[str, Any]] = {
    "lora": {"method": "lora", "rank": 4, "alpha": 8.0, "target_modules": "all-linear"},
    "dora": {"method": "dora", "rank": 4, "alpha": 8.0, "target_modules": ["q_proj", "down_proj"]},
    "ia3": {"method": "ia3", "target_modules": ["k_proj", "down_proj"], "feedforward_modules": ["down_proj"]},
    "prompt_tuning": {"method": "prompt_tuning", "virtual_tokens": 3},
    "prefix_tuning": {"method": "prefix_tuning", "virtual_tokens": 3},
    "gated_residual": {"method": "gated_residual", "inner_width": 16},
}
ENGINES = ("ddp", "fsdp")


def adapted(method: str, empty: bool = False) -> Any:
    """A model in float64 with a fresh adapter; under fsdp the second process has it without weights."""
    model = tiny_model(VOCABULARY).double()
    model = model.to("meta") if empty else model
    adapt(model, METHODS[method], 3, "adapter.x", 16)
    return model.double()


def weights_of(method: str, folder: Path, **asked: Any) -> dict[str, Any]:
    """Weights after ten steps with noise, of an epsilon at which rounding does not grow."""
    empty = asked.get("engine") == "fsdp" and os.environ.get("RANK") == "1"
    run = a_run(5.0, epsilon=1e-2, weight_decay=0.0)
    _, found = train(adapted(method, empty), run, NUMERICS, Checkpoint(folder, "x", False), launch(**asked))
    return {name: value.contiguous() for name, value in found.items()}


def main(folder: Path) -> None:
    """Write `<engine>-<method>.safetensors`, and `-resumed` ones."""
    NUMERICS.apply()
    for engine in ENGINES:
        for method in METHODS:
            asked = {"engine": engine, "processes": 2}
            place = folder / f"{engine}-{method}"
            whole = weights_of(method, place / "whole", **asked)
            with KilledAt(5):
                weights_of(method, place / "killed", **asked)
            resumed = weights_of(method, place / "killed", **asked)
            if whole:
                save_file(whole, place.with_suffix(".safetensors"))
                save_file(resumed, folder / f"{place.name}-resumed.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
