"""Meditron: what the model writes after a plain prompt, of which one character or word is the answer.

An instruction, the question with its options, and `The answer is:`. The model writes greedily, a token, or nine after solved
questions: as many as the answer has under Llama 2's tokenizer, and eight more. Of the text, lowered, what stands before `###`
counts; after solved questions, before the first empty line. All but letters and digits become spaces. Its first character is
the option's letter; of PubMedQA the whole must be `yes` or `no`. So `maybe` is never read, and its items are always wrong, as
in the source (whose own check stops where a model writes exactly that).

The source's own limit hangs on the first answer of each batch. It draws solved questions from the train split under the seeds
1234, 432 and 32; ours are draws of the dev split. Its penalty on tokens already written (1.0) is left out: without solved
questions one token is written. White space around a text is cut first. For models fine-tuned there it writes marks of its own
by their names; ours is the prompt of all other models. Its chains of thought are not offered.

Source: github.com/epfLLM/meditron at a7c7cda3014e, evaluation/{benchmarks,inference,evaluate}.py and instructions.json.
"""

import re
from collections.abc import Sequence

from osler.evaluation.published.form import PublishedProtocol, Shown, lettered
from osler.evaluation.questions import LETTERS, Item
from osler.inference.interface import Prompt

EXAM = (
    "You are a medical doctor taking the US Medical Licensing Examination. You need to demonstrate your"
    " understanding of basic and clinical science, medical knowledge, and mechanisms underlying health, disease,"
    " patient care, and modes of therapy. Show your ability to apply the knowledge essential for medical practice."
    " For the following multiple-choice question, select one correct answer from A to E. Base your answer on the"
    " current and standard practices referenced in medical guidelines."
)
ENTRANCE = (
    "You are a medical doctor answering realworld medical entrance exam questions. Based on your understanding of"
    " basic and clinical science, medical knowledge, and mechanisms underlying health, disease, patient care, and"
    " modes of therapy, answer the following multiple-choice question. Select one correct answer from A to D. Base"
    " your answer on the current and standard practices referenced in medical guidelines."
)
STATEMENT = (
    "As an expert doctor in clinical science and medical knowledge, can you tell me if the following statement is"
    " correct? Answer yes, no, or maybe."
)
INSTRUCTIONS = {"medqa": EXAM, "medmcqa": ENTRANCE, "mmlu": ENTRANCE, "pubmedqa": STATEMENT}
ASKING = "The answer is:"
STOP = "###"
READ = ("yes", "no")


def question(item: Item, form: str) -> str:
    """The question, of PubMedQA behind its abstract, else with its options."""
    if form == "pubmedqa":
        return f"{item.context}\n{item.question}"
    asked = item.question if item.question.endswith(("?", ".")) else f"{item.question}?"
    return "\n".join([f"Question: {asked}", "", "Options:", *lettered(item)])


def choices(item: Item, form: str) -> tuple[str, ...]:
    """What may be answered: letters, or the options themselves."""
    return item.options if form == "pubmedqa" else tuple(LETTERS[: len(item.options)])


def prompt(item: Item, form: str, shown: Shown) -> Prompt:
    """The plain prompt of an item after solved questions."""
    solved = [f"{question(one, own)}\n{ASKING} {choices(one, own)[one.answer]}" for one, own in shown]
    text = f"{INSTRUCTIONS[form]}\n" + "\n\n".join([*solved, question(item, form)]) + f"\n{ASKING}"
    return Prompt((("user", text if shown else f"{text}\n"),), choices(item, form), is_plain=True)


def read(text: str, options: Sequence[str], is_shown: bool) -> int | None:
    """The option that a text names: a letter, yes or no."""
    output = text.split(STOP)[0].lower()
    if "\n##" in output:
        output = output.split("\n##")[1].split("\n")[0]
    if is_shown:
        output = output.strip().split("\n\n")[0]
    output = " ".join(re.sub("[^a-z0-9]", " ", output).split())
    known = [option.lower() for option in options]
    if known == ["yes", "no", "maybe"]:
        for double, one in (("yesyes", "yes"), ("nono", "no"), ("yesno", "yes"), ("noyes", "no")):
            if double in output:
                output = output.replace(double, one)
                break
        return known.index(output) if output in READ else None
    return known.index(output[:1]) if output[:1] in known else None


PROTOCOL = PublishedProtocol(tuple(sorted(INSTRUCTIONS)), prompt, read=read, limits_tokens=(1, 9))
