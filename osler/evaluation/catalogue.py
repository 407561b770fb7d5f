"""Benchmarks that can be named: where the Hub has each, at which commit, and how its files are read.

A commit stands here only where it was seen pinned elsewhere, which `seen` tells; a branch would give other questions tomorrow.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from osler.ingest.inspection import UNSTATED

HUB = "https://huggingface.co/datasets"
MMLU_SUBJECTS = (
    "anatomy",
    "clinical_knowledge",
    "college_biology",
    "college_medicine",
    "medical_genetics",
    "professional_medicine",
)


@dataclass(frozen=True)
class KnownBenchmark:
    """A benchmark of the Hub.

    Attributes:
        repository: owner/name.
        revision: a commit; None where none was found.
        files: patterns of those that are read.
        format: of a section `benchmark`, or of a `task` that judges read.
        license: as its card has it.
        asked: which items are tested on, and how many.
        solved: which may be shown as solved, and how many.
        paper: arXiv or ACL number.
        seen: where else the commit is pinned.
        categories: those asked, of all that the files have; None: all.
        branch: which the commit is the newest of.
        task: keys of a section `task` besides path and format; None: it is a benchmark.
    """

    repository: str
    revision: str | None
    files: tuple[str, ...]
    format: str
    license: str
    asked: str
    solved: str
    paper: str
    seen: str
    categories: tuple[str, ...] | None = None
    branch: str = "HEAD"
    task: Mapping[str, Any] | None = None

    @property
    def kind(self) -> str:
        """The table of its section: benchmark or task."""
        return "benchmark" if self.task is None else "task"

    def sections(self, name: str) -> dict[str, dict[str, Any]]:
        """`download.<name>` and `benchmark.<name>` or `task.<name>`, by their first key."""
        download = {"repository": self.repository, "revision": self.revision or UNSTATED, "files": list(self.files)}
        read: dict[str, Any] = {"path": f"../{name}", "format": self.format}
        if self.categories:
            read["categories"] = list(self.categories)
        return {"download": download, self.kind: read | dict(self.task or {})}


def lookup(repository: str, branch: str = "HEAD") -> str:
    """The command that prints the commit of a dataset's branch."""
    return f"git ls-remote {HUB}/{repository} {branch}"


CATALOGUE: Mapping[str, KnownBenchmark] = {
    "medqa": KnownBenchmark(
        repository="GBaker/MedQA-USMLE-4-options",
        revision="0fb93dd23a7339b6dcd27e241cb9b5eca62d4d18",
        files=("phrases_no_exclude_*.jsonl",),
        format="medqa",
        license="CC-BY-4.0",
        asked="test, 1,273",
        solved="train, 10,178",
        paper="arXiv 2009.13081",
        seen="ten public files that pin it",
    ),
    "medqa_5": KnownBenchmark(
        repository="bigbio/med_qa",
        revision="484a6c066fe8e75c83edea0c88b5169316714fcd",
        files=("med_qa_en_source/*.parquet",),
        format="medqa_5options",
        license="unknown",
        asked="test, 1,273",
        solved="train and validation, 11,450",
        paper="arXiv 2009.13081",
        seen="four public files that pin it, for its four options",
    ),
    "medmcqa": KnownBenchmark(
        repository="openlifescienceai/medmcqa",
        revision="91c6572c454088bf71b679ad90aa8dffcd0d5868",
        files=("data/validation-*.parquet",),
        format="medmcqa",
        license="Apache-2.0",
        asked="validation, 4,183",
        solved="none; add data/train-*.parquet for 182,822",
        paper="arXiv 2203.14371",
        seen="ten public files that pin it",
    ),
    "pubmedqa": KnownBenchmark(
        repository="qiaojin/PubMedQA",
        revision="9001f2853fb87cab8d220904e0de81ac6973b318",
        files=("pqa_labeled/*.parquet",),
        format="pubmedqa",
        license="MIT",
        asked="all 1,000: the Hub has no official half",
        solved="none",
        paper="arXiv 1909.06146",
        seen="ten public files that pin it",
    ),
    "mmlu_medical": KnownBenchmark(
        repository="cais/mmlu",
        revision="c30699e8356da336a370243923dbaf21066bb9fe",
        files=tuple(f"{subject}/*.parquet" for subject in MMLU_SUBJECTS),
        format="mmlu",
        license="MIT",
        asked="test of six subjects, 1,089",
        solved="dev and validation, 153",
        paper="arXiv 2009.03300",
        seen="ten public files that pin it",
    ),
    "mmlu_pro_health": KnownBenchmark(
        repository="TIGER-Lab/MMLU-Pro",
        revision="b189ec765aa7ed75c8acfea42df31fdae71f97be",
        files=("data/*.parquet",),
        format="mmlu_pro",
        license="MIT",
        asked="test, 818 of 12,032",
        solved="validation, 5 of 70",
        paper="arXiv 2406.01574",
        seen="ten public files that pin it",
        categories=("health",),
    ),
    "medxpertqa_text": KnownBenchmark(
        repository="TsinghuaC3I/MedXpertQA",
        revision="7e7c465a68eb2b866926bfa59c8c9d17a8daba65",
        files=("Text/*.jsonl",),
        format="medxpertqa",
        license="MIT",
        asked="test, 2,450",
        solved="dev, 5",
        paper="arXiv 2501.18362",
        seen="ten public files that pin it",
    ),
    "headqa": KnownBenchmark(
        repository="dvilares/head_qa",
        revision=None,
        files=("en/*.parquet",),
        format="headqa",
        license="MIT",
        asked="test, 2,742",
        solved="train and validation, 4,023",
        paper="arXiv 1906.04701",
        seen="",
        branch="refs/convert/parquet",
    ),
    "healthbench": KnownBenchmark(
        repository="openai/healthbench",
        revision="40ee1968852fc57f625934251ac22be47077a8fb",
        files=("2025-05-07-06-14-12_oss_eval.jsonl",),
        format="jsonl",
        license="MIT",
        asked="all, 5,000 conversations, of which `judge` reads the answers",
        solved="none",
        paper="arXiv 2505.08775",
        seen="ten public files that pin it",
        task={
            "id": "prompt_id",
            "source": None,
            "turns_field": "prompt",
            "target": None,
            "instruction": "",
            "limit_tokens": 1024,
            "metric": "rubric",
            "criteria_field": "rubrics",
        },
    ),
}
"""name -> benchmark. Section names are these."""


def listed() -> list[list[str]]:
    """A table of the benchmarks that can be named, its header first."""

    def rows() -> Iterator[list[str]]:
        yield ["name", "asked", "solved questions", "license", "paper", "on the Hub", "commit"]
        for name, known in CATALOGUE.items():
            commit = known.revision[:12] if known.revision else "to be stated"
            yield [name, known.asked, known.solved, known.license, known.paper, known.repository, commit]

    return list(rows())
