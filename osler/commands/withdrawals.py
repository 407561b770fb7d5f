"""Which models learned from withdrawn or retracted documents.

Asked of the packed rows that lie here and of each model's provenance, which holds the hash of the rows it was trained on. Of
a model that was trained on other rows nothing can be told: those lie at the commit that it was built at.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from osler.build.artifacts import Artifacts
from osler.commands.trace import rows_of_run
from osler.corpus.withdrawn import listed_names, named
from osler.tokens.shards import content_hash

SHOWN_NAMES = 5


def document_folders(artifacts: Artifacts) -> dict[str, Path]:
    """The folder of each source's documents."""
    names = [stage.partition("@")[2] for stage in artifacts.stages if stage.startswith("ingest@")]
    return {name: artifacts.path(f"ingest@{name}", "documents") for name in names}


def packed_as(artifacts: Artifacts, source: str, folder: Path) -> tuple[str, Path, pl.Series]:
    """What a source's documents are packed in.

    The name of the rows, their folder, and the doc_ids in the order that it counts.
    """
    if folder.parent.name == "instructions":
        packed = artifacts.path("instruct", "instructions")
        return "instructions", packed, pl.read_parquet(packed / "documents.parquet")["doc_id"]
    tokens = sorted(artifacts.path(f"tokenize@{source}", "tokens").glob("part-*.parquet"))
    ids = [pl.read_parquet(file, columns=["doc_id"])["doc_id"] for file in tokens]
    return source, artifacts.path(f"pack@{source}", "packed"), pl.concat(ids)


def packed_rows(packed: Path, doc_ids: pl.Series, gone: pl.Series) -> pl.DataFrame:
    """The rows with a piece of a document to go: document, row."""
    numbers = doc_ids.is_in(gone.implode()).arg_true().to_numpy()
    documents = np.load(packed / "documents.npy")
    segments = np.flatnonzero(np.isin(documents, numbers))
    rows = np.searchsorted(np.load(packed / "row_ends.npy"), segments, "right")
    return pl.DataFrame({"document": documents[segments], "row": rows}).unique(maintain_order=True)


def learned(artifacts: Artifacts, gone: pl.Series) -> Iterator[tuple[str, str]]:
    """Models, and what they have to do with the documents `gone`.

    Those that have nothing to do with them are left out.
    """
    models = artifacts.models()
    readers = dict[str, list[str]]()
    unknown = dict[str, list[str]]()
    asked = set[str]()
    for source, folder in document_folders(artifacts).items():
        name, packed, doc_ids = packed_as(artifacts, source, folder)
        if name in asked:
            continue
        asked.add(name)
        content, rows = content_hash(packed), packed_rows(packed, doc_ids, gone)
        for model, (_, provenance) in models.items():
            trained_on = provenance["inputs"].get(name)
            if trained_on == content and len(rows):
                read = pl.Series(np.unique(rows_of_run(provenance, name)), dtype=rows["row"].dtype)
                if documents := rows.filter(pl.col("row").is_in(read.implode()))["document"].n_unique():
                    readers.setdefault(model, []).append(f"{documents} of {name}")
            elif trained_on not in (None, content):
                unknown.setdefault(model, []).append(name)
    for model, counts in readers.items():
        yield model, f"read {', '.join(counts)}"
    parents = {content_hash(place): model for model, (place, _) in models.items()}
    heirs = set(readers)
    while new := [
        (model, parent)
        for model, (_, provenance) in models.items()
        if model not in heirs and (parent := parents.get(provenance["inputs"].get("model"), "")) in heirs
    ]:
        for model, parent in new:
            heirs.add(model)
            yield model, f"trained from {parent}"
    for model, names in unknown.items():
        yield model, f"not known: it was trained on other rows of {', '.join(names)} than lie here"


def lines(artifacts: Artifacts, file: Path, drops_retracted: bool) -> Iterator[str]:
    """What is known of the documents that a list names.

    Also of the retracted ones, where these are to go.

    Raises:
        BuildError: no such list, or an artifact is missing.
    """
    listed = listed_names(file)
    folders = document_folders(artifacts)
    if not listed and not (drops_retracted and any(any(each.glob("names-*.parquet")) for each in folders.values())):
        return
    scans = [
        pl.scan_parquet(folder / "part-*.parquet").select("doc_id").collect()["doc_id"] for folder in folders.values()
    ]
    found, unmatched = named(pl.concat(scans), folders, listed, drops_retracted)
    if unmatched:
        shown = ", ".join(unmatched[:SHOWN_NAMES]) + ", ..." * (len(unmatched) > SHOWN_NAMES)
        yield f"{len(unmatched)} of {len(listed)} names fit no document: {shown}"
    counts = found.group_by("reason", maintain_order=True).len()
    yield f"{' and '.join(f'{count} {reason}' for reason, count in counts.rows()) or 'no'} documents"
    told = list(learned(artifacts, found["doc_id"])) if len(found) else []
    for model, what in told:
        yield f"  {model}: {what}"
    if any(what.startswith("not known") for _, what in told):
        yield "  ask again at the commit of such a model: git checkout COMMIT && dvc checkout"
    if len(found) and not told:
        yield "  no model that lies here has read them"
