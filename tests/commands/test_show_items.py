"""`osler show items`, on predictions that are written here."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from osler.build.artifacts import Artifacts
from osler.build.files import write_json, write_parquet
from osler.build.pipeline import Declaration
from osler.build.section import BuildError
from osler.commands import show_items
from osler.commands.show_items import Wanted, refuse_patients, shown, with_before
from osler.evaluation.questions import PREDICTIONS
from tests.support.params import PARAMS
from tests.support.tiny import TEMPLATE, tiny_tokenizer

OUTS = {
    "benchmarks@q": ("data/items/q.parquet",),
    "questions": ("data/questions.json", "models/encoders"),
    "template": ("data/template.jinja",),
    "tokenizer": ("models/tokenizer",),
    "evaluate@base": ("results/predictions/base",),
    "evaluate@cpt": ("results/predictions/cpt",),
}
SECTIONS: dict[str, Any] = {
    "benchmark": {"q": {"path": "quiz/a.jsonl", "format": "jsonl"}},
    "source": {"notes": {"path": "notes"}},
}


def row(number: int, choice: int, strategy: str = "zero_shot", **changes: Any) -> dict[str, Any]:
    """An answer: A, or B, where A is right."""
    values = {"item_id": f"q/{number}", "benchmark": "q", "group": f"q/{number}", "protocol": "full_answer", "seed": 1}
    scores = [-1.0, -3.0] if choice == 0 else [-3.0, -1.0]
    values |= {"draw": 0, "prediction": choice, "gold": 0, "correct": choice == 0, "scores": scores, "prompt_tokens": 5}
    return values | {"generated_tokens": 0, "truncated": False, "texts": [], "strategy": strategy} | changes


def write_answers(root: Path, model: str, rows: list[dict[str, Any]]) -> None:
    """The file of a model."""
    schema = pl.Schema([*PREDICTIONS.items(), ("strategy", pl.String())])
    frame = pl.DataFrame(rows, schema=schema).with_columns(model=pl.lit(model))
    write_parquet(root / f"results/predictions/{model}/predictions.parquet", frame)
    write_json(root / f"results/predictions/{model}/model.json", {"protocol": "full_answer"})


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    """Four questions; cpt has the second wrong, base the second and third."""
    texts = ["what treats an itch", "what treats a cough", "which test is a film", "how often is tea given"]
    values = {"item_id": [f"q/{number}" for number in range(4)], "benchmark": "q", "split": "test", "question": texts}
    more = {"context": "", "options": [["tea", "a swab"]] * 4, "answer": [0] * 4}
    frame = pl.DataFrame(values | more).with_columns(group=pl.col("item_id"))
    write_parquet(tmp_path / "data/items/q.parquet", frame)
    write_answers(tmp_path, "base", [row(0, 0), row(1, 1), row(2, 1), row(3, 0)])
    second_seed = row(0, 1, seed=2)
    write_answers(
        tmp_path, "cpt", [row(0, 0), row(1, 1), row(2, 0), row(3, 0), second_seed, row(0, 1, "cot", texts=["hm"])]
    )
    own = {key: PARAMS[key] for key in ("evaluate", "strategies")}
    write_json(tmp_path / "data/questions.json", own | {"benchmarks": ["q"], "task": {}})
    (tmp_path / "data/template.jinja").write_text(TEMPLATE)
    tiny_tokenizer().save_pretrained(tmp_path / "models/tokenizer")
    return Artifacts(tmp_path, {name: Declaration(name, (), outs, {}) for name, outs in OUTS.items()})


def ids(lines: list[str]) -> set[str]:
    """Of the items that are printed."""
    return {line.removeprefix("--- ") for line in lines if line.startswith("--- q/")}


def test_items_are_printed_and_on_a_page(artifacts: Artifacts) -> None:
    """All of the headline protocol and the first seed, the models in order, with the prompt as it was sent."""
    lines = list(shown(artifacts, SECTIONS, Wanted(), 9))
    assert (
        lines[0]
        == "zero_shot, protocol full_answer, seed 1: base, cpt; options have probabilities in percent, in this order"
    )
    assert ids(lines) == {f"q/{number}" for number in range(4)}
    assert "* A   11.9   88.1  tea" in lines
    assert lines[-1] == "--- all 4 of 4 items as a page: scratch/items/q.html"
    page = (artifacts.root / "scratch/items/q.html").read_text(encoding="utf-8")
    assert '"begin":"Question: ' in page
    assert "4 of 4 items. Marks before" in page
    list(shown(artifacts, SECTIONS, Wanted(wrong=True, search="cough"), 1))
    page_of_some = (artifacts.root / "scratch/items/q.html").read_text(encoding="utf-8")
    assert "items, that a model has wrong, with &#x27;cough&#x27;." in page_of_some
    assert '"prompt":"what treats an itch\\nAnswer:"' in page


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"wrong": True}, {"q/1", "q/2"}),
        ({"wrong": True, "models": ("cpt",)}, {"q/1"}),
        ({"search": "COUGH"}, {"q/1"}),
        ({"search": "swab", "wrong": True}, {"q/1", "q/2"}),
        ({"strategy": "cot", "models": ("cpt",)}, {"q/0"}),
        ({"strategy": "cot", "models": ("cpt",), "search": "hm"}, {"q/0"}),
    ],
)
def test_items_as_asked(artifacts: Artifacts, wanted: dict[str, Any], found: set[str]) -> None:
    """Wrong ones, of one model, with words in the item or in what was written."""
    assert ids(list(shown(artifacts, SECTIONS, Wanted("q", **wanted), 9))) == found


def test_items_that_another_build_answered_otherwise(artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch) -> None:
    """There cpt had the first wrong too; an item that it was not asked there is none."""
    before = pl.read_parquet(artifacts.root / "results/predictions/cpt/predictions.parquet").filter(
        strategy="zero_shot"
    )
    first = pl.col("item_id") == "q/0"
    before = before.filter(pl.col("item_id") != "q/3").with_columns(
        prediction=pl.when(first).then(pl.lit(1)).otherwise("prediction"), correct=pl.col("correct") & ~first
    )

    class Revision:
        def __init__(self, root: Path, name: str) -> None:
            assert (root, name) == (artifacts.root, "main")

        def paths(self, artifact: str) -> list[str]:
            assert artifact == "predictions"
            return ["results/predictions/cpt"]

        def table(self, path: str, columns: list[str]) -> pl.DataFrame:
            assert path == "results/predictions/cpt/predictions.parquet"
            return before.select(columns)

    monkeypatch.setattr(show_items, "BuildRevision", Revision)
    lines = list(shown(artifacts, SECTIONS, Wanted(changed_from="main"), 9))
    assert ids(lines) == {"q/0"}
    assert "cpt: A, right, before B (5 tokens read, 0 written)" in lines
    assert "base: A, right (5 tokens read, 0 written)" in lines
    whole = pl.read_parquet(artifacts.root / "results/predictions/cpt/predictions.parquet")
    assert with_before(artifacts.root, whole, None)["was"].null_count() == len(whole)


def test_what_cannot_be_shown_is_one_line(artifacts: Artifacts) -> None:
    """A name that is not there, several to choose from, nothing as asked, and nothing built."""
    several = SECTIONS | {"benchmark": SECTIONS["benchmark"] | {"r": {"path": "r"}}}
    for params, wanted, message in (
        (SECTIONS, Wanted("x"), "^x: no such benchmark; there are q$"),
        (several, Wanted(), "^show items: name a benchmark; there are q, r$"),
        (SECTIONS, Wanted(models=("sft",)), "^sft: no such model that has answered; there are base, cpt$"),
        (SECTIONS, Wanted(strategy="few"), "^few: no such strategy .*; there are cot, zero_shot$"),
        (SECTIONS, Wanted(protocol="letter"), "^letter: no such protocol of these answers; there are full_answer$"),
        (
            SECTIONS,
            Wanted(strategy="cot", models=("base", "cpt")),
            "^base: no answers under cot and full_answer; leave",
        ),
        (several, Wanted("r"), "^r: no model has answered it yet; run `dvc repro`$"),
        (SECTIONS, Wanted(search="vinegar"), "^q: none of 4 items is as asked; leave an option out$"),
    ):
        with pytest.raises(BuildError, match=message):
            list(shown(artifacts, params, wanted, 1))
    for model in ("base", "cpt"):
        (artifacts.root / f"results/predictions/{model}/predictions.parquet").unlink()
    with pytest.raises(BuildError, match="^results/predictions: no model has answered yet; run `dvc repro`$"):
        list(shown(artifacts, SECTIONS, Wanted(), 1))


@pytest.mark.parametrize("path", ["quiz/a.jsonl", "quiz", "./quiz/"])
def test_texts_of_screened_files_are_hidden(path: str) -> None:
    """Where a source with `phi` reads the benchmark's file or the folder that it lies in."""
    refuse_patients(SECTIONS, "q")
    screened = SECTIONS | {"source": {"notes": {"path": path, "phi": {"action": "redact"}}}}
    with pytest.raises(BuildError, match=r"benchmark.q: its texts are not shown, since source.notes screens"):
        refuse_patients(screened, "q")
    task = screened | {"task": {"q": SECTIONS["benchmark"]["q"]}}
    with pytest.raises(BuildError, match=r"task.q: its texts are not shown, since source.notes screens"):
        refuse_patients(task, "q", "task")
