"""A loaded model with its tokenizer, as protocols and strategies use it.

It is an `osler.inference.interface.Model`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from osler.build.section import BuildError
from osler.inference.backend import Backend
from osler.inference.interface import Prompt, Sampling, Scored, Written
from osler.inference.prompt_tokens import prompt_rows, token_ids, trees
from osler.inference.text_encoder import TextEncoder
from osler.tokens.marks import marks_of


@dataclass(frozen=True)
class LanguageModel:
    """A causal language model that scores, embeds and writes texts.

    One backend writes, and another, or the same, scores and embeds. `encoder` embeds in its place where there is one.
    `system` is said first in each prompt of chat turns.
    """

    scorer: Backend
    tokenizer: Any
    writer: Backend
    ends: tuple[int, ...]  # tokens of which each ends what is written
    encoder: TextEncoder | None = None
    system: str = ""
    _known: dict[Prompt, Scored] = field(default_factory=dict, init=False, repr=False, compare=False)

    def likelihoods(self, prompts: Sequence[Prompt]) -> list[Scored]:
        """Score the options of each prompt.

        Each prompt is scored once for as long as this object lives. See `trees` and `Backend.option_scores`.
        """
        fresh = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._known]
        forest = trees(self.tokenizer, fresh, self.scorer.maximum_positions, self.system)
        sums = self.scorer.option_scores(forest)
        for prompt, row, tree in zip(fresh, sums, forest, strict=True):
            self._known[prompt] = Scored(row, tuple(map(len, tree.options)), len(tree.prompt), tree.truncated)
        return [self._known[prompt] for prompt in prompts]

    def texts(self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[int]) -> list[Written]:
        """Continue each prompt until the end token or the limit.

        The text is without white space around it. See `prompt_rows` and `Backend.generated`.
        """
        limit = self.scorer.maximum_positions
        rows = prompt_rows(self.tokenizer, prompts, limit, sampling.limit_tokens, self.system)
        written = self.writer.generated([row.prompt for row in rows], sampling, seeds, self.ends)
        plain = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
        return [
            Written(
                self.tokenizer.decode(ids[:-1] if ids[-1:] and ids[-1] in self.ends else ids, **plain).strip(),
                len(ids),
                len(row.prompt),
                row.truncated,
            )
            for ids, row in zip(written, rows, strict=True)
        ]

    def embeddings(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """One embedding for each text, the encoder's where there is one.

        Else it is the mean last hidden state of the text, cut on the right where it is longer than the model reads.
        """
        if self.encoder:
            return self.encoder.embeddings(texts)
        limit = self.scorer.maximum_positions
        rows = [[marks_of(self.tokenizer).start, *ids][:limit] for ids in token_ids(self.tokenizer, texts)]
        return self.scorer.mean_states(rows)


def loaded_tokenizer(folder: Path, chat_template: str | None = None) -> Any:
    """The tokenizer of a model's `folder`, with the build's chat template.

    Without `chat_template` it has the folder's own: a model that was not fine-tuned has none.

    Raises:
        BuildError: it has no chat template.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    tokenizer.chat_template = chat_template or tokenizer.chat_template
    if tokenizer.chat_template is None:
        raise BuildError(f"{folder}: the tokenizer needs a chat template; take a model that has one")
    return tokenizer
