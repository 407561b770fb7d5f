"""How many identifiers the screening of a source finds.

Invented identifiers of every class (osler/privacy/planter.py, drawn from a package that the detector does not use) are
planted into a sample of the documents, and the detector looks for them. A source marked `required` whose recall may be below
its `minimum_recall` stops here, before `select` and all that comes after it. Recall on planted identifiers is about the
planter's phrases; LOG.md has what was found of identifiers labeled by hand. 1 s for 200 notes.
"""

from pathlib import Path
from typing import Any

import polars as pl
from pydantic import Field

from osler.build.files import write_json
from osler.build.section import BuildError, Section, Seed
from osler.corpus.documents import document_files
from osler.ingest.source import Source
from osler.privacy.screening import Phi, check_detector


class Audit(Section):
    """Section `audit`."""

    documents: int = Field(ge=1, le=10_000_000, description="documents of a source to plant identifiers in, at most")
    identifiers_per_document: int = Field(ge=1, le=1000, description="phrases with identifiers planted in each")
    characters: int = Field(ge=100, le=10_000_000, description="of a document, at most")
    seed: Seed = Field(description="of what is planted")


def sample(documents: Path, audit: Audit) -> list[str]:
    """The beginnings of the documents whose ids have the lowest hashes."""
    from osler.corpus.word_hashes import (
        text_hashes,  # as below: a source that is not screened waits for none of it, 2 s
    )

    ids = pl.concat(pl.read_parquet(part, columns=["doc_id"]) for part in document_files(documents))["doc_id"]
    chosen = pl.DataFrame({"doc_id": ids, "hash": text_hashes(ids)}).sort("hash", "doc_id").head(audit.documents)
    texts = pl.scan_parquet(document_files(documents)).select("doc_id", pl.col("text").str.head(audit.characters))
    found = texts.filter(pl.col("doc_id").is_in(chosen["doc_id"].implode())).collect()
    return found.sort("doc_id")["text"].to_list()


def measured(texts: list[str], phi: Phi, audit: Audit) -> list[dict[str, Any]]:
    """Recall of each class acted on, in the last row of all.

    With exact 95 % intervals.
    """
    from osler.privacy.detector import identifiers_of
    from osler.privacy.planter import planted
    from osler.privacy.recall import recall_by_class

    noted, spans = planted(texts, audit.seed, audit.identifiers_per_document)
    wanted = [[span for span in its if phi.classes is None or span.kind in phi.classes] for its in spans]
    reported = identifiers_of(noted, phi.detector)
    found = [[span for span in its if phi.classes is None or span.kind in phi.classes] for its in reported]
    table = recall_by_class(wanted, found).with_columns(pl.col("recall", "low", "high").round(4))
    return table.to_dicts()


def write_audit(documents: Path, source: Source, audit: Audit, name: str, audits: Path) -> None:
    """Write `audits`: nothing where the source is not screened.

    Raises:
        BuildError: the detector is not here, or the source is `required` and the lower bound of its recall is under
            `minimum_recall`.
    """
    if source.phi is None:
        write_json(audits, {"action": None, "classes": []})
        return
    check_detector(source.phi, name)
    rows = measured(sample(documents, audit), source.phi, audit)
    overall = rows[-1]
    print(
        f"{name}: {overall['found']} of {overall['planted']} planted identifiers found, {overall['low']:.1%} at least"
    )
    if source.phi.required and overall["low"] < source.phi.minimum_recall:
        worst = min(rows, key=lambda row: row["recall"])
        raise BuildError(
            f"params.yaml: source.{name}.phi.minimum_recall: {source.phi.minimum_recall}, but of {overall['planted']} planted"
            f" identifiers {overall['recall']:.1%} are found, {overall['low']:.1%} at least (worst: {worst['kind']},"
            f" {worst['recall']:.1%}); its texts may not be trained on as they are"
        )
    write_json(audits, {"action": source.phi.action, "classes": rows})
