"""A part of a note as target, the rest as source: what is cut, what is left out, and the baseline of first words."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError

from osler.build.section import BuildError
from osler.commands.references import refuse_learned_tasks
from osler.corpus.contamination import item_index, shared_ngrams
from osler.corpus.leaks import leaks
from osler.corpus.overlaps import Overlap, task_items
from osler.corpus.selection import Select
from osler.evaluation.note_sections import NotePart
from osler.evaluation.task_predictions import task_predictions
from osler.evaluation.tasks import TASKS, task_rows, tasks_frame
from osler.evaluation.text_metrics import rouge_scores
from osler.report.page import markdown
from osler.report.task_section import generation_blocks
from osler.statistics.task_scores import generation_metrics
from tests.evaluation.test_tasks import Memory, Writer, made, task
from tests.support.params import PARAMS
from tests.support.project import SHARED

NOTE = "HISTORY:  Cough.\n\nHOSPITAL COURSE:  Given tea.\n1. Better: home.\nNo fever.\n\nPLAN, DIET:  Fern tea."
COURSE = {"target": None, "part": {"heading": "HOSPITAL COURSE"}}


@pytest.mark.parametrize(
    ("note", "until", "found"),
    [
        (NOTE, None, ("HISTORY:  Cough.\n\nPLAN, DIET:  Fern tea.", "Given tea.\n1. Better: home.\nNo fever.")),
        (NOTE, "PLAN, DIET", ("HISTORY:  Cough.\n\nPLAN, DIET:  Fern tea.", "Given tea.\n1. Better: home.\nNo fever.")),
        (NOTE, "no such", ("HISTORY:  Cough.", "Given tea.\n1. Better: home.\nNo fever.\n\nPLAN, DIET:  Fern tea.")),
        ("A: x\nHOSPITAL COURSE: y", None, ("A: x", "y")),
        ("A: x\nher HOSPITAL COURSE: y", None, None),  # not at the beginning of a line
        ("A: x\nHOSPITAL COURSE y", None, None),
        ("A: x\nHospital Course: y", None, None),  # another style of headings, whose next one would not be found
        ("HOSPITAL COURSE: y", None, None),  # nothing to write it from
        ("A: x\nHOSPITAL COURSE:\nB: y", None, None),  # nothing to write
        ("A: x\nHOSPITAL COURSE: y\nHOSPITAL COURSE: z", None, ("A: x\n\nHOSPITAL COURSE: z", "y")),
    ],
)
def test_a_part_goes_from_its_heading_to_the_next(note: str, until: str | None, found: tuple[str, str] | None) -> None:
    """Nothing of it is left in the rest, and no other word is lost."""
    assert NotePart(heading="HOSPITAL COURSE", until=until).cut(note) == found


def test_a_note_without_the_part_or_twice_is_counted_and_no_item(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same note under another id is the same note, whatever its signs."""
    rows = [{"id": "a", "talk": NOTE}, {"id": "b", "talk": "PLAN: tea"}, {"id": "c", "talk": NOTE.replace(".", " .")}]
    found = made(tmp_path, rows, task(**COURSE))
    assert dict(found.schema) == dict(TASKS)
    assert found["item_id"].to_list() == ["sums/a"]
    assert found["target"].to_list() == ["Given tea.\n1. Better: home.\nNo fever."]
    assert "tea" not in found["source"][0].partition("PLAN")[0]
    assert "1 test items, 0 dev items, 1 rows repeated, 1 rows without the part" in capsys.readouterr().out


def test_first_words_stand_in_the_report_beside_the_models(tmp_path: Path) -> None:
    """As many as the target has, here two: "fern tea" of "fern tea cures"."""
    rows = [{"id": f"p{n}", "talk": "fern tea cures", "note": note} for n, note in enumerate(["fern bath", "x y"])]
    section = task(baseline="lead")
    made(tmp_path, rows, section)
    found, _ = task_predictions(tmp_path, {"sums": section}, "cpt", 1, Memory(), Writer)
    assert found["lead_rouge_1"].to_list() == [0.5, 0]
    metrics = generation_metrics(found, 0.95)
    assert metrics["detail"][0]["baseline"]["rouge_1"]["estimate"] == 0.25
    assert "| first words | " in markdown(generation_blocks(metrics))
    plain, _ = task_predictions(tmp_path, {"sums": task()}, "cpt", 1, Memory(), Writer)
    assert "first words" not in markdown(generation_blocks(generation_metrics(plain, 0.95)))


@pytest.mark.parametrize(
    "changes", [{"target": None}, {"part": {"heading": "x"}}, {"baseline": "lead", "metric": "label"}]
)
def test_a_target_is_a_field_or_a_part(changes: dict[str, Any]) -> None:
    """Not both and not neither; first words are a baseline of texts."""
    with pytest.raises(ValidationError):
        task(**changes)


def test_a_corpus_may_hold_the_notes_of_such_a_task_and_instructions_may_not() -> None:
    """Of a corpus they are dropped; a task whose target is a field has a file of its own."""
    tested: dict[str, Any] = {"path": "notes", "part": {"heading": "x"}}
    refuse_learned_tasks({"source": {"a": {"path": "notes", "collection": "clinical"}}, "task": {"b": tested}})
    for collection, own in (("instructions", tested), ("clinical", {"path": "notes"})):
        with pytest.raises(BuildError, match="source.a.path"):
            refuse_learned_tasks({"source": {"a": {"path": "notes", "collection": collection}}, "task": {"b": own}})


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the real notes, in OSLER_SHARED_DATA")
def test_the_hospital_courses_of_real_notes_are_kept_out_of_the_corpus() -> None:
    """68 notes of MTSamples: each is dropped from the corpus with its copies, and first words score as docs/tasks.md says."""
    section = task(
        path="corpus/mtsamples", id="url", source="{transcription}", target=None, part={"heading": "HOSPITAL COURSE"}
    )
    left = Counter[str]()
    items = tasks_frame(task_rows(SHARED / "corpus/mtsamples", section, left), section, "course")
    rows = pl.read_ndjson(SHARED / "corpus/mtsamples/mtsamples.jsonl.gz")
    assert (len(items), sum(left.values())) == (68, len(rows) - 68)
    leads = [
        " ".join(source.split()[: len(target.split())])
        for source, target in items.select("source", "target").iter_rows()
    ]
    scores = rouge_scores(leads, items["target"].to_list())
    means = [round(100 * sum(values) / 68, 1) for values in zip(*scores, strict=True)]
    assert means == [24.4, 6.4, 12.7]
    asked = items["item_id"].str.strip_prefix("course/").to_list()
    own = rows.filter(pl.col("url").is_in(asked) | (pl.int_range(pl.len()) % 40 == 0))
    documents = own.select(pl.col("url").alias("doc_id"), pl.col("transcription").alias("text"))
    overlap = Overlap.model_validate(PARAMS["overlap"])
    index = item_index(task_items(items), overlap.ngram_words, overlap.shingle_words)
    shared = shared_ngrams(documents, task_items(items), index, overlap.answer_window_words)
    assert set(asked) <= set(leaks(shared, Select.model_validate_json(json.dumps(PARAMS["select"])))["doc_id"])
