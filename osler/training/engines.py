"""Which engine trains, as section `launch` asks.

Each engine is a library's: accelerate for one process and for DDP (engine.py), torch's `fully_shard` for FSDP
(fsdp_engine.py), DeepSpeed for ZeRO 1 to 3 (deepspeed_engine.py).

What silently does something else is refused: accelerate's launcher without MPI runs one process, its FSDP on a CPU is DDP; so
an engine compares what it got with what `launch` asked.

Two processes on two cores, tiny models: losses of every engine equal one process's to 1e-5 (tests/training/test_engines.py).
"""

from typing import Any

import torch
from torch import nn

from osler.build.section import BuildError
from osler.model.numerics import Numerics
from osler.model.quantization import compute_in, is_quantized
from osler.model.recomputation import recompute
from osler.training.deepspeed_engine import DeepSpeed
from osler.training.engine import Engine
from osler.training.fsdp_engine import Fsdp
from osler.training.launch import Launch
from osler.training.recipe import Recipe


def started_engine(module: nn.Module, recipe: Recipe, numerics: Numerics, launch: Launch) -> Engine:
    """The engine that `launch` names, with `module` in it, ready to train.

    Raises:
        BuildError: this machine cannot do it, or the model draws random numbers of its own.
    """
    language_model: Any = module.model
    refuse_dropout(language_model)
    if launch.engine == "deepspeed" and not all(one.requires_grad for one in language_model.parameters()):
        raise BuildError("params.yaml: launch.engine: deepspeed trains no adapter; use python, ddp or fsdp")
    if is_quantized(language_model):
        if launch.engine == "fsdp":
            raise BuildError(
                "params.yaml: launch.engine: fsdp divides no weights of 4 bits; use python or ddp for qlora"
            )
        compute_in(language_model, getattr(torch, numerics.dtype))
    numerics.fit(language_model)
    recompute(language_model, launch.activation_checkpointing)
    kinds: dict[str, type[Engine]] = {"python": Engine, "ddp": Engine, "fsdp": Fsdp, "deepspeed": DeepSpeed}
    return kinds[launch.engine](module, recipe, numerics, launch)


def refuse_dropout(model: Any) -> None:
    """Refuse a model whose forward pass is random.

    It would not be the same on other processes, or after a resume.

    Raises:
        BuildError: names what is random.
    """
    found = [
        f"{name} ({module.p})" for name, module in model.named_modules() if isinstance(module, nn.Dropout) and module.p
    ]
    settings = model.config.to_dict()
    found += [key for key in ("attention_dropout", "router_jitter_noise") if settings.get(key)]
    if found:
        raise BuildError(
            f"the base model's config.json has dropout or jitter ({', '.join(found[:3])}); set it to 0: a run could not be"
            " resumed, nor divided, with the same result"
        )
