"""Whether adapters can be trained and asked as params say, for `osler check`."""

from collections.abc import Mapping
from typing import Any

from osler.build.section import BuildError
from osler.build.slurm import of_stage
from osler.build.validation import PARAMS
from osler.inference.vllm_backend import check_adapter
from osler.model.quantization import check_bitsandbytes
from osler.training.adapters import ALL_WEIGHTS

QUANTIZED = "qlora"


def check_adapters(params: Mapping[str, Any], is_here: bool) -> None:
    """Check engines of adapters, the package of 4 bits, and vLLM.

    Args:
        is_here: adapters are trained on this machine, whose packages count.
    Raises:
        BuildError: names the key.
    """
    engine = of_stage(params["launch"], "adapter").get("engine")
    for name, section in params["adapter"].items():
        if section["method"] == ALL_WEIGHTS:
            continue
        key = f"{PARAMS}: adapter.{name}"
        refused = {"deepspeed"} | ({"fsdp"} if section["method"] == QUANTIZED else set())
        if engine in refused:
            others = "python or ddp" if section["method"] == QUANTIZED else "python, ddp or fsdp"
            raise BuildError(
                f"{key}: launch.engine {engine} trains no adapter by {section['method']}; write {others} below"
                " launch.stages.adapter"
            )
        if params["evaluate"]["vllm"]:
            check_adapter(name, section)
        if section["method"] == QUANTIZED and is_here:
            check_bitsandbytes(f"{key}.method")
