"""Stage select, and the way to it.

Documents through screen and overlap as DVC runs them.
"""

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from osler.build.section import BuildError
from osler.build.shard_store import Store
from osler.corpus import screening, selection
from osler.corpus.overlaps import Overlap
from osler.corpus.quality import Quality
from osler.evaluation.benchmarks import Benchmark
from osler.ingest.audit import Audit
from stages import benchmarks, ingest, screen, select
from tests.ingest.test_records import section

COLLECTIONS = {"guides": "clinical", "notes": "clinical", "towns": "general"}
SCREEN = screening.Screen(shingle_words=5, bands=20, rows_per_band=7)
AUDIT = Audit(documents=9, identifiers_per_document=1, characters=999, seed=1)
ANY_LICENSE = selection.Licenses(allow=("CC0-1.0",), outside="stop")
QUALITY = Quality.model_validate_json(
    json.dumps(
        {name: 0.0 if name.startswith("minimum") else 1.0 for name in Quality.model_fields}
        | {"languages": ["en"], "minimum_stop_words": 0, "maximum_mean_word_characters": 99.0}
    )
)
QUESTION = "which of the following agents is recommended first for a patient with longstanding severe gout"
ITEMS = [
    {"id": "long", "question": QUESTION, "options": ["foo", "bar"], "answer": 0},
    {"id": "short", "question": "What treats gout?", "options": ["foo", "colchicine"], "answer": 1},
]


def settings(**changed: Any) -> selection.Select:
    """The section of the tests.

    Nothing is held out unless `changed` says so.
    """
    values: dict[str, Any] = {"priority": list(COLLECTIONS), "minimum_words": 5, "jaccard": 0.8}
    values |= {
        "contaminated_coverage": 0.5,
        "near_copy_shingles": 0.4,
        "near_copy_run_words": 13,
        "heldout_fraction": 0.0,
        "heldout_limit_documents": 99,
    }
    return selection.Select.model_validate_json(json.dumps(values | changed))


def prose(seed: int | str, words: int = 60) -> str:
    """Words at random, the same for the same seed."""
    stream = random.Random(seed)
    return " ".join(f"w{stream.randrange(10000)}" for _ in range(words))


def near(text: str, *places: int) -> str:
    """`text` with the words at `places` changed.

    Each costs five 5-grams of the union at most.
    """
    return " ".join("changed" if place in places else word for place, word in enumerate(text.split()))


def prepared(
    folder: Path, texts: Mapping[str, Mapping[str, str]], more: Mapping[str, Mapping[str, Any]] | None = None
) -> Path:
    """Documents, screens and overlaps of source -> id -> text.

    `more` are other fields of a row, by its id. A source in XML has `format`, `text` and its `file` instead.
    """
    (folder / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in ITEMS))
    benchmark = Benchmark(path="x", format="jsonl")
    benchmarks.main(raw=folder / "items.jsonl", benchmark=benchmark, name="quiz", items=folder / "items/quiz.parquet")
    for name, rows in texts.items():
        raw, documents = folder / f"{name}.jsonl", folder / "documents" / COLLECTIONS[name] / name
        source = section(collection=COLLECTIONS[name], id="id")
        if "file" in rows:
            raw = raw.with_suffix(".xml")
            raw.write_text(rows["file"])
            key = {"jats": "doi", "pubmed": "pmid"}[rows["format"]]
            source = section(collection=COLLECTIONS[name], id=key, format=rows["format"], text=rows["text"])
        else:
            others = more or {}
            lines = [json.dumps({"id": key, "text": text, **others.get(key, {})}) for key, text in rows.items()]
            raw.write_text("".join(f"{line}\n" for line in lines))
        ingest.main(
            raw=raw,
            source=source,
            name=name,
            audit=AUDIT,
            audits=folder / f"audits/{name}.json",
            documents=documents,
            ledger=folder / f"ingest/{name}.parquet",
            counts=folder / f"counts/{name}.json",
            store=Store(folder / f"store/ingest@{name}", 1),
        )
        screen.main(
            documents=documents,
            items=folder / "items",
            benchmark={"quiz": None},
            overlap=Overlap(ngram_words=13, shingle_words=5, answer_window_words=50),
            screen=SCREEN,
            overlaps=folder / f"overlaps/{name}",
            screens=folder / f"screens/{name}",
            store=Store(folder / f"store/screen@{name}", 1),
        )
    return folder


