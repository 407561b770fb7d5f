"""BERTScore: by loops over the states of one text at a time, of models that read both ways or from left to right."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from osler.build.files import write_json
from osler.inference.bertscore import BertScore, TokenStates, matched, rarities
from osler.inference.text_encoder import PAIRS_AT_ONCE, TextEncoder
from tests.support.tiny import NUMERICS, tiny_encoder, tiny_model, tiny_tokenizer

PAIRS = [("fern tea twice a day", "the honey wrap once"), ("tea", "tea of vadosis"), ("fern tea", "fern tea")]
TEXTS, TARGETS = [list(side) for side in zip(*PAIRS, strict=True)]


@pytest.fixture(params=["bert", "mistral"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Of a BERT, or of a model of the build, whose tokenizer writes BOS before a text."""
    if request.param == "bert":
        tiny_encoder(tmp_path)
    else:
        tokenizer = tiny_tokenizer()
        tiny_model(len(tokenizer)).save_pretrained(tmp_path)
        tokenizer.save_pretrained(tmp_path)
    return described(tmp_path)


def described(folder: Path, **facts: Any) -> Path:
    """As the stage leaves it."""
    write_json(folder / "encoder.json", {"pooling": None, "layer": None} | facts)
    return folder


def unmarked(folder: Path) -> Path:
    """A model of the build whose tokenizer writes no mark before a text, as SmolLM2's."""
    tokenizer = tiny_tokenizer()
    tiny_model(len(tokenizer)).save_pretrained(folder)
    tokenizer.backend_tokenizer.post_processor = None
    tokenizer.backend_tokenizer.save(str(folder / "plain.json"))
    from transformers import PreTrainedTokenizerFast

    PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "plain.json"), eos_token="</s>", model_max_length=128
    ).save_pretrained(folder)
    return described(folder)


def read(folder: Path, text: str, layer: int = -1, before: tuple[int, ...] = ()) -> tuple[list[int], Any, list[int]]:
    """Ids, states and places of own tokens of one text alone, by transformers."""
    from transformers import AutoModel, AutoTokenizer

    encoded = AutoTokenizer.from_pretrained(folder)(text, return_special_tokens_mask=True)
    ids = [*before, *encoded["input_ids"]]
    special = [1] * len(before) + encoded["special_tokens_mask"]
    with torch.inference_mode():
        output = AutoModel.from_pretrained(folder).eval()(input_ids=torch.tensor([ids]), output_hidden_states=True)
    return ids, output.hidden_states[layer][0].numpy(), [place for place, one in enumerate(special) if not one]


def by_hand(text: Any, target: Any, weight: Any = lambda _: 1.0) -> tuple[float, float, float]:
    """Precision, recall and F1 from `read`, by loops."""

    def cosine(one: NDArray[Any], other: NDArray[Any]) -> float:
        return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))

    def side(ours: Any, theirs: Any) -> float:
        ids, states, own = ours
        best = [max(cosine(states[place], other) for other in theirs[1]) for place in own]
        weights = [weight(ids[place]) for place in own]
        return float(np.average(best, weights=weights))

    precision, recall = side(text, target), side(target, text)
    return precision, recall, 2 * precision * recall / (precision + recall)


def numbers(scores: list[BertScore]) -> list[tuple[float, ...]]:
    return [(one.precision, one.recall, one.f1) for one in scores]


@pytest.mark.parametrize("layer", [None, 1])
def test_bertscore_by_hand(folder: Path, layer: int | None) -> None:
    """Greedy matches in both directions, from the layer asked for; special tokens do not count, but may be matched."""
    at = layer or -1
    expected = [by_hand(read(folder, text, at), read(folder, target, at)) for text, target in PAIRS]
    found = numbers(TextEncoder(described(folder, layer=layer), 40, NUMERICS).bert_scores(TEXTS, TARGETS))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert found[2] == pytest.approx((1, 1, 1))
    assert max(one[2] for one in found[:2]) < 0.999
    assert found[1][0] > found[1][1] + 1e-3


def test_a_shuffled_score_is_against_the_next_target(folder: Path) -> None:
    """After the last one the first; none where there is no other item."""
    encoder = TextEncoder(folder, 40, NUMERICS)
    after = TARGETS[1:] + TARGETS[:1]
    expected = [by_hand(read(folder, text), read(folder, other))[2] for text, other in zip(TEXTS, after, strict=True)]
    assert [one.shuffled for one in encoder.bert_scores(TEXTS, TARGETS)] == pytest.approx(expected, abs=1e-5)
    assert encoder.bert_scores(TEXTS[:1], TARGETS[:1])[0].shuffled is None


