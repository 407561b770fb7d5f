"""Published protocols ask and read as their sources do, and are refused where these say nothing."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from osler.build.section import BuildError
from osler.evaluation.asked_questions import asked_questions
from osler.evaluation.benchmarks import Benchmark
from osler.evaluation.protocols import AnswerProtocol
from osler.evaluation.published import PUBLISHED, check_published, meditron
from osler.evaluation.questions import Item
from osler.evaluation.settings import Evaluate, Strategies, protocols
from osler.evaluation.strategies import few_shot, zero_shot
from osler.inference.interface import Prompt
from osler.inference.language_model import LanguageModel
from osler.inference.prompt_tokens import prompt_rows, prompt_texts, trees
from osler.inference.torch_backend import TorchBackend
from osler.tokens.marks import marks_of
from tests.evaluation.test_strategies import Recorder
from tests.support.params import PARAMS
from tests.support.tiny import tiny_model, tiny_tokenizer

FORMATS = (("exam", "mmlu"), ("medmcqa", "medmcqa"), ("pubmedqa", "pubmedqa"))
SHOWN = few_shot.FewShot(shots=2, draws=3)


def protocol(name: Any, is_shown: bool = False) -> AnswerProtocol:
    return AnswerProtocol(name, False, "", 0, FORMATS, is_shown)


def item(name: str, question: str = "Which?", options: tuple[str, ...] = ("a", "b", "c", "d"), answer: int = 1) -> Item:
    split = "dev" if "-dev-" in name or "-val-" in name else "test"
    return Item(name, name.partition("/")[0], name, split, question, "", options, answer)


def plain(text: str, *options: str) -> Prompt:
    return Prompt((("user", text),), options, is_plain=True)


def test_a_plain_prompt_is_its_text_behind_the_mark_of_the_tokenizer() -> None:
    """No word of the template; ids of prompt and option are those of the whole text, and blanks before it are the option's."""
    tokenizer = tiny_tokenizer()
    for text in ("Question: moon itch\nAnswer:", "Question: moon itch\nAnswer: "):
        (tree,) = trees(tokenizer, [plain(text, " A", " fern tea")], 500)
        (row,) = prompt_rows(tokenizer, [plain(text, " A")], 500, 10)
        assert tokenizer.decode(tree.prompt[1:]) == "Question: moon itch\nAnswer:"
        assert tokenizer.decode(row.prompt[1:]) == text
        for option, ids in zip((" A", " fern tea"), tree.options, strict=True):
            whole = tokenizer(f"{text}{option}", add_special_tokens=False)["input_ids"]
            assert [*tree.prompt, *ids] == [marks_of(tokenizer).bos, *whole]


def test_plain_prompts_and_chats_keep_their_places() -> None:
    """In one call, in any order, each is what it is alone."""
    tokenizer = tiny_tokenizer()
    asked = [
        plain("Is it?\nAnswer:", " A", " B"),
        Prompt((("user", "What?"),), ("fern tea", "honey")),
        plain("The wrap:", " blue"),
        Prompt((("user", "And?"),), ("yes", "no"), begun="So it is"),
    ]
    assert trees(tokenizer, asked, 200) == [trees(tokenizer, [one], 200)[0] for one in asked]
    assert prompt_texts(tokenizer, asked)[0::2] == ["Is it?\nAnswer:", "The wrap:"]
    assert prompt_texts(tokenizer, asked)[1] == "Question: What?\nAnswer:"


def test_plain_options_are_scored_as_the_text_goes_on() -> None:
    """The sum over the option's tokens of the whole text's log-probabilities, by the model itself."""
    tokenizer = tiny_tokenizer()
    model = tiny_model(len(tokenizer))
    backend = TorchBackend(model, 64)
    asked = plain("Question: moon itch\nAnswer:", " A", " fern tea")
    (scored,) = LanguageModel(backend, tokenizer, backend, (tokenizer.eos_token_id,)).likelihoods([asked])
    start = len(tokenizer(asked.turns[0][1])["input_ids"])
    for option, total in zip(asked.options, scored.sums, strict=True):
        ids = tokenizer(f"{asked.turns[0][1]}{option}", return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            logs = model(ids).logits[0].log_softmax(-1)
        own = sum(float(logs[place - 1, ids[0, place]]) for place in range(start, ids.shape[1]))
        assert total == pytest.approx(own, abs=1e-5)


def test_a_system_prompt_stands_first_in_chats_alone() -> None:
    """Not before plain text, not before another system message, and nowhere where there is none."""
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}<assistant>"
    chat, told = Prompt((("user", "What?"),), ("a",)), Prompt((("system", "Own."), ("user", "What?")), ("a",))
    asked = [chat, plain("What?", "a"), told]
    assert prompt_texts(tokenizer, asked, "Be brief.") == [
        "<system>Be brief.<user>What?<assistant>",
        "What?",
        "<system>Own.<user>What?<assistant>",
    ]
    assert prompt_texts(tokenizer, asked)[0] == "<user>What?<assistant>"
    (row,) = prompt_rows(tokenizer, [chat], 500, 9, "Be brief.")
    (tree,) = trees(tokenizer, [chat], 500, "Be brief.")
    assert (
        tokenizer.decode(row.prompt[1:])
        == tokenizer.decode(tree.prompt[1:])
        == prompt_texts(tokenizer, asked, "Be brief.")[0]
    )


