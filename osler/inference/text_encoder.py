"""A model that reads texts, as the stage `questions` brings it.

It makes embeddings of whole texts, and BERTScore of pairs of texts.

A text longer than the model reads is read in windows, so that nothing of a long note is left out. Embeddings are what
sentence-transformers computes from the same folder, but for such texts; BERTScore is what its authors' package computes
without weights by rarity and without a baseline, where special tokens may be matched but do not count.

Source of BERTScore: Zhang et al., arXiv 1904.09675.

Shapes: B windows, T tokens of the longest, S tokens of a text in all its windows, D hidden size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from osler.build.files import read_json
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

    def states(self, texts: Sequence[str], layer: int | None) -> list[tuple[Tensor, Tensor]]:
        """The hidden states (S, D) of each text, float32.

        They are on the CPU. Beside them stands which of them (S,) are of the text's own tokens.
        """
        if not texts:
            return []
        tokenizer, model = self._loaded
        # positions of RoBERTa's kind start at 2
        limit = min(tokenizer.model_max_length, model.config.max_position_embeddings - 2)
        whole = {"truncation": True, "max_length": limit, "return_overflowing_tokens": True, "stride": 0}
        encoded = tokenizer(list(texts), return_special_tokens_mask=True, **whole)
        rows: list[list[int]] = encoded["input_ids"]
        found: list[Tensor] = [torch.empty(0)] * len(rows)
        for group in batches([len(row) for row in rows], self.batch_tokens):
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
        parts: list[list[int]] = [[] for _ in texts]
        for index, text in enumerate(encoded["overflow_to_sample_mapping"]):
            parts[text].append(index)
        special = encoded["special_tokens_mask"]
        return [
            (
                torch.cat([found[index] for index in own]),
                torch.tensor([not one for index in own for one in special[index]]),
            )
            for own in parts
        ]

    def embeddings(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """One vector for each text, float32 (texts, D), not normalized.

        It is the mean of the text's states, or the first of them.
        """
        first = self.facts["pooling"] == "cls"
        vectors = [states_SD[0] if first else states_SD.mean(dim=0) for states_SD, _ in self.states(texts, None)]
        return torch.stack(vectors).numpy() if vectors else np.zeros((0, 0), np.float32)

    def bert_scores(self, texts: Sequence[str], targets: Sequence[str]) -> list[float]:
        """BERTScore's F1 of each text and its target, 0 to 1.

        It is 0 where one of the two has no token.
        """
        scores = []
        for start in range(0, len(texts), PAIRS_AT_ONCE):
            pair = (side[start : start + PAIRS_AT_ONCE] for side in (texts, targets))
            ours, theirs = (self.states(side, self.facts["layer"]) for side in pair)
            scores += [matched(*our, *their) for our, their in zip(ours, theirs, strict=True)]
        return scores


def matched(our_SD: Tensor, our_S: Tensor, their_SD: Tensor, their_S: Tensor) -> float:
    """F1 of the best cosines between tokens of two texts.

    Each own token of a text takes the best among all states of the other, and the other way round.

    Args:
        our_SD: states of the text.
        our_S: bool, which count.
        their_SD: states of its target.
        their_S: bool.
    """
    if not our_S.any() or not their_S.any():
        return 0.0
    cosine = torch.nn.functional.normalize(our_SD, dim=1) @ torch.nn.functional.normalize(their_SD, dim=1).T
    precision = float(cosine.max(dim=1).values[our_S].mean())
    recall = float(cosine.max(dim=0).values[their_S].mean())
    if precision + recall <= 0:
        return 0.0
    return min(1.0, max(0.0, 2 * precision * recall / (precision + recall)))