def selected(
    folder: Path, config: selection.Select, licenses: selection.Licenses = ANY_LICENSE, withdrawn: Path | None = None
) -> dict[str, str]:
    """doc_id -> "keep", or reason and detail.

    Asserts that every document is exactly one of these.
    """
    out = folder / "out"
    select.main(
        audits=folder / "audits",
        counts=folder / "counts",
        documents=folder / "documents",
        overlaps=folder / "overlaps",
        screens=folder / "screens",
        licenses=licenses,
        quality=QUALITY,
        select=config,
        screen=SCREEN,
        heldout=out / "heldout",
        keep=out / "keep",
        ledger=out / "ledger.parquet",
        touched=out / "touched.parquet",
        corpus=out / "corpus.json",
        contamination=out / "contamination.json",
        phi=out / "phi.json",
        raw=withdrawn,
    )
    all_ids = pl.read_parquet(folder / "documents/*/*/part-*.parquet")["doc_id"].to_list()
    kept = pl.read_parquet(out / "keep/*/*.parquet")["doc_id"].to_list()
    ledger = pl.read_parquet(out / "ledger.parquet")
    assert sorted([*kept, *ledger["doc_id"]]) == sorted(all_ids)
    heldout = pl.read_parquet(out / "heldout/*.parquet")["doc_id"].to_list()
    assert sorted(heldout) == sorted(ledger.filter(pl.col("reason") == "heldout")["doc_id"])
    why = {row["doc_id"]: f"{row['reason']} {row['detail']}" for row in ledger.iter_rows(named=True)}
    return why | dict.fromkeys(kept, "keep")


def corpus(folder: Path) -> Any:
    """The metrics written, by source."""
    sources = json.loads((folder / "out/corpus.json").read_text())["sources"]
    return {entry.pop("source"): entry for entry in sources}


def test_each_rule_drops_its_document_and_says_why(tmp_path: Path) -> None:
    """Fourteen documents, one for each way to be kept or dropped.

    The ledger names the twin or the item.
    """
    a, b, leaked = prose("a"), prose("b"), f"{prose('c', 120)} {QUESTION}"
    texts = {
        "guides": {"first": a, "short": "only four words here", "own": "five words are long enough"},
        "notes": {
            "same": a.upper().replace(" ", ", "),
            "near": near(a, 30),
            "far": near(a, 10, 20, 30, 40),
            "b": b,
            "leak": leaked,
            "leak twin": near(leaked, *range(127, 133)),
            "asked": f"{prose('d')} What treats gout? Colchicine. {prose('e')}",
            "unanswered": f"{prose('f')} What treats gout? {prose('g')} colchicine",
            "half leak": f"{prose('h')} {' '.join(QUESTION.split()[:13])} {prose('i')}",
        },
        "towns": {"b": b, "x": prose("x")},
    }
    assert selected(prepared(tmp_path, texts), settings()) == {
        "guides/first": "keep",
        "guides/short": "too_short 4 words",
        "guides/own": "keep",
        "notes/same": "exact_duplicate of guides/first",
        "notes/near": "near_duplicate of guides/first, similarity 0.836",
        "notes/far": "keep",
        "notes/b": "keep",
        "notes/leak": "contaminated quiz/long by ngram, 1.000 covered, 1.000 of shingles, run of 15 words",
        "notes/leak twin": "contaminated_twin in one cluster with notes/leak",
        "notes/asked": "contaminated quiz/short by question_and_answer, 1.000 covered, 1.000 of shingles, run of 3 words",
        "notes/unanswered": "keep",
        "notes/half leak": "near_copy quiz/long by ngram, 0.333 covered, 0.818 of shingles, run of 13 words",
        "towns/b": "exact_duplicate of notes/b",
        "towns/x": "keep",
    }
    towns = corpus(tmp_path)["towns"]
    assert towns.pop("ingest")["rows"] == 2
    assert towns == {
        "documents": 2,
        "kept": 1,
        "kept_bytes": len(prose("x")),
        "dropped": {"exact_duplicate": 1},
    }