def test_an_option_that_stands_twice_is_right_once_as_in_the_harness() -> None:
    """Its other place is an error under lm_eval, and none under the protocols of this build."""
    twin = item("medmcqa/1", options=("fern", "fern", "c", "d"))
    for name, right in (("lm_eval", False), ("letter", True)):
        model = Recorder(lambda _, option: -float(option.strip() != "A"))
        rows = zero_shot.answered(model, [twin], zero_shot.ZeroShot(), protocol(name), 1)
        assert rows["correct"].to_list() == [right]


def test_solved_questions_of_mmlu_are_the_first_of_the_subjects_dev_file() -> None:
    """In the file's order, one draw, never those of val or of another subject, and never the question itself."""
    pool = [item(f"exam/anatomy-{split}-{row}", f"{split} {row}?") for split in ("val", "dev") for row in (2, 0, 1)]
    pool += [item("exam/medical_genetics-dev-0")]
    model = Recorder(lambda *_: -1.0)
    rows = few_shot.answered(model, [item("exam/anatomy-7")], pool, SHOWN, protocol("lm_eval", True), 1)
    assert rows["draw"].to_list() == [0]
    (asked,) = model.scored
    assert asked.is_plain
    assert asked.turns[0][1] == (
        "The following are multiple choice questions (with answers) about anatomy.\n\n"
        "dev 0?\nA. a\nB. b\nC. c\nD. d\nAnswer: B\n\n"
        "dev 1?\nA. a\nB. b\nC. c\nD. d\nAnswer: B\n\n"
        "Which?\nA. a\nB. b\nC. c\nD. d\nAnswer:"
    )
    with pytest.raises(BuildError, match="the dev file of anatomy has 3; show fewer"):
        protocol("lm_eval").fixed_exemplars(item("exam/anatomy-7"), pool, 4)
    with pytest.raises(BuildError, match="the same question as exam/anatomy-7"):
        protocol("lm_eval").fixed_exemplars(item("exam/anatomy-7", "dev 1?"), pool, 2)
    with pytest.raises(BuildError, match="not <subject>-<row>"):
        protocol("lm_eval").prompt(item("exam/7"))


def test_med42_scores_letter_and_text_in_a_chat() -> None:
    """The harness's question without `Answer:` is the user's turn."""
    asked = protocol("med42").prompt(item("medmcqa/1", options=("oak", "elm", "ash", "yew")))
    assert asked.turns == (("user", "Question: Which?\nChoices:\nA. oak\nB. elm\nC. ash\nD. yew"),)
    assert asked.options == ("A. oak", "B. elm", "C. ash", "D. yew")
    assert not asked.is_plain


def test_meditron_writes_its_prompt_and_its_limit() -> None:
    """A token without solved questions and nine with them; a question mark where none ends the question."""
    model = Recorder(lambda *_: 0.0, lambda *_: "B.")
    asked = item("medmcqa/1", "It is")
    rows = zero_shot.answered(model, [asked], zero_shot.ZeroShot(), protocol("meditron"), 1)
    pool = [item("medmcqa/x-dev-0", "One."), item("medmcqa/x-dev-1", "Two?", answer=2)]
    rows = rows.extend(few_shot.answered(model, [asked], pool, SHOWN, protocol("meditron", True), 1)[:1])
    assert rows["correct"].to_list() == [True, True]
    assert rows["scores"].to_list() == [[0, 1, 0, 0]] * 2
    assert [call[1].limit_tokens for call in model.written[:2]] == [1, 9]
    assert all(call[0].is_plain for call in model.written)
    alone, shown = (call[0].turns[0][1] for call in model.written[:2])
    listed = "\n\nOptions:\nA. a\nB. b\nC. c\nD. d\nThe answer is:"
    assert alone == f"{meditron.ENTRANCE}\nQuestion: It is?{listed}\n"
    assert shown.endswith(f"\n\nQuestion: It is?{listed}")
    assert f"Question: Two?{listed} C" in shown
    yes = replace(item("pubmedqa/1", "Is it?", ("yes", "no", "maybe")), context="One.\nTwo.")
    assert protocol("meditron").prompt(yes).turns[0][1] == f"{meditron.STATEMENT}\nOne.\nTwo.\nIs it?\nThe answer is:\n"


