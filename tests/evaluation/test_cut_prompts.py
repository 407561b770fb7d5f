"""Prompts that a model would read only in part are known before it answers."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from osler.evaluation.cut_prompts import CutPrompts, PromptReader, known_cuts, reader_of
from osler.evaluation.settings import STRATEGIES, Questions, Strategies
from osler.evaluation.strategies import StrategySettings
from tests.evaluation.test_answered import SETTINGS as EVALUATE
from tests.evaluation.test_answered import items
from tests.evaluation.test_strategies import SETTINGS as OF_STRATEGIES
from tests.evaluation.test_tasks import task
from tests.support.tiny import TEMPLATE, tiny_model, tiny_tokenizer

POSITIONS = 512


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model's folder beside items of a benchmark and a task, of which one of three is too long for it."""
    tiny_tokenizer().save_pretrained(tmp_path / "model")
    tiny_model(400, positions=POSITIONS).config.save_pretrained(tmp_path / "model")
    long = pl.when(pl.col("item_id") == "b/test2").then(pl.lit("fern tea " * POSITIONS)).otherwise(pl.lit(""))
    (tmp_path / "items/tasks").mkdir(parents=True)
    items("b", test=3, dev=8).with_columns(context=long).write_parquet(tmp_path / "items/b.parquet")
    rows = [
        {
            "item_id": f"t/{n}",
            "task": "t",
            "group": f"g{n}",
            "split": "test",
            "instruction": "Sum.",
            "source": text,
            "target": "x",
        }
        for n, text in enumerate(["tea", "fern tea " * POSITIONS])
    ]
    pl.DataFrame(rows).write_parquet(tmp_path / "items/tasks/t.parquet")
    return tmp_path


def cuts(
    folder: Path, strategies: dict[str, StrategySettings], tasks: dict[str, Any] | None = None
) -> list[CutPrompts]:
    """What is found of the questions, before any answer."""
    asked = Questions(
        benchmarks=["b"],
        evaluate=EVALUATE.model_copy(update={"compared": []}),
        strategies=Strategies(**strategies),  # type: ignore[arg-type]
        task=tasks or {},
    )

    def embed() -> Any:
        return lambda texts: np.array([[len(text), 1.0] for text in texts], np.float32)

    reader = reader_of(folder / "model", folder / "model", TEMPLATE, asked, embed)
    return list(known_cuts(reader, asked, folder / "items", "base", 1, True))


@pytest.mark.parametrize("name", [name for name in STRATEGIES if name != "medprompt"])
def test_every_strategy_whose_prompts_need_no_answer_is_looked_at(folder: Path, name: str) -> None:
    """One item of three is found, in as many prompts as it has; of what follows an answer nothing is said."""
    settings = OF_STRATEGIES[name].model_copy(update={"limit_items": None, "models": None})
    (found,) = cuts(folder, {name: settings})
    assert (found.what, found.item_id) == (name, "b/test2")
    assert found.prompts == 3 * found.cut
    if name in ("zero_shot", "cot", "expand_guess_refine"):
        assert found.cut == 1
    if name == "few_shot":
        assert found.cut == settings.draws


def test_exemplars_that_the_model_answers_first_leave_prompts_unknown(folder: Path) -> None:
    """Of Medprompt they are refused once it has answered."""
    settings = OF_STRATEGIES["medprompt"].model_copy(update={"limit_items": None, "models": None})
    assert cuts(folder, {"medprompt": settings}) == []


def test_tasks_are_looked_at_too(folder: Path) -> None:
    """With the room that what is written takes."""
    assert cuts(folder, {}, {"t": task(limit_tokens=9)}) == [CutPrompts("task t", 1, 2, "t/1")]
    assert cuts(folder, {}, {"t": task(limit_tokens=9, prompt="plain")}) == [CutPrompts("task t", 1, 2, "t/1")]


def test_what_follows_an_answer_is_not_counted() -> None:
    """The reader says a mark, which no prompt of its own has."""
    reader = PromptReader(tiny_tokenizer(), POSITIONS, "", lambda texts: np.zeros((len(texts), 1), np.float32))
    from osler.inference.interface import Prompt, Sampling

    first = Prompt((("user", "q"),), ())
    (said,) = reader.texts([first], Sampling(4, 0.0), [0])
    reader.texts([Prompt((*first.turns, ("assistant", said.text), ("user", "r")), ())], Sampling(4, 0.0), [0])
    reader.likelihoods([Prompt((("user", "q"),), ("a", "b"), said.text)])
    assert [prompt for prompt, _ in reader.read] == [first]
