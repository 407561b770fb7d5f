"""The protocol `lm_eval` beside lm-evaluation-harness's own tasks: the same texts, log-likelihoods and accuracies.

    PEERS/bin/python -m bench.published --model MODEL --root DATA --out results/bench/published.json

Runs in the peer's interpreter, which has this project's packages too (bench/requirements-evaluation.txt). The harness makes
its own tasks medqa_4options, medmcqa, pubmedqa and the six medical subjects of mmlu, reads documents made of the raw files
here in place of those of the Hub, and evaluates them with its HFLM. On this side Osler's readers, strategies and protocol do
the same from the files. Both have the same model in memory. --shots other than 0 is asked of mmlu, whose solved questions are
fixed; in the other tasks the source draws them.

Compared are each context and continuation as text, each log-likelihood to 1e-4, each answer, and the accuracies that the
harness reports (acc, and acc_norm where it has one). Questions that the model cannot read whole, which the two cut at other
places, are left out of all that and counted. MedQA is not among the data: questions of MedMCQA are written in its layout, for
both sides.

Measured: see docs/evaluation.md.
"""

import argparse
import csv
import gzip
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench.evaluation import SEED, loaded
from bench.measure import ONE_THREAD
from osler.build.files import write_json
from osler.evaluation.benchmark_formats import items_frame
from osler.evaluation.benchmarks import Benchmark, read_items
from osler.evaluation.protocols import AnswerProtocol
from osler.evaluation.questions import Item, items_of, limited, predictions
from osler.evaluation.strategies.few_shot import FewShot
from osler.evaluation.strategies.few_shot import answered as few_shot
from osler.inference.interface import Prompt

TOLERANCE = 1e-4  # nats, of a choice's log-likelihood
SUBJECTS = (
    *("anatomy", "clinical_knowledge", "college_biology", "college_medicine", "medical_genetics"),
    "professional_medicine",
)
FORMATS = ("medmcqa", "pubmedqa", "medqa", "mmlu")
Document = dict[str, Any]


@dataclass(frozen=True)
class TaskFiles:
    """One task of the harness: its name, documents to ask and to show, and our item of each that is asked."""

    name: str
    asked: list[Document]
    shown: list[Document]
    items: list[Item]
    pool: list[Item]


def json_rows(path: Path) -> Iterator[Document]:
    """The rows of a gzipped file of JSON lines."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def mmlu_documents(path: Path) -> list[Document]:
    """A file of MMLU as the harness's data set has it."""
    with path.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.reader(lines))
    return [{"question": row[0], "choices": row[1:5], "answer": "ABCD".index(row[5].strip())} for row in rows]


def write_as_medqa(rows: Sequence[Document], folder: Path) -> None:
    """Questions of MedMCQA in the layout of MedQA's release."""
    lines = []
    for row in rows:
        options = dict(zip("ABCD", (row["opa"], row["opb"], row["opc"], row["opd"]), strict=True))
        letter = "ABCD"[row["cop"] - 1]
        written = {"question": row["question"], "options": options, "answer_idx": letter, "answer": options[letter]}
        lines.append(json.dumps(written) + "\n")
    (folder / "phrases_no_exclude_test.jsonl").write_text("".join(lines), encoding="utf-8")


def own_items(path: Path, form: str) -> list[Item]:
    """The items of a benchmark as the build reads them."""
    section = Benchmark.model_validate({"path": form, "format": form})
    return items_of(items_frame(read_items(path, section), form))


def chosen(items: Sequence[Item], count: int) -> list[Item]:
    """`count` of the items at random, in their order; 0 is all."""
    return limited(items, count or None, SEED)