def test_priority_and_not_the_name_decides_which_twin_stays(tmp_path: Path) -> None:
    """With towns first, the towns' copy is kept.

    The guides' is dropped, exact or near.
    """
    a, b = prose("a"), prose("b")
    folder = prepared(
        tmp_path,
        {
            "guides": {"1": a, "2": b, "3": prose("g")},
            "notes": {"1": prose("n")},
            "towns": {"1": a, "2": near(b, 9)},
        },
    )
    found = selected(folder, settings(priority=["towns", "notes", "guides"]))
    assert found["towns/1"] == found["towns/2"] == "keep"
    assert found["guides/1"] == "exact_duplicate of towns/1"
    assert found["guides/2"].startswith("near_duplicate of towns/2, similarity 0.")


def test_a_chain_of_near_duplicates_is_one_cluster(tmp_path: Path) -> None:
    """A third version that is near the second goes as well.

    Its ledger row says through which.
    """
    a = prose("a", 100)
    b, c = near(a, 10, 20), near(a, 10, 20, 70, 80)
    folder = prepared(
        tmp_path, {"guides": {"a": a}, "notes": {"b": b, "c": c, "d": prose("d")}, "towns": {"x": prose("x")}}
    )
    found = selected(folder, settings())
    assert found["notes/b"] == "near_duplicate of guides/a, similarity 0.811"
    assert found["notes/c"] == "near_duplicate of guides/a through notes/b, similarity 0.811"


def test_a_short_document_is_nobodys_twin(tmp_path: Path) -> None:
    """Two copies of too short a text are both dropped for that.

    Not one as the other's copy.
    """
    folder = prepared(
        tmp_path,
        {
            "guides": {"a": "too short", "b": "too short", "c": prose("c")},
            "notes": {"x": prose("x")},
            "towns": {"y": prose("y")},
        },
    )
    found = selected(folder, settings())
    assert found["guides/a"] == found["guides/b"] == "too_short 2 words"


def test_a_rule_that_empties_a_source_stops_the_build(tmp_path: Path) -> None:
    """It names the key that did it, and all reasons; a single document that is left is enough."""
    texts = {"a": "too short", "b": "short too", "c": prose("x")}
    others = {"notes": {"x": prose("x")}, "towns": {"y": prose("y")}}
    folder = prepared(tmp_path, {"guides": texts, **others})
    priority = ["notes", "guides", "towns"]
    with pytest.raises(
        BuildError,
        match=r"params.yaml: select.minimum_words: keeps none of the 3 documents of guides"
        r" \(2 too_short, 1 exact_duplicate\); change it",
    ):
        selected(folder, settings(priority=priority))
    assert not (folder / "out").exists()
    assert selected(folder, settings(priority=priority, minimum_words=2))["guides/a"] == "keep"


def corpus_of(order: random.Random) -> dict[str, dict[str, str]]:
    """Three sources with copies of each other's texts.

    Rows are in an order of chance.
    """
    texts: dict[str, dict[str, str]] = {"guides": {}, "notes": {}, "towns": {}}
    for number in range(60):
        text = prose(number)
        texts["notes"][f"n{number}"] = text
        if number % 3 == 0:
            texts["guides"][f"g{number}"] = near(text, 30) if number % 2 else text
        texts["towns"][f"t{number}"] = prose(f"t{number}")
    return {name: dict(order.sample(list(rows.items()), len(rows))) for name, rows in texts.items()}


