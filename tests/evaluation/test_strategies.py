"""Each strategy shows what it says it shows, and puts answers back where they belong."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from osler.build.fingerprint import closure
from osler.build.profiles import profile_names
from osler.build.section import BuildError
from osler.evaluation.chains_of_thought import begun
from osler.evaluation.exemplars import checked_pool, drawn_exemplars, exemplar_pool, leaked, nearest
from osler.evaluation.option_orders import option_orders
from osler.evaluation.protocols import AnswerProtocol, ProtocolName
from osler.evaluation.questions import PREDICTIONS, Item
from osler.evaluation.settings import STRATEGIES, Strategies
from osler.evaluation.strategies import (
    choice_shuffle,
    cot,
    expand_guess_refine,
    few_shot,
    knn_few_shot,
    medprompt,
    self_consistency,
    zero_shot,
)
from osler.evaluation.strategies.order import ORDER
from osler.inference.interface import Prompt, Sampling, Scored, Written, seeded_rank
from tests.support.params import profile_params

ROOT = Path(__file__).resolve().parents[2]
ALL: dict[str, Any] = {"limit_items": None, "models": None, "seeds": "first"}
CHAIN: dict[str, Any] = {"instruction": "Think.", "answer_lead": "So it is", "limit_tokens": 9} | ALL


def item(number: int, split: str = "test", benchmark: str = "b", options: int = 4) -> Item:
    return Item(
        f"{benchmark}/{split}{number:02}",
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
SETTINGS: dict[str, Any] = {
    "zero_shot": zero_shot.ZeroShot(**ALL),
    "few_shot": few_shot.FewShot(shots=2, draws=2, **ALL),
    "knn_few_shot": knn_few_shot.KnnFewShot(shots=2, **ALL),
    "cot": cot.ChainOfThought(**CHAIN),
    "self_consistency": self_consistency.SelfConsistency(samples=3, temperature=0.8, **CHAIN),
    "choice_shuffle": choice_shuffle.ChoiceShuffle(cycles=2, combine="probabilities", **ALL),
    "medprompt": medprompt.Medprompt(shots=2, ensemble=6, combine="probabilities", limit_pool_items=None, **CHAIN),
    "expand_guess_refine": expand_guess_refine.ExpandGuessRefine(
        expand="Expand.", guess="Guess.", refine="Refine.", limit_tokens=9, **ALL
    ),
}


def protocol(name: ProtocolName = "full_answer", listed: bool = False) -> AnswerProtocol:
    return AnswerProtocol(name, listed, "Name one.", 5)


class Recorder:
    """Writes and scores what its functions say, and keeps what it was asked. A prompt is 7 tokens, a text 3."""

    def __init__(
        self, score: Callable[[Prompt, str], float], write: Callable[[Prompt, Sampling, int], str] | None = None
    ) -> None:
        self.scored: list[Prompt] = []
        self.written: list[tuple[Prompt, Sampling, int]] = []
        self.score = score
        self.write = write or (lambda *_: "")

    def likelihoods(self, prompts: Sequence[Prompt]) -> list[Scored]:
        self.scored += prompts
        return [
            Scored(tuple(self.score(asked, text) for text in asked.options), (1,) * len(asked.options), 7, False)
            for asked in prompts
        ]

    def texts(self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[int]) -> list[Written]:
        calls = [(asked, sampling, seed) for asked, seed in zip(prompts, seeds, strict=True)]
        self.written += calls
        return [Written(self.write(*call), 3, 7, False) for call in calls]

    def embeddings(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Texts of like numbers are near: an angle for each."""
        numbers = [int("".join(filter(str.isdigit, text))) for text in texts]
        return np.array([[np.cos(number / 20), np.sin(number / 20)] for number in numbers], dtype=np.float32)


def last_option(_: Prompt, option: str) -> float:
    return float(option[-1])


def noisy() -> Recorder:
    """A model whose every answer depends on the whole prompt, and whose texts also on a seed above temperature 0."""

    def write(asked: Prompt, sampling: Sampling, seed: int) -> str:
        drawn = seeded_rank(seed if sampling.temperature else 0, repr(asked.turns))
        return f"Words {drawn % 97}. So it is {asked.options[drawn % len(asked.options)]}."

    return Recorder(lambda asked, text: seeded_rank(0, repr(asked), text) / 2**63, write)


