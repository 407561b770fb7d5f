"""Tasks whose texts a judge reads: criteria of rows and of all, conversations as sources, no target."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError

from osler.build.section import BuildError
from osler.commands.references import check_exercises
from osler.evaluation.rubrics import CRITERIA, TURNS
from osler.evaluation.task_predictions import scored, task_predictions
from osler.evaluation.task_texts import prompts_of
from osler.report.task_section import generation_blocks
from osler.statistics.task_scores import generation_metrics
from tests.evaluation.test_tasks import Memory, Writer, made, task

HEALTHBENCH: dict[str, Any] = {
    "source": None,
    "target": None,
    "turns_field": "prompt",
    "criteria_field": "rubrics",
    "metric": "rubric",
    "instruction": "",
}
ROWS: list[dict[str, Any]] = [
    {
        "id": "one",
        "prompt": [{"role": "user", "content": "My ear hurts."}],
        "rubrics": [{"criterion": "Asks for fever", "points": 7, "tags": ["axis:context_awareness"]}],
    },
    {
        "id": "two",
        "prompt": [
            {"role": "user", "content": "Is aspirin safe?"},
            {"role": "assistant", "content": "For whom?"},
            {"role": "user", "content": "My child."},
        ],
        "rubrics": [
            {"criterion": "Warns of Reye's syndrome", "points": 10, "tags": []},
            {"criterion": "Names a dose", "points": -8, "tags": []},
        ],
    },
]


def test_rows_of_healthbench_are_items(tmp_path: Path) -> None:
    """The conversation is asked turn by turn, a judge reads it as one text, and criteria are the row's."""
    found = made(tmp_path, ROWS, task(**HEALTHBENCH))
    assert found["item_id"].to_list() == ["sums/one", "sums/two"]
    assert found["source"].to_list() == [
        "My ear hurts.",
        "User: Is aspirin safe?\n\nAssistant: For whom?\n\nUser: My child.",
    ]
    assert found["target"].to_list() == ["", ""]
    assert found[CRITERIA][1].to_list()[1] == {"criterion": "Names a dose", "points": -8.0, "tags": []}
    assert found[TURNS][1].to_list()[1] == {"role": "assistant", "content": "For whom?"}
    one, two = prompts_of(found, None, None, 1)
    assert one.turns == (("user", "My ear hurts."),)
    assert two.turns == (("user", "Is aspirin safe?"), ("assistant", "For whom?"), ("user", "My child."))


