"""What judges are asked, what is kept of what they said, and what they are not asked."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError

from osler.build.section import BuildError
from osler.evaluation.asked_judges import identity_of, judged, refuse_leaving
from osler.evaluation.judgements import Known, Said, ask_local, frame_of, request_id, requests_of
from osler.evaluation.judges import Judge
from osler.evaluation.ratings import read_ratings
from osler.evaluation.rubrics import CRITERIA, CRITERIA_TYPE
from osler.inference.interface import Prompt, Sampling, Scored, Written
from osler.inference.judge_files import take_judge
from tests.support.tiny import NUMERICS, TEMPLATE, tiny_model, tiny_tokenizer

ITEMS = {
    "advice": pl.DataFrame(
        {
            "item_id": ["advice/1", "advice/2"],
            "instruction": ["", ""],
            "source": ["My ear hurts.", "Is aspirin safe?"],
            CRITERIA: [
                [
                    {"criterion": "Asks for fever", "points": 5.0, "tags": ["axis:context"]},
                    {"criterion": "Names a dose", "points": -3.0, "tags": []},
                ],
                [{"criterion": "Warns of bleeding", "points": 2.0, "tags": []}],
            ],
        },
        schema_overrides={CRITERIA: CRITERIA_TYPE},
    )
}


def texts_of(**models: Sequence[str]) -> pl.DataFrame:
    """Rows of GENERATIONS as far as they are read: a text of each model for each item."""
    rows = [
        {"task": "advice", "item_id": item, "group": item, "seed": 1, "model": model, "text": text}
        for model, texts in models.items()
        for item, text in zip(("advice/1", "advice/2"), texts, strict=True)
    ]
    return pl.DataFrame(rows)


def judge(**keys: Any) -> Judge:
    given = {"from": "base", "tasks": ["advice"], "reading": "written", "limit_tokens": 20}
    return Judge.model_validate({key: value for key, value in (given | keys).items() if value is not None})


class Scripted:
    """Says what `says` makes of a prompt's text; counts what it is asked."""

    def __init__(self, says: Mapping[str, str], otherwise: str = '{"met": false}', breaks_after: int = 1 << 30) -> None:
        self.says, self.otherwise, self.left = says, otherwise, breaks_after
        self.asked: list[str] = []

    def texts(self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[int]) -> list[Written]:
        assert sampling.temperature == 0
        assert not any(seeds)
        found = []
        for prompt in prompts:
            if not self.left:
                raise BuildError("the judge broke")
            self.left -= 1
            text = prompt.turns[0][1]
            self.asked.append(text)
            said = next((said for part, said in self.says.items() if part in text), self.otherwise)
            found.append(Written(said, 7, 90, truncated="TOO LONG" in text))
        return found

    def likelihoods(self, prompts: Sequence[Prompt]) -> list[Scored]:
        self.asked += [prompt.turns[0][1] for prompt in prompts]
        return [Scored((-1.0, -2.0), (1, 1), 90, truncated=False) for _ in prompts]

    def embeddings(self, texts: Sequence[str]) -> Any:
        raise AssertionError(f"no judge embeds {texts}")


def run(section: Judge, written: pl.DataFrame, model: Scripted, notes: Path) -> pl.DataFrame:
    """All judgements, by what `judged` does but for loading."""
    requests = requests_of("reader", section, ITEMS, written)
    ids = [None if each.prompt is None else request_id({"who": "scripted"}, each.prompt) for each in requests]
    known = Known(notes)
    wanted = {
        name: r.prompt for name, r in zip(ids, requests, strict=True) if name and r.prompt and not known.get(name)
    }
    ask_local(model, wanted, section, known.keep)
    return frame_of(requests, ids, known)


def test_each_text_meets_each_criterion_or_not(tmp_path: Path) -> None:
    """A row for each text and criterion, of the models asked for, in order; what cannot be read is a row without verdict."""
    written = texts_of(a=["fever?", "yes"], b=["TOO LONG", "it may make you bleed"])
    model = Scripted({"Asks for fever": '{"met": true}', "Warns of bleeding": "I cannot say"})
    found = run(judge(), written, model, tmp_path / "notes.jsonl")
    rows = found.select("model", "item_id", "criterion", "points", "verdict", "truncated").rows()
    assert rows == [
        ("a", "advice/1", 0, 5.0, "met", False),
        ("a", "advice/1", 1, -3.0, "unmet", False),
        ("b", "advice/1", 0, 5.0, None, True),  # it had not read the whole
        ("b", "advice/1", 1, -3.0, None, True),
        ("a", "advice/2", 0, 2.0, None, False),
        ("b", "advice/2", 0, 2.0, None, False),
    ]
    assert found["tags"][0].to_list() == ["axis:context"]
    only = run(judge(models=["a"]), written, model, tmp_path / "notes.jsonl")
    assert set(only["model"]) == {"a"}
    assert len(model.asked) == 6  # nothing again


