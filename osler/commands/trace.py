"""`osler trace`: where a document came from, and where it ended.

It ended in a shard, a row and models, or was dropped for a reason. Items and rows of tasks are in trace_rows.py. Only what the
build wrote is read: documents, ledgers, tokens, rows, and the provenance of each model. That holds the hash of the rows that
the model was trained on, so a model of other rows is not named. Takes seconds a source.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from osler.build.artifacts import Artifacts
from osler.build.pipeline import ROOT, declarations, read_params
from osler.build.section import BuildError
from osler.build.validation import PARAMS, validated
from osler.corpus.leaks import found_how
from osler.corpus.word_hashes import I64
from osler.ingest.drafts import names_on_disk
from osler.ingest.source import Source
from osler.privacy.keys import secret
from osler.tokens.mixture import source_order
from osler.tokens.shards import content_hash


def ledger_row(ledger: Path, doc_id: str) -> str | None:
    """The reason and detail of a document in a ledger.

    It is None if the document is not there. A row without id is found by `<source>/<origin>`.
    """
    _, _, origin = doc_id.partition("/")  # a row that gave no document has no other name
    named = (pl.col("doc_id") == doc_id) | (pl.col("doc_id").is_null() & (pl.col("origin") == origin))
    found = pl.scan_parquet(ledger).filter(named).collect()
    return None if found.is_empty() else "; ".join(f"{row['reason']}: {row['detail']}" for row in found.to_dicts())


def rows_of_run(provenance: Mapping[str, Any], name: str) -> I64:
    """The rows of the source `name` that a run read."""
    before, read, there = (provenance[key][name] for key in ("rows_before", "rows_read", "rows_there"))
    order = source_order(
        sorted(provenance["rows_read"]).index(name), there, before + read, provenance["settings"]["seed"]
    )
    return order[before:]


def times_read(provenance: Mapping[str, Any], name: str, rows: list[int]) -> int:
    """How often a training run read `rows` of the source `name`."""
    return int(np.isin(rows_of_run(provenance, name), rows).sum())


def readers(artifacts: Artifacts, folder: Path, name: str, rows: list[int]) -> Iterator[tuple[str, str]]:
    """Which models read rows of a packed folder.

    It says how often they did, and which models were trained from those.
    """
    models = artifacts.models()
    hashes = {model: content_hash(place) for model, (place, _) in models.items()}
    content = content_hash(folder)
    heirs: dict[str, str] = {}
    for model, (_, provenance) in models.items():
        if provenance["inputs"].get(name) == content:
            count = times_read(provenance, name, rows)
            yield "read by", f"{model}, {count} times" if count else f"{model}: not these rows"
            if count:
                heirs[hashes[model]] = model
    while heirs:
        descendants = {}
        for model, (_, provenance) in models.items():
            if parent := heirs.get(provenance["inputs"].get("model")):
                yield "inherited by", f"{model}, trained from {parent}"
                descendants[hashes[model]] = model
        heirs = descendants


def key_at_hand(params: Mapping[str, Any], doc_id: str) -> bytes:
    """The secret of a document's source.

    It is empty where the source has none, or where the file of it is not here.
    """
    name = doc_id.partition("/")[0]
    section = params["source"].get(name)
    phi = validated(f"source.{name}", section, Source).phi if section else None
    return secret(phi, name) if phi and phi.key_file and Path(phi.key_file).is_file() else b""


def sharing(artifacts: Artifacts, rows: pl.Expr, named: str) -> Iterator[tuple[str, str]]:
    """What documents and items share, and how it was found.

    Args:
        rows: which of the overlaps.
        named: the column with the other side, item_id or doc_id.
    """
    for stage in sorted(name for name in artifacts.stages if name.startswith("screen@")):
        folder = artifacts.path(stage, "overlaps")
        found = pl.read_parquet(sorted(folder.glob("part-*.parquet"))).filter(rows)
        for row in found.select(named, found_how().alias("how")).to_dicts():
            yield "shares words with", f"{row[named]}, {row['how']}"


def traced(artifacts: Artifacts, doc_id: str, key: bytes) -> Iterator[tuple[str, str]]:
    """What is known of a document, as (what, text).

    It is in the order in which it happened.

    Args:
        artifacts: of the build.
        doc_id: as on disk; with the key of a source that is screened also `<source>/<its own id>`.
        key: that one, or empty.
    Raises:
        BuildError: no source has it, or an artifact is missing.
    """
    source = doc_id.partition("/")[0]
    if f"ingest@{source}" not in artifacts.stages:
        known = sorted(name.partition("@")[2] for name in artifacts.stages if name.startswith("ingest@"))
        raise BuildError(f"{doc_id}: a doc_id starts with its source, one of {', '.join(known)}")
    called = names_on_disk(doc_id, key)
    folder = artifacts.path(f"ingest@{source}", "documents")
    for part in sorted(folder.glob("part-*.parquet")):
        columns = pl.scan_parquet(part).select("doc_id", "origin", "license", "date", pl.col("text").str.len_bytes())
        if found := columns.filter(pl.col("doc_id").is_in(called)).collect().to_dicts():
            break
    else:
        for each in called:
            if reason := ledger_row(artifacts.path(f"ingest@{source}", "ledger"), each):
                yield "dropped by ingest", reason
                return
        raise BuildError(f"{doc_id}: neither a document of {source} nor in its ledger")
    facts = found[0]
    doc_id = facts["doc_id"]
    dated = f", {facts['date']}" if facts["date"] else ""
    yield "from", f"{facts['origin']}, {facts['license']}{dated}, {facts['text']:,} bytes"
    yield "document in", artifacts.shown(part)
    yield from sharing(artifacts, pl.col("doc_id") == doc_id, "item_id")
    if reason := ledger_row(artifacts.path("select", "ledger"), doc_id):
        yield "not kept by select", reason
        return
    yield from _trained_on(artifacts, source, doc_id, is_conversation=folder.parent.name == "instructions")


def _trained_on(artifacts: Artifacts, source: str, doc_id: str, is_conversation: bool) -> Iterator[tuple[str, str]]:
    """What became of a document that was kept: tokens, rows, and the models that read them."""
    later = artifacts.stages["instruct" if is_conversation else f"pack@{source}"].outs[0]
    if not (artifacts.root / later).exists():
        yield "kept by select", f"{later} is not built yet; run `dvc repro`"
        return
    if is_conversation:
        if reason := ledger_row(artifacts.path("instruct", "ledger"), doc_id):
            yield "instruct", reason
        packed, name = artifacts.path("instruct", "instructions"), "instructions"
        conversations = pl.read_parquet(packed / "documents.parquet")
        names = conversations["doc_id"]
        yield from _wordings(conversations.filter(doc_id=doc_id))
    else:
        tokens = artifacts.path(f"tokenize@{source}", "tokens")
        counted = [
            pl.read_parquet(file, columns=["doc_id", "tokens"]) for file in sorted(tokens.glob("part-*.parquet"))
        ]
        names = pl.concat(counted)["doc_id"]
        for file, frame in zip(sorted(tokens.glob("part-*.bin")), counted, strict=True):
            if len(position := (frame["doc_id"] == doc_id).arg_true()):
                before, length = int(frame["tokens"][: position[0]].sum()), frame["tokens"][position[0]]
                yield "tokens in", f"{artifacts.shown(file)}, {length:,} from {before:,}"
        packed, name = artifacts.path(f"pack@{source}", "packed"), source
    segments = np.flatnonzero(np.isin(np.load(packed / "documents.npy"), (names == doc_id).arg_true()))
    rows = np.unique(np.searchsorted(np.load(packed / "row_ends.npy"), segments, "right")).tolist()
    if not len((names == doc_id).arg_true()) or not rows:
        return
    yield "packed in", f"{artifacts.shown(packed)}, row{'s' if len(rows) > 1 else ''} {', '.join(map(str, rows))}"
    yield from readers(artifacts, packed, name, rows)


def _wordings(read: pl.DataFrame) -> Iterator[tuple[str, str]]:
    """In which wordings of its task's definition a conversation is asked, once for each time that it is read."""
    for task, wording in read.select("task", "wording").iter_rows() if "task" in read.columns else ():
        if task is not None:
            yield "asked as", f"{task}, {f'other wording {wording}' if wording else 'the wording of its file'}"


def say(doc_id: str | None, withdrawn: Path | None = None) -> None:
    """Print what is known of a document, or of a list.

    Raises:
        BuildError: nothing is known of such a document, or params.yaml cannot be read.
    """
    from osler.commands import withdrawals
    from osler.commands.trace_rows import row_steps

    if (doc_id is None) == (withdrawn is None):
        raise BuildError("osler trace: takes a document's <source>/<id>, or --withdrawn LIST")
    params = read_params(ROOT / PARAMS)
    artifacts = Artifacts(ROOT, declarations(ROOT, params))
    if doc_id is None:
        assert withdrawn is not None
        lines = withdrawals.lines(artifacts, withdrawn, drops_retracted=False)
        print("\n".join(lines) or f"{withdrawn}: names nothing")
        return
    name = doc_id.partition("/")[0]
    asked = {name for kind in ("benchmark", "task", "exercise") for name in params[kind] or ()}
    is_row = name in asked and name not in params["source"]
    steps = row_steps(artifacts, params, doc_id) if is_row else traced(artifacts, doc_id, key_at_hand(params, doc_id))
    for what, text in steps:
        print(f"{what + ':':<20}{text}", flush=True)
