"""Lines that most pages of a source share, which are its site's and no text.

After all files are read, the pages with the lowest hashes of ids are looked at, SAMPLE_PAGES at most, equal texts once. A line on
more than a fraction of them goes from every page, if it stands at the page's beginning or end, with up to OWN_LINES of the
page's own before it, or has LONG_WORDS words: a short one in the middle is a heading ("Symptoms"), and one that ends in a
colon ("PLAN:") announces what is the page's. Of 600 sample reports of one site seven lines go, 19 % of the words. With fewer
than MINIMUM_PAGES pages nothing goes. What a part is without them is kept in the store by the part and the lines, so that a
changed page costs itself unless it changes the lines.

Memory is that of the sample and of one part, however many pages there are. 30 MB/s.
"""

import hashlib
import heapq
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from osler.build.files import file_hash, read_json, write_json, write_parquet
from osler.build.shard_store import Shard, Store, content_key
from osler.corpus.ledger import ledger
from osler.ingest.source import Source

SAMPLE_PAGES = 4096
MINIMUM_PAGES = 10
LINE_CHARACTERS = 5000  # a longer one is a text
EDGE_LINES = 200  # counted, from either end of a page
OWN_LINES = 3  # a title, a date, an author
LONG_WORDS = 6  # "When to see a doctor" is a heading
SHOWN_LINES, SHOWN_CHARACTERS = 20, 100  # of those that went, in the counts


def _lines(text: str) -> set[str]:
    """The lines of a page that may be shared."""
    lines = [line.strip() for line in text.split("\n")]
    if len(lines) > 2 * EDGE_LINES:
        lines = lines[:EDGE_LINES] + lines[-EDGE_LINES:]
    return {line for line in lines if 0 < len(line) <= LINE_CHARACTERS}


def _sample(parts: Sequence[Path]) -> Iterator[str]:
    """The texts of the pages looked at, equal ones once."""

    def places() -> Iterator[tuple[bytes, int, int]]:
        for part, path in enumerate(parts):
            for row, doc_id in enumerate(pl.read_parquet(path, columns=["doc_id"])["doc_id"]):
                yield hashlib.blake2b(doc_id.encode(), digest_size=8).digest(), part, row

    chosen: dict[int, list[int]] = {}
    for _, part, row in heapq.nsmallest(SAMPLE_PAGES, places()):
        chosen.setdefault(part, []).append(row)
    seen: set[bytes] = set()
    for part in sorted(chosen):
        for text in pl.read_parquet(parts[part], columns=["text"])["text"].gather(sorted(chosen[part])):
            if (key := hashlib.blake2b(text.encode(), digest_size=16).digest()) not in seen:
                seen.add(key)
                yield text


def shared_lines(parts: Sequence[Path], fraction: float) -> list[str]:
    """The lines on more than `fraction` of the pages, sorted."""
    pages, counts = 0, Counter[int]()
    for text in _sample(parts):
        pages += 1
        counts.update(map(hash, _lines(text)))
    shared = {line for line, count in counts.items() if pages >= MINIMUM_PAGES and count > fraction * pages}
    if not shared:
        return []
    return sorted({line for text in _sample(parts) for line in _lines(text) if hash(line) in shared})


def without(text: str, shared: frozenset[str]) -> tuple[str, list[str]]:
    """A page without the lines that are its site's, and those lines."""
    lines = text.split("\n")
    stripped = [line.strip() for line in lines]
    gone = {number for number, line in enumerate(stripped) if line in shared and len(line.split()) >= LONG_WORDS}
    for order in (range(len(lines)), reversed(range(len(lines)))):
        own = 0
        for number in order:
            if stripped[number] in shared:
                gone |= set() if stripped[number].endswith(":") else {number}
            elif stripped[number] and (own := own + 1) > OWN_LINES:
                break
    if not gone:
        return text, []
    kept = "\n".join(line for number, line in enumerate(lines) if number not in gone)
    return re.sub(r"\n{4,}", "\n\n\n", kept).strip(), [stripped[number] for number in sorted(gone)]


def cleaned_part(folder: Path, part: Path, lines: Sequence[str], name: str) -> None:
    """Write part.parquet, ledger.parquet and counts.json.

    A page without a line of its own is in the ledger.
    """
    frame, shared = pl.read_parquet(part), frozenset(lines)
    found = [without(text, shared) for text in frame["text"]]
    frame = frame.with_columns(pl.Series("text", [text for text, _ in found], pl.String))
    empty = frame.filter(pl.col("text") == "")
    detail = {"stage": "ingest", "source": name, "reason": "empty", "detail": "no line but those that most pages share"}
    rows = [detail | row for row in empty.select("doc_id", "origin").iter_rows(named=True)]
    if len(empty) < len(frame):
        write_parquet(folder / "part.parquet", frame.filter(pl.col("text") != ""))
    write_parquet(folder / "ledger.parquet", ledger(rows))
    gone = [line for _, removed in found for line in removed]
    touched = sum(bool(removed) for _, removed in found)
    words = sum(len(line.split()) for line in gone)
    write_json(folder / "counts.json", {"documents": touched, "lines": len(gone), "words": words})


def without_shared_lines(
    parts: list[Path], source: Source, name: str, store: Store, module: str
) -> tuple[list[Path], list[pl.DataFrame], dict[str, Any]]:
    """Parts of documents without lines that most of the source's share.

    Returns:
        The parts; ledgers of the pages that are nothing without them; for the counts, how many went, and which, unless the
        source has a section `phi`.
    """
    fraction = source.shared_fraction
    lines = [] if fraction is None else shared_lines(parts, fraction)
    if fraction is None or not lines:
        return parts, [], {} if fraction is None else {"shared_lines": {"documents": 0, "lines": 0, "words": 0}}
    hashes = {part: file_hash(part) for part in parts}
    key = content_key(shared_lines=lines)
    tasks = [
        Shard({"part": hash, "lines": key, "name": name}, partial(cleaned_part, part=part, lines=lines, name=name), {part: hash})
        for part, hash in hashes.items()
    ]  # fmt: skip
    entries = store.entries(module, tasks)
    counts = sum((Counter[str](read_json(entry / "counts.json")) for entry in entries), Counter[str]())
    shown = [] if source.phi else [line[:SHOWN_CHARACTERS] for line in lines[:SHOWN_LINES]]
    print(f"{name}: {counts['lines']} lines in {counts['documents']} documents that most share: removed")
    found: dict[str, Any] = {"documents": counts["documents"], "lines": counts["lines"], "words": counts["words"]}
    made = [part for entry in entries if (part := entry / "part.parquet").exists()]
    return (
        made,
        [pl.read_parquet(entry / "ledger.parquet") for entry in entries],
        {"shared_lines": found | ({"shown": shown} if shown else {})},
    )
