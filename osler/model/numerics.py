"""How arithmetic is done.

That is part of the result, and so of the tracked params. Where it is done (section `launch`) is not.

`portable` is for CPUs (osler/build/portability.py) and put in force before this module can be imported. The last four keys are
for GPUs and may be set on a CPU only where they change nothing that cannot be trained there.
"""

import os
from importlib.util import find_spec
from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from osler.build.section import BuildError, Section

# transformers would fetch a kernel from the Hub where one of these packages is not installed: another than was asked for
PACKAGES = {"flash_attention_2": "flash_attn", "flash_attention_3": "flash_attn_interface"}
TO_INSTALL = {
    "flash_attn": "flash-attn",
    "flash_attn_interface": "flash-attn-3 (the folder hopper of its repository)",
}
HUB_KERNEL = r"kernels-community/[a-z0-9-]*flash-attn[a-z0-9-]*@[0-9a-f]{40}"
FLOAT8_MULTIPLE = 16  # what the kernels of float8 products ask of both sides of a matrix


class Numerics(Section):
    """Section `numerics`."""

    portable: bool = Field(description="on CPUs: kernels that give the same bytes on every x86-64 with AVX2")
    threads: int = Field(
        ge=1, le=1024, description="CPU threads of one process; another number may change the last bits"
    )
    dtype: Literal["float32", "bfloat16"] = Field(description="of products; weights and optimizer stay in float32")
    attention: Annotated[
        str, Field(pattern=rf"^(sdpa|flash_attention_2|flash_attention_3|flex_attention|{HUB_KERNEL})$")
    ] = Field(
        default="sdpa",
        description="of training: sdpa, flex_attention, flash_attention_2, flash_attention_3, or a FlashAttention of the"
        " package kernels, kernels-community/NAME@COMMIT",
    )
    compile: bool = Field(default=False, description="torch.compile of each layer")
    liger: bool = Field(default=False, description="Liger's kernels for norm, rotation and activation")
    float8: bool = Field(
        default=False, description="products of the layers in float8 with a scale a tensor, by torchao; needs compile"
    )

    @model_serializer(mode="wrap")
    def _written(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without `float8` where it is off: keys of what was trained before it was there stay as they are."""
        values: dict[str, Any] = write(self)
        return values if self.float8 else {key: value for key, value in values.items() if key != "float8"}

    def by_bounds(self) -> bool:
        """Whether attention is told its segments by their bounds.

        FlashAttention is, in one long row.
        """
        return self.attention not in ("sdpa", "flex_attention")

    def apply(self) -> None:
        """Set torch's threads and refuse operations that have no deterministic form."""
        allocate_in_segments()
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what CUDA asks for deterministic products
        os.environ.setdefault("FLASH_ATTENTION_DETERMINISTIC", "1")  # read by transformers
        import torch

        torch.set_num_threads(self.threads)
        torch.use_deterministic_algorithms(True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # 0.6 s for a buffer of DeepSpeed's, and of no use

    def check_machine(self, elsewhere: bool = False) -> None:
        """Check that this machine has what the section asks for.

        Args:
            elsewhere: training is not on this machine: only what holds everywhere is checked.

        Raises:
            BuildError: a kernel needs a GPU, a package, or another dtype.
        """
        if self.by_bounds() and self.dtype != "bfloat16":
            raise BuildError(f"params.yaml: numerics.attention: {self.attention} needs numerics.dtype: bfloat16")
        if self.float8 and not (self.dtype == "bfloat16" and self.compile):
            raise BuildError("params.yaml: numerics.float8: needs numerics.dtype: bfloat16 and numerics.compile: true")
        if elsewhere or (self.attention == "sdpa" and not self.liger and not self.float8):
            return
        import torch

        if self.attention != "sdpa" and not torch.cuda.is_available():
            raise BuildError(f"params.yaml: numerics.attention: {self.attention} cannot train on a CPU; use sdpa")
        package = PACKAGES.get(self.attention, "kernels" if "/" in self.attention else "torch")
        if not find_spec(package):
            raise BuildError(
                f"params.yaml: numerics.attention: {self.attention} needs the package {TO_INSTALL.get(package, package)};"
                " install it, or use sdpa"
            )
        if self.liger and not (find_spec("liger_kernel") and torch.cuda.is_available()):
            raise BuildError("params.yaml: numerics.liger: needs a GPU and the package liger-kernel; or set false")
        if self.float8 and not (torch.cuda.is_available() and torch.cuda.get_device_capability() >= (8, 9)):
            raise BuildError(
                "params.yaml: numerics.float8: needs a GPU that multiplies it (from 8.9: L40S, H100); or set false"
            )
        if self.float8 and not find_spec("torchao"):
            raise BuildError("params.yaml: numerics.float8: needs the package torchao; or set false")

    def fit(self, model: Any) -> None:
        """Give `model` the attention and the kernels of this section.

        This comes before the model is divided or moved.

        Raises:
            BuildError: this machine or its packages cannot do what is asked.
        """
        self.check_machine()
        if self.attention != "sdpa":
            try:
                model.set_attn_implementation(self.attention)
            except (ImportError, ValueError) as error:
                raise BuildError(f"params.yaml: numerics.attention: {' '.join(str(error).split())}") from None
        if self.liger:
            from liger_kernel.transformers import _apply_liger_kernel_to_instance

            _apply_liger_kernel_to_instance(model=model, cross_entropy=False, fused_linear_cross_entropy=False)
        if self.float8:
            multiply_in_float8(model)
        if self.compile:
            if self.by_bounds():
                forget_a_warning()
            for layer in model.base_model.layers:
                layer.compile()


def allocate_in_segments() -> None:
    """Have CUDA's allocator grow its segments instead of cutting blocks.

    Rows of many lengths then leave fewer holes. Read by torch when a GPU is first used, and nowhere else. What the user set stays.
    """
    if not {"PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"} & os.environ.keys():
        os.environ["PYTORCH_ALLOC_CONF"] = "expandable_segments:True"


def forget_a_warning() -> None:
    """Have torch.compile pass over a warning of transformers.

    Under autocast rotated queries are float32 and cast back for FlashAttention, in each layer, with a warning once
    that breaks its graph in two.
    """
    import logging

    import torch

    torch._dynamo.config.ignore_logging_functions.add(logging.Logger.warning_once)  # type: ignore[attr-defined]


def multiply_in_float8(model: Any, emulate: bool = False) -> list[str]:
    """Have the linear maps of `model`'s layers multiply in float8.

    They do forward and backward, with a scale a tensor. Weights stay as they are, under their
    names. Left out are the head, whose loss has products of its own
    (osler.training.cross_entropy), routers, experts (one tensor of all), and sides that are no multiple of 16.

    Args:
        model: a causal language model, not yet divided.
        emulate: round to float8 and multiply in the weights' type: for tests, on any machine.
    Returns:
        the names of what was converted, below the base model.
    Raises:
        BuildError: nothing can be converted.
    Source:
        Micikevicius et al. 2022, arXiv 2209.05433; torchao's recipe of tensorwise scales.
    """
    from torchao.float8 import Float8LinearConfig, convert_to_float8_training

    taken: list[str] = []

    def fits(module: Any, name: str) -> bool:
        fit = name.startswith("layers.") and all(side % FLOAT8_MULTIPLE == 0 for side in module.weight.shape)
        if fit:
            taken.append(name)
        return fit

    convert_to_float8_training(model.base_model, module_filter_fn=fits, config=Float8LinearConfig(emulate=emulate))
    if not taken:
        raise BuildError(
            "params.yaml: numerics.float8: the model has no matrix with sides of multiples of 16; set false"
        )
    return taken
