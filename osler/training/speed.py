"""How fast a run is."""

import time
from collections.abc import Iterable
from typing import Any

import torch

from osler.model.devices import known_device
from osler.model.throughput import packed_flops
from osler.training.checkpoints import State
from osler.training.engine import Engine


class Speed:
    """How fast the run is, for its status line."""

    def __init__(self, config: Any, weights_used: int, engine: Engine, tokens_before: int) -> None:
        self._sizes = (
            weights_used,
            config.num_hidden_layers,
            config.num_attention_heads
            * (getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads),
        )
        device = torch.cuda.get_device_name() if engine.device.type == "cuda" else ""
        known = known_device(device)
        self._peak = known.flops_per_second if known else None
        self._tokens_before, self._flops, self._started = tokens_before, 0.0, time.monotonic()
        self._last = (self._started, tokens_before, 0.0)  # time, tokens and operations

    def count(self, lengths: Iterable[list[list[int]]]) -> None:
        """Add a step: segment lengths of this process's rows.

        They count only where the device is known.
        """
        if self._peak:
            self._flops += packed_flops(*self._sizes, (one for part in lengths for row in part for one in row))

    def status(self, state: State) -> str:
        """Loss, learning rate and speed so far.

        Speed is tokens a second of all processes and, of a known device, MFU.
        """
        seconds = max(1e-9, time.monotonic() - self._started)
        loss, rate = state.log[-1][2:4] if state.log else (float("nan"), float("nan"))
        text = f"loss {loss:.3f}, rate {rate:.2g}, {(state.tokens - self._tokens_before) / seconds:,.0f} tokens/s"
        return f"{text}, MFU {self._flops / seconds / self._peak:.1%}" if self._peak else text

    def since_last(self, state: State) -> tuple[float, float | None]:
        """Tokens a second of all processes, and MFU, since the last call.

        MFU is None where the device is not known.
        """
        now = (time.monotonic(), state.tokens, self._flops)
        seconds, tokens, flops = (after - before for after, before in zip(now, self._last, strict=True))
        self._last = now
        seconds = max(1e-9, seconds)
        return tokens / seconds, flops / seconds / self._peak if self._peak else None