def test_an_instruction_stands_before_the_first_turn(tmp_path: Path) -> None:
    found = made(tmp_path, ROWS[1:], task(**HEALTHBENCH | {"instruction": "Be brief."}))
    [prompt] = prompts_of(found, None, None, 1)
    assert prompt.turns[0] == ("user", "Be brief.\n\nIs aspirin safe?")
    assert len(prompt.turns) == 3


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"prompt": ROWS[1]["prompt"][:2]}, "is not the user's or the assistant's in turn"),
        ({"prompt": []}, "nobody asks before message 0"),
        ({"prompt": "Why?"}, "no list of messages"),
        ({"rubrics": []}, "field 'rubrics' has no list of criteria"),
        ({"rubrics": [{"criterion": "x", "points": -1}]}, "no criterion has points above 0"),
        ({"rubrics": [{"criterion": " ", "points": 1}]}, "criterion 1 has no text, or no points other than 0"),
        ({"rubrics": [{"criterion": "x", "points": True}]}, "criterion 1 has no text, or no points"),
        ({"rubrics": [{"criterion": "x", "points": 1, "tags": "a"}]}, "`tags` is no list of texts"),
        ({"rubrics": [{"criterion": "x", "points": 1, "tags": 5}]}, "`tags` is no list of texts"),
        ({"rubrics": "[broken"}, "field 'rubrics' is no JSON"),
    ],
)
def test_a_bad_row_is_an_error_that_names_it(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    with pytest.raises(BuildError) as caught:
        made(tmp_path, [ROWS[0], ROWS[1] | change], task(**HEALTHBENCH))
    assert says in str(caught.value)
    assert "#2" in str(caught.value)


def test_criteria_may_be_the_same_for_all_beside_a_metric(tmp_path: Path) -> None:
    """As JSON in a column of a CSV, too."""
    rows = [{"id": "1", "talk": "hello", "note": "a note"}]
    same = made(tmp_path, rows, task(criteria=[{"criterion": "Names the drug", "points": 2.0}]))
    assert same[CRITERIA][0].to_list() == [{"criterion": "Names the drug", "points": 2.0, "tags": []}]
    own = [rows[0] | {"rubric": json.dumps(ROWS[0]["rubrics"])}]
    assert made(tmp_path, own, task(criteria_field="rubric"))[CRITERIA][0][0]["points"] == 7


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"metric": "rubric"}, "metric rubric needs `criteria`, or a `criteria_field`"),
        ({"source": None}, "`source` is a template, or null where `turns_field`"),
        ({"turns_field": "t"}, "`source` is a template, or null where `turns_field`"),
        ({"target": None}, "`target` is a template, or null where `part`"),
        (HEALTHBENCH | {"prompt": "plain"}, "`turns_field` is a chat already"),
        (HEALTHBENCH | {"metrics": ["bleu_1"]}, "`metrics` compare with a `target`, which is null"),
        ({"criteria": [{"criterion": "x", "points": -1.0}]}, "no criterion has points above 0"),
        ({"criteria": [{"criterion": "  ", "points": 1.0}]}, "a criterion without words"),
        ({"criteria": [{"criterion": "x", "points": 1.0}] * 2}, "'x' stands there twice"),
        ({"criteria": [{"criterion": "x", "points": 0.0}]}, "a criterion of 0 points is none"),
        ({"criteria": [{"criterion": "x", "points": 1.0}], "criteria_field": "y"}, "take one out"),
    ],
)
def test_sections_that_contradict_themselves(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as caught:
        task(**changes)
    assert says in str(caught.value)


def test_what_only_a_judge_scores_has_no_score_of_its_own(tmp_path: Path) -> None:
    """Its texts are there, the report has no empty table of them, and with a target lengths are told."""
    items = made(tmp_path, ROWS, task(**HEALTHBENCH)).with_columns(text=pl.lit("It depends."))
    rows = scored(items, task(**HEALTHBENCH))
    assert rows["score"].null_count() == rows["token_f1"].null_count() == 2
    whole = rows.select("item_id", "task", "group", "target", "text", "score", "token_f1", "length_ratio")
    numbers = {"seed": 1, "source_tokens": 9, "generated_tokens": 3}
    told = {name: pl.lit(value, pl.Int64) for name, value in numbers.items()}
    named = {"metric": pl.lit("rubric"), "model": pl.lit("m"), "truncated": pl.lit(value=False)}
    generations = whole.with_columns(**told, **named)
    found = generation_metrics(generations, 0.95)
    assert found["scores"] == {}
    assert found["detail"][0]["scores"] == {}
    assert generation_blocks(found) == []


def test_nothing_is_learned_of_rows_without_a_target() -> None:
    section = {"path": "x"} | HEALTHBENCH
    params = {"adapter": {}, "exercise": {"e": {"task": "t"}}, "task": {"t": section}}
    with pytest.raises(BuildError, match=r"exercise.e.task: t: has no `target` to learn"):
        check_exercises(params)
    check_exercises(params | {"task": {"t": section | {"target": "{note}"}}})


def test_other_criteria_make_no_model_write_again(tmp_path: Path) -> None:
    """Also where rows are part of what a text depends on."""
    rows, memory, model = [{"id": "1", "talk": "hello", "note": "a note"}], Memory(), Writer()
    for points, computed in ((1.0, True), (2.0, False)):
        section = task(stop=["."], criteria=[{"criterion": "Names the drug", "points": points}])
        made(tmp_path, rows, section)
        assert task_predictions(tmp_path, {"sums": section}, "cpt", 1, memory, lambda: model)[1] == [(1, computed)]
