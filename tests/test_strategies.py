"""Each strategy shows what it says it shows, and puts scores back where they belong."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from stages.lib.exemplars import checked_pool, drawn_exemplars, exemplar_pool, leaked, nearest
from stages.lib.fingerprint import closure
from stages.lib.prompts import Item, Prompt, PromptForm, Scored, limited, predictions, prompt
from stages.lib.section import BuildError
from stages.lib.strategies import few_shot, medprompt, zero_shot

ROOT = Path(__file__).resolve().parents[1]


def item(number: int, split: str = "test", benchmark: str = "b", options: int = 4) -> Item:
    return Item(
        f"{benchmark}/{split}{number}",
        benchmark,
        f"g{number}",
        split,
        f"question {split}{number}?",
        "",
        tuple(f"{split}{number} option {index}" for index in range(options)),
        number % options,
    )


ITEMS = [item(number) for number in range(6)]
POOL = [item(number, "dev") for number in range(12)]


class Recorder:
    """Scores an option by the number at its end, in favor of the last one, and keeps the prompts."""

    def __init__(self) -> None:
        self.prompts: list[Prompt] = []

    def scores(self, prompts: Sequence[Prompt]) -> list[Scored]:
        self.prompts += prompts
        return [Scored(tuple(float(option[-1]) for option in asked.options), 7, False) for asked in prompts]

    def embeddings(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Texts of like numbers are near: an angle for each."""
        numbers = [int("".join(filter(str.isdigit, text))) for text in texts]
        return np.array([[np.cos(number / 10), np.sin(number / 10)] for number in numbers], dtype=np.float32)


def shown(asked: Prompt) -> list[str]:
    """The questions of the exemplars, in order."""
    return [content.split("\n")[0] for role, content in asked.turns[:-1] if role == "user"]


def test_zero_shot_asks_the_question_alone() -> None:
    """One user's turn, the options scored in their own order, the best of them predicted."""
    model = Recorder()
    rows = zero_shot.answered(model, ITEMS, (), zero_shot.ZeroShot(limit_items=None), "question", 1)
    assert model.prompts[0] == Prompt((("user", "question test0?"),), ITEMS[0].options)
    assert rows["prediction"].to_list() == [3] * 6
    assert rows["correct"].to_list() == [False, False, False, True, False, False]


def test_a_listed_prompt_lists_context_question_and_options() -> None:
    """With the form `options` the options stand below the question, lettered."""
    asked = prompt(replace(ITEMS[0], context="A study."), (), "options")
    expected = "A study.\nquestion test0?\nA. test0 option 0\nB. test0 option 1\nC. test0 option 2\nD. test0 option 3"
    assert asked.turns == (("user", expected),)


def test_few_shot_shows_solved_questions_of_the_pool() -> None:
    """Exemplars are a user's and an assistant's turn with the right answer, none twice, none of the test split."""
    model = Recorder()
    few_shot.answered(model, ITEMS, POOL, few_shot.FewShot(shots=3, limit_items=None), "question", 1)
    solved = {(f"question dev{number}?", f"dev{number} option {number % 4}") for number in range(12)}
    for asked in model.prompts:
        pairs = list(zip(asked.turns[:-1:2], asked.turns[1:-1:2], strict=True))
        assert {(user[1], assistant[1]) for user, assistant in pairs} <= solved
        assert len(set(pairs)) == 3
    assert len({tuple(shown(asked)) for asked in model.prompts}) > 1


def test_drawn_exemplars_depend_on_seed_and_item_only() -> None:
    """Another seed draws others; the same draws the same, whatever other items there are."""
    first = [drawn_exemplars(one, POOL, 3, 1) for one in ITEMS]
    assert first == [drawn_exemplars(one, POOL, 3, 1) for one in ITEMS]
    assert first != [drawn_exemplars(one, POOL, 3, 2) for one in ITEMS]


def test_the_pool_is_the_own_benchmark_where_it_has_one() -> None:
    """A benchmark without a dev split borrows those of all others; test items are never in it."""
    items = [*ITEMS, *POOL, item(0, benchmark="c")]
    assert exemplar_pool(items, "b") == POOL
    assert exemplar_pool(items, "c") == POOL


@pytest.mark.parametrize("question", ["question test2?", "  Question   TEST2? "])
def test_an_exemplar_that_is_the_test_item_is_an_error(question: str) -> None:
    """The same question with the same answer is refused however it is written; with another answer not."""
    twin = replace(ITEMS[2], item_id="b/twin", question=question)
    twin = replace(twin, split="dev")
    assert leaked([*ITEMS, *POOL, twin]) == [twin]
    assert exemplar_pool([*ITEMS, *POOL, twin], "b") == POOL
    with pytest.raises(BuildError, match="b/twin is the same question as b/test2"):
        checked_pool(ITEMS, [*POOL, twin], 1, "few_shot")
    other = replace(twin, answer=(twin.answer + 1) % 4)
    assert other in checked_pool(ITEMS, [*POOL, other], 1, "few_shot")


