"""A model that reads texts, as the stage `questions` brings it.

It makes embeddings of whole texts, and BERTScore of pairs of texts.

A text longer than the model reads is read in windows, so that nothing of a long note is left out. Embeddings are what
sentence-transformers computes from the same folder, but for such texts; BERTScore (bertscore.py) is what its authors' package
computes without a baseline. The model may read both ways, as BERT, or from left to right, as the models of the build.

Shapes: B windows, T tokens of the longest, S tokens of a text in all its windows, D hidden size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from osler.build.files import read_json
from osler.inference.bertscore import BertScore, TokenStates, matched, rarities
from osler.inference.forward import batches, padded
from osler.model.numerics import Numerics

PAIRS_AT_ONCE = 64  # whose states are held: 0.5 GB for notes of 1,000 tokens under a large model


@dataclass(frozen=True)
class TextEncoder:
    """The model of a folder with an `encoder.json`.

    It is loaded when it is first asked, and reads `batch_tokens` at a time.
    """

    folder: Path
    batch_tokens: int
    numerics: Numerics

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What the stage `questions` wrote of it."""
        value: dict[str, Any] = read_json(self.folder / "encoder.json")
        return value

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()
        self.numerics.apply()
        tokenizer = AutoTokenizer.from_pretrained(self.folder, local_files_only=True)
        model = AutoModel.from_pretrained(
            self.folder, dtype=getattr(torch, self.numerics.dtype), use_safetensors=True, local_files_only=True
        )
        return tokenizer, model.to("cuda" if torch.cuda.is_available() else "cpu").eval()

    def _windows(self, texts: Sequence[str], marked: bool) -> "_Windows":
        """What the model reads of the texts.

        With `marked` an end mark stands before each window where the tokenizer writes no mark at all. A decoder's first state
        is nearly the same whatever is read, and should be no word's.
        """
        tokenizer, model = self._loaded
        # positions of RoBERTa's kind start at 2
        limit = min(tokenizer.model_max_length, model.config.max_position_embeddings - 2)
        mark = tokenizer.eos_token_id if marked and not tokenizer.num_special_tokens_to_add() else None
        before: list[int] = [] if mark is None else [mark]
        whole = {"truncation": True, "max_length": limit - len(before), "return_overflowing_tokens": True, "stride": 0}
        encoded = tokenizer(list(texts), return_special_tokens_mask=True, **whole)
        parts: list[list[int]] = [[] for _ in texts]
        for index, text in enumerate(encoded["overflow_to_sample_mapping"]):
            parts[text].append(index)
        special = encoded["special_tokens_mask"]
        own = [[False] * len(before) + [not one for one in mask] for mask in special]
        return _Windows([before + ids for ids in encoded["input_ids"]], own, parts)

    def states(self, texts: Sequence[str], layer: int | None, marked: bool = False) -> list[TokenStates]:
        """The hidden states of each text, on the CPU.

        `layer` is one of 1 and up, None for the last; for `marked` see `_windows`.
        """
        if not texts:
            return []
        tokenizer, model = self._loaded
        rows, own, parts = self._windows(texts, marked)
        found: list[Tensor] = [torch.empty(0, model.config.hidden_size)] * len(rows)
        for group in batches([len(row) for row in rows], self.batch_tokens):
            if not rows[group[0]]:
                continue
            ids_BT = torch.from_numpy(padded([rows[index] for index in group], tokenizer.pad_token_id or 0))
            mask_BT = torch.from_numpy(padded([[1] * len(rows[index]) for index in group], 0))
            with torch.inference_mode():
                output = model(
                    input_ids=ids_BT.to(model.device),
                    attention_mask=mask_BT.to(model.device),
                    output_hidden_states=layer is not None,
                )
            states_BTD = output.last_hidden_state if layer is None else output.hidden_states[layer]
            for index, states_TD in zip(group, states_BTD.float().cpu(), strict=True):
                found[index] = states_TD[: len(rows[index])].clone()
        return [
            TokenStates(
                torch.tensor([one for index in windows for one in rows[index]], dtype=torch.int64),
                torch.tensor([one for index in windows for one in own[index]], dtype=torch.bool),
                torch.cat([found[index] for index in windows]),
            )
            for windows in parts
        ]

    def embeddings(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """One vector for each text, float32 (texts, D), not normalized.

        It is the mean of the text's states, or the first of them.
        """
        first = self.facts["pooling"] == "cls"
        vectors = [one.states_SD[0] if first else one.states_SD.mean(dim=0) for one in self.states(texts, None)]
        return torch.stack(vectors).numpy() if vectors else np.zeros((0, 0), np.float32)

    def bert_scores(self, texts: Sequence[str], targets: Sequence[str]) -> list[BertScore]:
        """BERTScore of each text with its own target, and with the next.

        The last text's next target is the first one. All are 0 where one of the two has no token. With `idf` in encoder.json
        tokens weigh by their rarity in `targets`.
        """
        layer, rarity = self.facts["layer"], None
        if self.facts.get("idf") and texts:
            rows, own, parts = self._windows(targets, marked=True)
            counted = [
                [one for one, is_own in zip(*both, strict=True) if is_own] for both in zip(rows, own, strict=True)
            ]
            rarity = rarities([one for index in windows for one in counted[index]] for windows in parts)
        scores = []
        for start in range(0, len(texts), PAIRS_AT_ONCE):
            ours = self.states(texts[start : start + PAIRS_AT_ONCE], layer, marked=True)
            after = [targets[index % len(targets)] for index in range(start, start + len(ours) + 1)]
            theirs = self.states(after, layer, marked=True)
            for our, their, other in zip(ours, theirs, theirs[1:], strict=False):
                shuffled = matched(our, other, rarity)[2] if len(targets) > 1 else None
                scores.append(BertScore(*matched(our, their, rarity), shuffled))
        return scores


class _Windows(NamedTuple):
    """Token ids of each window, which of them are the text's own, and the windows of each text."""

    rows: list[list[int]]
    own: list[list[bool]]
    parts: list[list[int]]
