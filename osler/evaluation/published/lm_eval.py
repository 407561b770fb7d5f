"""EleutherAI's lm-evaluation-harness: its own tasks medqa_4options, medmcqa, pubmedqa and mmlu.

A plain prompt, without a chat template. What is scored is the log-likelihood of a space and the option's letter, of PubMedQA
a space and the option. The highest is the answer (`acc`). `acc_norm` divides by the characters of the choice: letters have
one each, so it is the same number, and pubmedqa and mmlu do not report it. One name is enough therefore.

Solved questions stand before the item, each with its answer, parted by an empty line. MMLU's are the first of the subject's
dev file, as in the source. Of the other tasks the source draws them by a seed of its own from the train split; ours are other
draws.

Not as in the source: a prompt that the model cannot read whole keeps its BOS here, and loses it there; text that spells a
special token loses it here. Its option to write chat turns is not offered.

Source: github.com/EleutherAI/lm-evaluation-harness at 4e7e0d47f33b, lm_eval/tasks/{medqa,medmcqa,pubmedqa,mmlu/default},
equal to what the package 0.4.13 has (bench/published.py compares).
"""

import re
from collections.abc import Sequence

from osler.build.section import BuildError
from osler.evaluation.published.form import PublishedProtocol, Shown, lettered
from osler.evaluation.questions import LETTERS, Item
from osler.inference.interface import Prompt

FORMATS = ("medqa", "medmcqa", "pubmedqa", "mmlu")
MMLU_ID = re.compile(r"(?P<subject>.+?)-(?:(?P<split>dev|val)-)?(?P<row>\d+)")


def question(item: Item, form: str) -> str:
    """What is asked, up to `Answer:`."""
    listed = "\n".join(lettered(item))
    match form:
        case "medqa":
            return f"Question: {item.question}\n{listed}\nAnswer:"
        case "medmcqa":
            return f"Question: {item.question}\nChoices:\n{listed}\nAnswer:"
        case "pubmedqa":
            return f"Abstract: {item.context}\nQuestion: {item.question}\nAnswer:"
        case _:
            return f"{item.question.strip()}\n{listed}\nAnswer:"


def choices(item: Item, form: str) -> tuple[str, ...]:
    """What may be answered: letters, or the options themselves."""
    return item.options if form == "pubmedqa" else tuple(LETTERS[: len(item.options)])


def mmlu_place(item: Item) -> tuple[str, str, int]:
    """Subject, file (test, dev or val) and row of MMLU's item.

    Raises:
        BuildError: the id is not one of the format `mmlu`.
    """
    if not (found := MMLU_ID.fullmatch(item.item_id.partition("/")[2])):
        raise BuildError(f"{item.item_id}: not <subject>-<row>, an id of MMLU; run `dvc repro benchmarks`")
    return found["subject"], found["split"] or "test", int(found["row"])


def prompt(item: Item, form: str, shown: Shown) -> Prompt:
    """The plain prompt of an item after solved questions."""
    parts = []
    if form == "mmlu":
        subject = mmlu_place(item)[0].replace("_", " ")
        parts.append(f"The following are multiple choice questions (with answers) about {subject}.")
    parts += [f"{question(one, own)} {choices(one, own)[one.answer]}" for one, own in shown]
    text = "\n\n".join([*parts, question(item, form)])
    return Prompt((("user", text),), tuple(f" {choice}" for choice in choices(item, form)), is_plain=True)


def fixed(item: Item, pool: Sequence[Item], shots: int) -> list[Item]:
    """The first `shots` of the subject's dev file of MMLU.

    Raises:
        BuildError: the subject has fewer.
    """
    subject = mmlu_place(item)[0]
    own = [(mmlu_place(one), one) for one in pool if one.benchmark == item.benchmark]
    rows = sorted((place[2], one) for place, one in own if place[:2] == (subject, "dev"))
    if len(rows) < shots:
        raise BuildError(
            f"strategies: {shots} solved questions, and the dev file of {subject} has {len(rows)}; show fewer"
        )
    return [one for _, one in rows[:shots]]


PROTOCOL = PublishedProtocol(FORMATS, prompt, fixes=("mmlu",), fixed=fixed)