def test_no_score_depends_on_what_is_read_beside_it(folder: Path) -> None:
    """One row at a time, all together, and more pairs than are held at once."""
    alone = TextEncoder(folder, 1, NUMERICS).bert_scores(TEXTS, TARGETS)
    np.testing.assert_allclose(
        numbers(TextEncoder(folder, 4096, NUMERICS).bert_scores(TEXTS, TARGETS)), numbers(alone), atol=1e-5
    )
    times = PAIRS_AT_ONCE // len(TEXTS) + 1
    many = TextEncoder(folder, 4096, NUMERICS).bert_scores(TEXTS * times, TARGETS * times)
    assert len(many) == len(TEXTS) * times
    np.testing.assert_allclose(numbers(many), numbers(alone) * times, atol=1e-5)
    assert [one.shuffled for one in many] == pytest.approx([one.shuffled for one in alone] * times, abs=1e-5)


def test_the_order_of_words_counts(folder: Path) -> None:
    """The same tokens in another order are others in context."""
    straight, turned = TextEncoder(folder, 64, NUMERICS).bert_scores(
        ["fern tea once", "once tea fern"], ["fern tea once"] * 2
    )
    assert straight.f1 == pytest.approx(1)
    assert turned.f1 < 0.999


def test_tokens_weigh_by_their_rarity_among_the_targets(folder: Path) -> None:
    """ln((N + 1) / (n + 1)); a token of no target weighs most, one of all nothing."""
    targets = ["fern tea once", "fern honey", "fern"]
    texts = ["fern wrap once", "honey", "tea"]
    plain, weighed = (
        TextEncoder(described(folder, **facts), 64, NUMERICS).bert_scores(texts, targets)
        for facts in ({}, {"idf": True})
    )
    ids = [read(folder, target)[0] for target in targets]

    def weight(token: int) -> float:
        return math.log(4 / (1 + sum(token in one for one in ids)))

    pairs = list(zip(texts, targets, strict=True))[:2]
    expected = [by_hand(read(folder, text), read(folder, target), weight) for text, target in pairs]
    np.testing.assert_allclose(numbers(weighed)[:2], expected, atol=1e-5)
    assert np.abs(np.array(numbers(plain)[:2]) - expected).max() > 1e-3
    assert numbers(weighed)[2] == (0, 0, 0)  # its target is in every other, so that nothing of it counts


def test_a_rarity_is_of_targets_and_not_of_tokens() -> None:
    """A token twice in a target counts once."""
    found = rarities([[5, 5], [5, 6], [7]])
    assert [found[one] for one in (5, 6, 9)] == pytest.approx([math.log(4 / 3), math.log(4 / 2), math.log(4)])


def test_a_text_without_tokens_scores_nothing(folder: Path) -> None:
    """Not against itself either: nothing was matched."""
    found = TextEncoder(folder, 64, NUMERICS).bert_scores(["", "tea", ""], ["tea", "", ""])
    assert numbers(found) == [(0, 0, 0)] * 3


def test_where_no_mark_is_written_an_end_mark_stands_before_a_text(tmp_path: Path) -> None:
    """A decoder's first state is no word's; the mark does not count, and an empty text can be read."""
    folder = unmarked(tmp_path)
    mark = (2,)
    expected = [by_hand(read(folder, text, -1, mark), read(folder, target, -1, mark)) for text, target in PAIRS]
    found = TextEncoder(folder, 64, NUMERICS).bert_scores([*TEXTS, ""], [*TARGETS, "tea"])
    assert read(folder, "tea")[2] == list(range(len(read(folder, "tea")[0])))  # no token is special
    np.testing.assert_allclose(numbers(found)[:3], expected, atol=1e-5)
    assert numbers(found)[3] == (0, 0, 0)


def test_a_masked_language_model_is_read_without_its_head(tmp_path: Path) -> None:
    """As BERT's own folders are; the scores are those of the model below the head."""
    from transformers import BertForMaskedLM, BertModel

    tiny_encoder(tmp_path)
    expected = TextEncoder(described(tmp_path, layer=1), 64, NUMERICS).bert_scores(TEXTS, TARGETS)
    body = BertModel.from_pretrained(tmp_path)
    whole = BertForMaskedLM(body.config)
    whole.bert.load_state_dict(body.state_dict(), strict=False)
    whole.save_pretrained(tmp_path)
    assert "cls.predictions.bias" in _names(tmp_path / "model.safetensors")
    assert TextEncoder(tmp_path, 64, NUMERICS).bert_scores(TEXTS, TARGETS) == expected


def _names(path: Path) -> set[str]:
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        return set(file.keys())


def test_opposite_states_score_nothing() -> None:
    """A score is 0 to 1, also where cosines are below 0."""
    one = TokenStates(torch.tensor([1]), torch.tensor([True]), torch.tensor([[1.0, 0.0]]))
    assert matched(one, one._replace(states_SD=-one.states_SD), None) == (0.0, 0.0, 0.0)
