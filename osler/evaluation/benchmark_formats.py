"""Benchmark items in one schema, from the formats that benchmarks come in.

MedMCQA's `cop` counts from 1: in its dev split it is 1 to 4, and in all 1,056 explanations that begin with the letter
of the answer ("Ans. is 'c' ...") the letter is option number `cop`. The copy on the Hugging Face Hub counts from 0: a file
tells which it is by an answer 4 or 0, and one that has neither, or both, is refused.
PubMedQA's official test half are the ids in test_ground_truth.json; the other 500 are for development.
MedQA's files are phrases_no_exclude_<train, dev or test>.jsonl of the release with four options, or <train, dev or test>.jsonl
of the one with five (`medqa_5options`); train and dev are development, and an id is <split>-<row>, rows from 0.
In a folder, files called train, dev or val are development and those called test are tested on, unless a row says its split;
a name that tells nothing has the split of the folder it lies in. Of MedMCQA, whose test answers are secret, dev is tested on.
MMLU's dev and val files are development; an id is <subject>-<row> in test, <subject>-dev-<row> and <subject>-val-<row>
elsewhere, rows from 0, as MIRAGE counts them.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from osler.build.section import BuildError
from osler.ingest.fields import text_of

SCHEMA = pl.Schema(
    {
        "item_id": pl.String(),
        "benchmark": pl.String(),
        "group": pl.String(),
        "split": pl.String(),
        "question": pl.String(),
        "context": pl.String(),
        "options": pl.List(pl.String),
        "answer": pl.Int64(),
    }
)
SPLITS = ("test", "dev")
PARTS = {"train": "train", "training": "train", "test": "test"}
PARTS |= dict.fromkeys(("dev", "val", "valid", "validation"), "dev")
LETTERS = "ABCD"


@dataclass(frozen=True)
class RawItem:
    """One question; `where` is file and row, for error messages only."""

    where: str
    id: str
    group: str
    split: str
    question: str
    context: str
    options: list[str]
    answer: int


def field_of(row: Mapping[str, Any], name: str, kind: type, where: str) -> Any:
    """A row's value of `name`, which must be of that type."""
    value = row.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise BuildError(f"{where}: '{name}' is {value!r}, not a {kind.__name__}; correct the row")
    return value


def part_named(name: str, parts: Mapping[str, str]) -> str | None:
    """What a file's name tells of its part.

    Or else its folder's; None where that is nothing, or several.

    Args:
        name: relative to the benchmark's folder.
        parts: word -> part.
    """
    for piece in reversed(name.split("/")):
        words = set(re.findall("[a-z]+", piece.split(".")[0].lower()))
        if told := {parts[word] for word in words & parts.keys()}:
            return told.pop() if len(told) == 1 else None
    return None


def split_named(name: str) -> str | None:
    """The split that a file's name or folder tells."""
    return part_named(name, {word: "test" if part == "test" else "dev" for word, part in PARTS.items()})


def _option(option: Any, number: int, where: str) -> str:
    """One option as text: a text, or a number."""
    text = None if isinstance(option, bool) else text_of(option)
    if text is not None:
        return text
    raise BuildError(f"{where}: option {number} is {option!r}, not a text or a number; correct the row")


def jsonl_item(row: Mapping[str, Any], where: str, split: str = "test") -> RawItem:
    """An item from the fields of a jsonl row.

    Needed are id, question, options and answer (an index). Optional are context, group and split.

    Args:
        split: of a row that says none.
    """
    item_id = row.get("id")
    if not isinstance(item_id, str | int) or isinstance(item_id, bool) or not str(item_id).strip():
        raise BuildError(f"{where}: 'id' is {item_id!r}, not a text or a number; correct the row")
    group = item_id if row.get("group") is None else text_of(row["group"])
    if group is None:
        raise BuildError(f"{where}: 'group' is {row['group']!r}, not a text or a number; correct the row")
    return RawItem(
        where=where,
        id=str(item_id),
        group=str(group),
        split=split if row.get("split") is None else field_of(row, "split", str, where),
        question=field_of(row, "question", str, where),
        context="" if row.get("context") is None else field_of(row, "context", str, where),
        options=[_option(option, number, where) for number, option in enumerate(field_of(row, "options", list, where))],
        answer=field_of(row, "answer", int, where),
    )


