"""Items of benchmarks with more than four options, from the rows that the Hub has of them.

MMLU-Pro has up to ten; those called `N/A` fill a row up and are none. MedXpertQA writes the options into the question a
second time, behind `Answer Choices:`; that is cut off. HEAD-QA has four or five, and counts its answers from 1. An id is
<subject>-<number>, as in MMLU, so that a table may be made by subject; of MedXpertQA it is the body system, of HEAD-QA the
category.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from osler.build.section import BuildError
from osler.evaluation.benchmark_formats import RawItem, field_of
from osler.evaluation.questions import LETTERS

FILLING = "N/A"
SECOND_LIST = "Answer Choices:"


def _item(
    where: str, subject: str, number: object, split: str, question: str, options: Sequence[Any], answer: int
) -> RawItem:
    """An item of a subject; ids have no blanks."""
    if bad := [option for option in options if not isinstance(option, str)]:
        raise BuildError(f"{where}: an option is {bad[0]!r}, not a text; correct the row")
    item_id = f"{'_'.join(subject.lower().split())}-{number}"
    return RawItem(where, item_id, item_id, split, question, "", list(options), answer)


def mmlu_pro_item(row: Mapping[str, Any], where: str, split: str) -> RawItem:
    """An item of MMLU-Pro.

    Args:
        row: question_id, question, options, answer (a letter), answer_index (from 0) and category.
        where: file and row.
        split: test or dev.
    """
    options, index = field_of(row, "options", list, where), field_of(row, "answer_index", int, where)
    letter = field_of(row, "answer", str, where)
    if not 0 <= index < len(options) or LETTERS[index] != letter:
        raise BuildError(f"{where}: 'answer' is {letter!r}, and 'answer_index' is {index}; correct the row")
    kept = [place for place, option in enumerate(options) if option != FILLING or place == index]
    number, question = field_of(row, "question_id", int, where), field_of(row, "question", str, where)
    own = [options[place] for place in kept]
    return _item(where, field_of(row, "category", str, where), number, split, question, own, kept.index(index))


def medxpertqa_item(row: Mapping[str, Any], where: str, split: str) -> RawItem:
    """An item of MedXpertQA's text questions.

    Args:
        row: id, question, options (by letter), label (a letter) and body_system.
        where: file and row.
        split: test or dev.
    """
    options, label = field_of(row, "options", dict, where), field_of(row, "label", str, where)
    letters = list(LETTERS[: len(options)])
    if sorted(options) != letters or label not in letters:
        raise BuildError(
            f"{where}: 'options' has {', '.join(sorted(options))}, and 'label' is {label!r}; correct the row"
        )
    question = field_of(row, "question", str, where).split(SECOND_LIST)[0].rstrip()
    own = [options[letter] for letter in letters]
    subject, number = field_of(row, "body_system", str, where), field_of(row, "id", str, where)
    return _item(where, subject, number, split, question, own, letters.index(label))


def headqa_item(row: Mapping[str, Any], where: str, split: str) -> RawItem:
    """An item of HEAD-QA.

    Args:
        row: name (of the exam), qid, qtext, ra (the answer, from 1), answers (with aid and atext) and category.
        where: file and row.
        split: test or dev.
    """
    answers = field_of(row, "answers", list, where)
    numbered: dict[int, Any] = {
        field_of(answer, "aid", int, where): answer.get("atext") for answer in answers if isinstance(answer, dict)
    }
    right = field_of(row, "ra", int, where)
    if sorted(numbered) != list(range(1, len(answers) + 1)) or right not in numbered:
        raise BuildError(f"{where}: 'answers' has {sorted(numbered)}, and 'ra' is {right}; correct the row")
    number = f"{field_of(row, 'name', str, where)}-{row.get('qid')}"
    question, own = field_of(row, "qtext", str, where), [numbered[one] for one in sorted(numbered)]
    return _item(where, field_of(row, "category", str, where), number, split, question, own, right - 1)


ROWS = {"mmlu_pro": mmlu_pro_item, "medxpertqa": medxpertqa_item, "headqa": headqa_item}
CATEGORY = {"mmlu_pro": "category", "medxpertqa": "body_system", "headqa": "category"}
