"""Which experts of a mixture read held-out documents.

It takes a pass over them of its own; of a dense model there is none.

Shape legend: B rows, T tokens in a row, N tokens of a batch, L layers, E experts, K experts a token.
"""

from collections.abc import Sequence
from typing import Any

import polars as pl
import torch

from osler.build.progress import progress
from osler.inference.document_bits import windows
from osler.inference.forward import batches, padded
from osler.inference.prompt_tokens import token_ids
from osler.model.router import assignments
from osler.tokens.marks import marks_of

LOADS = pl.Schema({"layer": pl.Int64, "expert": pl.Int64, "tokens": pl.Int64})


def expert_loads(
    model: Any, tokenizer: Any, texts: Sequence[str], window_tokens: int, batch_tokens: int
) -> pl.DataFrame:
    """How many tokens of `texts` each expert of each layer gets.

    Texts are read in windows as for bits per byte.

    Args:
        model: a Mixtral, in eval mode.
        tokenizer: its tokenizer; the start mark is read and not counted.
        texts: any lengths.
        window_tokens: positions of one window, BOS included.
        batch_tokens: padded tokens of one forward pass.
    Returns:
        layer, expert, tokens: a row for each expert, also an idle one; a token counts K times in each layer. No rows for
        a model without experts.
    """
    config = model.config
    if not getattr(config, "num_local_experts", 0):
        return pl.DataFrame(schema=LOADS)
    rows = token_ids(tokenizer, texts, split_special_tokens=True)
    flat = [window for row in rows for window in windows(row, marks_of(tokenizer).start, window_tokens)]
    loads_LE = torch.zeros(config.num_hidden_layers, config.num_local_experts, dtype=torch.int64)
    groups = list(batches([len(window) for window in flat], batch_tokens))
    for group in progress(groups, len(groups), "experts", "batches"):
        chosen = [flat[index] for index in group]
        ids_BT = torch.from_numpy(padded(chosen, 0)).to(model.device)
        lengths_B = torch.tensor([len(window) for window in chosen], device=model.device)
        places_T = torch.arange(ids_BT.shape[1], device=model.device)
        kept_N = ((places_T > 0) & (places_T < lengths_B[:, None])).flatten()
        with torch.inference_mode():
            output = model.model(input_ids=ids_BT, use_cache=False, output_router_logits=True)
        for layer, logits_NE in enumerate(output.router_logits):
            loads_LE[layer] += assignments(logits_NE, config.num_experts_per_tok, kept_N).cpu()
    table = [(layer, expert, n) for layer, row in enumerate(loads_LE.tolist()) for expert, n in enumerate(row)]
    return pl.DataFrame(table, schema=LOADS, orient="row")