def first_number(rows: Iterable[tuple[Mapping[str, Any], str]], path: str) -> int:
    """What MedMCQA's first option is called by `cop`: 0 or 1.

    Raises:
        BuildError: an answer is no number, or none tells.
    """
    answers = {field_of(row, "cop", int, where) for row, where in rows}
    if {0, 4} <= answers or not answers & {0, 4}:
        has = "both 0 and 4" if answers & {0, 4} else "neither 0 nor 4"
        raise BuildError(
            f"{path}: `cop` has {has}, so that it tells not whether answers count from 0 or 1; take whole files of one release"
        )
    return 0 if 0 in answers else 1


def medmcqa_item(row: Mapping[str, Any], where: str, split: str, first: int) -> RawItem:
    """An item of MedMCQA.

    Args:
        row: id, question, opa to opd and cop.
        where: file and row.
        split: test or dev.
        first: number of the first option.
    """
    item_id = field_of(row, "id", str, where)
    return RawItem(
        where=where,
        id=item_id,
        group=item_id,
        split=split,
        question=field_of(row, "question", str, where),
        context="",
        options=[field_of(row, name, str, where) for name in ("opa", "opb", "opc", "opd")],
        answer=field_of(row, "cop", int, where) - first,
    )


def medqa_item(row: Mapping[str, Any], split: str, number: int, where: str, letters: str = LETTERS) -> RawItem:
    """An item of MedQA with its options.

    They stand under A to D, or to E. The row gives the letter of the right one, and that option's text.

    Args:
        row: question, options (by letter, or a list of key and value), answer_idx and answer; meta_info (the exam's step) and
            metamap_phrases are not used.
        split: "train", "dev" or "test".
        number: of the row, from 0.
        where: file and row.
        letters: of the options.
    """
    if isinstance(options := row.get("options"), list) and all(
        isinstance(option, dict) and isinstance(option.get("key"), str) for option in options
    ):
        options = {option["key"]: option.get("value") for option in options}
    options = field_of({"options": options}, "options", dict, where)
    if sorted(options) != list(letters):
        told = f"not A to {letters[-1]}; take the release with {'four' if letters == LETTERS else 'five'}"
        raise BuildError(f"{where}: 'options' has {', '.join(sorted(options))}, {told}")
    letter, answer = field_of(row, "answer_idx", str, where), field_of(row, "answer", str, where)
    if str(options.get(letter)).split() != answer.split():
        raise BuildError(f"{where}: 'answer_idx' is {letter!r}, but 'answer' is {answer!r}; correct the row")
    item_id = f"{split}-{number}"
    return RawItem(
        where=where,
        id=item_id,
        group=item_id,
        split="test" if split == "test" else "dev",
        question=field_of(row, "question", str, where),
        context="",
        options=[field_of(options, name, str, where) for name in letters],
        answer=letters.index(letter),
    )


def pubmedqa_item(pmid: str, row: Mapping[str, Any], is_test: bool, where: str) -> RawItem:
    """An item of PubMedQA's 1,000 labeled by experts.

    It has a question, an abstract without its conclusion, and the options yes, no and maybe.
    """
    options = ["yes", "no", "maybe"]
    decision = field_of(row, "final_decision", str, where)
    if decision not in options:
        raise BuildError(f"{where}: 'final_decision' is {decision!r}, not yes, no or maybe; correct the row")
    return RawItem(
        where=where,
        id=pmid,
        group=pmid,
        split="test" if is_test else "dev",
        question=field_of(row, "QUESTION", str, where),
        context="\n".join(
            _option(part, number, where) for number, part in enumerate(field_of(row, "CONTEXTS", list, where))
        ),
        options=options,
        answer=options.index(decision),
    )


