"""How the items of a task are asked: solved ones before them, plain prompts, stop strings and drawn tokens."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError

from osler.build.section import BuildError
from osler.evaluation.task_predictions import GENERATIONS, task_predictions
from osler.evaluation.task_texts import prompts_of, shots_of, stopped, written
from osler.evaluation.tasks import split_of
from osler.inference.interface import Prompt, Sampling, Written, seeded_rank
from osler.report.page import markdown
from osler.report.task_section import generation_blocks
from osler.statistics.task_scores import generation_metrics
from tests.evaluation.test_tasks import Memory, Writer, made, task

LONG = "a target of thirteen words which must not be shown to its own item"


def row(name: str, source: str = "", target: str = "short", group: str = "") -> dict[str, str]:
    return {"item_id": name, "group": group or name, "source": source or f"talk {name}", "target": target}


def test_no_item_is_shown_its_group_its_words_or_its_target() -> None:
    """Of five rows three would tell; the next ones are taken in their place, and too few are an error."""
    item = row("asked", "Talk, of GOUT", LONG, "patient")
    pool = [
        row("a", group="patient"),
        row("b", "talk of gout."),
        row("c", f"it says {LONG.upper()}, twice"),
        row("d", target=f"{LONG}!"),
        row("e"),
        row("f"),
    ]
    assert [shown["item_id"] for shown in shots_of(item, pool, 2)] == ["e", "f"]
    assert [shown["item_id"] for shown in shots_of(row("other", target="short"), pool, 2)] == ["a", "b"]
    with pytest.raises(BuildError, match=r"asked: 2 rows of the split dev may be shown before it, not 3; lower"):
        shots_of(item, pool, 3)


ROWS = [
    {"id": f"p{n}", "talk": f"talk {n}", "note": f"note {n}", "who": f"w{n}", "part": "dev" if n > 3 else "test"}
    for n in range(10)
]


class Sampler(Writer):
    """Takes any temperature, and writes its seed."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[Sampling, list[int]]] = []

    def texts(self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[int]) -> list[Written]:
        self.prompts += prompts
        self.asked.append((sampling, list(seeds)))
        return [Written(f" yes\n\nInput: {seed}", 9, 7, False) for seed in seeds]


def run(
    folder: Path, seed: int = 1, memory: Memory | None = None, **changes: Any
) -> tuple[pl.DataFrame, Sampler, bool]:
    """Predictions under a seed, the model, and whether it was asked."""
    section, model = task(split_field="part", **changes), Sampler()
    made(folder, ROWS, section)
    found, done = task_predictions(folder, {"sums": section}, "cpt", seed, memory or Memory(), lambda: model)
    return found, model, done[0][1]


def test_solved_items_are_turns_before_the_one_asked(tmp_path: Path) -> None:
    """Each as it would be asked, with its target as the answer; all of the split dev, the same before every item."""
    found, model, _ = run(tmp_path, shots=2)
    turns = [asked.turns for asked in model.prompts]
    assert [own[-1] for own in turns] == [("user", f"Sum up.\n\ntalk {n}") for n in range(4)]
    assert len({own[:-1] for own in turns}) == 1
    assert [role for role, _ in turns[0]] == ["user", "assistant"] * 2 + ["user"]
    for (_, question), (_, answer) in zip(turns[0][:-1:2], turns[0][1::2], strict=True):
        number = int(answer.removeprefix("note "))
        assert number > 3
        assert question == f"Sum up.\n\ntalk {number}"
    assert len(found) == 4
    assert found["shots"].to_list() == [2] * 4


def test_the_seed_draws_other_solved_items_and_repeats_them(tmp_path: Path) -> None:
    """Ten seeds draw several sets, and one seed always the same, from which a larger number only adds."""
    drawn = [run(tmp_path, seed, shots=2)[1].prompts[0].turns for seed in range(10)]
    assert len(set(drawn)) > 3
    assert run(tmp_path, 3, shots=2)[1].prompts[0].turns == drawn[3]
    assert run(tmp_path, 3, shots=3)[1].prompts[0].turns[:4] == drawn[3][:4]


def test_a_plain_prompt_is_one_text(tmp_path: Path) -> None:
    """The instruction once, inputs and outputs, and the place where the model goes on."""
    _, model, _ = run(tmp_path, shots=1, prompt="plain")
    [(_, text)] = model.prompts[0].turns
    number = text[len("Sum up.\n\nInput:\ntalk ")]
    solved = f"Input:\ntalk {number}\n\nOutput:\nnote {number}\n\n"
    assert model.prompts[0].is_plain
    assert text == f"Sum up.\n\n{solved}Input:\ntalk 0\n\nOutput:\n"
    [bare] = prompts_of(pl.DataFrame({"instruction": [""], "source": ["x"]}), task(prompt="plain"), None, 0)
    assert (bare.turns, bare.is_plain) == ((("user", "Input:\nx\n\nOutput:\n"),), True)


