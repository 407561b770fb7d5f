"""The prompt that is shown is the first that a model is sent."""

from pathlib import Path

import pytest

from osler.evaluation.sent_prompts import sent_prompts
from osler.evaluation.settings import STRATEGIES
from osler.inference.prompt_tokens import prompt_texts
from tests.evaluation.test_strategies import ITEMS, POOL, SETTINGS, noisy, protocol, run
from tests.support.tiny import TEMPLATE, tiny_tokenizer


@pytest.mark.parametrize("name", STRATEGIES)
def test_prompts_are_those_that_a_model_is_sent(name: str, tmp_path: Path) -> None:
    """Of each item, under each strategy that asks for nothing of a model before; of the others there is none."""
    tiny_tokenizer().save_pretrained(tmp_path)
    pool = POOL if STRATEGIES[name].uses_pool else None
    found = sent_prompts(name, ITEMS, pool, SETTINGS[name], protocol(), 1, tmp_path, TEMPLATE)
    if name in ("knn_few_shot", "medprompt"):
        assert found == {}
        return
    assert list(found) == [item.item_id for item in ITEMS]
    for item in ITEMS:
        model = noisy()
        run(name, model, [item])
        first = next(iter([*(call[0] for call in model.written), *model.scored]))
        [text] = prompt_texts(tiny_tokenizer(), [first])
        assert found[item.item_id] == text
        assert item.question in text
