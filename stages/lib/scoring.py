"""Log-probabilities that a causal language model gives to the options of a question.

All options of a prompt share one row: [prompt][option 1][option 2]..., where each option attends to the prompt and to
itself and its positions continue from the prompt's end (a tree mask). The prompt is read once instead of once an
option; for 4 options of 3 tokens after 20 tokens of prompt a row is 32 tokens long instead of 4 x 23. The vocabulary
projection, most of the cost of a small model, is applied only where an option token is predicted. Scores equal those
of whole sequences to 1e-5 and do not depend on what else is in the batch (both tested).

Shapes: B rows, T tokens of the longest row, N predicted tokens, D hidden size, V vocabulary.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stages.lib.progress import progress
from stages.lib.prompts import Prompt, Scored
from stages.lib.section import BuildError

LOGITS_AT_ONCE = 1 << 25  # 128 MB in float32
PROBE = "x"
WORD_SPANNING = re.compile("[^ \n\tĠĊĉ▁][ \n\tĠĊĉ▁]")  # white space also as tokens spell it


@dataclass(frozen=True)
class Tree:
    """One prompt and its options as token ids; `truncated` when the prompt's left end was cut."""

    prompt: list[int]
    options: list[list[int]]
    truncated: bool

    @property
    def length(self) -> int:
        return len(self.prompt) + sum(map(len, self.options))


def batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Indices of rows that are run together: longest first, at most `batch_tokens` once padded to the longest.

    A row longer than `batch_tokens` comes alone. Longest first, so that what does not fit in memory fails at once.
    """
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    start = 0
    while start < len(order):
        rows = max(1, batch_tokens // max(1, lengths[order[start]]))
        yield order[start : start + rows]
        start += rows


def padded(rows: Sequence[Sequence[int]], fill: int) -> NDArray[np.int64]:
    """`rows` as one (B, T) array, filled up on the right."""
    array = np.full((len(rows), max(map(len, rows))), fill, dtype=np.int64)
    for index, row in enumerate(rows):
        array[index, : len(row)] = row
    return array


def tree_attention(segments_BT: Tensor, positions_BT: Tensor, window: int | None) -> Tensor:
    """Which positions (second T) each position (first T) attends to: earlier ones of its own segment or of the prompt.

    Args:
        segments_BT: int64; 0 the prompt, 1, 2, ... the options, -1 padding.
        positions_BT: int64; an option's continue from the prompt's end.
        window: tokens back that a model with sliding-window attention sees, itself included; None is all.
    Returns:
        bool (B, 1, T, T). Padding attends to earlier padding, so that no row of the softmax is empty.
    """
    own = segments_BT[:, :, None] == segments_BT[:, None, :]
    to_prompt = (segments_BT[:, None, :] == 0) & (segments_BT[:, :, None] > 0)
    length = segments_BT.shape[1]
    earlier_TT = torch.ones((length, length), dtype=torch.bool, device=segments_BT.device).tril()
    allowed = (own | to_prompt) & earlier_TT
    if window is not None:
        allowed &= positions_BT[:, :, None] - positions_BT[:, None, :] < window
    return allowed[:, None]


def hidden_states(model: Any, ids_BT: Tensor, positions_BT: Tensor | None, attention: Tensor | None) -> Tensor:
    """(B, T, D) after the last norm; no cache, since transformers ignores document masks when it keeps one."""
    with torch.inference_mode():
        output = model.model(input_ids=ids_BT, position_ids=positions_BT, attention_mask=attention, use_cache=False)
    states: Tensor = output.last_hidden_state
    return states


def log_probabilities(model: Any, states_MD: Tensor, rows_N: Tensor, targets_N: Tensor) -> NDArray[np.float64]:
    """Natural log-probability of each target token, softmax in float32.

    Args:
        states_MD: hidden states; only those named in `rows_N` go through the vocabulary projection, each of them
            once.
        rows_N: int64, the state that predicts each target.
        targets_N: int64, token ids.
    Returns:
        float64 (N,).
    """
    unique_U, place_N = torch.unique(rows_N, return_inverse=True)
    vocabulary = model.lm_head.weight.shape[0]
    step = max(1, LOGITS_AT_ONCE // vocabulary)
    result = np.zeros(len(rows_N))
    for start in range(0, len(unique_U), step):
        with torch.inference_mode():
            logits_UV = model.lm_head(states_MD[unique_U[start : start + step]]).float()
        total_U = torch.logsumexp(logits_UV, dim=1)
        here = torch.nonzero((place_N >= start) & (place_N < start + step))[:, 0]
        place = place_N[here] - start
        result[here.cpu().numpy()] = (logits_UV[place, targets_N[here]] - total_U[place]).double().cpu().numpy()
    return result


def option_scores(model: Any, trees: Sequence[Tree], batch_tokens: int) -> list[tuple[float, ...]]:
    """The log-probability of each option's tokens after its prompt, in nats.

    Args:
        model: a MistralForCausalLM or one with the same `model` and `lm_head`, in eval mode.
        trees: prompts of at least one token, options of at least one token.
        batch_tokens: padded tokens of one forward pass.
    Returns:
        One tuple a tree, in the order of its options, summed over an option's tokens.
    """
    results: list[tuple[float, ...]] = [()] * len(trees)
    groups = list(batches([tree.length for tree in trees], batch_tokens))
    window = getattr(model.config, "sliding_window", None)
    for group in progress(groups, len(groups), "scoring", "batches"):
        chosen = [trees[index] for index in group]
        rows, segments, positions = [], [], []
        predictors: list[int] = []
        targets: list[int] = []
        owners: list[int] = []
        counts: list[int] = []
        length = max(tree.length for tree in chosen)
        for row, tree in enumerate(chosen):
            ids, segment, position = list(tree.prompt), [0] * len(tree.prompt), list(range(len(tree.prompt)))
            last = row * length + len(ids) - 1
            for number, option in enumerate(tree.options, start=1):
                first = row * length + len(ids)
                predictors += [last, *range(first, first + len(option) - 1)]
                targets += option
                owners += [len(counts)] * len(option)
                counts.append(len(option))
                ids += option
                segment += [number] * len(option)
                position += range(len(tree.prompt), len(tree.prompt) + len(option))
            rows.append(ids)
            segments.append(segment)
            positions.append(position)
        device = model.device
        ids_BT, segments_BT, positions_BT = (
            torch.from_numpy(padded(values, fill)).to(device)
            for values, fill in ((rows, 0), (segments, -1), (positions, 0))
        )
        attention = tree_attention(segments_BT, positions_BT, window)
        states = hidden_states(model, ids_BT, positions_BT, attention)
        values = log_probabilities(
            model,
            states.flatten(0, 1),
            torch.tensor(predictors, device=device),
            torch.tensor(targets, device=device),
        )
        sums = np.bincount(owners, weights=values, minlength=len(counts)).astype(np.float64)
        start = 0
        for index, tree in zip(group, chosen, strict=True):
            results[index] = tuple(sums[start : start + len(tree.options)].tolist())
            start += len(tree.options)
    return results


def mean_states(model: Any, rows: Sequence[Sequence[int]], batch_tokens: int) -> NDArray[np.float32]:
    """The mean last hidden state of each row of token ids without its first token, which is BOS and the same for all.

    Returns:
        float32 (rows, D), not normalized.
    """
    result = np.zeros((len(rows), model.config.hidden_size), dtype=np.float32)
    for group in batches([len(row) for row in rows], batch_tokens):
        chosen = [rows[index] for index in group]
        # Padding stands on the right, where a causal model does not look, so no mask is needed.
        states = hidden_states(model, torch.from_numpy(padded(chosen, 0)).to(model.device), None, None).float()
        for index, state, row in zip(group, states, chosen, strict=True):
            result[index] = state[1 : len(row)].mean(dim=0).cpu().numpy()
    return result


def token_ids(tokenizer: Any, texts: Sequence[str], split_special_tokens: bool = False) -> list[list[int]]:
    """The ids of each text, without special tokens around it; those spelled in it are text if `split_special_tokens`."""
    if not texts:
        return []
    kept = {"add_special_tokens": False, "split_special_tokens": split_special_tokens, "verbose": False}
    return list(tokenizer(list(texts), **kept)["input_ids"])


def answer_lead(tokenizer: Any) -> str:
    """What the chat template writes between a user's turn and the assistant's words: a space in `Answer: yes`.

    Raises:
        BuildError: the template does not write the user's turn first and the assistant's words after it.
    """
    question = {"role": "user", "content": PROBE}
    prompt = tokenizer.apply_chat_template([question], tokenize=False, add_generation_prompt=True)
    answered = tokenizer.apply_chat_template([question, {"role": "assistant", "content": "@@"}], tokenize=False)
    if not answered.startswith(prompt) or "@@" not in answered[len(prompt) :]:
        raise BuildError(
            "tokenizer.chat_template: a conversation with an answer does not begin with the prompt that asks for it; "
            "write the assistant's turn as a continuation of the user's"
        )
    return str(answered[len(prompt) :].split("@@")[0])


def last_word(text: str) -> str:
    """`text` from the white space before its last word on: `\\nAnswer:` of a prompt that ends so."""
    words = text.rstrip()
    return text[max((words.rfind(space) for space in " \n\t"), default=0) :] if words else text


def trees(tokenizer: Any, prompts: Sequence[Prompt], maximum_positions: int) -> list[Tree]:
    """Prompts as token ids, the options as the tokens that follow.

    A prompt and an option are tokenized *together* and parted after the tokens that all options share with the prompt
    alone. Tokenized apart, an option would begin with other tokens than in training wherever the vocabulary does not
    start words afresh (SentencePiece puts a second word mark before ` yes`). Where a token spans the boundary it
    counts to the option.

    Together means with the prompt's last word, which most often is the same for all prompts, so that each different
    option is tokenized once; this is 6 times faster. That is exact where no token of the vocabulary goes on after a
    word into white space. Where one does, or the prompt does not end in the tokens of its last word, the whole prompt
    is taken.

    Args:
        tokenizer: with a chat template; BOS is put in front unless the template writes it.
        prompts: any number.
        maximum_positions: tokens that prompt and longest option may have together; a longer prompt loses its left
            end, but not BOS.
    Raises:
        BuildError: an option has no tokens, or leaves no room for a prompt.
    """
    if not prompts:
        return []
    lead = answer_lead(tokenizer)
    prompts = [_without_marks(prompt, tokenizer.all_special_tokens) for prompt in prompts]
    conversations = [[{"role": role, "content": content} for role, content in prompt.turns] for prompt in prompts]
    texts = tokenizer.apply_chat_template(conversations, tokenize=False, add_generation_prompt=True)
    alone = token_ids(tokenizer, texts)
    tails = [last_word(text) for text in texts]
    words = sorted(set(tails))
    tail_ids = dict(zip(words, token_ids(tokenizer, words), strict=True))
    whole_words = not any(WORD_SPANNING.search(token) for token in tokenizer.get_vocab())
    for index, (text, ids) in enumerate(zip(texts, alone, strict=True)):
        # The first token may differ: SentencePiece starts a text with a word mark.
        known = tail_ids.get(tails[index], [])[1:]
        if not (whole_words and known and ids[-len(known) :] == known):
            tails[index], tail_ids[text] = text, ids
    wholes = sorted(
        {f"{tail}{lead}{option}" for tail, prompt in zip(tails, prompts, strict=True) for option in prompt.options}
    )
    whole_ids = dict(zip(wholes, token_ids(tokenizer, wholes), strict=True))
    result = []
    for prompt, ids, tail in zip(prompts, alone, tails, strict=True):
        answered = [whole_ids[f"{tail}{lead}{option}"] for option in prompt.options]
        shared = min(_shared(tail_ids[tail], whole) for whole in answered)
        options = [whole[shared:] for whole in answered]
        start = ids[: len(ids) - (len(tail_ids[tail]) - shared)]
        start = start if start[:1] == [tokenizer.bos_token_id] else [tokenizer.bos_token_id, *start]
        if not all(options) or not all(option.strip() for option in prompt.options):
            raise BuildError(
                f"items: the question {prompt.turns[-1][1][:60]!r} has an option without text; fix or drop it"
            )
        room = maximum_positions - max(map(len, options))
        if room < 2:
            raise BuildError(
                f"items: the question {prompt.turns[-1][1][:60]!r} has an option of {maximum_positions - room} tokens, "
                f"and the model reads {maximum_positions}; shorten or drop it"
            )
        truncated = len(start) > room
        if truncated:
            start = [tokenizer.bos_token_id, *start[len(start) - room + 1 :]]
        result.append(Tree(start, options, truncated))
    return result


def _without_marks(prompt: Prompt, marks: Sequence[str]) -> Prompt:
    """`prompt` without text that spells a special token: `</s>` in a question must not end its turn."""

    def clean(text: str) -> str:
        for mark in filter(None, marks):
            text = text.replace(mark, "")
        return text

    turns = tuple((role, clean(content)) for role, content in prompt.turns)
    return Prompt(turns, tuple(clean(option) for option in prompt.options))


def _shared(left: Sequence[int], right: Sequence[int]) -> int:
    """How many ids both begin with."""
    for place, (one, other) in enumerate(zip(left, right, strict=False)):
        if one != other:
            return place
    return min(len(left), len(right))


@dataclass(frozen=True)
class LanguageModel:
    """A loaded model with its tokenizer, as strategies use it (`stages.lib.prompts.Model`)."""

    model: Any
    tokenizer: Any
    batch_tokens: int

    def likelihoods(self, prompts: Sequence[Prompt]) -> list[Scored]:
        """Score the options of each prompt; see `trees` and `option_scores`."""
        forest = trees(self.tokenizer, prompts, self.model.config.max_position_embeddings)
        sums = option_scores(self.model, forest, self.batch_tokens)
        return [
            Scored(row, tuple(map(len, tree.options)), len(tree.prompt), tree.truncated)
            for row, tree in zip(sums, forest, strict=True)
        ]

    def embeddings(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Mean last hidden state of each text, cut on the right where it is longer than the model reads."""
        limit = self.model.config.max_position_embeddings
        rows = [[self.tokenizer.bos_token_id, *ids][:limit] for ids in token_ids(self.tokenizer, texts)]
        return mean_states(self.model, rows, self.batch_tokens)
