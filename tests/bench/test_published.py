"""The protocol `lm_eval` writes what the harness's own tasks write: made there, kept here, and compared where it is installed."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from bench import published
from bench.published import FORMATS, TaskFiles, asked_protocol, compared, harness_tasks, their_results
from osler.evaluation.questions import Item
from osler.inference.language_model import LanguageModel
from osler.inference.torch_backend import TorchBackend
from tests.support.tiny import tiny_model, tiny_tokenizer

HARNESS = pytest.mark.skipif(find_spec("lm_eval") is None, reason="lm-eval is not installed")
KEPT = Path(__file__).resolve().parents[1] / "data/lm_eval_texts.json"  # what the harness 0.4.13 wrote of QUESTIONS
QUESTIONS = (  # as items have them; blanks, marks and letters of all sorts
    ("Which herb treats the moon itch? ", "Two abstracts.\nOf 5 µg.", ("fern tea", "A. honey wrap", "é", "acorn "), 1),
    (" A man of Zaritol\nsneezes", "No effect.", ("none", "all of\nthe above", "1 mg", "Vadosis?"), 3),
)
SHOWN = (("Is the wrap blue?", "Shown.", ("yes, it is", "no", "at times", "never"), 0),)
TASKS = {"medqa": "medqa_4options", "medmcqa": "medmcqa", "pubmedqa": "pubmedqa", "mmlu": "mmlu_clinical_knowledge"}
WORDS = ("yes", "no", "maybe")


def item(form: str, number: int, split: str, row: Any) -> Item:
    """A question as an item of a benchmark called as its format."""
    question, context, options, answer = row
    own = f"clinical_knowledge-{'dev-' if split == 'dev' else ''}{number}" if form == "mmlu" else f"{split}-{number}"
    if form == "pubmedqa":
        options, answer = WORDS, answer % 3
    return Item(f"{form}/{own}", form, own, split, question, context if form == "pubmedqa" else "", options, answer)


def document(form: str, row: Any) -> dict[str, Any]:
    """The same question as the harness's data set has it."""
    question, context, options, answer = row
    if form == "pubmedqa":
        return {"QUESTION": question, "CONTEXTS": context.split("\n"), "final_decision": WORDS[answer % 3]}
    if form == "mmlu":
        return {"question": question, "choices": list(options), "answer": answer}
    if form == "medqa":
        return {"sent1": question, "label": answer} | {f"ending{place}": text for place, text in enumerate(options)}
    names = dict(zip(("opa", "opb", "opc", "opd"), options, strict=True))
    return {"question": question, "cop": answer} | names


def files(form: str) -> TaskFiles:
    """The task of a format, over the questions above."""
    return TaskFiles(
        TASKS[form],
        [document(form, row) for row in QUESTIONS],
        [document(form, row) for row in SHOWN],
        [item(form, number, "test", row) for number, row in enumerate(QUESTIONS)],
        [item(form, number, "dev", row) for number, row in enumerate(SHOWN)],
    )


def our_texts(form: str, shots: int) -> list[list[list[str]]]:
    """Context and continuation of each choice of each question."""
    own, protocol = files(form), asked_protocol(form)
    prompts = [protocol.prompt(one, own.pool[:shots]) for one in own.items]
    return [[[prompt.turns[0][1], option] for option in prompt.options] for prompt in prompts]


def their_texts(form: str, shots: int) -> list[list[list[str]]]:
    """The same from the harness's own task."""
    own = files(form)
    (task,) = harness_tasks([own])["tasks"].values()
    task.set_config("num_fewshot", shots)
    task.set_fewshot_seed(1)
    found = []
    for asked in own.asked:
        context = task.fewshot_context(asked, num_fewshot=shots)
        found.append([list(one.args) for one in task.construct_requests(asked, context, metadata=("", 0, 1))])
    return found


@pytest.mark.parametrize("shots", [0, 1])
@pytest.mark.parametrize("form", FORMATS)
def test_texts_are_those_that_the_harness_wrote(form: str, shots: int) -> None:
    """Every character of contexts and continuations, with a solved question and without."""
    assert our_texts(form, shots) == json.loads(KEPT.read_text(encoding="utf-8"))[f"{form} {shots}"]


@HARNESS
@pytest.mark.parametrize("shots", [0, 1])
@pytest.mark.parametrize("form", FORMATS)
def test_kept_texts_are_what_the_harness_writes(form: str, shots: int) -> None:
    """The installed one, from its own definitions of tasks."""
    assert their_texts(form, shots) == json.loads(KEPT.read_text(encoding="utf-8"))[f"{form} {shots}"]


@HARNESS
@pytest.mark.parametrize("form", FORMATS)
def test_the_harness_evaluates_to_the_same_numbers(form: str) -> None:
    """Texts, log-likelihoods to 1e-4, answers and accuracy of its own evaluation."""
    tokenizer = tiny_tokenizer()
    model = tiny_model(len(tokenizer), positions=512)
    backend = TorchBackend(model, 64)
    ours = LanguageModel(backend, tokenizer, backend, (tokenizer.eos_token_id,))
    found = compared(ours, form, files(form), their_results(model, tokenizer, [files(form)], 0), 0)
    assert (found["items"], found["log_likelihoods"]) == (2, 6 if form == "pubmedqa" else 8)
    assert (found["other_texts"], found["beyond_tolerance"], found["other_answers"]) == (0, 0, 0)
    assert found["accuracy"] == found["acc"] == found["accuracy_on_all"] == found["acc_reported_on_all"]
    assert found["acc_norm"] == (found["acc"] if form in ("medqa", "medmcqa") else None)


@HARNESS
def test_every_subject_of_mmlu_is_introduced_as_in_the_harness() -> None:
    """57 names with their underscores read as blanks."""
    import lm_eval.tasks
    import yaml

    folder = Path(lm_eval.tasks.__file__).parent / "mmlu/default"
    told = [yaml.safe_load(path.read_text()) for path in sorted(folder.glob("mmlu_*.yaml"))]
    told = [task for task in told if "description" in task]
    assert len(told) == 57
    for task in told:
        name = f"mmlu/{task['dataset_name']}-0"
        one = Item(name, "mmlu", name, "test", "q?", "", ("a", "b", "c", "d"), 0)
        assert (
            asked_protocol("mmlu").prompt(one).turns[0][1]
            == f"{task['description']}q?\nA. a\nB. b\nC. c\nD. d\nAnswer:"
        )


def test_documents_and_items_are_of_the_same_questions(tmp_path: Path) -> None:
    """Questions of MedMCQA written as MedQA's are read back with their answers."""
    rows = [
        {"question": f"q{n}", "opa": "w", "opb": "x", "opc": f"y{n}", "opd": "z", "cop": n + 1, "id": str(n)}
        for n in range(4)
    ]
    published.write_as_medqa(rows, tmp_path)
    items = published.own_items(tmp_path, "medqa")
    assert [(one.question, one.answer, one.options[2]) for one in items] == [(f"q{n}", n, f"y{n}") for n in range(4)]


if __name__ == "__main__":
    texts = {f"{form} {shots}": their_texts(form, shots) for form in FORMATS for shots in (0, 1)}
    KEPT.write_text(json.dumps(texts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