def row_of_pqal(row: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A row of PubMedQA as the release has it.

    Args:
        row: as the Hub has it: pubid, question, context (with contexts), long_answer and final_decision.
        where: file and row.
    """
    context = field_of(row, "context", dict, where)
    return {"QUESTION": row.get("question"), "CONTEXTS": context.get("contexts"), **row}


def cells_of(row: Mapping[str, Any], where: str) -> list[str]:
    """The cells that the release of MMLU has.

    Args:
        row: as the Hub has it: question, choices (four) and answer (from 0).
        where: file and row.
    """
    choices, answer = field_of(row, "choices", list, where), field_of(row, "answer", int, where)
    if len(choices) != len(LETTERS) or not 0 <= answer < len(LETTERS):
        raise BuildError(f"{where}: {len(choices)} choices and answer {answer}, not 4 and 0 to 3; correct the row")
    options = [_option(option, number, where) for number, option in enumerate(choices)]
    return [field_of(row, "question", str, where), *options, LETTERS[answer]]


def mmlu_item(values: list[str], subject: str, split: str, row: int, where: str) -> RawItem:
    """An item of an MMLU file: question, four options, letter.

    Args:
        values: the cells.
        subject: "anatomy".
        split: "test", "dev" or "val".
        row: from 0.
        where: file and row.
    """
    if len(values) != 6 or values[5].strip() not in tuple(LETTERS):
        raise BuildError(f"{where}: not question, 4 options and a letter A to D, but {values!r}; correct the row")
    item_id = f"{subject}-{row}" if split == "test" else f"{subject}-{split}-{row}"
    return RawItem(
        where=where,
        id=item_id,
        group=item_id,
        split="test" if split == "test" else "dev",
        question=values[0],
        context="",
        options=values[1:5],
        answer=LETTERS.index(values[5].strip()),
    )


def items_frame(items: Iterable[RawItem], benchmark: str) -> pl.DataFrame:
    """The items as rows of SCHEMA, in order.

    Args:
        items: at least one.
        benchmark: its name; item ids and groups start with it.
    Raises:
        BuildError: an id occurs twice, a question or an option is empty, there are fewer than 2 options, the answer is
            none of them, a split is neither test nor dev, or no item is given.
    """
    rows: list[dict[str, Any]] = []
    seen: dict[str, str] = {}
    for item in items:
        problem = None
        if item.id in seen:
            problem = f"id '{item.id}' is also that of {seen[item.id]}"
        elif not item.question.strip():
            problem = "the question is empty"
        elif len(item.options) < 2:
            problem = f"{len(item.options)} options, at least 2 are needed"
        elif len(item.options) > 26:
            problem = f"{len(item.options)} options, letters reach to 26"
        elif not all(option.strip() for option in item.options):
            problem = "an option is empty"
        elif not 0 <= item.answer < len(item.options):
            problem = f"answer {item.answer} is none of {len(item.options)} options (counted from 0)"
        elif item.split not in SPLITS:
            problem = f"split '{item.split}' is neither test nor dev"
        if problem:
            raise BuildError(f"{item.where}: {problem}; correct the row")
        seen[item.id] = item.where
        row = asdict(item)
        row |= {"item_id": f"{benchmark}/{item.id}", "benchmark": benchmark, "group": f"{benchmark}/{item.group}"}
        rows.append({name: row[name] for name in SCHEMA})
    if not rows:
        raise BuildError(f"benchmark {benchmark}: no items; correct `path`")
    if not any(row["split"] == "test" for row in rows):
        told = "all are of splits train, dev or val, by the names of their files or by `split`"
        raise BuildError(f"benchmark {benchmark}: no item to test on; {told}; add those of test")
    return pl.DataFrame(rows, schema=SCHEMA)