def task_files(root: Path, form: str, count: int, scratch: Path) -> list[TaskFiles]:
    """The tasks of one format, with `count` items of each; 0 is all."""
    if form == "mmlu":
        folder = root / "eval/mmlu_medical"
        everything = own_items(folder, form)
        pool = [item for item in everything if item.split == "dev"]
        found = []
        for subject in SUBJECTS:
            documents = mmlu_documents(folder / f"test/{subject}_test.csv")
            own = [item for item in everything if item.item_id.startswith(f"mmlu/{subject}-") and item.split == "test"]
            taken = chosen(own, count)
            asked = [documents[int(item.item_id.rpartition("-")[2])] for item in taken]
            shown = mmlu_documents(folder / f"dev/{subject}_dev.csv")
            found.append(TaskFiles(f"mmlu_{subject}", asked, shown, taken, pool))
        return found
    if form == "pubmedqa":
        with gzip.open(root / "eval/pubmedqa/ori_pqal.json.gz", "rt", encoding="utf-8") as lines:
            by_id = json.load(lines)
        items = chosen(own_items(root / "eval/pubmedqa", form), count)
        found_rows = [by_id[item.item_id.partition("/")[2]] for item in items]
        asked = [{key: row[key] for key in ("QUESTION", "CONTEXTS", "final_decision")} for row in found_rows]
        return [TaskFiles("pubmedqa", asked, asked[:1], items, [])]
    rows = list(json_rows(root / "eval/medmcqa/dev.jsonl.gz"))
    if form == "medmcqa":
        items = chosen(own_items(root / "eval/medmcqa", form), count)
        named = {row["id"]: row for row in rows}
        keys = ("question", "opa", "opb", "opc", "opd")
        found_rows = [named[item.item_id.partition("/")[2]] for item in items]
        asked = [{key: row[key] for key in keys} | {"cop": row["cop"] - 1} for row in found_rows]
        return [TaskFiles("medmcqa", asked, asked[:1], items, [])]
    write_as_medqa(rows, scratch)
    items = chosen(own_items(scratch, form), count)
    asked = []
    for item in items:
        row = rows[int(item.item_id.rpartition("-")[2])]
        options = {f"ending{place}": row[name] for place, name in enumerate(("opa", "opb", "opc", "opd"))}
        asked.append({"sent1": row["question"], "label": row["cop"] - 1} | options)
    return [TaskFiles("medqa_4options", asked, asked[:1], items, [])]


@contextmanager
def local_documents(files: Sequence[TaskFiles]) -> Iterator[None]:
    """The harness's tasks read the documents of `files` in place of their data sets."""
    from datasets import Dataset
    from lm_eval.api.task import ConfigurableTask

    by_name = {one.name: one for one in files}

    def download(self: Any, dataset_kwargs: object = None, **_: object) -> None:  # noqa: ARG001
        own = by_name[self.config.task]
        shown, asked = Dataset.from_list(own.shown), Dataset.from_list(own.asked)
        self.dataset = {"train": shown, "dev": shown, "validation": asked, "test": asked}

    kept = ConfigurableTask.download
    ConfigurableTask.download = download
    try:
        yield
    finally:
        ConfigurableTask.download = kept


def harness_tasks(files: Sequence[TaskFiles]) -> dict[str, Any]:
    """What the harness's TaskManager makes of its own definitions, over local documents."""
    import lm_eval.tasks

    place = Path(lm_eval.tasks.__file__).parent
    folders = [str(place / name) for name in ("medqa", "medmcqa", "pubmedqa", "mmlu/default")]
    with local_documents(files):
        manager = lm_eval.tasks.TaskManager(include_path=folders, include_defaults=False)
        tasks: dict[str, Any] = manager.load([one.name for one in files])
    return tasks


def their_results(model: Any, tokenizer: Any, files: Sequence[TaskFiles], shots: int) -> Mapping[str, Any]:
    """The harness's own evaluation of its tasks."""
    from lm_eval.evaluator import evaluate
    from lm_eval.models.huggingface import HFLM

    tasks = harness_tasks(files)
    for task in tasks["tasks"].values():
        task.set_config("num_fewshot", shots)
    harness = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=4, device="cpu")
    found: Mapping[str, Any] = evaluate(harness, tasks, bootstrap_iters=0, log_samples=True)
    return found


def asked_protocol(form: str) -> AnswerProtocol:
    """The protocol as a build asks in it."""
    return AnswerProtocol("lm_eval", False, "", 0, ((form, form),))


