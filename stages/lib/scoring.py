"""A loaded model with its tokenizer, as protocols and strategies use it (`stages.lib.prompts.Model`)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.lib.encoder import Encoder
from stages.lib.forward import mean_states
from stages.lib.generation import generated
from stages.lib.likelihoods import option_scores
from stages.lib.numerics import Numerics
from stages.lib.prompt_tokens import prompt_rows, token_ids, trees
from stages.lib.prompts import Prompt, Sampling, Scored, Written
from stages.lib.section import BuildError


@dataclass(frozen=True)
class LanguageModel:
    """A causal language model that scores, writes and embeds, at most `batch_tokens` at a time; `encoder` embeds in its place."""

    model: Any
    tokenizer: Any
    batch_tokens: int
    encoder: Encoder | None = None
    _known: dict[Prompt, Scored] = field(default_factory=dict, init=False, repr=False, compare=False)

    def likelihoods(self, prompts: Sequence[Prompt]) -> list[Scored]:
        """Score the options of each prompt, each prompt once for as long as this object lives.

        See `trees` and `option_scores`.
        """
        fresh = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._known]
        forest = trees(self.tokenizer, fresh, self.model.config.max_position_embeddings)
        sums = option_scores(self.model, forest, self.batch_tokens)
        for prompt, row, tree in zip(fresh, sums, forest, strict=True):
            self._known[prompt] = Scored(row, tuple(map(len, tree.options)), len(tree.prompt), tree.truncated)
        return [self._known[prompt] for prompt in prompts]

    def texts(self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[int]) -> list[Written]:
        """Continue each prompt until the end token or the limit; the text is without white space around it.

        See `prompt_rows` and `generated`.
        """
        maximum, end = self.model.config.max_position_embeddings, self.tokenizer.eos_token_id
        rows = prompt_rows(self.tokenizer, prompts, maximum, sampling.limit_tokens)
        written = generated(self.model, [row.prompt for row in rows], sampling, seeds, end, self.batch_tokens)
        plain = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
        return [
            Written(self.tokenizer.decode(ids, **plain).strip(), len(ids), len(row.prompt), row.truncated)
            for ids, row in zip(written, rows, strict=True)
        ]

    def embeddings(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Mean last hidden state of each text, cut on the right where it is longer than the model reads; or the encoder's."""
        if self.encoder:
            return self.encoder.embeddings(texts)
        limit = self.model.config.max_position_embeddings
        rows = [[self.tokenizer.bos_token_id, *ids][:limit] for ids in token_ids(self.tokenizer, texts)]
        return mean_states(self.model, rows, self.batch_tokens)


def language_model(
    folder: Path, batch_tokens: int, numerics: Numerics, encoder: Encoder | None = None
) -> LanguageModel:
    """The model and tokenizer of `folder`, ready to be asked, with another model that embeds where there is one.

    Raises:
        BuildError: the tokenizer has no chat template or no BOS token.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    numerics.apply()
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if tokenizer.chat_template is None or tokenizer.bos_token_id is None:
        raise BuildError(f"{folder}: the tokenizer needs a chat template and a BOS token; set tokenizer.chat_template")
    model = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=getattr(torch, numerics.dtype),
        attn_implementation="sdpa",
        use_safetensors=True,
        local_files_only=True,
    )
    model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
    return LanguageModel(model, tokenizer, batch_tokens, encoder)
