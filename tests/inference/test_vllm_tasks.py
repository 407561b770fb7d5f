"""Tasks asked by plain prompts and drawn with top_p, by vLLM as by transformers (`make vllm DEVICE=cpu`)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from osler.evaluation.asked_judges import judged
from osler.evaluation.task_texts import prompts_of, written
from osler.inference import vllm_backend
from osler.inference.interface import Sampling
from osler.inference.judge_files import take_judge
from osler.inference.language_model import LanguageModel
from osler.inference.prompt_tokens import prompt_rows
from osler.inference.torch_backend import TorchBackend, frozen_model
from osler.inference.vllm_backend import VllmBackend
from tests.evaluation.test_judgements import ITEMS, judge, texts_of
from tests.evaluation.test_tasks import task
from tests.inference.test_vllm_backend import VERSION, needs_vllm, saved
from tests.support.tiny import NUMERICS, TEMPLATE, TEXTS, tiny_tokenizer

LIMIT, TOP_P = 12, 0.3
SOURCES = [*TEXTS, "fern tea", "What treats the moon itch?"]
ROWS = pl.DataFrame(
    [
        {"item_id": f"t/{n}", "group": f"g{n}", "instruction": "Sum up.", "source": text, "target": "tea"}
        for n, text in enumerate(SOURCES)
    ]
)
POOL = pl.DataFrame(
    [{"item_id": "t/dev", "group": "dev", "instruction": "Sum up.", "source": "honey wrap", "target": "wrap"}]
)
PLAIN: dict[str, Any] = {"prompt": "plain", "shots": 1, "dev_fraction": 0.5}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LanguageModel, LanguageModel]]:
    """One model that vLLM writes with and transformers scores with, and the same by transformers alone."""
    place = tmp_path_factory.mktemp("tasks")
    folder = saved(place / "model")
    patch = pytest.MonkeyPatch()
    patch.setattr(vllm_backend, "LOG", place / "vllm.log")
    tokenizer, scorer = tiny_tokenizer(), TorchBackend(frozen_model(folder, NUMERICS), 4096)
    writer = VllmBackend(folder, NUMERICS)
    ends = (tokenizer.eos_token_id,)
    yield LanguageModel(scorer, tokenizer, writer, ends), LanguageModel(scorer, tokenizer, scorer, ends)
    writer.close()
    patch.undo()


def texts(model: LanguageModel, seed: int = 1, **writing: Any) -> pl.DataFrame:
    """What the model writes for all rows."""
    return written(model, ROWS, LIMIT, task(**PLAIN | writing), POOL, seed)


@needs_vllm
def test_greedy_texts_after_plain_prompts_are_the_same(both: tuple[LanguageModel, LanguageModel]) -> None:
    """With their counts of tokens; the prompts are no chat turns, which have other texts."""
    ours, theirs = both
    found = texts(ours)
    assert found.equals(texts(theirs))
    assert found["generated_tokens"].max() == LIMIT
    assert TEMPLATE.split()[0] not in found["text"][0]
    assert not found.equals(texts(ours, prompt="chat"))


@needs_vllm
def test_a_tiny_top_p_draws_the_likeliest(both: tuple[LanguageModel, LanguageModel]) -> None:
    """Whatever the temperature and the seed, so that both write their greedy texts."""
    for model in both:
        greedy = texts(model)
        for seed in (1, 2):
            assert texts(model, seed, temperature=2.0, top_p=1e-6).equals(greedy)


def outside(model: LanguageModel, top_p: float, drawn: float) -> int:
    """How many of the tokens that are drawn with `drawn` are none of the likeliest that have `top_p` together.

    By one whole forward pass a row. A token at the edge counts as inside: its scores differ in the last bits.
    """
    prompts = prompts_of(ROWS, task(**PLAIN), POOL, 1)
    rows = [row.prompt for row in prompt_rows(model.tokenizer, prompts, model.scorer.maximum_positions, LIMIT)] * 8
    written = model.writer.generated(rows, Sampling(LIMIT, 1.0, drawn), list(range(len(rows))), model.ends)
    assert isinstance(model.scorer, TorchBackend)
    count = 0
    for prompt, ids in zip(rows, written, strict=True):
        with torch.inference_mode():
            logits = model.scorer.model(input_ids=torch.tensor([prompt + ids]), use_cache=False).logits[0]
        for place, token in enumerate(ids):
            shares = logits[len(prompt) - 1 + place].double().softmax(-1)
            count += bool(shares[shares > shares[token]].sum() > top_p + 1e-3)
    return count


@needs_vllm
def test_only_the_likeliest_tokens_of_that_share_are_drawn(both: tuple[LanguageModel, LanguageModel]) -> None:
    """None of 480 is outside of a share of 0.3; without top_p many are."""
    for model in both:
        assert outside(model, TOP_P, TOP_P) == 0
        assert outside(model, TOP_P, 1.0) > 48


@needs_vllm
def test_a_seed_draws_the_same_texts_again(both: tuple[LanguageModel, LanguageModel]) -> None:
    """And another one others, by each of the two; what the two draw is their own."""
    for model in both:
        drawn = texts(model, temperature=1.0, top_p=0.9)
        assert texts(model, temperature=1.0, top_p=0.9).equals(drawn)
        other = texts(model, 2, temperature=1.0, top_p=0.9)
        assert sum(one != two for one, two in zip(drawn["text"], other["text"], strict=True)) >= 3
        alone = written(model, ROWS[2:3], LIMIT, task(**PLAIN, temperature=1.0, top_p=0.9), POOL, 1)
        assert alone["text"][0] == drawn["text"][2]


@needs_vllm
def test_stop_strings_end_texts_alike(both: tuple[LanguageModel, LanguageModel]) -> None:
    """Greedy ones at the same place, drawn ones before it; what was written behind is counted by both."""
    ours, theirs = both
    whole = texts(ours)
    stop = [next(text[2:5] for text in whole["text"] if len(text) > 6)]
    for model in both:
        cut = texts(model, stop=stop)
        assert cut["text"].to_list() == [text.split(stop[0])[0].strip() for text in whole["text"]]
        assert cut["text"].to_list() != whole["text"].to_list()
        assert cut["generated_tokens"].equals(whole["generated_tokens"])
        drawn = texts(model, temperature=1.0, top_p=0.9, stop=["e"])
        assert not any("e" in text for text in drawn["text"])
    assert texts(ours, stop=stop).equals(texts(theirs, stop=stop))


@needs_vllm
@pytest.mark.builds
def test_a_judge_writes_by_vllm_what_it_writes_by_transformers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And each process ends before the next judge begins: memory of a GPU is one judge's."""
    monkeypatch.chdir(tmp_path)
    ended: list[str] = []
    close = VllmBackend.close

    def closed(backend: VllmBackend) -> None:
        close(backend)
        ended.append("closed")

    monkeypatch.setattr(VllmBackend, "close", closed)
    take_judge("judge.reader", None, saved(tmp_path / "base", positions=2048), tmp_path / "reader")
    found = []
    for name, own in (("theirs", {}), ("ours", {"vllm": VERSION})):
        section = judge(limit_tokens=8, pairs=[("a", "b")], **own)
        written_by = texts_of(a=["fern tea", "honey"], b=["wrap", "moon itch"])
        found.append(judged(name, section, tmp_path / "reader", ITEMS, written_by, TEMPLATE, NUMERICS))
    theirs, ours = (frame.drop("judge", "id") for frame in found)
    assert ours.equals(theirs)
    assert ours.height == 3 * 2 + 2 * 2
    assert ours["text"].n_unique() > 1
    assert ended == ["closed"]
