"""A first profile for a folder of files: what was guessed is said, and what only its owner knows is asked for.

What looks like questions with options becomes a benchmark, not a source: text that holds them would be dropped as contaminated.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from osler.build.pipeline import ROOT
from osler.build.profiles import profile
from osler.ingest.inspection import UNSTATED, Found, found_in, is_about_patients, proposed, remarks

EXTENDED = "real-small"
QUESTIONS: dict[str, frozenset[str]] = {
    "medmcqa": frozenset({"question", "opa", "opb", "opc", "opd", "cop"}),
    "medqa": frozenset({"question", "options", "answer_idx"}),
    "jsonl": frozenset({"id", "question", "options", "answer"}),
}  # a benchmark's format -> fields of its rows
SPLIT = ("mmlu", "pubmedqa", "medqa")  # formats with a split for development
SHOWING = ("few_shot", "knn_few_shot", "medprompt")
BYTES_A_TOKEN, DEFLATED = 4, 3  # guesses: of English, and how much smaller compression makes it
PACKED = (".gz", ".zst", ".zip")


def question_format(found: Found, folder: Path) -> str | None:
    """The benchmark format that files look like.

    It is None where they are text or conversations.
    """
    place = folder / found.path
    if any((place / name).is_file() for name in ("ori_pqal.json", "ori_pqal.json.gz")):
        return "pubmedqa"
    if found.format == "csv" and (place / "test").is_dir() and (place / "dev").is_dir():
        return "mmlu"
    names = {name for row in found.rows for name in row}
    return next((form for form, fields in QUESTIONS.items() if found.format == "jsonl" and fields <= names), None)


def tokens_of(found: Found, folder: Path) -> int:
    """How many tokens the files may have, from their sizes."""
    place = folder / found.path
    files = [file for file in (place, *place.rglob("*")) if file.is_file()]
    size: int = sum(file.stat().st_size * (DEFLATED if file.suffix in PACKED else 1) for file in files)
    return size // BYTES_A_TOKEN


def rounded(tokens: int, limit: int) -> int:
    """`tokens` with one digit that counts, at most `limit`."""
    digits: int = 10 ** (len(str(tokens)) - 1)
    return min(limit, tokens // digits * digits)


def first_profile(folder: Path) -> str:
    """A profile for the files of `folder`, with remarks.

    Raises:
        BuildError: see `found_in`.
    """
    every = found_in(folder)
    questions = {one.path: form for one in every if (form := question_format(one, folder))}
    sections = {one.name: (one, proposed(one)) for one in every if one.path not in questions}
    texts = {name: own["collection"] for name, (_, own) in sections.items() if own["collection"] != "instructions"}
    extended = yaml.safe_load(profile(ROOT, EXTENDED))
    tokens = {name: tokens_of(sections[name][0], folder) for name in texts}
    general = {name: tokens[name] for name, kind in texts.items() if kind == "general"}
    limit = extended["mix"]["tokens"]
    mixed = rounded(sum(tokens.values()), limit)
    parts = [
        [
            f"# A first version for the files of {folder.resolve()}. What was guessed is said; read it all.",
            "# Save it as profiles/NAME.yaml, correct it, and run `osler profile NAME`. docs/your-text.md explains the keys.",
            f"extends: {EXTENDED}",
        ],
        [f"root: {_quoted(str(folder.resolve()))}"],
        ["source:", *(line for one, section in sections.values() for line in _source(one, section))],
        ["corpus: # the sources that are text", *(f"  {name}: {kind}" for name, kind in texts.items())],
        _benchmarks(every, questions),
        *_strategies(every, questions),
        ["task: {} # texts that a model writes, scored against targets: docs/tasks.md"],
        ["licenses:", "  allow:", f"  - {UNSTATED}"],
        ["select:", "  priority: # of two duplicates the one from the source named first is kept", *_listed(sections)],
        _pretrain(extended["pretrain"]["base"], general),
        [
            "mix:",
            f"  tokens: {mixed} # guessed from sizes: all text about once, at most {limit}",
            *_shares("shares", texts),
        ],
        _instruct([name for name in sections if name not in texts]),
    ]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def _listed(names: Iterable[str]) -> list[str]:
    return [f"  - {name}" for name in names]


def _shares(what: str, names: Iterable[str]) -> list[str]:
    return [f"  weights: # {what}; guessed equal", *(f"    {name}: 1.0" for name in names)]


def _source(found: Found, section: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"  # {remark}" for remark in remarks(found, section))
    yield f"  {found.name}:"
    for key, value in section.items():
        if key == "turns":
            yield "    turns:"
            for turn in value:
                yield f"    - role: {turn['role']}"
                yield f"      text: {_quoted(turn['text'])}"
        else:
            yield f"    {key}: {_quoted(value)}"
    yield f"    license: {UNSTATED} # as its owner calls it; and in `licenses.allow` below"
    if is_about_patients(found, section):
        yield from ("    phi:", "      action: redact", "      detector: rules")
        yield from ("      required: true", "      minimum_recall: 0.95")


def _benchmarks(found: Sequence[Found], questions: Mapping[str, str]) -> list[str]:
    if not questions:
        missing = (
            "# No questions with options were found, and evaluation needs some: docs/evaluation.md has their formats."
        )
        return [missing, "benchmark: {}"]
    named = {one.path: one.name for one in reversed(found) if one.path in questions}
    lines = ["benchmark: # guessed by their fields: questions with options, which no model may train on"]
    for path, form in questions.items():
        lines += [f"  {named[path]}:", f"    path: {_quoted(path)}", f"    format: {form}"]
    return lines


def _strategies(found: Sequence[Found], questions: Mapping[str, str]) -> list[list[str]]:
    """Off are those that show solved questions, where no benchmark seems to have any."""
    files = {path: sum(one.files for one in found if one.path == path) for path in questions}
    if any(form in SPLIT or files[path] > 1 for path, form in questions.items()):
        return []
    said = "strategies: # off: they show solved questions, those of the split dev, and no file seems to be of one"
    return [[said, *(f"  {name}: null" for name in SHOWING)]]


def _pretrain(base: Mapping[str, Any], general: Mapping[str, int]) -> list[str]:
    """The base that is made here, of general text."""
    if not general:
        return [
            "# No general text was found. The base that is made here is trained on some, and continued pretraining forgets",
            "# without. Add a source of the collection general, or bring a base (docs/bases.md): `pretrain: {}`, `download_model`.",
        ]
    recipe = {
        **base,
        "tokens": rounded(2 * sum(general.values()), base["tokens"]),
        "weights": dict.fromkeys(general, 1.0),
    }
    text = yaml.safe_dump({"pretrain": {"base": recipe}}, sort_keys=False, allow_unicode=True)
    return text.rstrip().split("\n")


def _instruct(conversations: Sequence[str]) -> list[str]:
    if not conversations:
        missing = (
            "# No conversations were found, which fine-tuning learns: add a source of the collection instructions."
        )
        return [missing, "instruct:", "  weights: {}"]
    return ["instruct:", *_shares("shares of conversations", conversations)]


def _quoted(value: str) -> str:
    """A YAML scalar: plain where that is the same text."""
    plain = re.fullmatch(r"[A-Za-z/_][\w/.-]*", value)
    is_text = plain and value.lower() not in ("yes", "no", "on", "off", "true", "false", "null")
    return value if is_text else json.dumps(value, ensure_ascii=False)
