"""Documents that leave the corpus: listed ones and retracted ones.

A list has one name a line: a doc_id, the id of a row, a DOI or a PMID in any of the forms in use. What documents are called
besides their doc_id stands in names-*.parquet beside them, with what their records say of retractions.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from osler.build.section import BuildError

NAMES = pl.Schema(
    {"doc_id": pl.String, "origin": pl.String, "doi": pl.String, "pmid": pl.String, "retracted": pl.Boolean}
)
DOI = re.compile(
    r"(?:https?://)?(?:(?:dx|www)\.)?(?:doi\.org/|doi:\s*)?(?:doi:\s*)?(10\.\d{4,9}(?:/|%2f)\S+|10\.\d+/\S+)", re.I
)
PMID = re.compile(
    r"(?:pmid:?\s*|https?://(?:www\.)?(?:pubmed\.ncbi\.nlm\.nih\.gov|ncbi\.nlm\.nih\.gov/pubmed)/)(\d+)/?", re.I
)
COMMENT = "#"


def plain_name(name: str) -> str:
    """A DOI in lower case, a PMID as `pmid:7`.

    Another name unchanged, also digits alone.
    """
    name = name.strip()
    if found := DOI.fullmatch(name):
        return found[1].lower().replace("%2f", "/")
    return f"pmid:{found[1]}" if (found := PMID.fullmatch(name)) else name


def bare_name(name: object) -> str:
    """A DOI or PMID as NAMES holds it, in digits."""
    return plain_name(str(name)).removeprefix("pmid:")


def listed_names(file: Path) -> dict[str, str]:
    """What a list names: plain name -> as it stands there.

    Blank lines, and those that begin with `#`, name nothing.

    Raises:
        BuildError: no such file, or it is not UTF-8.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BuildError(f"{file}: {error}; a list of withdrawn documents is a file in UTF-8, one id a line") from None
    return {plain_name(line): line.strip() for line in lines if line.strip() and not line.startswith(COMMENT)}


def names_of(folders: Mapping[str, Path], listed: Mapping[str, str]) -> pl.DataFrame:
    """The NAMES that a list or a retraction means, with their `source`.

    Args:
        folders: source -> the folder of its documents.
        listed: result of `listed_names`.
    """
    files = [(name, file) for name, folder in folders.items() for file in sorted(folder.glob("names-*.parquet"))]
    none = pl.DataFrame(schema={**NAMES, "source": pl.String})

    def found(condition: pl.Expr) -> pl.DataFrame:
        here = [(pl.scan_parquet(file).filter(condition).collect(), name) for name, file in files]
        return pl.concat([none, *(frame.with_columns(pl.lit(name).alias("source")) for frame, name in here)])

    marks = found(pl.col("retracted"))
    bare = [bare_name(name) for name in listed]
    wanted = pl.Series([*bare, *marks["doi"].drop_nulls(), *marks["pmid"].drop_nulls()], dtype=pl.String).implode()
    if not len(wanted[0]):
        return marks
    return found(pl.col("retracted") | pl.col("doi").is_in(wanted) | pl.col("pmid").is_in(wanted))


def withdrawn(doc_ids: pl.Series, names: pl.DataFrame, listed: Mapping[str, str]) -> pl.DataFrame:
    """Which of some documents a list means.

    doc_id, and by which name of the list. More than once where several of its names fit.

    Args:
        doc_ids: of the documents.
        names: result of `names_of`.
        listed: result of `listed_names`.
    """
    wanted = pl.Series(list(listed), dtype=pl.String).implode()
    ids = pl.DataFrame({"doc_id": doc_ids}, schema={"doc_id": pl.String})
    own = pl.col("doc_id").str.replace("^[^/]*/", "")  # the row's id, without the source
    found = [ids.select("doc_id", name=name).filter(pl.col("name").is_in(wanted)) for name in (pl.col("doc_id"), own)]
    known, said = names.join(ids, on="doc_id", how="semi", maintain_order="left"), pl.format("pmid:{}", "pmid")
    found += [known.select("doc_id", name=name).filter(pl.col("name").is_in(wanted)) for name in ("doi", "pmid", said)]
    return pl.concat(found).with_columns(pl.col("name").replace(dict(listed)))


def retracted(names: pl.DataFrame) -> pl.DataFrame:
    """Retracted documents, and what says so: doc_id, by.

    That is its own record, or one of another source with the same DOI or PMID, or a notice.
    """
    marks = names.filter("retracted")
    found = [marks.select("doc_id", by=pl.lit("its own record")).drop_nulls()]
    for column in ("doi", "pmid"):
        said = pl.format(f"a record of {{}} with the {column.upper()} {{}}", "source", column)
        by = marks.select(column, by=said).drop_nulls().unique(column, keep="first", maintain_order=True)
        found.append(names.select("doc_id", column).drop_nulls().join(by, on=column).drop(column))
    return pl.concat(found).unique("doc_id", keep="first", maintain_order=True)


class Named:
    """Who has to go, asked for some documents at a time."""

    def __init__(self, folders: Mapping[str, Path], listed: Mapping[str, str], drops_retracted: bool) -> None:
        """Read the names that matter.

        Args:
            folders: source -> the folder of its documents.
            listed: result of `listed_names`.
            drops_retracted: whether the retracted ones go, too.
        """
        self._listed = listed
        self._names = names_of(folders, listed)
        self._retracted = retracted(self._names) if drops_retracted else None
        self._found: set[str] = set()

    def rows(self, doc_ids: pl.Series) -> pl.DataFrame:
        """Those of some documents that have to go: doc_id, reason, detail."""
        taken = withdrawn(doc_ids, self._names, self._listed)
        self._found.update(taken["name"])
        said = pl.format("listed as {}", "name").alias("detail")
        rows = [taken.select("doc_id", pl.lit("withdrawn").alias("reason"), said)]
        if self._retracted is not None:
            marked = self._retracted.join(doc_ids.to_frame("doc_id"), on="doc_id", how="semi", maintain_order="left")
            said = pl.format("by {}", "by").alias("detail")
            rows.append(marked.select("doc_id", pl.lit("retracted").alias("reason"), said))
        return pl.concat(rows).unique("doc_id", keep="first", maintain_order=True)

    def unknown(self) -> list[str]:
        """The names of the list that no document so far has."""
        return [name for name in self._listed.values() if name not in self._found]


def named(
    doc_ids: pl.Series, folders: Mapping[str, Path], listed: Mapping[str, str], drops_retracted: bool
) -> tuple[pl.DataFrame, list[str]]:
    """The documents that have to go: doc_id, reason, detail.

    Also the names of the list that none has.

    Args:
        doc_ids: of all documents.
        folders, listed, drops_retracted: as for `Named`.
    """
    asked = Named(folders, listed, drops_retracted)
    return asked.rows(doc_ids), asked.unknown()
