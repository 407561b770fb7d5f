"""How arithmetic is done: part of the result, so part of the tracked params (unlike where it is done, section `launch`)."""

import os
from typing import Literal

from pydantic import Field

from stages.lib.section import Section


class Numerics(Section):
    """Section `numerics`."""

    threads: int = Field(ge=1, description="CPU threads of one process; another number may change the last bits")
    dtype: Literal["float32", "bfloat16"]

    def apply(self) -> None:
        """Set torch's threads and refuse operations that have no deterministic form."""
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what CUDA asks for deterministic products
        import torch

        torch.set_num_threads(self.threads)
        torch.use_deterministic_algorithms(True)
