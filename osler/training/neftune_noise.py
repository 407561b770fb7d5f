"""NEFTune noise for packed rows.

Shape legend: B rows in a batch, T tokens in a row, S segments in a row, D embedding width.
"""

import torch
from torch import Tensor


def neftune_noise(lengths_S: Tensor, hidden_size: int, alpha: float, generator: torch.Generator) -> Tensor:
    """Draw NEFTune noise for a packed row.

    It is uniform in +-alpha / sqrt(L * D) with each segment's own L. The expected L2 norm of one segment's noise is
    alpha / sqrt(3) whatever L and D are, which is what lets one alpha serve all lengths; scaling by the packed length
    instead would give short segments too little.

    It is for embeddings as the first layer reads them. A family that scales its table's rows by sqrt(D) first (Gemma) has
    rows as much longer beside the same noise: sqrt(D) times alpha gives them the share that others have.

    Args:
        lengths_S: int64, tokens per segment, in row order; sums to the tokens of the row that are not padding.
        hidden_size: D, embedding width.
        alpha: unitless, at least 0; 0 gives zeros. 5 to 15 in the source.
        generator: source of randomness, on the CPU, so that every device draws the same.
    Returns:
        float32 (sum of lengths, D).
    Raises:
        ValueError: alpha is negative, or a length is below 1.
    Source:
        Jain et al. 2023, algorithm 1, arXiv 2310.05914.
    """
    if alpha < 0 or bool((lengths_S < 1).any()):
        raise ValueError("alpha must be at least 0 and every length at least 1")
    scale_T = torch.repeat_interleave(alpha / (lengths_S * hidden_size).double().sqrt(), lengths_S).float()
    uniform_TD = torch.rand(int(lengths_S.sum()), hidden_size, generator=generator) * 2 - 1
    return uniform_TD * scale_T[:, None]
