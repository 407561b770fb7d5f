"""All real sources beside the project, from ingest to select.

Through screen and overlap, against four benchmarks.
"""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from osler.build.shard_store import Store
from osler.build.validation import validated
from osler.corpus import screening, selection
from osler.corpus.overlaps import Overlap
from osler.corpus.quality import Quality
from osler.evaluation.benchmarks import Benchmark
from osler.ingest.audit import Audit
from stages import benchmarks, ingest, screen, select
from tests.ingest.test_records import section
from tests.ingest.test_shared_data import SECTIONS
from tests.support.params import profile_params
from tests.support.project import SHARED

pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="no data beside the project (OSLER_SHARED_DATA)")

PARAMS = profile_params("real-small")
BENCHMARKS = {"pubmedqa": "pubmedqa", "medmcqa": "medmcqa", "mmlu_medical": "mmlu", "mmlu_general": "mmlu"}


def collection(path: str, changed: dict[str, Any]) -> str:
    return str(
        changed.get("collection", {"corpus": "clinical", "replay": "general"}.get(path.split("/")[0], "clinical"))
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stages' outs, as DVC would have them."""
    folder = tmp_path_factory.mktemp("real")
    items = folder / "items"
    for name, form in BENCHMARKS.items():
        settings = validated(f"benchmark.{name}", {"path": name, "format": form}, Benchmark)
        benchmarks.main(raw=SHARED / "eval" / name, benchmark=settings, name=name, items=items / f"{name}.parquet")
    settings_of = {
        key: validated(key, PARAMS[key], model)
        for key, model in {
            "audit": Audit, "screen": screening.Screen, "overlap": Overlap, "quality": Quality
        }.items()
    }  # fmt: skip
    for path, changed, _, _ in SECTIONS:
        name = path.split("/")[1]
        source = section(**({"collection": collection(path, changed), "path": path} | changed))
        documents = folder / "documents" / source.collection / name
        store = Store(folder / f"store/{name}", 1)
        ledger, counts = folder / f"ledger/{name}.parquet", folder / f"counts/{name}.json"
        audits = folder / f"audits/{name}.json"
        ingest.main(SHARED / path, settings_of["audit"], source, name, audits, documents, ledger, counts, store)
        outs = (folder / f"overlaps/{name}", folder / f"screens/{name}", Store(folder / f"screened/{name}", 1))
        listed = dict.fromkeys(BENCHMARKS)
        screen.main(documents, items, listed, settings_of["overlap"], settings_of["screen"], *outs)
    names = [path.split("/")[1] for path, *_ in SECTIONS]
    select.main(
        **{kind: folder / kind for kind in ("audits", "counts", "documents", "overlaps", "screens", "heldout", "keep")},
        licenses=selection.Licenses(allow=("CC0-1.0", *PARAMS["licenses"]["allow"]), outside="ledger"),
        quality=settings_of["quality"],
        select=validated("select", PARAMS["select"] | {"priority": names}, selection.Select),
        screen=settings_of["screen"],
        ledger=folder / "select.parquet",
        touched=folder / "touched.parquet",
        **{kind: folder / f"{kind}.json" for kind in ("corpus", "contamination", "phi")},
    )
    return folder


def test_rows_in_are_rows_out_and_ledger_rows(built: Path) -> None:
    """For every source, at ingest and at select."""
    dropped = pl.read_parquet(built / "select.parquet")
    for path, _, rows, _ in SECTIONS:
        name = path.split("/")[1]
        documents = pl.read_parquet(built / f"documents/*/{name}/*.parquet", columns=["doc_id"])
        faults = pl.read_parquet(built / f"ledger/{name}.parquet")
        kept = pl.read_parquet(built / f"keep/*/{name}.parquet")
        gone = dropped.filter(pl.col("source") == name)
        reasons = dict(pl.concat([faults, gone])["reason"].value_counts(sort=True, name="n").iter_rows())
        print(f"{name}: {rows} rows, {len(documents)} documents, {len(kept)} kept, {reasons}")
        assert rows == len(documents) + len(faults)
        assert sorted([*kept["doc_id"], *gone["doc_id"]]) == sorted(documents["doc_id"])


def test_repeated_notes_and_abstracts_are_found(built: Path) -> None:
    """54 % of the notes repeat another one.

    And 113 abstracts occur twice.
    """
    copies = pl.read_parquet(built / "select.parquet").filter(
        pl.col("reason").is_in(["exact_duplicate", "near_duplicate"])
    )
    notes, abstracts = (copies.filter(pl.col("source") == name) for name in ("mtsamples", "medical_abstracts"))
    print(f"{len(notes)} of 3,856 notes, {len(abstracts)} of 2,888 abstracts")
    assert len(notes) >= 0.53 * 3856
    assert len(abstracts) >= 113


def test_shared_is_not_contaminated(built: Path) -> None:
    """The history textbook shares 13 words with 23 questions of MMLU.

    What is called contaminated is printed to be read.
    """
    hits = pl.concat([pl.read_parquet(part) for part in sorted((built / "overlaps").glob("*/*.parquet"))])
    history = hits.filter(
        (pl.col("benchmark") == "mmlu_general") & pl.col("doc_id").str.starts_with("openstax_us_history/")
    )
    print(f"{history['item_id'].n_unique()} questions share a run of words with the textbook")
    assert history.filter(pl.col("rule") == "ngram")["item_id"].n_unique() == 23
    worst = hits.filter(pl.col("covered") >= PARAMS["select"]["contaminated_coverage"])
    asked = pl.concat([pl.read_parquet(part) for part in sorted((built / "items").glob("*.parquet"))])
    for row in worst.join(asked.select("item_id", "question"), on="item_id").sort("benchmark", "item_id").to_dicts():
        name = row["doc_id"].split("/")[0]
        text = pl.read_parquet(built / f"documents/*/{name}/*.parquet").filter(pl.col("doc_id") == row["doc_id"])[
            "text"
        ][0]
        start = max(0, text.lower().find(row["question"].lower()[:30]) - 100)
        print(f"\n{row['item_id']} in {row['doc_id']} ({row['rule']}, {row['covered']:.2f}): {row['question']!r}")
        print(f"    {text[start : start + 500]!r}")