def run(
    name: str,
    model: Recorder,
    items: Sequence[Item] = ITEMS,
    how: AnswerProtocol | None = None,
    seed: int = 1,
    **changes: object,
) -> pl.DataFrame:
    """The predictions of a strategy, called as the stage calls it."""
    known, settings = STRATEGIES[name], SETTINGS[name].model_copy(update=changes)
    given: dict[str, Any] = {"settings": settings, "protocol": how or protocol()}
    if known.uses_pool:
        given["pool"] = POOL
    if known.prepared:
        given["exemplars"] = known.prepared(model, **given)
        model.scored.clear()
        model.written.clear()
    rows: pl.DataFrame = known.module.answered(model, items=items, seed=seed, **given)
    return rows


def shown(asked: Prompt) -> list[str]:
    """The questions of the exemplars, in order."""
    return [content.split("\n")[0] for role, content in asked.turns[:-1] if role == "user"]


def test_zero_shot_asks_the_question_alone() -> None:
    """One user's turn, the options scored in their own order, the best of them predicted."""
    model = Recorder(last_option)
    rows = run("zero_shot", model)
    assert model.scored[0] == Prompt((("user", "question test0?"),), ITEMS[0].options)
    assert rows["prediction"].to_list() == [3] * 6
    assert rows["correct"].to_list() == [False, False, False, True, False, False]
    assert rows["prompt_tokens"].to_list() == [7] * 6


def test_a_listed_prompt_lists_context_question_and_options() -> None:
    """The options stand below the question, lettered."""
    asked = protocol(listed=True).prompt(replace(ITEMS[0], context="A study."))
    expected = "A study.\nquestion test0?\nA. test0 option 0\nB. test0 option 1\nC. test0 option 2\nD. test0 option 3"
    assert asked.turns == (("user", expected),)


def test_few_shot_shows_solved_questions_of_the_pool() -> None:
    """Exemplars are a user's and an assistant's turn with the right answer, none twice, the same for all items of a
    draw."""
    model = Recorder(last_option)
    rows = run("few_shot", model, shots=3)
    solved = {(f"question dev{number}?", f"dev{number} option {number % 4}") for number in range(12)}
    for asked in model.scored:
        pairs = list(zip(asked.turns[:-1:2], asked.turns[1:-1:2], strict=True))
        assert {(user[1], assistant[1]) for user, assistant in pairs} <= solved
        assert len(set(pairs)) == 3
    draws = [{tuple(shown(asked)) for asked in model.scored[start : start + 6]} for start in (0, 6)]
    assert [len(draw) for draw in draws] == [1, 1]
    assert draws[0] != draws[1]
    assert rows["draw"].to_list() == [0] * 6 + [1] * 6


def test_drawn_exemplars_depend_on_seed_and_draw_only() -> None:
    """Another seed or draw draws others; the same draw the same."""
    first = drawn_exemplars(POOL, 3, 1, 0)
    assert first == drawn_exemplars(POOL, 3, 1, 0)
    assert first != drawn_exemplars(POOL, 3, 2, 0)
    assert first != drawn_exemplars(POOL, 3, 1, 1)


def test_the_pool_is_the_own_benchmark_where_it_has_one() -> None:
    """A benchmark without a dev split borrows those of all others; test items are never in it."""
    items = [*ITEMS, *POOL, item(0, benchmark="c")]
    assert exemplar_pool(items, "b") == POOL
    assert exemplar_pool(items, "c") == POOL


@pytest.mark.parametrize("question", ["question test2?", "  Question   TEST2? "])
def test_an_exemplar_that_is_the_test_item_is_an_error(question: str) -> None:
    """The same question with the same answer is refused however it is written; with another answer not."""
    twin = replace(ITEMS[2], item_id="b/twin", question=question, split="dev")
    assert leaked([*ITEMS, *POOL, twin]) == [twin]
    assert exemplar_pool([*ITEMS, *POOL, twin], "b") == POOL
    with pytest.raises(BuildError, match="b/twin is the same question as b/test02"):
        checked_pool(ITEMS, [*POOL, twin], 1, "few_shot")
    other = replace(twin, answer=(twin.answer + 1) % 4)
    assert other in checked_pool(ITEMS, [*POOL, other], 1, "few_shot")