def test_the_order_of_rows_does_not_matter(tmp_path: Path) -> None:
    """Shuffled files keep, drop and hold out the same documents.

    Where no two of one source are twins.
    """
    config = settings(heldout_fraction=0.2)
    found = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        found.append(selected(prepared(tmp_path / name, corpus_of(random.Random(name))), config))
    assert found[0] == found[1]
    assert sum(why.startswith("heldout") for why in found[0].values()) > 10


def test_held_out_documents_are_a_share_of_each_domain_and_have_no_twin(tmp_path: Path) -> None:
    """About a fifth of each domain, at most the limit.

    With text and source; never a dropped copy.
    """
    folder = prepared(tmp_path, corpus_of(random.Random(0)))
    unlimited = selected(folder, settings(heldout_fraction=0.2))
    heldout = {key for key, why in unlimited.items() if why.startswith("heldout")}
    for domain, least, most in (("clinical", 5, 20), ("general", 5, 20)):
        frame = pl.read_parquet(folder / f"out/heldout/{domain}.parquet")
        assert frame.columns == ["doc_id", "source", "text"]
        assert least <= len(frame) <= most
        assert all(COLLECTIONS[source] == domain for source in frame["source"])
        assert frame["text"].null_count() == 0
    limited = {
        k
        for k, why in selected(folder, settings(heldout_fraction=0.2, heldout_limit_documents=3)).items()
        if why.startswith("heldout")
    }
    assert len(limited) == 6
    assert limited < heldout
    assert all(why != "keep" or int(key[7:]) % 3 for key, why in unlimited.items() if key.startswith("notes"))


def test_a_document_is_held_out_whatever_else_is_there() -> None:
    """The same notes are held out whatever the other sources are.

    Without the towns, and with other guides.
    """
    ids = pl.Series([f"notes/{number}" for number in range(200)])
    alone = set(selection.heldout_documents(ids, 0.1, 999))
    among = set(
        selection.heldout_documents(pl.concat([ids, pl.Series([f"g/{number}" for number in range(50)])]), 0.1, 999)
    )
    assert alone == {doc_id for doc_id in among if doc_id.startswith("notes")}
    assert 8 <= len(alone) <= 35
    assert set(selection.heldout_documents(ids.reverse(), 0.1, 5)) == set(selection.heldout_documents(ids, 0.1, 5))
    assert list(selection.heldout_documents(ids, 0.0, 5)) == []


@pytest.mark.parametrize(
    ("priority", "message"),
    [
        (["guides", "notes"], "select.priority: lacks towns"),
        (["guides", "notes", "towns", "ghosts"], "ghosts: no such source"),
        (["guides", "notes", "towns", "notes"], "names notes more than once"),
    ],
)
def test_priority_names_every_source_once(tmp_path: Path, priority: list[str], message: str) -> None:
    """Ranks and sources that do not match are errors of params.yaml.

    A source without a rank, and a rank without a source.
    """
    for name, collection in COLLECTIONS.items():
        (tmp_path / "documents" / collection / name).mkdir(parents=True)
    with pytest.raises(BuildError, match=message):
        select.sources(tmp_path / "documents", tuple(priority))


def test_a_screen_of_other_documents_is_an_error(tmp_path: Path) -> None:
    """A stale screen would give documents each other's bands."""
    folder = prepared(tmp_path, {name: {"1": prose(name), "2": prose(name + "2")} for name in COLLECTIONS})
    path = folder / "screens/notes/part-00000.parquet"
    path.chmod(0o644)
    pl.read_parquet(path).reverse().write_parquet(path)
    with pytest.raises(BuildError, match=r"part-00000\.parquet: does not fit the documents"):
        selected(folder, settings())


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    """Twice the stage, twice the files."""
    folder = prepared(tmp_path, corpus_of(random.Random(0)))
    both = []
    for _ in range(2):
        selected(folder, settings(heldout_fraction=0.1))
        both.append({path: path.read_bytes() for path in sorted((folder / "out").rglob("*")) if path.is_file()})
    assert both[0] == both[1]