def test_a_pool_that_is_too_small_is_an_error() -> None:
    """Fewer exemplars than asked for are not shown silently."""
    settings = few_shot.FewShot(shots=13, limit_items=None)
    with pytest.raises(BuildError, match="needs 13 exemplars and the benchmarks have 12"):
        few_shot.answered(Recorder(), ITEMS, POOL, settings, "question", 1)


def test_nearest_by_eye() -> None:
    """By angle, not by length; of two at the same angle the first."""
    keys = np.array([[0, 1], [5, 1], [1, 0], [2, 0]], dtype=np.float32)
    assert nearest(np.array([[1, 0], [0, 9]], dtype=np.float32), keys, 3).tolist() == [[2, 3, 1], [0, 1, 2]]


def test_medprompt_question_members_share_the_nearest_out() -> None:
    """Without listed options each member has neighbors of its own, among the nearest, the nearest last."""
    model = Recorder()
    settings = medprompt.Medprompt(shots=2, ensemble=2, limit_items=None)
    medprompt.answered(model, [item(0)], POOL, settings, "question", 1)
    assert [shown(asked) for asked in model.prompts] == [
        ["question dev2?", "question dev0?"],
        ["question dev3?", "question dev1?"],
    ]
    assert {asked.options for asked in model.prompts} == {item(0).options}


def test_medprompt_options_members_list_them_in_other_orders() -> None:
    """With listed options all members have the same exemplars; each option stands first once."""
    model = Recorder()
    settings = medprompt.Medprompt(shots=2, ensemble=4, limit_items=None)
    rows = medprompt.answered(model, [item(0)], POOL, settings, "options", 1)
    assert {tuple(shown(asked)) for asked in model.prompts} == {("question dev1?", "question dev0?")}
    assert sorted(asked.options[0] for asked in model.prompts) == sorted(item(0).options)
    for asked in model.prompts:
        assert [line[3:] for line in asked.turns[-1][1].split("\n")[1:]] == list(asked.options)
    assert rows["scores"][0].to_list() == [0, 1, 2, 3]
    assert rows["prompt_tokens"][0] == 28


@pytest.mark.parametrize("form", ["question", "options"])
def test_an_ensemble_of_members_that_agree_changes_nothing(form: PromptForm) -> None:
    """Averaging the same scores in different orders gives those scores in item order."""
    settings = medprompt.Medprompt(shots=1, ensemble=5, limit_items=None)
    rows = medprompt.answered(Recorder(), ITEMS, POOL, settings, form, 1)
    assert all(np.allclose(scores, [0, 1, 2, 3]) for scores in rows["scores"].to_list())


@given(st.integers(2, 6), st.integers(1, 3), st.integers(0, 9))
def test_option_orders_are_balanced(options: int, rounds: int, seed: int) -> None:
    """Over whole rounds each option stands in each place equally often; the first order is the item's own."""
    orders = medprompt.option_orders(item(1, options=options), options * rounds, seed)
    assert orders[0] == list(range(options))
    for place in range(options):
        assert sorted(order[place] for order in orders) == sorted(list(range(options)) * rounds)


def test_averaged_by_eye() -> None:
    """Scores go back through the order of their prompt: the second member listed option 1 first."""
    members = [Scored((1.0, 2.0), 10, False), Scored((4.0, 5.0), 11, True)]
    assert medprompt.averaged(members, [[0, 1], [1, 0]]) == Scored((3.0, 3.0), 21, True)


def test_a_limit_is_nested_and_blind_to_other_benchmarks() -> None:
    """A smaller limit keeps a subset, and another benchmark changes nothing."""
    items = [item(number) for number in range(40)]
    ten = limited(items, 10, 1)
    assert len(ten) == 10
    assert set(limited(items, 4, 1)) < set(ten)
    assert [one for one in limited([*items, *(item(n, benchmark="c") for n in range(9))], 10, 1) if one in items] == ten
    assert limited(items, 10, 2) != ten
    assert limited(items, None, 1) == items


def test_the_first_of_equal_scores_is_predicted() -> None:
    """A tie is broken by place, the same on every machine."""
    rows = predictions([item(1)], [Scored((1.0, 2.0, 2.0, 0.0), 3, False)], 5)
    assert rows.row(0, named=True)["prediction"] == 1
    assert rows.row(0, named=True)["correct"] is True


def test_no_strategy_holds_the_code_of_another() -> None:
    """An edit to one strategy leaves the fingerprints of the others as they are."""
    folder = ROOT / "stages/lib/strategies"
    for name in ("zero_shot", "few_shot", "medprompt"):
        files, packages = closure(folder / f"{name}.py", ROOT)
        assert [path for path in files if "/strategies/" in path] == [f"stages/lib/strategies/{name}.py"]
        assert "torch" not in packages