class Listening:
    """A model that keeps what it is asked."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.prompts: list[Prompt] = []

    def likelihoods(self, prompts: Sequence[Prompt]) -> Any:
        self.prompts += prompts
        return self.model.likelihoods(prompts)


def our_results(model: Any, form: str, files: TaskFiles, shots: int) -> tuple[list[Prompt], list[bool]]:
    """The prompts of each item, and whether it is answered rightly, as a strategy and the protocol say."""
    protocol, listening = asked_protocol(form), Listening(model)
    if shots:
        settings = FewShot(shots=shots, draws=1)
        rows = few_shot(listening, files.items, files.pool, settings, protocol, SEED)  # type: ignore[arg-type]
    else:
        prompts = [protocol.prompt(item) for item in files.items]
        rows = predictions(files.items, protocol.answers(listening, prompts), protocol.name, SEED)  # type: ignore[arg-type]
    return listening.prompts, rows["correct"].to_list()


def compared(model: Any, form: str, files: TaskFiles, theirs: Mapping[str, Any], shots: int) -> dict[str, Any]:
    """How far the two are apart in one task."""
    prompts, correct = our_results(model, form, files, shots)
    samples = sorted(theirs["samples"][files.name], key=lambda sample: sample["doc_id"])
    texts, apart, answers, cut, accs, norms, ours = 0, [], 0, 0, [], [], []
    for prompt, right, scored, sample in zip(prompts, correct, model.likelihoods(prompts), samples, strict=True):
        pairs = [tuple(pair[:2]) for pair in sample["arguments"]]
        texts += pairs != [(prompt.turns[0][1], option) for option in prompt.options]
        if scored.truncated:
            cut += 1
            continue
        sums = [float(answer[0][0]) for answer in sample["resps"]]
        apart += [abs(one - two) for one, two in zip(scored.sums, sums, strict=True)]
        answers += right != bool(sample["acc"])
        accs.append(sample["acc"])
        norms.append(sample.get("acc_norm", sample["acc"]))
        ours.append(right)
    whole = theirs["results"][files.name]
    return {
        "items": len(ours),
        "too_long": cut,
        "other_texts": texts,
        "log_likelihoods": len(apart),
        "largest_difference": max(apart),
        "beyond_tolerance": sum(not one <= TOLERANCE for one in apart),
        "other_answers": answers,
        "accuracy": sum(ours) / len(ours),
        "acc": sum(accs) / len(accs),
        "acc_norm": sum(norms) / len(norms) if "acc_norm,none" in whole else None,
        "acc_reported_on_all": whole["acc,none"],
        "accuracy_on_all": sum(correct) / len(correct),
    }


def comparison(
    model: Any, tokenizer: Any, root: Path, count: int, shots: int, batch_tokens: int, forms: Sequence[str]
) -> dict[str, Any]:
    """Each task of `forms` with so many items and solved questions."""
    from osler.inference.language_model import LanguageModel
    from osler.inference.torch_backend import TorchBackend

    backend = TorchBackend(model, batch_tokens)
    ours = LanguageModel(backend, tokenizer, backend, (tokenizer.eos_token_id,))
    found = {}
    for form in forms:
        with tempfile.TemporaryDirectory() as scratch:
            tasks = task_files(root, form, count, Path(scratch))
        theirs = their_results(model, tokenizer, tasks, shots)
        for one in tasks:
            found[one.name] = compared(ours, form, one, theirs, shots)
            print(one.name, shots, json.dumps(found[one.name]), flush=True)
    return found


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Compare, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", required=True, help="folder, or random:HIDDENxLAYERS:FOLDER")
    parser.add_argument("--root", type=Path, required=True, help="folder with eval/medmcqa, mmlu_medical and pubmedqa")
    parser.add_argument("--items", type=int, default=0, help="of each task; 0: all")
    parser.add_argument("--shots", type=int, nargs="+", default=[0], help="solved questions; other than 0 of mmlu only")
    parser.add_argument("--formats", nargs="+", default=list(FORMATS), choices=FORMATS)
    parser.add_argument("--batch-tokens", type=int, default=4096)
    parser.add_argument("--out", type=Path, default=Path("results/bench/published.json"))
    options = parser.parse_args(arguments)
    os.environ.update(ONE_THREAD)
    import torch

    torch.set_num_threads(1)
    model, tokenizer = loaded(options.model)
    compare: Callable[..., dict[str, Any]] = partial(comparison, model, tokenizer, options.root, options.items)
    found = {
        f"{shots} shots": compare(shots, options.batch_tokens, ["mmlu"] if shots else options.formats)
        for shots in options.shots
    }
    write_json(options.out, {"model": options.model} | found)
    return found


if __name__ == "__main__":
    main()
