"""Which documents share what with benchmark and task items.

Overlaps are as the stage `screen` writes them.
"""

from typing import Any

import polars as pl

from osler.corpus.selection import Select

KINDS = ("contaminated", "near_copy")
HELD = 64  # batches, until they are added up


def leak_kind(select: Select) -> pl.Expr:
    """`contaminated`, `near_copy` or null, of rows of overlaps."""
    edited = (pl.col("shingles") >= select.near_copy_shingles) & (pl.col("run_words") >= select.near_copy_run_words)
    whole = pl.col("covered") >= select.contaminated_coverage
    return pl.when(whole).then(pl.lit("contaminated")).when(edited).then(pl.lit("near_copy"))


def found_how() -> pl.Expr:
    """In words how an item was found; of rows of overlaps."""
    covered, alike = (pl.col(name).map_elements("{:.3f}".format, pl.String) for name in ("covered", "shingles"))
    return pl.format("by {}, {} covered, {} of shingles, run of {} words", "rule", covered, alike, "run_words")


def leaks(overlaps: pl.DataFrame, select: Select) -> pl.DataFrame:
    """doc_id, reason, detail: which item a document contains, by which rule.

    Contaminated before near copies, then the largest share, then the first item.

    Args:
        overlaps: as the stage `screen` writes them.
        select: the section.
    """
    return (
        overlaps.with_columns(leak_kind(select).alias("reason"))
        .drop_nulls("reason")
        .sort(
            *("doc_id", "reason", "covered", "shingles", "item_id", "rule"),
            descending=[False, False, True, True, False, False],
        )
        .group_by("doc_id", maintain_order=True)
        .first()
        .select("doc_id", "reason", pl.format("{} {}", "item_id", found_how()).alias("detail"))
    )


class Shares:
    """What each source shares with each benchmark, before and after.

    It is counted some documents at a time, and holds what they share with items, not the documents.
    """

    def __init__(self, select: Select) -> None:
        """Nothing is shared yet."""
        self._select = select
        self._documents: list[pl.DataFrame] = []
        self._items: list[pl.DataFrame] = []
        self._touched: list[pl.DataFrame] = []

    def add(self, source: str, overlaps: pl.DataFrame, kept: pl.DataFrame) -> None:
        """Count some documents of a source, all that these share at once.

        Args:
            source: of all of them.
            overlaps: as the stage `screen` writes them; every row is a run of words, or a question with its answer, that an
                item and a document share.
            kept: doc_id and whether it was kept, of all documents in `overlaps`.
        """
        if overlaps.is_empty():
            return
        kind = leak_kind(self._select).alias("kind")
        rows = overlaps.join(kept, on="doc_id", maintain_order="left").with_columns(
            pl.lit(source).alias("source"), kind
        )
        ids = pl.col("doc_id")
        columns = [ids.n_unique().alias("documents_shared")]
        columns += [ids.filter(pl.col("kind") == name).n_unique().alias(f"documents_{name}") for name in KINDS]
        self._documents.append(rows.group_by("benchmark", "source").agg(columns))
        self._items.append(rows.select("benchmark", "source", "item_id", "kind", "rule", "kept").unique())
        touched = rows.filter("kept").group_by("benchmark", "item_id")
        self._touched.append(touched.agg(ids.n_unique().cast(pl.UInt32).alias("documents")))
        if len(self._items) == HELD:
            self._documents = [self._summed(self._documents, "source")]
            self._items = [pl.concat(self._items).unique()]
            self._touched = [self._summed(self._touched, "item_id")]

    @staticmethod
    def _summed(frames: list[pl.DataFrame], column: str) -> pl.DataFrame:
        return pl.concat(frames).group_by("benchmark", column).sum()

    def shared(self) -> list[dict[str, Any]]:
        """For each benchmark and source with a hit, what they share.

        Documents and items that share anything, documents and items that are contaminated, the same of near copies, items
        contaminated by each rule, and items that documents which were kept still touch.
        """
        if not self._items:
            return []
        rules = ("ngram", "question_and_answer", "target_and_source")
        item, kind = pl.col("item_id"), pl.col("kind")
        columns = {"shared": item, "touched": item.filter("kept")}
        columns |= {name: item.filter(kind == name) for name in KINDS}
        columns |= {rule: item.filter(kind == "contaminated", pl.col("rule") == rule) for rule in rules}
        items = pl.concat(self._items).group_by("benchmark", "source")
        counted = items.agg(items_of.n_unique().alias(f"items_{name}") for name, items_of in columns.items())
        documents = self._summed(self._documents, "source")
        return documents.join(counted, on=["benchmark", "source"]).sort("benchmark", "source").to_dicts()

    def touched(self) -> pl.DataFrame:
        """The items that kept documents share words with.

        benchmark, item_id, documents: how many share a run of words.
        """
        none = pl.DataFrame(schema={"benchmark": pl.String, "item_id": pl.String, "documents": pl.UInt32})
        return self._summed([none, *self._touched], "item_id").sort("benchmark", "item_id")
