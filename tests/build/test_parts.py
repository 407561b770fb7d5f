"""Stages that work part by part: what an added, changed or removed file costs, and that the bytes are those of a clean build."""

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from osler.build.files import folder_hash
from osler.build.shard_store import Store
from osler.corpus.overlaps import Overlap
from osler.evaluation.benchmarks import Benchmark
from osler.ingest import runs
from osler.ingest.audit import Audit
from osler.tokens.tokenizers import marked_tokenizer, trained_bpe
from stages import benchmarks, ingest, screen, tokenize
from tests.corpus.test_selection import ITEMS, SCREEN, prose
from tests.ingest.test_records import section

KINDS = ("documents", "screens", "overlaps", "tokens")
AUDIT = Audit(documents=9, identifiers_per_document=1, characters=999, seed=1)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three raw files b, c and d of four rows each, none small, a benchmark and a tokenizer."""
    monkeypatch.setattr(runs, "SMALL_BYTES", 0)
    (tmp_path / "raw").mkdir()
    for name in "bcd":
        write(tmp_path, name)
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in ITEMS))
    benchmark = Benchmark(path="x", format="jsonl")
    benchmarks.main(
        raw=tmp_path / "items.jsonl", benchmark=benchmark, name="quiz", items=tmp_path / "items/quiz.parquet"
    )
    marked_tokenizer(trained_bpe([prose(n) for n in range(9)], 400)).save_pretrained(tmp_path / "tokenizer")
    return tmp_path


def write(folder: Path, name: str, version: int = 0) -> None:
    """A raw file whose rows depend on its name and version."""
    rows = [{"id": f"{name}{row}", "text": prose(f"{name} {row} {version}")} for row in range(4)]
    (folder / f"raw/{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def built(folder: Path, store: str = "store", jobs: int = 1) -> dict[str, str]:
    """The hash of what each stage writes."""
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)

    def kept(stage: str) -> Store:
        return Store(folder / store / stage, jobs)

    documents = out / "documents"
    ingest.main(
        folder / "raw",
        AUDIT,
        section(id="id"),
        "notes",
        out / "audits.json",
        documents,
        out / "ledger.parquet",
        out / "counts.json",
        kept("ingest"),
    )
    settings = Overlap(ngram_words=13, shingle_words=5, answer_window_words=50)
    outs = (out / "overlaps", out / "screens", kept("screen"))
    screen.main(documents, folder / "items", {"quiz": None}, settings, SCREEN, *outs)
    tokenize.main(documents, folder / "tokenizer", out / "tokens", kept("tokenize"))
    return {kind: folder_hash(out / kind) for kind in KINDS}


def entries(folder: Path) -> set[Path]:
    """The finished shards of all stages."""
    return set((folder / "store").glob("*/*"))


@pytest.mark.parametrize("change", ["added before the others", "changed", "removed"])
def test_a_file_costs_itself_in_every_stage(folder: Path, change: str) -> None:
    """Parts after it get other numbers, and are not worked on again; the bytes are those of a clean build."""
    built(folder)
    before = entries(folder)
    assert len(before) == 3 * 4
    match change:
        case "added before the others":
            write(folder, "a")
        case "changed":
            write(folder, "c", version=1)
        case "removed":
            (folder / "raw/b.jsonl").unlink()
    found = built(folder)
    assert len(entries(folder) - before) == (0 if change == "removed" else 4)
    assert found == built(folder, store="clean")


def test_two_processes_write_what_one_writes(folder: Path) -> None:
    """Byte for byte, in every stage."""
    assert built(folder, jobs=2) == built(folder, store="clean", jobs=1)


def test_tokens_of_all_parts_are_there(folder: Path) -> None:
    """Each document of each part has its tokens."""
    built(folder)
    counted = pl.read_parquet(folder / "out/tokens/part-*.parquet")
    assert counted["doc_id"].to_list() == [f"notes/{name}{row}" for name in "bcd" for row in range(4)]
    sizes = [path.stat().st_size for path in (folder / "out/tokens").glob("*.bin")]
    assert len(sizes) == 3
    assert sum(sizes) == 2 * counted["tokens"].sum()
