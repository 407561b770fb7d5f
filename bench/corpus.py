"""jsonl to packed rows, filtered, deduplicated, decontaminated and tokenized: this build beside datatrove, on one core.

    python -m bench.corpus --profile real-small --root DATA --peer-python PEERS/bin/python \\
        --limit-megabytes 30 --out results/bench/corpus.json

Our side is the stages themselves, each in a process of its own and bound by dvc.yaml as `dvc repro` binds it (bench/stage.py),
with the settings, benchmarks and tokenizer of a profile and the one source `corpus`. Its text is that of the profile's sources
below --root, or with --corpus the field `text` of every .jsonl and .jsonl.gz in a folder. The peer does the same steps with its
own blocks (bench/datatrove_step.py), once as it comes and once with the words of spaCy, most of its time, replaced by
whitespace words. The work is not the same: datatrove filters by Gopher's quality and repetition rules and hands on fewer
documents, does not clean text, verify candidates or pack, drops a document for one shared n-gram and knows no short questions;
ours has the rules that the stages have. The costs of single steps, also printed, say where a ratio comes from.

A rate is megabytes (10^6 bytes) of the text that came in over CPU seconds of all threads, imports left out; so it compares
between runs of one machine only. Peers are slow: --limit-megabytes takes every n-th document for them and for the arm that is
compared with them, and our side then also runs on everything.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import yaml

from bench.beside import PARTS, sample
from bench.measure import REPOSITORY, costs
from osler.build.profiles import profile
from osler.build.validation import validated
from osler.ingest.faults import Fault
from osler.ingest.records import raw_records
from osler.ingest.source import Source

# in order; those before and between that are not listed here (items, tokenizer) are made but not counted
COUNTED = ("ingest@corpus", "screen@corpus", "select", "tokenize@corpus", "pack@corpus")
JSONL: dict[str, Any] = {
    "format": "jsonl",
    "text": "{text}",
    "license": "any",
    "collection": "clinical",
    "path": "corpus",
}
JSONL |= dict.fromkeys(
    ("split", "id", "turns", "turns_field", "license_field", "date_field", "phi", "document_limit_characters")
)

PEER_STEPS = ("filter", "signatures", "buckets", "clusters", "deduplicate", "decontaminate", "tokenize")
PEER_ARMS: dict[str, dict[str, Any]] = {
    "datatrove": {"words": "spacy", "bands": 14, "rows_per_band": 8},
    "datatrove, whitespace words": {"words": "whitespace", "bands": 14, "rows_per_band": 8},
    "datatrove, whitespace words, 20 x 7": {"words": "whitespace", "bands": 20, "rows_per_band": 7},
}


@dataclass(frozen=True)
class Step:
    """What one step took, and the documents left after it where it drops some."""

    cpu_seconds: float
    wall_seconds: float
    peak_megabytes: float
    documents: int | None = None


@dataclass(frozen=True)
class Arm:
    """One side: its steps, in order, on so much text."""

    name: str
    megabytes: float
    kept: int
    tokens: int
    steps: dict[str, Step]
    dropped: dict[str, int] = field(default_factory=dict)
    beside: dict[str, float] = field(default_factory=dict)  # megabytes a CPU second of parts that are timed alone

    @property
    def cpu_seconds(self) -> float:
        """Of all steps."""
        return sum(step.cpu_seconds for step in self.steps.values())

    @property
    def rate(self) -> float:
        """Megabytes a CPU second."""
        return self.megabytes / self.cpu_seconds

    @property
    def peak_megabytes(self) -> float:
        """Of the step that took most."""
        return max(step.peak_megabytes for step in self.steps.values())


def texts(root: Path, sources: Mapping[str, Any]) -> Iterator[str]:
    """The text of every readable row; the turns of a conversation joined by line ends."""
    for name, section in sources.items():
        source = validated(f"source.{name}", section, Source)
        for _, record in raw_records(root / source.path, source):
            parts = [] if isinstance(record, Fault) else [template.rendered(record) for template in source.templates]
            if found := [part for part in parts if isinstance(part, str)]:
                yield "\n".join(found)


def write_corpus(found: Iterable[str], folder: Path) -> float:
    """Write texts to <folder>/corpus.jsonl as id and text; megabytes of text."""
    folder.mkdir(parents=True)
    size = 0
    with (folder / "corpus.jsonl").open("wb") as stream:
        for number, text in enumerate(found):
            stream.write(orjson.dumps({"id": str(number), "text": text}) + b"\n")
            size += len(text.encode())
    return size / 1e6


def every_nth(corpus: Path, step: int) -> Iterator[str]:
    """The texts of every `step`-th row of a folder written by `write_corpus`."""
    with (corpus / "corpus.jsonl").open("rb") as stream:
        for number, line in enumerate(stream):
            if number % step == 0:
                yield orjson.loads(line)["text"]


def params_for_corpus(params: Mapping[str, Any], raw: Path) -> dict[str, Any]:
    """The profile with the one source `corpus` in the folder `raw`."""
    tokenizer = params["tokenizer"] | ({"sources": {"corpus": "clinical"}} if params["tokenizer"]["sources"] else {})
    changes = {"root": str(raw), "source": {"corpus": JSONL}, "corpus": {"corpus": "clinical"}, "tokenizer": tokenizer}
    select = params["select"] | {"priority": ["corpus"]}
    return {**params, **changes, "select": select, "licenses": {"allow": ["any"], "outside": "stop"}}


def prepared(folder: Path, params: Mapping[str, Any], root: Path, corpus: Path) -> list[str]:
    """Make `folder` a project whose stages read `corpus`; the stages to run, in order."""
    raw = folder / "raw"
    (folder / ".dvc").mkdir(parents=True)
    (folder / ".dvc" / "config").write_text("[core]\n    no_scm = true\n    analytics = false\n", encoding="utf-8")
    (folder / "dvc.yaml").write_bytes((REPOSITORY / "dvc.yaml").read_bytes())
    for path, target in [("corpus", corpus), *((b["path"], root / b["path"]) for b in params["benchmark"].values())]:
        (raw / path).parent.mkdir(parents=True, exist_ok=True)
        (raw / path).symlink_to(target.resolve())
    ours = params_for_corpus(params, raw)
    (folder / "withdrawn.txt").touch()
    (folder / "params.yaml").write_text(yaml.safe_dump(ours, sort_keys=False), encoding="utf-8")
    return [*(f"benchmarks@{name}" for name in params["benchmark"]), COUNTED[0], "tokenizer", *COUNTED[1:]]


def own_arm(name: str, folder: Path, stages: Iterable[str], megabytes: float, core: int) -> Arm:
    """Run the stages of a folder made by `prepared`."""
    steps: dict[str, Step] = {}
    for stage in stages:
        report = folder / "costs" / f"{stage}.json"
        command = [sys.executable, "-m", "bench.stage", str(folder), stage, str(core)]
        taken = costs(command, report, folder / "log")
        if stage in COUNTED:
            steps[stage.partition("@")[0]] = Step(**taken)
    totals = json.loads((folder / "metrics" / "corpus.json").read_text(encoding="utf-8"))
    packed = json.loads((folder / "data/packed/clinical/corpus/manifest.json").read_text(encoding="utf-8"))
    for step, documents in (("ingest", totals["documents"]), ("select", totals["kept"])):
        steps[step] = Step(**asdict(steps[step]) | {"documents": documents})
    dropped = {reason: count for reason, count in totals["sources"][0]["dropped"].items() if count}
    beside = {}
    for part in PARTS:
        command = [sys.executable, "-m", "bench.beside", str(folder), part, str(core)]
        taken = costs(command, folder / "costs" / f"{part}.json", folder / "log")
        beside[part] = int(sample(folder).str.len_bytes().sum()) / 1e6 / taken["cpu_seconds"]
    return Arm(name, megabytes, packed["documents"], packed["tokens"], steps, dropped, beside)


def _lines(folder: Path) -> int | None:
    files = list(folder.glob("*.jsonl"))
    return sum(file.read_bytes().count(b"\n") for file in files) if files else None


def peer_arm(
    name: str, python: str, folder: Path, project: Path, params: Mapping[str, Any], megabytes: float, core: int
) -> Arm:
    """Run datatrove on the corpus, items and tokenizer of `project`, a folder that `own_arm` has run in."""
    folder.mkdir(parents=True)
    items = pl.concat(
        [pl.read_parquet(project / f"data/items/{benchmark}.parquet") for benchmark in params["benchmark"]]
    )
    with (folder / "items.jsonl").open("wb") as stream:
        for item in items.iter_rows(named=True):
            query = f"{item['context']}\n{item['question']}".strip()
            stream.write(orjson.dumps({"query": query, "label": item["options"][item["answer"]]}) + b"\n")
    settings = PEER_ARMS[name] | {
        "corpus": str(project / "raw" / "corpus"),
        "items": str(folder / "items.jsonl"),
        "ngram_words": params["overlap"]["ngram_words"],
        "shingle_words": params["screen"]["shingle_words"],
        "tokenizer": str(project / "models" / "tokenizer" / "tokenizer.json"),
    }
    (folder / "peer.json").write_text(json.dumps(settings), encoding="utf-8")
    left = {"filter": "filtered", "deduplicate": "deduplicated", "decontaminate": "clean"}
    steps = {}
    for step in PEER_STEPS:
        command = [python, "-m", "bench.datatrove_step", str(folder), step, str(core)]
        taken = costs(command, folder / "costs" / f"{step}.json", folder / "log")
        steps[step] = Step(**taken, documents=_lines(folder / left[step]) if step in left else None)
    tokens = sum(
        int(file.read_text(encoding="utf-8").splitlines()[1]) for file in (folder / "tokens").glob("*.metadata")
    )
    return Arm(name, megabytes, _lines(folder / "clean") or 0, tokens, steps)


def table(arms: list[Arm], compared: Arm | None) -> str:
    """All arms and steps in markdown; the last column is how many times as fast `compared` is as an arm."""
    lines = [
        "| arm | step | CPU s | MB/s per core | peak MB | documents left | ours is faster by |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for arm in arms:
        for name, step in arm.steps.items():
            rate = arm.megabytes / step.cpu_seconds if step.cpu_seconds else 0.0
            left = "" if step.documents is None else f"{step.documents:,}"
            lines.append(f"| | {name} | {step.cpu_seconds:.1f} | {rate:.1f} | {step.peak_megabytes:.0f} | {left} | |")
        lines += [f"| | ({part}, alone) | | {rate:.1f} | | | |" for part, rate in arm.beside.items()]
        ratio = "" if compared is None or arm.megabytes != compared.megabytes else f"{compared.rate / arm.rate:.1f}"
        lines.append(
            f"| **{arm.name}** | all, {arm.megabytes:.1f} MB | **{arm.cpu_seconds:.1f}** | **{arm.rate:.2f}** |"
            f" **{arm.peak_megabytes:.0f}** | **{arm.kept:,}** | {ratio} |"
        )
    return "\n".join(lines)


def results(arms: list[Arm]) -> list[dict[str, Any]]:
    """The arms as JSON holds them, with their totals."""
    totals = ("cpu_seconds", "rate", "peak_megabytes")
    return [asdict(arm) | {total: getattr(arm, total) for total in totals} for arm in arms]


def main(arguments: list[str] | None = None) -> list[Arm]:
    """Prepare, run every arm, print the table and write the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--profile", required=True, help="of profiles/: settings, benchmarks, tokenizer")
    parser.add_argument("--root", type=Path, required=True, help="folder that the profile's paths are relative to")
    parser.add_argument("--corpus", type=Path, help="folder or file of jsonl with a field `text`")
    parser.add_argument("--peer-python", help="interpreter that has datatrove; none: our side only")
    parser.add_argument("--limit-megabytes", type=float, help="text for the comparison; none: all of it")
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)), help="core that everything runs on")
    parser.add_argument("--out", type=Path, required=True, help="results, JSON")
    given = parser.parse_args(arguments)

    params = yaml.safe_load(profile(REPOSITORY, given.profile))
    sources = params["source"]
    if given.corpus:
        sources = {"corpus": JSONL | {"path": os.path.relpath(given.corpus.resolve(), given.root.resolve())}}
    with tempfile.TemporaryDirectory(prefix="bench-") as temporary:
        work = Path(temporary)
        whole = work / "whole" / "corpus"
        megabytes = write_corpus(texts(given.root, sources), whole)
        corpora = {"ours": (whole, megabytes)}
        if given.limit_megabytes and given.limit_megabytes < megabytes:
            compared = work / "compared" / "corpus"
            size = write_corpus(every_nth(whole, -(-int(megabytes) // int(given.limit_megabytes))), compared)
            corpora = {"ours": (compared, size), "ours, all of the text": (whole, megabytes)}
        arms = []
        for name, (corpus, size) in corpora.items():
            project = corpus.parent / "project"
            arms.append(own_arm(name, project, prepared(project, params, given.root, corpus), size, given.core))
            print(f"{name}: {arms[-1].rate:.2f} MB/s", file=sys.stderr)
        first, project = arms[0], corpora["ours"][0].parent / "project"
        for name in PEER_ARMS if given.peer_python else ():
            folder = work / name.replace(" ", "-").replace(",", "")
            arms.append(peer_arm(name, given.peer_python, folder, project, params, first.megabytes, given.core))
            print(f"{name}: {arms[-1].rate:.2f} MB/s", file=sys.stderr)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(results(arms), indent=2) + "\n", encoding="utf-8")
    print(table(arms, first if given.peer_python else None))
    return arms


if __name__ == "__main__":
    main()
