"""What each of two processes does for test_qlora_engines.py: QLoRA under ddp, whole, and killed and resumed.

`python -m torch.distributed.run --nproc-per-node=2 tests/support/qlora_worker.py FOLDER`.
"""

import os
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from osler.build.files import write_json
from osler.model.adapters import adapt
from osler.training.checkpoints import Checkpoint
from osler.training.loop import train
from tests.support.runs import VOCABULARY, KilledAt, a_run
from tests.support.tiny import NUMERICS, launch, tiny_model

QLORA: dict[str, Any] = {"method": "qlora", "rank": 4, "alpha": 8.0, "target_modules": ["q_proj", "v_proj"]}


def adapted() -> Any:
    """A model in 4 bits with a fresh adapter."""
    model = tiny_model(VOCABULARY)
    adapt(model, QLORA, 3, "adapter.x", 16)
    return model


def learned(folder: Path, **asked: Any) -> Any:
    """The model after ten steps with noise, of an epsilon at which rounding does not grow."""
    model = adapted()
    train(model, a_run(5.0, epsilon=1e-2, weight_decay=0.0), NUMERICS, Checkpoint(folder, "x", False), launch(**asked))
    return model


def frozen(model: Any) -> dict[str, str]:
    """Digests of the bytes of all that is not trained, scales of weights in 4 bits included."""
    kept: dict[str, torch.Tensor] = {}
    for name, value in model.named_parameters():
        if not value.requires_grad:
            kept[name] = value.detach().as_subclass(torch.Tensor)
            if state := getattr(value, "quant_state", None):
                kept |= {f"{name}.absmax": state.absmax, f"{name}.absmax2": state.state2.absmax}
    return {
        name: sha256(value.contiguous().view(torch.uint8).numpy().tobytes()).hexdigest() for name, value in kept.items()
    }


def trained(model: Any) -> dict[str, torch.Tensor]:
    """The adapter's weights."""
    return {name: value.detach().clone() for name, value in model.named_parameters() if value.requires_grad}


def main(folder: Path) -> None:
    """Write of each process `adapter-<rank>.safetensors`, a resumed one, and digests of what is frozen."""
    NUMERICS.apply()
    rank, asked = os.environ["RANK"], {"engine": "ddp", "processes": 2}
    before, model = frozen(adapted()), learned(folder / "whole", **asked)
    write_json(folder / f"frozen-{rank}.json", {"before": before, "after": frozen(model)})
    with KilledAt(5):
        learned(folder / "killed", **asked)
    resumed = learned(folder / "killed", **asked)
    for name, found in (("adapter", model), ("resumed", resumed)):
        save_file(trained(found), folder / f"{name}-{rank}.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