def test_pairs_are_shown_in_both_orders_and_equal_texts_to_nobody(tmp_path: Path) -> None:
    written = texts_of(a=["one", "same"], b=["two", "same"])
    model = Scripted({"<answer A>\ntwo": '{"better": "A"}'}, '{"better": "B"}')
    section = judge(pairs=[("a", "b")], models=["none"])
    found = run(section, written, model, tmp_path / "notes.jsonl")
    assert found.select("item_id", "turned", "verdict").rows() == [
        ("advice/1", False, "second"),
        ("advice/1", True, "first"),
        ("advice/2", False, "same"),
        ("advice/2", True, "same"),
    ]
    assert len(model.asked) == 2
    assert found["key"].n_unique() == 3  # each order is a judgement of its own; of equal texts both are the same
    with pytest.raises(BuildError, match=r"judge.reader.pairs: c: has written nothing; name a model that is evaluated"):
        requests_of("reader", judge(pairs=[("a", "c")]), ITEMS, written)


def test_what_was_said_is_not_asked_again(tmp_path: Path) -> None:
    """Of a run that broke what was said is kept, half a line is not; then a model more costs its own judgements alone."""
    notes = tmp_path / "notes.jsonl"
    written = texts_of(a=["fever?", "yes"])
    with pytest.raises(BuildError, match="broke"):
        run(judge(), written, Scripted({}, breaks_after=2), notes)
    assert not notes.exists()  # one part of AT_ONCE: nothing of it had come
    first = Scripted({})
    whole = run(judge(), written, first, notes)
    lines = notes.read_text().splitlines()
    assert len(lines) == 3
    notes.write_text("\n".join([*lines[:1], lines[1][:20]]))
    again = Scripted({})
    assert run(judge(), written, again, notes).equals(whole)
    assert len(again.asked) == 2  # the half line, and the one that is gone
    assert run(judge(), written, again, notes).equals(whole)
    assert len(again.asked) == 2  # what was written after the half line is whole
    more = Scripted({})
    found = run(judge(), pl.concat([written, texts_of(b=["?", "!"])]), more, notes)
    assert len(more.asked) == 3  # those of b
    assert found.filter(model="a").equals(whole)


def test_another_wording_judge_or_reading_is_another_question() -> None:
    """An id is everything an answer depends on; a key is what was judged alone."""
    written = texts_of(a=["x", "y"])
    written_, read = (
        requests_of("reader", judge(reading=reading), ITEMS, written) for reading in ("written", "likelihood")
    )
    assert [one.columns["key"] for one in written_] == [one.columns["key"] for one in read]
    ids = {request_id({"who": who}, one.prompt) for who in "ab" for one in (*written_, *read) if one.prompt}
    assert len(ids) == 2 * 2 * len(read)


def test_a_served_judge_that_draws_is_another_judge(tmp_path: Path) -> None:
    served = {"from": None, "address": "URL", "served_model": "m"}
    drawn, greedy = (
        identity_of(judge(**served, own_temperature=own), tmp_path, TEMPLATE, NUMERICS) for own in (True, False)
    )
    assert drawn == greedy | {"own_temperature": True}


def test_likelihoods_give_a_verdict_to_each(tmp_path: Path) -> None:
    found = run(judge(reading="likelihood"), texts_of(a=["x", "y"]), Scripted({}), tmp_path / "notes.jsonl")
    assert set(found["verdict"]) == {"met"}
    assert found["probability"].round(6).unique().to_list() == [0.731059]
    assert set(found["text"]) == {""}


def test_a_limit_takes_the_same_items_of_all_models() -> None:
    written = texts_of(a=["x", "y"], b=["u", "v"])
    asked = requests_of("reader", judge(limit_items=1), ITEMS, written)
    assert len({one.columns["item_id"] for one in asked}) == 1
    assert {one.columns["model"] for one in asked} == {"a", "b"}