def test_a_text_ends_before_the_first_stop_string(tmp_path: Path) -> None:
    """Whichever is named first; what was generated behind it is counted still."""
    assert stopped("yes. no; maybe", [";", "."]) == "yes"
    assert stopped("yes", ["."]) == "yes"
    assert stopped(".yes", ["."]) == ""
    found, _, _ = run(tmp_path, stop=["\n\nInput:"])
    assert set(found["text"]) == {"yes"}
    assert set(found["generated_tokens"]) == {9}


def test_drawn_texts_have_a_seed_of_their_own_each(tmp_path: Path) -> None:
    """By the seed and the item alone, so that they repeat; without a temperature nothing is drawn."""
    _, model, _ = run(tmp_path, 5, temperature=0.7, top_p=0.9)
    [(sampling, seeds)] = model.asked
    assert sampling == Sampling(9, 0.7, 0.9)
    assert seeds == [seeded_rank(5, "task", f"sums/p{n}") for n in range(4)]
    _, model, _ = run(tmp_path, 5)
    assert model.asked == [(Sampling(9, 0.0), [0] * 4)]


def test_another_seed_writes_anew_only_where_it_counts(tmp_path: Path) -> None:
    """Greedy texts without shots are those of any seed; stop strings and shots are not found in the store of others."""
    memory = Memory()
    assert [run(tmp_path, seed, memory)[2] for seed in (1, 2)] == [True, False]
    assert [run(tmp_path, seed, memory, shots=1)[2] for seed in (1, 2, 1)] == [True, True, False]
    assert run(tmp_path, 1, memory, stop=["x"])[2]


def test_dev_rows_by_a_fraction_are_never_asked(tmp_path: Path) -> None:
    """Rows of one group lie on one side, and a split for training is what it was without."""
    section = task(dev_fraction=0.5, training_fraction=0.3, group="who")
    splits = [split_of(section, f"talk {n}", f"g{n // 2}") for n in range(400)]
    assert splits[::2] == splits[1::2]
    before = [split_of(task(training_fraction=0.3, group="who"), "", f"g{n // 2}") for n in range(400)]
    assert [n for n in range(400) if before[n] == "train"] == [n for n in range(400) if splits[n] == "train"]
    assert 0.25 < splits.count("dev") / 400 < 0.45  # half of the other 0.7
    found = made(tmp_path, ROWS, task(dev_fraction=0.5))
    assert set(found["split"]) == {"test", "dev"}


@pytest.mark.parametrize(
    "changes",
    [
        {"shots": 3},
        {"top_p": 0.9},
        {"temperature": 0.0},
        {"stop": [""]},
        {"stop": ["x", "x"]},
        {"prompt": "text"},
        {"dev_fraction": 0.5, "split_field": "part"},
    ],
)
def test_what_cannot_be_asked_is_refused(changes: dict[str, Any]) -> None:
    """Shots need a split dev, and top_p something that is drawn."""
    with pytest.raises(ValidationError):
        task(**changes)


def test_a_task_that_says_nothing_of_this_is_written_as_before(tmp_path: Path) -> None:
    """No key in questions.json, no column in generations.parquet, the words of the report as they were."""
    assert not {"shots", "prompt", "stop", "temperature", "top_p", "dev_fraction"} & set(task().model_dump())
    found, _, _ = run(tmp_path)
    assert found.columns == list(GENERATIONS)
    assert written(Sampler(), pl.DataFrame({"instruction": ["a"], "source": ["b"]}), 9).height == 1
    assert "Greedy texts against" in markdown(generation_blocks(generation_metrics(found, 0.95)))


def test_the_report_says_how_a_task_was_asked(tmp_path: Path) -> None:
    """Shots, plain prompts and temperatures; drawn texts are not called greedy."""
    found, _, _ = run(tmp_path, shots=2, prompt="plain", temperature=0.7)
    metrics = generation_metrics(found, 0.95)
    assert metrics["detail"][0]["asked"] == {"shots": 2, "prompt": "plain", "temperature": 0.7}
    text = markdown(generation_blocks(metrics))
    assert "2 solved before each, plain prompts, drawn at temperature 0.7, top p 1." in text
    assert "Greedy" not in text