@pytest.mark.parametrize("name", [name for name in STRATEGIES if STRATEGIES[name].uses_pool])
def test_no_strategy_shows_a_test_item_or_too_few(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every strategy with exemplars refuses a pool that holds one of the items, and one below its shots."""
    twin = replace(ITEMS[2], item_id="b/twin", split="dev")
    monkeypatch.setitem(globals(), "POOL", [*POOL, twin])
    with pytest.raises(BuildError, match=f"same question as b/test02, which {name}"):
        run(name, noisy())
    monkeypatch.setitem(globals(), "POOL", POOL[:1])
    with pytest.raises(BuildError, match=f"{name}: needs 2 exemplars and the benchmarks have 1"):
        run(name, noisy())


def test_nearest_by_eye() -> None:
    """By angle, not by length; of two at the same angle the first."""
    keys = np.array([[0, 1], [5, 1], [1, 0], [2, 0]], dtype=np.float32)
    assert nearest(np.array([[1, 0], [0, 9]], dtype=np.float32), keys, 3).tolist() == [[2, 3, 1], [0, 1, 2]]


def test_knn_shows_the_nearest_last() -> None:
    """Question 5 stands after the solved questions 4 and 5, the nearer of them next to it; each item has its own."""
    model = Recorder(last_option)
    run("knn_few_shot", model, [item(5, options=3), item(0, options=3)])
    assert shown(model.scored[0])[-1] == "question dev5?"
    assert shown(model.scored[1]) == ["question dev1?", "question dev0?"]
    assert model.scored[1].turns[1] == ("assistant", "dev1 option 1")


@pytest.mark.parametrize(
    ("chain", "expected"),
    [
        ("It itches. So it is tea.", "It itches. So it is"),
        ("It itches.\nSo it is tea. So it is swab.", "It itches.\nSo it is"),
        ("It itches, for sure", "It itches, for sure So it is"),
        ("So it is tea.", "So it is"),
        (
            "<think>So it is swab?</think>\n\nIt itches. So it is tea.",
            "<think>So it is swab?</think>\n\nIt itches. So it is",
        ),
        ("<think>So it is swab? No", "<think>So it is swab? No So it is"),
        ("<think>It itches.</think>", "<think>It itches.</think> So it is"),
        (" \n", "So it is"),
        ("", "So it is"),
    ],
)
def test_a_chain_ends_in_the_answer_lead_once(chain: str, expected: str) -> None:
    """Its own conclusion is cut off, so that the options stand in its place; without one the lead is added."""
    assert begun(chain, "So it is") == expected


def test_cot_scores_the_options_after_its_chain() -> None:
    """The question asks for thought; the chain up to its lead is what the assistant has said; all tokens count."""
    model = Recorder(last_option, lambda *_: "It itches. So it is test0 option 1.")
    rows = run("cot", model, ITEMS[:1])
    (asked, sampling, _), (scored,) = model.written[0], model.scored
    assert asked.turns == (("user", "question test0?\nThink."),)
    assert sampling == Sampling(9, 0.0)
    assert scored == replace(asked, begun="It itches. So it is")
    row = rows.row(0, named=True)
    assert (row["prediction"], row["prompt_tokens"], row["generated_tokens"]) == (3, 14, 3)
    assert row["texts"] == ["It itches. So it is test0 option 1."]


def test_cot_under_generation_reads_the_chain() -> None:
    """The model is asked once, and what it wrote is the answer; one that names no option is none."""
    model = Recorder(last_option, lambda asked, *_: "test0 option 1" if "test0" in asked.turns[0][1] else "tea")
    rows = run("cot", model, ITEMS[:2], protocol("generation"))
    assert rows["prediction"].to_list() == [1, None]
    assert rows["correct"].to_list() == [False, False]
    assert not model.scored
    assert rows["prompt_tokens"].to_list() == [7, 7]


def test_self_consistency_is_the_answer_of_most_chains() -> None:
    """Three samples an item, all with seeds of their own; two of them say option 2, and every token is counted."""
    seen: list[int] = []

    def write(_: Prompt, sampling: Sampling, seed: int) -> str:
        assert sampling.temperature == 0.8
        seen.append(seed)
        return f"say {2 if len(seen) % 3 else 0}"

    model = Recorder(lambda asked, option: float(option[-1] == asked.begun[4]), write)
    rows = run("self_consistency", model, ITEMS)
    assert len(set(seen)) == 18
    assert rows["scores"].to_list() == [[0.33333, 0, 0.66667, 0]] * 6
    assert rows["prediction"].to_list() == [2] * 6
    assert rows["prompt_tokens"].to_list() == [42] * 6
    assert rows["generated_tokens"].to_list() == [9] * 6
    assert rows["texts"][0].to_list() == ["say 2", "say 2", "say 0"]


@given(st.integers(2, 6), st.integers(1, 3), st.integers(0, 9))
def test_option_orders_are_balanced(options: int, cycles: int, seed: int) -> None:
    """Over whole cycles each option stands in each place equally often; the first order is the item's own."""
    orders = option_orders(item(1, options=options), options * cycles, seed)
    assert orders[0] == list(range(options))
    for place in range(options):
        assert sorted(order[place] for order in orders) == sorted(list(range(options)) * cycles)


@pytest.mark.parametrize("name", ["full_answer", "letter"])
@pytest.mark.parametrize("combine", ["votes", "probabilities"])
def test_choice_shuffle_cancels_a_preference_for_a_place(name: ProtocolName, combine: str) -> None:
    """A model that likes the first place best and the right text a little finds it: places are equal after all
    rotations. One that likes places only scores all options alike. Options are listed under every protocol."""

    def biased(taste: float) -> Callable[[Prompt, str], float]:
        def score(asked: Prompt, option: str) -> float:
            listed = [line[3:] for line in asked.turns[-1][1].split("\n")[1:]]
            place = "ABCD".index(option) if len(option) == 1 else listed.index(option)
            return 0.9 * (place == 0) + taste * (listed[place][-1] == "2")

        return score

    wise = Recorder(biased(1.0))
    rows = run("choice_shuffle", wise, ITEMS, protocol(name), combine=combine, cycles=1)
    assert rows["prediction"].to_list() == [2] * 6
    assert len(wise.scored) == 24
    assert rows["prompt_tokens"].to_list() == [28] * 6
    blind = run("choice_shuffle", Recorder(biased(0.0)), ITEMS, protocol(name), combine=combine)
    assert all(np.allclose(scores, 0.25) for scores in blind["scores"].to_list())


def test_generated_answers_always_vote() -> None:
    """They have no probabilities to average: one vote for each order, put back into the item's own order."""
    model = Recorder(last_option, lambda *_: "B")
    rows = run("choice_shuffle", model, ITEMS[:1], protocol("generation"), cycles=1)
    assert rows["scores"].to_list() == [[0.25] * 4]
    unread = run("choice_shuffle", Recorder(last_option, lambda *_: "tea"), ITEMS[:1], protocol("generation"))
    assert unread["prediction"].to_list() == [None]


def test_medprompt_keeps_the_chains_that_reach_the_answer() -> None:
    """A chain of the pool is right when the protocol reads the gold answer after it, and says what it cost."""
    model = Recorder(last_option, lambda *_: "Words.")
    rows = medprompt.prepared(model, POOL, SETTINGS["medprompt"], protocol())
    assert rows["reached_gold"].to_list() == [number % 4 == 3 for number in range(12)]
    assert rows["chain"].to_list() == ["Words."] * 12
    assert rows["prompt_tokens"].to_list() == [14] * 12
    assert model.written[0][0].turns[0][1].endswith("D. dev0 option 3\nThink.")
    few = medprompt.prepared(model, POOL, SETTINGS["medprompt"].model_copy(update={"limit_pool_items": 5}), protocol())
    assert few.height == 5


def test_medprompt_shows_the_nearest_kept_questions_with_their_chains() -> None:
    """All members stand after the same exemplars, the nearest last, each with its own chain and the right answer;
    they list the options in other orders and are answered after a chain of their own."""
    model = Recorder(last_option, lambda asked, *_: f"On {asked.turns[-1][1].split()[1]}. So it is tea.")
    rows = run("medprompt", model, [item(6)], ensemble=4)
    exemplar = ("A. dev7 option 0", "B. dev7 option 1", "C. dev7 option 2", "D. dev7 option 3")
    for asked, *_ in model.written:
        assert shown(asked) == ["question dev3?", "question dev7?"]
        assert asked.turns[2] == ("user", "\n".join(("question dev7?", *exemplar, "Think.")))
        assert asked.turns[3] == ("assistant", "On dev7?. So it is dev7 option 3.")
    assert sorted(asked.options[0] for asked in model.scored) == sorted(item(6).options)
    for asked in model.scored:
        assert [line[3:] for line in asked.turns[-1][1].split("\n")[1:-1]] == list(asked.options)
        assert asked.begun == "On test6?. So it is"
    row = rows.row(0, named=True)
    assert row["prediction"] == 3
    assert (row["prompt_tokens"], row["generated_tokens"]) == (4 * 14, 4 * 3)


def test_medprompt_without_a_chain_that_is_right_shows_none() -> None:
    """A model that is always wrong on the pool is asked without exemplars, not after wrong ones."""
    model = Recorder(lambda _, option: -float(option[-1]), lambda *_: "Words.")
    pool = [one for one in POOL if one.answer]
    exemplars = medprompt.prepared(model, pool, SETTINGS["medprompt"], protocol())
    model.scored.clear()
    medprompt.answered(model, ITEMS, pool, SETTINGS["medprompt"], protocol(), 1, exemplars)
    assert {len(asked.turns) for asked in model.scored} == {1}


def test_thoughts_are_shown_in_no_later_turn_and_are_no_answer() -> None:
    """Exemplars, background and guess are what was said; a thought names no option."""
    model = Recorder(last_option, lambda *_: "<think>So it is swab.</think>\nIt itches. So it is tea.")
    run("medprompt", model, [item(6)], ensemble=1)
    assert model.written[-1][0].turns[3] == ("assistant", "It itches. So it is dev7 option 3.")
    run("expand_guess_refine", model, ITEMS[:1])
    told = [content for role, content in model.scored[-1].turns if role == "assistant"]
    assert told == ["It itches. So it is tea."] * 2
    model = Recorder(last_option, lambda *_: "<think>The answer is B.</think>\nThe answer is A.")
    rows = run("cot", model, ITEMS[:1], protocol("generation"))
    assert (rows["prediction"][0], rows["texts"][0].to_list()) == (
        0,
        ["<think>The answer is B.</think>\nThe answer is A."],
    )


def test_expand_guess_refine_shows_what_was_written_before() -> None:
    """Three turns of the user with the question in each; the last is read by the protocol, after background and
    guess."""
    model = Recorder(last_option, lambda asked, *_: f"text {len(asked.turns)}")
    rows = run("expand_guess_refine", model, ITEMS[:1])
    assert model.scored[0].turns == (
        ("user", "question test0?\nExpand."),
        ("assistant", "text 1"),
        ("user", "question test0?\nGuess."),
        ("assistant", "text 3"),
        ("user", "question test0?\nRefine."),
    )
    row = rows.row(0, named=True)
    assert (row["prediction"], row["prompt_tokens"], row["generated_tokens"]) == (3, 21, 6)
    assert row["texts"] == ["text 1", "text 3"]


@pytest.mark.parametrize("name", sorted(STRATEGIES))
@pytest.mark.parametrize("how", ["full_answer", "letter", "generation"])
def test_order_and_company_of_items_change_nothing(name: str, how: ProtocolName) -> None:
    """An item's row is the same whatever is asked beside it, and fits the schema."""
    rows = run(name, noisy(), ITEMS, protocol(how))
    assert rows.schema == PREDICTIONS
    alone = [run(name, noisy(), [one], protocol(how)) for one in reversed(ITEMS)]
    assert pl.concat(alone).sort("draw", "item_id").equals(rows.sort("draw", "item_id"))


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_a_seed_changes_only_what_is_drawn(name: str) -> None:
    """Exemplars of few_shot, samples, and orders beyond the first cycle; nothing else."""
    drawn = {"few_shot", "self_consistency", "choice_shuffle", "medprompt"}

    def rows(seed: int, **changes: Any) -> pl.DataFrame:
        return run(name, noisy(), seed=seed, **changes).drop("seed")

    assert rows(1).equals(rows(1))
    assert rows(1).equals(rows(2)) == (name not in drawn)
    if name == "choice_shuffle":
        assert rows(1, cycles=1).equals(rows(2, cycles=1))
    if name == "medprompt":
        assert rows(1, ensemble=4).equals(rows(2, ensemble=4))


def test_no_strategy_holds_the_code_of_another() -> None:
    """An edit to one strategy leaves the fingerprints of the others as they are."""
    folder = "osler/evaluation/strategies"
    for name in STRATEGIES:
        files, packages = closure(ROOT / folder / f"{name}.py", ROOT)
        assert {path for path in files if f"{folder}/" in path} == {f"{folder}/__init__.py", f"{folder}/{name}.py"}
        assert "torch" not in packages


def test_every_strategy_module_is_known_and_set_in_every_profile() -> None:
    """The eight of the table, the folder, the settings and the params are the same, where a profile asks the last model."""
    modules = {
        path.stem: path
        for path in (ROOT / "osler/evaluation/strategies").glob("*.py")
        if path.stem not in ("__init__", "order")
    }
    assert tuple(STRATEGIES) == ORDER
    assert set(modules) == set(STRATEGIES) == set(Strategies.model_fields) == set(SETTINGS)
    for name, known in STRATEGIES.items():
        assert isinstance(known.module, ModuleType)
        assert Path(str(known.module.__file__)) == modules[name]
    whole = {
        name: params for name in profile_names(ROOT) if "cpt-neftune" in (params := profile_params(name))["evaluated"]
    }
    assert "default" in whole
    for name, params in whole.items():
        settings = Strategies.model_validate(params["strategies"])
        off = set(STRATEGIES) - set(settings.asked_of("cpt-neftune"))
        assert not off, f"profiles/{name}.yaml: strategies: every one is on for cpt-neftune, but {off}"
        assert {"zero_shot", "few_shot", "medprompt"} <= set(settings.asked_of("base")), name
