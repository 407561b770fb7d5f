"""The stage reuses what did not change, and gives the same bytes whether it reuses or computes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from osler.build.files import read_json, write_json
from osler.build.fingerprint import fingerprint
from osler.build.section import BuildError
from osler.evaluation.exemplars import EXEMPLARS
from osler.evaluation.settings import Evaluate, Questions, Strategies
from osler.evaluation.strategies.cot import ChainOfThought
from osler.evaluation.strategies.few_shot import FewShot
from osler.evaluation.strategies.medprompt import Medprompt
from osler.evaluation.strategies.zero_shot import ZeroShot
from osler.evaluation.tasks import TASKS, Task
from osler.inference.text_encoder import TextEncoder
from stages import evaluate
from tests.support.tiny import NUMERICS, TEMPLATE, TEXTS, tiny_encoder, tiny_model, tiny_tokenizer

SETTINGS = Evaluate(
    protocol="full_answer",
    compared=["letter"],
    list_options=False,
    generation_instruction="",
    generation_limit_tokens=4,
    vllm=None,
    batch_tokens=512,
    window_tokens=32,
)
ALL: dict[str, Any] = {"limit_items": None, "models": None, "seeds": "first"}
CHAIN: dict[str, Any] = {"instruction": "Think.", "answer_lead": "So it is", "limit_tokens": 4} | ALL
STRATEGIES = Strategies(
    zero_shot=ZeroShot(**ALL),
    few_shot=FewShot(shots=2, draws=2, **ALL),
    knn_few_shot=None,
    cot=ChainOfThought(**CHAIN),
    self_consistency=None,
    choice_shuffle=None,
    medprompt=Medprompt(shots=1, ensemble=2, combine="probabilities", limit_pool_items=None, **CHAIN),
    expand_guess_refine=None,
)
Run = Callable[..., str]


def items(benchmark: str, test: int, dev: int) -> pl.DataFrame:
    return pl.DataFrame(
        [
            {
                "item_id": f"{benchmark}/{split}{number}",
                "benchmark": benchmark,
                "group": f"g{number // 2}",
                "split": split,
                "question": f"What treats the {split} itch {number} of {benchmark}?",
                "context": "",
                "options": ["fern tea", "honey wrap", "acorn swab"],
                "answer": number % 3,
            }
            for split, count in (("test", test), ("dev", dev))
            for number in range(count)
        ]
    )


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the stage in a folder of its own, with changes to its arguments, and returns what it printed."""
    monkeypatch.chdir(tmp_path)
    tokenizer = tiny_tokenizer()
    tiny_model(len(tokenizer)).save_pretrained(tmp_path / "model")
    tokenizer.chat_template = None
    tokenizer.save_pretrained(tmp_path / "model")
    (tmp_path / "template.jinja").write_text(TEMPLATE)
    for name in ("items", "heldout", "encoders"):
        (tmp_path / name).mkdir()
    items("b", test=7, dev=4).write_parquet(tmp_path / "items/b.parquet")
    for domain in ("clinical", "general"):
        rows = [{"doc_id": f"{domain}/{n}", "source": "s", "text": text} for n, text in enumerate(TEXTS)]
        pl.DataFrame(rows).write_parquet(tmp_path / f"heldout/{domain}.parquet")

    def run(**changes: object) -> str:
        arguments = {
            "model": tmp_path / "model",
            "encoders": tmp_path / "encoders",
            "heldout": tmp_path / "heldout",
            "items": tmp_path / "items",
            "predictions": tmp_path / "out",
            "questions": tmp_path / "questions.json",
            "template": tmp_path / "template.jinja",
            "jobs": 1,
            "numerics": NUMERICS,
            "seeds": (1,),
            "name": "base",
        }
        asked: dict[str, object] = {
            "benchmarks": sorted(path.stem for path in (tmp_path / "items").glob("*.parquet")),
            "evaluate": SETTINGS,
            "strategies": STRATEGIES,
            "task": {},
            "formats": {},
        }
        asked |= {name: changes.pop(name) for name in asked.keys() & changes.keys()}
        write_json(tmp_path / "questions.json", Questions.model_validate(asked).model_dump(mode="json"))
        capsys.readouterr()
        evaluate.main(**arguments | changes)  # type: ignore[arg-type]
        return capsys.readouterr().out

    return run


