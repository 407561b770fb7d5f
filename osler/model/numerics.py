"""How arithmetic is done.

That is part of the result, and so of the tracked params. Where it is done (section `launch`) is not.

`portable` is for CPUs (osler/build/portability.py) and put in force before this module can be imported. The last three keys are
for GPUs and may be set on a CPU only where they change nothing that cannot be trained there.
"""

import os
from importlib.util import find_spec
from typing import Any, Literal

from pydantic import Field

from osler.build.section import BuildError, Section


class Numerics(Section):
    """Section `numerics`."""

    portable: bool = Field(description="on CPUs: kernels that give the same bytes on every x86-64 with AVX2")
    threads: int = Field(
        ge=1, le=1024, description="CPU threads of one process; another number may change the last bits"
    )
    dtype: Literal["float32", "bfloat16"] = Field(description="of products; weights and optimizer stay in float32")
    attention: Literal["sdpa", "flash_attention_2", "flex_attention"] = Field(default="sdpa", description="of training")
    compile: bool = Field(default=False, description="torch.compile of each layer")
    liger: bool = Field(default=False, description="Liger's kernels for norm, rotation and activation")

    def apply(self) -> None:
        """Set torch's threads and refuse operations that have no deterministic form."""
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what CUDA asks for deterministic products
        os.environ.setdefault("FLASH_ATTENTION_DETERMINISTIC", "1")  # read by transformers
        import torch

        torch.set_num_threads(self.threads)
        torch.use_deterministic_algorithms(True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # 0.6 s for a buffer of DeepSpeed's, and of no use

    def check_machine(self, nodes: int = 1) -> None:
        """Check that this machine has what the section asks for.

        Args:
            nodes: machines; several are elsewhere, and only what holds everywhere is checked.

        Raises:
            BuildError: a kernel needs a GPU, a package, or another dtype.
        """
        if self.attention == "flash_attention_2" and self.dtype != "bfloat16":
            raise BuildError("params.yaml: numerics.attention: flash_attention_2 needs numerics.dtype: bfloat16")
        if nodes > 1 or (self.attention == "sdpa" and not self.liger):
            return
        import torch

        if self.attention != "sdpa" and not torch.cuda.is_available():
            raise BuildError(f"params.yaml: numerics.attention: {self.attention} cannot train on a CPU; use sdpa")
        if self.liger and not (find_spec("liger_kernel") and torch.cuda.is_available()):
            raise BuildError("params.yaml: numerics.liger: needs a GPU and the package liger-kernel; or set false")

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
        if self.compile:
            for layer in model.base_model.layers:
                layer.compile()