@pytest.mark.parametrize(
    ("text", "is_shown", "letter", "word"),
    [
        ("B", False, 1, None),
        ("(d) none", False, 3, None),
        ("b. and c", False, 1, None),
        ("E", False, None, None),
        ("The answer is B", False, None, None),
        ("### B", False, None, None),
        ("é B", False, 1, None),
        ("Yes.", False, None, 0),
        ("NONO", False, None, 1),
        ("no maybe", False, None, None),
        ("maybe", False, None, None),
        ("yes\n\nQuestion:", True, None, 0),
        ("yes\n\nQuestion:", False, None, None),
        ("C\n\nQuestion:", True, 2, None),
        ("A\n## C. why\nno", False, 2, None),
    ],
)
def test_meditron_reads_as_its_source(text: str, is_shown: bool, letter: int | None, word: int | None) -> None:
    """By the first character, or of PubMedQA by the whole; `maybe` is never read. Held against the source on 800,000 texts."""
    assert meditron.read(text, tuple("ABCD"), is_shown) == letter
    assert meditron.read(text, ("yes", "no", "maybe"), is_shown) == word


def test_what_a_source_does_not_say_is_refused_in_one_line() -> None:
    """A format without a known prompt, and strategies that would change the prompt."""
    on: dict[str, Any] = {"zero_shot": {}, "few_shot": {}}
    for name in PUBLISHED:
        with pytest.raises(BuildError, match=rf"{name} knows prompts of the formats .*, and benchmark.b is of jsonl"):
            check_published(["letter", name], {"a": "medmcqa", "b": "jsonl"}, {})
    check_published(["lm_eval", "meditron"], {"a": "pubmedqa", "b": "mmlu"}, on)
    check_published(["letter", "med42"], {"a": "mmlu"}, on | {"cot": {}})
    with pytest.raises(BuildError, match=r"med42 knows prompts of the formats medqa, medmcqa, mmlu, and benchmark.a"):
        check_published(["med42"], {"a": "pubmedqa"}, {})
    with pytest.raises(
        BuildError, match=r"strategies.few_shot: the protocol med42 has prompts of its own, for zero_shot;"
    ):
        check_published(["med42"], {"a": "mmlu"}, on)
    with pytest.raises(
        BuildError, match=r"strategies.cot: .* zero_shot, few_shot, knn_few_shot; set it to null, or name lm_eval"
    ):
        check_published(["lm_eval"], {"a": "mmlu"}, {"cot": {}})


def test_a_build_without_published_protocols_asks_what_it_asked() -> None:
    """The artifact holds neither formats nor a system prompt; with them it holds what the protocols go by."""
    evaluate, strategies = Evaluate(**PARAMS["evaluate"]), Strategies(**PARAMS["strategies"])
    benchmarks = {"b": Benchmark(path="p", format="jsonl"), "m": Benchmark(path="p", format="mmlu")}
    plain_one = asked_questions(benchmarks, evaluate, strategies, {})
    assert "formats" not in plain_one.model_dump()
    assert "system_prompt" not in plain_one.model_dump()["evaluate"]
    asked = evaluate.model_copy(update={"compared": ["lm_eval"], "system_prompt": "Be brief."})
    with pytest.raises(BuildError, match=r"benchmark.b is of jsonl"):
        asked_questions(benchmarks, asked, strategies, {})
    found = asked_questions({"m": benchmarks["m"]}, asked, strategies, {})
    assert found.model_dump()["formats"] == {"m": "mmlu"}
    assert found.model_dump()["evaluate"]["system_prompt"] == "Be brief."
    known = {one.name: one for one in protocols(found, "zero_shot")}
    headline = found.model_copy(update={"evaluate": evaluate.model_copy(update={"protocol": "meditron"})})
    assert [one.is_shown for one in protocols(headline, "few_shot")] == [True]
    assert {one.is_shown for one in protocols(headline, "zero_shot")} == {False}
    assert known["lm_eval"].formats == (("m", "mmlu"),)
    assert known[evaluate.protocol] == AnswerProtocol(evaluate.protocol, evaluate.list_options, "", 0)
