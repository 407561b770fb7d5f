"""How far the ids of a tokenizer go, which is not how many tokens it has."""

from typing import Any


def id_limit(tokenizer: Any) -> int:
    """The largest id of a tokenizer, added tokens included, + 1.

    So many rows an embedding needs. It is more than the number of tokens where ids have holes, and less where two tokens
    have one id.

    Args:
        tokenizer: of `tokenizers` or transformers.
    """
    largest: int = max(tokenizer.get_vocab().values())
    return largest + 1
