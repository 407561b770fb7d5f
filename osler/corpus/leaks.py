"""Which documents share what with benchmark and task items.

Overlaps are as the stage `screen` writes them.
"""

from typing import Any

import polars as pl

from osler.corpus.selection import Select


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


def shared_items(overlaps: pl.DataFrame, decided: pl.DataFrame, select: Select) -> list[dict[str, Any]]:
    """What each source shares with each benchmark, before and after.

    The two words are kept apart.

    Args:
        overlaps: as the stage `overlap` writes them; every row is a run of words, or a question with its answer, that an
            item and a document share.
        decided: doc_id, source, reason.
        select: the section.
    Returns:
        For each benchmark and source with a hit: documents and items that share anything, documents and items that are
        contaminated, the same of near copies, items contaminated by each rule, and items that documents which were kept
        still touch.
    """
    kinds = {kind: pl.col("kind") == kind for kind in ("contaminated", "near_copy")}
    rules = ("ngram", "question_and_answer", "target_and_source")
    kept = pl.col("reason").is_null()
    return (
        overlaps.join(decided.select("doc_id", "source", "reason"), on="doc_id", maintain_order="left")
        .with_columns(leak_kind(select).alias("kind"))
        .group_by("benchmark", "source")
        .agg(
            pl.col("doc_id").n_unique().alias("documents_shared"),
            pl.col("item_id").n_unique().alias("items_shared"),
            *(pl.col("doc_id").filter(rows).n_unique().alias(f"documents_{kind}") for kind, rows in kinds.items()),
            *(pl.col("item_id").filter(rows).n_unique().alias(f"items_{kind}") for kind, rows in kinds.items()),
            *(
                pl.col("item_id")
                .filter(kinds["contaminated"], pl.col("rule") == rule)
                .n_unique()
                .alias(f"items_{rule}")
                for rule in rules
            ),
            pl.col("item_id").filter(kept).n_unique().alias("items_touched"),
        )
        .sort("benchmark", "source")
        .to_dicts()
    )


def touched_items(overlaps: pl.DataFrame, kept: pl.DataFrame) -> pl.DataFrame:
    """The items that kept documents share words with.

    benchmark, item_id, documents: how many share a run of words.
    """
    return (
        overlaps.join(kept, on="doc_id", how="semi")
        .group_by("benchmark", "item_id")
        .agg(pl.col("doc_id").n_unique().cast(pl.UInt32).alias("documents"))
        .sort("benchmark", "item_id")
    )