def test_nothing_to_judge_is_an_error() -> None:
    plain = {"advice": ITEMS["advice"].drop(CRITERIA)}
    with pytest.raises(BuildError, match=r"judge.reader.tasks: advice: nothing to judge; give it `criteria`"):
        requests_of("reader", judge(), plain, texts_of(a=["x", "y"]))


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"from": None}, "needs one of `repository`, `folder`, `from` and `address`"),
        ({"folder": "x", "digest": "0" * 32}, "needs one of"),
        ({"jobs": 2}, "`jobs` goes with `address`"),
        ({"pairs": [("a", "b"), ("b", "a")]}, "stand there twice; keep one"),
        ({"from": None, "repository": "a/b"}, "`repository` needs `revision` and `files` beside it"),
        ({"from": None, "address": "JUDGE"}, "`address` needs `served_model` beside it"),
        ({"key": "JUDGE_KEY"}, "`key` goes with `address`"),
        (
            {"from": None, "address": "JUDGE", "served_model": "m", "reading": "likelihood"},
            "an address gives no likelihoods",
        ),
        ({"from": None, "address": "https://host/v1", "served_model": "m"}, "String should match pattern"),
        ({"own_temperature": True}, "`own_temperature` goes with `address`"),
        ({"vllm": "1", "reading": "likelihood"}, "`vllm` is for a judge of its own folder that writes"),
        ({"pairs": [("a", "a")]}, "`pairs`: a beside itself"),
    ],
)
def test_a_judge_is_named_and_pinned(keys: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as caught:
        judge(**keys)
    assert says in str(caught.value)


def test_texts_of_patients_go_to_no_address() -> None:
    """Nor does a folder that holds the screened file, or lies in it. A judge that runs here reads all."""
    away = judge(**{"from": None, "address": "JUDGE", "served_model": "m"})
    for path in ("notes/mtsamples.csv", "notes", "notes/mtsamples.csv/part", "./notes/../notes/mtsamples.csv"):
        with pytest.raises(
            BuildError, match=r"judge.far.tasks: advice: its texts would be sent.*source.notes screens the same"
        ):
            refuse_leaving("far", away, {"advice": path}, {"notes": "notes/mtsamples.csv"})
        refuse_leaving("near", judge(), {"advice": path}, {"notes": "notes/mtsamples.csv"})
    refuse_leaving("far", away, {"advice": "advice/questions.jsonl"}, {"notes": "notes/mtsamples.csv"})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("key,rater\nk,anna\n", "no column verdict; it needs key, rater, verdict"),
        (
            "key,rater,verdict\nk,anna,good\n",
            "line 2: 'good' is no verdict here; write one of first, met, second, tie, unmet",
        ),
        ("key,rater,verdict\nk,anna,met\nk,,met\n", "line 3: a verdict without rater"),
        ("key,rater,verdict\nk,anna,met\nk,anna,unmet\n", "anna has two verdicts of k; keep one"),
        ("", "a CSV of key, rater, verdict is read"),
    ],
)
def test_ratings_that_cannot_be_read_are_told(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "ratings.csv"
    path.write_text(text)
    with pytest.raises(BuildError) as caught:
        read_ratings(path)
    assert says in str(caught.value)


def test_ratings_without_verdict_are_not_yet_there(tmp_path: Path) -> None:
    path = tmp_path / "ratings.csv"
    path.write_text("key,note,rater,verdict\nk,?,anna, met \nl,,anna,\n")
    assert read_ratings(path).rows() == [("k", "anna", "met")]


def test_a_judge_of_the_build_is_loaded_and_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real model: verdicts by likelihood and in writing, the second time from what is known."""
    monkeypatch.chdir(tmp_path)
    tokenizer = tiny_tokenizer()
    tiny_model(len(tokenizer), positions=2048).save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    (tmp_path / "base/seeds/2").mkdir(parents=True)
    (tmp_path / "base/seeds/2/model.safetensors").write_bytes(b"another")
    take_judge("judge.reader", None, tmp_path / "base", tmp_path / "judges/reader")
    facts = json.loads((tmp_path / "judges/reader/judge.json").read_text())
    assert facts["from"] == "base"
    assert "model.safetensors" in facts["files"]
    assert not [name for name in facts["files"] if name.startswith("seeds/")]
    for reading in ("likelihood", "written"):
        section = judge(reading=reading, limit_tokens=4)
        args = (ITEMS, texts_of(a=["x", "y"]), TEMPLATE, NUMERICS)
        found = judged("reader", section, tmp_path / "judges/reader", *args)
        assert found.height == 3
        assert found["id"].null_count() == 0
        assert all(tokens > 20 for tokens in found["prompt_tokens"])
        again = judged("reader", section, tmp_path / "judges/reader", *args)
        assert again.equals(found)
    assert len((tmp_path / "scratch/judgements/reader.jsonl").read_text().splitlines()) == 6


def test_said_goes_through_a_note_and_back(tmp_path: Path) -> None:
    said = Said('é "quoted"\nline', (-1.25, -2.5), (1, 3), "model-1", 10, 2, truncated=False)
    Known(tmp_path / "notes.jsonl").keep({"x": said})
    assert Known(tmp_path / "notes.jsonl").get("x") == said
