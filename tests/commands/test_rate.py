"""Sheets for people: blind, with what was judged, and taken in without any text."""

from pathlib import Path

import polars as pl
import pytest

from osler.build.section import BuildError
from osler.commands.rate import COLUMNS, sheet_of, strangers, taken_in
from osler.evaluation.judgements import Known, frame_of, requests_of
from osler.evaluation.ratings import check_kinds, read_ratings
from tests.evaluation.test_judgements import ITEMS, judge, texts_of

HEADER = "key,rater,verdict\n"


def judgements(written: pl.DataFrame) -> pl.DataFrame:
    """What two models' texts are judged for: nothing is said yet."""
    requests = requests_of("reader", judge(pairs=[("a", "b")]), ITEMS, written)
    ids = [None if each.prompt is None else "x" for each in requests]
    return frame_of(requests, ids, Known(Path("none")))


def test_a_sheet_tells_what_was_judged_and_no_model() -> None:
    """A row for each judgement, once where two models wrote the same; what the judge saw stands in its row, in that order."""
    written = texts_of(a=["one", "same"], b=["two", "same"])
    rows = judgements(written)
    sheet = sheet_of(rows, written, ITEMS["advice"], "anna", 20)
    assert sheet.columns == list(COLUMNS)
    assert set(sheet["key"]) == set(rows.filter(pl.col("verdict").is_null())["key"])
    assert sheet.height == 2 * 2 + 2 + 1  # criteria of two texts, both orders of a pair, a criterion of the same text
    shown = {row["key"]: row for row in sheet.iter_rows(named=True)}
    for row in rows.filter(pl.col("verdict").is_null()).iter_rows(named=True):
        own = shown[row["key"]]
        mine = dict(
            zip(("advice/1", "advice/2"), {"a": ["one", "same"], "b": ["two", "same"]}[row["model"]], strict=True)
        )
        assert own["text" if not row["turned"] else "other_text"] == mine[row["item_id"]]
        assert own["choices"] == ("met, unmet" if row["kind"] == "rubric" else "first, second, tie")
    assert sheet_of(rows, written, ITEMS["advice"], "anna", 1)["request"].n_unique() == 1


def test_of_a_filled_sheet_only_verdicts_are_kept(tmp_path: Path) -> None:
    """Also by two people; rows that are not filled in yet are left; what is taken twice is there once."""
    ratings = tmp_path / "ratings.csv"
    ratings.write_text(HEADER)
    sheet = tmp_path / "sheet.csv"
    sheet.write_text("key,rater,verdict,choices,text\nk,anna,met,,a secret\nl,anna,,,another\nk,ben,unmet,,a secret\n")
    assert list(taken_in(ratings, [sheet])) == [f"{sheet}: 2 verdicts taken into ratings.csv"]
    assert list(taken_in(ratings, [sheet])) == [f"{sheet}: 0 verdicts taken into ratings.csv"]
    assert ratings.read_text() == HEADER + "k,anna,met\nk,ben,unmet\n"
    assert read_ratings(ratings).height == 2
    sheet.write_text(HEADER + "k,anna,unmet\n")
    assert strangers(read_ratings(ratings), tmp_path / "none.parquet") == 0
    pl.DataFrame({"key": ["k"]}).write_parquet(tmp_path / "some.parquet")
    assert strangers(read_ratings(ratings), tmp_path / "some.parquet") == 0
    pl.DataFrame({"key": ["z"]}).write_parquet(tmp_path / "some.parquet")
    assert strangers(read_ratings(ratings), tmp_path / "some.parquet") == 2
    with pytest.raises(BuildError, match=r"anna says unmet of k, and met in ratings.csv; correct one"):
        list(taken_in(ratings, [sheet]))
    assert read_ratings(ratings).height == 2


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (
            b"key;rater;verdict;text\nk;anna;met;Mr. Brandt, a secret; more, and more\n",
            "save it as CSV in UTF-8, with commas",
        ),
        (b'key,rater,verdict,text\nk,anna,met,"Mr. Brandt', "save it as CSV in UTF-8, with commas"),
        ("key,rater,verdict\nk,anna,met\n".encode("utf-16"), "save it as CSV in UTF-8, with commas"),
        (b"key\trater\tverdict\nk\tanna\tmet\n", "no column key; it needs key, rater, verdict; save it as CSV"),
        (
            b'key,rater,verdict,choices\nk,anna,first,"met, unmet"\n',
            "line 2: 'first' is no verdict here; write one of met, unmet",
        ),
    ],
)
def test_a_sheet_that_cannot_be_taken_is_one_line_without_its_words(tmp_path: Path, content: bytes, says: str) -> None:
    """Whatever a spreadsheet made of it."""
    (tmp_path / "sheet.csv").write_bytes(content)
    with pytest.raises(BuildError) as caught:
        read_ratings(tmp_path / "sheet.csv")
    assert says in str(caught.value)
    assert "Brandt" not in str(caught.value)


def test_a_rating_is_of_the_kind_that_is_judged() -> None:
    """Nobody prefers the first of one text."""
    ratings = pl.DataFrame({"key": ["k", "l"], "rater": ["anna"] * 2, "verdict": ["met", "first"]})
    check_kinds(ratings, pl.DataFrame({"key": ["k", "l"], "kind": ["rubric", "preference"]}))
    with pytest.raises(BuildError, match=r"ratings: l: anna says first; write one of met, unmet"):
        check_kinds(ratings, pl.DataFrame({"key": ["l"], "kind": ["rubric"]}))