LINES = {
    "zero_shot (full_answer)": "7 items",
    "zero_shot (letter)": "7 items",
    "few_shot (full_answer)": "7 items",
    "cot (full_answer)": "7 items",
    "medprompt exemplars": "4 exemplars",
    "medprompt (full_answer)": "7 items",
    "heldout": "6 documents",
}


def lines(*computed: str, without: str | None = None) -> str:
    """What is printed when the entries whose names begin so are computed and all others are reused."""
    return "".join(
        f"{name.replace(' exemplars', ' (full_answer)')}: {'computed' if name.startswith(computed) else 'reused'} {count}\n"
        for name, count in LINES.items()
        if without is None or not name.startswith(without)
    )


EVERYTHING = lines("")
ANSWERS = tuple(name for name in LINES if name != "heldout")


def changed(settings: Evaluate | Strategies, **values: object) -> Evaluate | Strategies:
    return settings.model_copy(update=values)


def settings_of(name: str, **values: object) -> Strategies:
    """STRATEGIES with another value in one section."""
    return STRATEGIES.model_copy(update={name: getattr(STRATEGIES, name).model_copy(update=values)})


def test_a_second_run_computes_nothing_and_writes_the_same_bytes(build: Run, tmp_path: Path) -> None:
    """Everything comes from the store; without the store everything is computed again; the files do not differ."""
    assert build() == EVERYTHING
    first = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert sorted(first) == [
        *(
            "exemplars.parquet",
            "experts.parquet",
            "generations.parquet",
            "heldout.parquet",
            "model.json",
            "predictions.parquet",
        )
    ]
    assert pl.read_parquet(tmp_path / "out/experts.parquet").is_empty()
    facts = json.loads(first["model.json"])
    rest = {"files": facts["files"], "provenance": {}, "encoders": {}, "seeds": [1], "vllm": None, "beside": []}
    assert facts == {"continued_tokens": None, "protocol": "full_answer"} | rest
    assert build() == lines()
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == first
    (tmp_path / "scratch").rename(tmp_path / "away")
    assert build() == EVERYTHING
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == first


