"""The evaluation beside lm-evaluation-harness: how differences are found, and parity where that package is installed."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from bench import evaluation
from bench.evaluation import Difference, chosen, differences, our_sums, pairs, their_sums
from osler.build.section import BuildError
from osler.evaluation.questions import Item
from osler.inference.interface import Prompt
from tests.support.tiny import tiny_model, tiny_tokenizer

HARNESS = pytest.mark.skipif(find_spec("lm_eval") is None, reason="lm-eval is not installed")
PROMPTS = [
    Prompt((("user", "What treats the moon itch?"),), ("fern tea", "honey wrap", "acorn")),
    Prompt(
        (("user", "Is it given twice?"), ("assistant", "yes"), ("user", "And the wrap?")), ("yes", "no", "maybe not")
    ),
    Prompt((("user", "Zaritol, Vadosis — or Gubitol?"),), ("é", "shadow film and ripple trace")),
]


def item(*options: str) -> Item:
    """A question with these options."""
    return Item("b/1", "b", "b/1", "test", "which?", "", options, 0)


def test_units_choose_differently() -> None:
    """-4 beats -6; -6 over ten characters beats -4 over two; "ééé" is six bytes."""
    assert chosen([-4.0, -6.0], ["ab", "abcdefghij"], "sum") == 0
    assert chosen([-4.0, -6.0], ["ab", "abcdefghij"], "characters") == 1
    assert chosen([-4.0, -5.0], ["abcd", "ééé"], "characters") == 0
    assert chosen([-4.0, -5.0], ["abcd", "ééé"], "bytes") == 1


def test_every_sum_and_every_choice_that_differs_is_listed() -> None:
    """Sums 2e-4 apart are listed and 0.5e-4 apart are not, a NaN is, and a choice is in each unit on its own."""
    question = item("ab", "cd")
    assert differences([question], [(-1.0, -2.0)], [(-1.00005, -2.0)]) == []
    assert differences([question], [(-1.0, -2.0)], [(-1.0002, -2.0)]) == [Difference("b/1", "option 0", -1.0, -1.0002)]
    assert differences([question], [(-1.0, -2.0)], [(float("nan"), -2.0)])[0].by == "option 0"
    near = differences([question], [(-1.00002, -1.0)], [(-1.0, -1.00002)])
    assert near == [Difference("b/1", by, 1.0, 0.0) for by in ("sum", "characters", "bytes")]


def test_contexts_and_continuations_are_the_texts_that_are_scored() -> None:
    """BOS, the template's words up to the answer, and the answer behind its space."""
    context, options = pairs(tiny_tokenizer(), PROMPTS)[1]
    assert context == "<s>Question: Is it given twice?\nAnswer: yes</s>Question: And the wrap?\nAnswer:"
    assert options == [" yes", " no", " maybe not"]


@HARNESS
@pytest.mark.parametrize("batch_size", [1, 4])
def test_sums_equal_those_of_the_harness(batch_size: int) -> None:
    """To 1e-4, with multi-token options, exemplars and text outside ASCII, at every batch size."""
    tokenizer = tiny_tokenizer()
    model = tiny_model(len(tokenizer))
    ours, theirs = our_sums(model, tokenizer, PROMPTS, 64), their_sums(model, tokenizer, PROMPTS, batch_size)
    items = [item(*prompt.options) for prompt in PROMPTS]
    assert differences(items, ours, theirs) == []
    assert len({round(total, 3) for row in ours for total in row}) == 8


@pytest.mark.skipif(find_spec("lm_eval") is not None, reason="lm-eval is installed")
def test_a_missing_peer_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    """Before any item is read."""
    with pytest.raises(BuildError, match=r"requirements-evaluation\.txt"):
        evaluation.main(["--model", "models/none", "--root", str(tmp_path)])
