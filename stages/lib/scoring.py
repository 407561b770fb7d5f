"""A loaded model with its tokenizer, as protocols and strategies use it (`stages.lib.prompts.Model`)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.lib.backend import Backend
from stages.lib.encoder import Encoder
from stages.lib.forward import mean_states
from stages.lib.generation import generated
from stages.lib.likelihoods import option_scores, window_scores
from stages.lib.numerics import Numerics
from stages.lib.prompt_tokens import Tree, prompt_rows, token_ids, trees
from stages.lib.prompts import Prompt, Sampling, Scored, Written
from stages.lib.section import BuildError


@dataclass(frozen=True)
class TorchBackend:
    """A MistralForCausalLM or one with the same `model` and `lm_head`, in eval mode, that reads `batch_tokens` at a time."""

    model: Any
    batch_tokens: int

    @property
    def maximum_positions(self) -> int:
        return int(self.model.config.max_position_embeddings)

    def option_scores(self, trees: Sequence[Tree]) -> list[tuple[float, ...]]:
        return option_scores(self.model, trees, self.batch_tokens)

    def generated(
        self, prompts: Sequence[list[int]], sampling: Sampling, seeds: Sequence[int], end: int
    ) -> list[list[int]]:
        return generated(self.model, prompts, sampling, seeds, end, self.batch_tokens)

    def window_scores(self, windows: Sequence[list[int]]) -> list[list[float]]:
        return window_scores(self.model, windows, self.batch_tokens)

    def mean_states(self, rows: Sequence[list[int]]) -> NDArray[np.float32]:
        return mean_states(self.model, rows, self.batch_tokens)

    def close(self) -> None:
        pass  # it is in this process


@dataclass(frozen=True)
class LanguageModel:
    """A causal language model that scores and embeds texts by one backend and writes them by another, or the same.

    `encoder` embeds in its place where there is one.
    """

    scorer: Backend
    tokenizer: Any
    writer: Backend
    encoder: Encoder | None = None
    _known: dict[Prompt, Scored] = field(default_factory=dict, init=False, repr=False, compare=False)

    def likelihoods(self, prompts: Sequence[Prompt]) -> list[Scored]:
        """Score the options of each prompt, each prompt once for as long as this object lives.

        See `trees` and `Backend.option_scores`.
        """
        fresh = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._known]
        forest = trees(self.tokenizer, fresh, self.scorer.maximum_positions)
        sums = self.scorer.option_scores(forest)
        for prompt, row, tree in zip(fresh, sums, forest, strict=True):
            self._known[prompt] = Scored(row, tuple(map(len, tree.options)), len(tree.prompt), tree.truncated)
        return [self._known[prompt] for prompt in prompts]

    def texts(self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[int]) -> list[Written]:
        """Continue each prompt until the end token or the limit; the text is without white space around it.

        See `prompt_rows` and `Backend.generated`.
        """
        rows = prompt_rows(self.tokenizer, prompts, self.scorer.maximum_positions, sampling.limit_tokens)
        end = self.tokenizer.eos_token_id
        written = self.writer.generated([row.prompt for row in rows], sampling, seeds, end)
        plain = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
        return [
            Written(self.tokenizer.decode(ids, **plain).strip(), len(ids), len(row.prompt), row.truncated)
            for ids, row in zip(written, rows, strict=True)
        ]

    def embeddings(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Mean last hidden state of each text, cut on the right where it is longer than the model reads; or the encoder's."""
        if self.encoder:
            return self.encoder.embeddings(texts)
        limit = self.scorer.maximum_positions
        rows = [[self.tokenizer.bos_token_id, *ids][:limit] for ids in token_ids(self.tokenizer, texts)]
        return self.scorer.mean_states(rows)


def loaded_tokenizer(folder: Path) -> Any:
    """The tokenizer of a model's `folder`.

    Raises:
        BuildError: it has no chat template or no BOS token.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if tokenizer.chat_template is None or tokenizer.bos_token_id is None:
        raise BuildError(f"{folder}: the tokenizer needs a chat template and a BOS token; set tokenizer.chat_template")
    return tokenizer


def loaded_model(folder: Path, numerics: Numerics) -> Any:
    """The causal language model of `folder`, in eval mode, on the GPU where there is one."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    numerics.apply()
    model = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=getattr(torch, numerics.dtype),
        attn_implementation="sdpa",
        use_safetensors=True,
        local_files_only=True,
    )
    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