def test_a_changed_strategy_is_the_only_one_computed(build: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its settings or its code recompute a strategy alone; whom it asks, or turning it off, computes nothing."""
    build()
    assert build(strategies=settings_of("few_shot", shots=1)) == lines("few_shot")
    assert build(strategies=settings_of("cot", limit_tokens=3)) == lines("cot")
    assert build(strategies=settings_of("medprompt", combine="votes")) == lines("medprompt")
    assert build(strategies=settings_of("medprompt", models=["base"], limit_items=7)) == lines()
    assert build(strategies=settings_of("medprompt", models=["cpt"])) == lines(without="medprompt")
    assert build(strategies=changed(STRATEGIES, medprompt=None)) == lines(without="medprompt")
    known = fingerprint
    monkeypatch.setattr(
        "osler.evaluation.answered.fingerprint",
        lambda path, *rest, **named: known(path, *rest, **named) + "x" * (path.stem == "cot"),
    )
    assert build() == lines("cot")


def test_what_each_setting_recomputes(build: Run, tmp_path: Path) -> None:
    """The window only the held-out documents, how text is generated only what is read so, the seed all answers but no
    exemplars, the chat template all answers and exemplars, the model's files everything."""
    build()
    assert build(evaluate=changed(SETTINGS, window_tokens=16)) == lines("heldout")
    assert build(evaluate=changed(SETTINGS, generation_limit_tokens=3)) == lines()
    assert build(evaluate=changed(SETTINGS, compared=[])) == lines(without="zero_shot (letter)")
    assert build(seeds=(2,)) == lines(*(name for name in ANSWERS if "exemplars" not in name))
    build(seeds=(1,))
    (tmp_path / "template.jinja").write_text(TEMPLATE.replace("Question:", "Q:"))
    assert build() == lines(*ANSWERS)
    config = json.loads((tmp_path / "model/config.json").read_text())
    (tmp_path / "model/config.json").write_text(json.dumps(config | {"rms_norm_eps": 1e-5}))
    assert build() == EVERYTHING


def test_other_exemplars_recompute_what_shows_them(build: Run, tmp_path: Path) -> None:
    """One more dev item recomputes the strategies with exemplars, not the others; one more test item no exemplars."""
    build()
    items("b", test=7, dev=5).write_parquet(tmp_path / "items/b.parquet")
    assert build() == lines("few_shot", "medprompt").replace("4 exemplars", "5 exemplars")
    items("b", test=8, dev=5).write_parquet(tmp_path / "items/b.parquet")
    found = build()
    assert "medprompt (full_answer): reused 5 exemplars\nmedprompt (full_answer): computed 8 items\n" in found


def test_another_benchmark_leaves_the_first_as_it_is(build: Run, tmp_path: Path) -> None:
    """Only the items of the new benchmark are computed; the old rows do not change."""
    build()
    before = {name: pl.read_parquet(tmp_path / f"out/{name}.parquet") for name in ("predictions", "exemplars")}
    items("c", test=3, dev=4).write_parquet(tmp_path / "items/c.parquet")
    found = build()
    assert "cot (full_answer): computed 3 items\ncot (full_answer): reused 7 items\n" in found
    assert "medprompt (full_answer): computed 4 exemplars\nmedprompt (full_answer): reused 4 exemplars\n" in found
    for name, rows in before.items():
        after = pl.read_parquet(tmp_path / f"out/{name}.parquet")
        assert after.filter(pl.col("benchmark") == "b").equals(rows)
        assert after.height > rows.height


def test_the_frames_are_as_agreed(build: Run, tmp_path: Path) -> None:
    """Columns, order and meaning: a score for each option, the best of them predicted, rows by strategy, protocol, draw
    and item."""
    build(name="cpt-sft", seeds=(4,))
    rows = pl.read_parquet(tmp_path / "out/predictions.parquet")
    assert rows.columns == [
        *("item_id", "benchmark", "group", "strategy", "protocol", "model", "seed", "draw"),
        *("prediction", "gold", "correct", "scores", "prompt_tokens", "generated_tokens", "truncated", "texts"),
    ]
    assert rows.equals(rows.sort("strategy", "protocol", "draw", "item_id"))
    assert rows.group_by("strategy", "protocol").len().sort("strategy", "protocol").rows() == [
        *(("cot", "full_answer", 7), ("few_shot", "full_answer", 14), ("medprompt", "full_answer", 7)),
        *(("zero_shot", "full_answer", 7), ("zero_shot", "letter", 7)),
    ]
    assert set(rows["model"]) == {"cpt-sft"}
    assert set(rows["seed"]) == {4}
    for row in rows.iter_rows(named=True):
        assert row["scores"][row["prediction"]] == max(row["scores"])
        assert row["correct"] == (row["prediction"] == row["gold"])
        assert (row["generated_tokens"] > 0) == (row["strategy"] in ("cot", "medprompt"))
        assert len(row["texts"]) == {"cot": 1, "medprompt": 2}.get(row["strategy"], 0)
    heldout = pl.read_parquet(tmp_path / "out/heldout.parquet")
    assert heldout.columns == ["doc_id", "domain", "source", "model", "seed", "bits", "bytes", "tokens"]
    assert heldout["domain"].to_list() == ["clinical"] * 3 + ["general"] * 3


def test_published_protocols_answer_as_others_do(build: Run, tmp_path: Path) -> None:
    """Under their names, with solved questions too; a system prompt changes what is asked in chats, and no plain prompt."""
    settings = changed(SETTINGS, protocol="lm_eval", compared=["letter", "med42", "meditron"])
    asked = {
        "strategies": Strategies(zero_shot=STRATEGIES.zero_shot, few_shot=STRATEGIES.few_shot),
        "formats": {"b": "medmcqa"},
    }
    build(evaluate=settings, **asked)
    rows = pl.read_parquet(tmp_path / "out/predictions.parquet")
    assert rows.group_by("strategy", "protocol").len().sort("strategy", "protocol").rows() == [
        *(("few_shot", "lm_eval", 14), ("zero_shot", "letter", 7), ("zero_shot", "lm_eval", 7)),
        *(("zero_shot", "med42", 7), ("zero_shot", "meditron", 7)),
    ]
    assert set(rows.filter(pl.col("generated_tokens") > 0)["protocol"]) == {"meditron"}
    told = build(evaluate=changed(settings, system_prompt="Twice a day."), **asked)
    assert "reused" not in told.replace("heldout: reused", "")
    other = pl.read_parquet(tmp_path / "out/predictions.parquet")
    for protocol, same in (("lm_eval", True), ("meditron", True), ("letter", False), ("med42", False)):
        before, after = (one.filter(protocol=protocol) for one in (rows, other))
        assert before["scores"].equals(after["scores"]) is same
        assert before["prompt_tokens"].equals(after["prompt_tokens"]) is same


def test_exemplars_stand_beside_the_predictions(build: Run, tmp_path: Path) -> None:
    """A row for each dev item that medprompt has prepared: its chain, whether it reached the answer, its embedding."""
    build()
    rows = pl.read_parquet(tmp_path / "out/exemplars.parquet")
    assert rows.columns == ["strategy", "benchmark", "model", "item_id", *list(EXEMPLARS)[1:]]
    assert rows["item_id"].to_list() == [f"b/dev{number}" for number in range(4)]
    assert set(rows["strategy"]) == {"medprompt"}
    assert rows["chain"].null_count() == rows["reached_gold"].null_count() == 0
    assert rows["embedding"].list.len().to_list() == [32] * 4
    assert (rows["generated_tokens"] > 0).all()
    build(strategies=changed(STRATEGIES, medprompt=None))
    assert pl.read_parquet(tmp_path / "out/exemplars.parquet").is_empty()


def test_options_listed_or_not_is_a_different_measurement(build: Run, tmp_path: Path) -> None:
    """The prompt with options is longer, and everything but the held-out documents is computed for it."""
    build()
    short = pl.read_parquet(tmp_path / "out/predictions.parquet").filter(strategy="zero_shot", protocol="full_answer")
    assert build(evaluate=changed(SETTINGS, list_options=True)) == lines(*ANSWERS)
    long = pl.read_parquet(tmp_path / "out/predictions.parquet").filter(strategy="zero_shot", protocol="full_answer")
    assert (long["prompt_tokens"] > short["prompt_tokens"]).all()


def test_nothing_to_answer_is_an_error(build: Run, tmp_path: Path) -> None:
    """No test item, or no strategy, is said in one line rather than written as an empty result."""
    off = Strategies(**dict.fromkeys(Strategies.model_fields))
    with pytest.raises(BuildError, match="strategies: none asks base"):
        build(strategies=off)
    items("b", test=0, dev=4).write_parquet(tmp_path / "items/b.parquet")
    with pytest.raises(BuildError, match="no benchmark item has the split `test`"):
        build()


def test_scores_that_are_not_finite_are_an_error(build: Run, tmp_path: Path) -> None:
    """A diverged model has no accuracy."""
    model = tiny_model(len(tiny_tokenizer()))
    model.model.norm.weight.data[:] = float("nan")
    model.save_pretrained(tmp_path / "model")
    with pytest.raises(BuildError, match="not finite"):
        build()


def test_a_cut_prompt_is_refused_where_that_is_asked(
    build: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With solved questions longer than the model reads: said with an item and taken, or one line and no result; also of what is
    stored already. No weights are read before it is refused."""
    positions = read_json(tmp_path / "model/config.json")["max_position_embeddings"]
    long = items("b", test=2, dev=0).with_columns(context=pl.lit("fern tea " * positions))
    long.write_parquet(tmp_path / "items/b.parquet")
    alone = Strategies(zero_shot=ZeroShot(**ALL))
    strict = SETTINGS.model_copy(update={"refuse_cut": True})
    refused = r"^base: 2 of 2 prompts of zero_shot are longer than the model reads, such as that of b/test0;"
    with monkeypatch.context() as patch:
        patch.setattr("osler.inference.torch_backend.frozen_model", None)
        with pytest.raises(BuildError, match=refused):
            build(strategies=alone, evaluate=strict)
    assert "computed 2 items" in build(strategies=alone)
    assert pl.read_parquet(tmp_path / "out/predictions.parquet")["truncated"].all()
    with pytest.raises(BuildError, match=refused):
        build(strategies=alone, evaluate=strict)
    items("b", test=2, dev=0).write_parquet(tmp_path / "items/b.parquet")
    build(strategies=alone, evaluate=strict)


def test_the_experts_of_a_mixture_are_measured_once(build: Run, tmp_path: Path) -> None:
    """Two domains, two layers, three experts: twelve rows, the second time without loading the model."""
    tokenizer = tiny_tokenizer()
    tiny_model(len(tokenizer), experts=3).save_pretrained(tmp_path / "model")
    build()
    loads = pl.read_parquet(tmp_path / "out/experts.parquet")
    assert loads.height == 2 * 2 * 3
    assert loads.group_by("domain", "layer").agg(pl.col("tokens").sum())["tokens"].n_unique() == 1
    assert loads["model"].unique().to_list() == ["base"]
    assert build() == lines()
    assert pl.read_parquet(tmp_path / "out/experts.parquet").equals(loads)


def test_an_encoder_embeds_in_place_of_the_model(build: Run, tmp_path: Path) -> None:
    """Only what looks at near questions is computed again, also for another encoder."""
    build()
    own = pl.read_parquet(tmp_path / "out/exemplars.parquet")["embedding"].to_list()
    for layer in (None, 1):
        folder = tmp_path / "encoders/embeddings"
        tiny_encoder(folder)
        write_json(folder / "encoder.json", {"pooling": "mean", "layer": layer})
        assert build() == lines("medprompt")
    dev = pl.read_parquet(tmp_path / "items/b.parquet").filter(pl.col("split") == "dev").sort("item_id")["question"]
    found = pl.read_parquet(tmp_path / "out/exemplars.parquet")["embedding"].to_list()
    assert found != own
    assert np.allclose(found, TextEncoder(folder, SETTINGS.batch_tokens, NUMERICS).embeddings(dev.to_list()), atol=1e-5)
    assert read_json(tmp_path / "out/model.json")["encoders"] == {"embeddings": {"pooling": "mean", "layer": 1}}


def test_bertscore_of_tasks_with_texts(build: Run, tmp_path: Path) -> None:
    """A score for each item of a metric that compares texts; from the store while encoder, texts and targets are the same."""
    (tmp_path / "items/tasks").mkdir()
    values: dict[str, Any] = {
        "path": "t.jsonl",
        "format": "jsonl",
        "split": None,
        "id": None,
        "group": None,
        "split_field": None,
    }
    values |= {"source": "{a}", "target": "{b}", "instruction": "", "limit_tokens": 4, "limit_items": None}
    tasks = {
        name: Task.model_validate(values | {"metric": metric, "labels": None, "separator": None})
        for name, metric in (("notes", "text"), ("words", "label"))
    }
    for name in tasks:
        row = {"task": name, "split": "test", "instruction": "", "target": "fern tea"}
        rows = [row | {"item_id": f"{name}/{n}", "group": f"{n}", "source": text} for n, text in enumerate(TEXTS)]
        pl.DataFrame(rows, schema=TASKS).write_parquet(tmp_path / f"items/tasks/{name}.parquet")
    changes = {"task": tasks, "benchmarks": ["b"]}
    build(**changes)
    without = pl.read_parquet(tmp_path / "out/generations.parquet")
    assert without["bertscore_f1"].null_count() == 6
    folder = tmp_path / "encoders/bertscore"
    tiny_encoder(folder)
    write_json(folder / "encoder.json", {"pooling": "mean", "layer": 1})
    assert build(**changes) == lines() + "tasks: reused 6 items\n"
    found = pl.read_parquet(tmp_path / "out/generations.parquet")
    notes = found.filter(task="notes")
    pairs = (notes["text"].to_list(), notes["target"].to_list())
    encoder = TextEncoder(folder, SETTINGS.batch_tokens, NUMERICS)
    columns = {"bertscore_f1": "f1", "bertscore_precision": "precision", "bertscore_recall": "recall"}
    for column, kind in (columns | {"bertscore_shuffled": "shuffled"}).items():
        expected = [getattr(one, kind) for one in encoder.bert_scores(*pairs)]
        assert found[column].to_list() == [*expected, None, None, None]
    others = [name for name in found.columns if not name.startswith("bertscore_")]
    assert found.select(others).equals(without.select(others))
    stored = {path: path.stat().st_mtime_ns for path in Path("scratch").rglob("*.parquet")}
    build(**changes)
    assert {path: path.stat().st_mtime_ns for path in Path("scratch").rglob("*.parquet")} == stored
    write_json(folder / "encoder.json", {"pooling": "mean", "layer": None})
    build(**changes)
    other = pl.read_parquet(tmp_path / "out/generations.parquet")["bertscore_f1"].to_list()
    encoder = TextEncoder(folder, SETTINGS.batch_tokens, NUMERICS)
    assert other[:3] == [one.f1 for one in encoder.bert_scores(*pairs)] != found["bertscore_f1"].to_list()[:3]


def test_every_seed_is_asked_zero_shot_and_the_first_all_else(build: Run, tmp_path: Path) -> None:
    """Each seed's own model answers; strategies ask others only by `seeds: all`; the same items under every seed."""
    tokenizer = tiny_tokenizer()
    model = tiny_model(len(tokenizer))
    model.lm_head.weight.data.neg_()
    model.save_pretrained(tmp_path / "model/seeds/2")
    tokenizer.save_pretrained(tmp_path / "model/seeds/2")
    for seed, folder in ((1, tmp_path / "model"), (2, tmp_path / "model/seeds/2")):
        write_json(folder / "provenance.json", {"settings": {"seed": seed}})
    asked = STRATEGIES.model_copy(update={"zero_shot": ZeroShot(seeds="all", limit_items=5)})
    printed = build(strategies=asked, seeds=(1, 2, 3))  # the model has no third one
    assert "seed 2: zero_shot (full_answer): computed 5 items\nseed 2: heldout: computed 6 documents\n" in printed
    rows = pl.read_parquet(tmp_path / "out/predictions.parquet")
    kinds = rows.group_by("seed").agg(pl.struct("strategy", "protocol").unique().len()).sort("seed")
    assert kinds.rows() == [(1, 5), (2, 1)]
    zero_shot = rows.filter(strategy="zero_shot", protocol="full_answer")
    first, second = (zero_shot.filter(seed=seed).sort("item_id") for seed in (1, 2))
    assert first["item_id"].to_list() == second["item_id"].to_list()
    assert first["scores"].to_list() != second["scores"].to_list()
    heldout = pl.read_parquet(tmp_path / "out/heldout.parquet")
    assert heldout.group_by("seed").len().sort("seed").rows() == [(1, 6), (2, 6)]
    assert json.loads((tmp_path / "out/model.json").read_text())["seeds"] == [1, 2]
    again = build(strategies=asked, seeds=(1, 2))
    assert "computed" not in again
    assert again.count("seed 2: ") == 2
    assert pl.read_parquet(tmp_path / "out/predictions.parquet").equals(rows)


def test_a_model_that_no_seed_trained_answers_under_each(build: Run, tmp_path: Path) -> None:
    """So that what was trained from it is paired with it seed by seed; nothing that is greedy differs."""
    asked = STRATEGIES.model_copy(update={"zero_shot": ZeroShot(seeds="all")})
    build(strategies=asked, seeds=(1, 2))
    rows = pl.read_parquet(tmp_path / "out/predictions.parquet").filter(strategy="zero_shot", protocol="full_answer")
    first, second = (rows.filter(seed=seed).drop("seed").sort("item_id") for seed in (1, 2))
    assert first.equals(second)
    assert first.height == 7
