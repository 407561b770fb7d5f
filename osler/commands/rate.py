"""`osler rate`: sheets on which people judge the texts that a judge has judged, without knowing whose they are.

A sheet has source and texts in plain words, perhaps about patients: none is written into the repository, but for scratch/. Of a
filled one only key, rater and verdict are taken into the file of ratings.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from osler.build.artifacts import Artifacts
from osler.build.files import write_bytes
from osler.build.pipeline import ROOT, declarations, read_params
from osler.build.section import BuildError
from osler.build.validation import PARAMS
from osler.evaluation.judgements import SAME
from osler.evaluation.ratings import RATINGS, read_ratings
from osler.evaluation.rubrics import CRITERIA
from osler.evaluation.task_texts import asked_turn
from osler.evaluation.verdicts import VERDICTS
from osler.inference.interface import seeded_rank

COLUMNS = (*RATINGS, "choices", "request", "text", "other_text", "criterion")


def sheet_of(
    judgements: pl.DataFrame, written: pl.DataFrame, items: pl.DataFrame, rater: str, count: int
) -> pl.DataFrame:
    """The rows of a sheet: COLUMNS as texts, without a verdict.

    Items are drawn by their seeded rank, and what belongs to an item stands in an order that tells no model.

    Args:
        judgements: rows of JUDGEMENTS of one judge and task.
        written: rows of GENERATIONS of the task.
        items: of the task.
        rater: who is to fill it in.
        count: of items.
    """
    texts = {(row["item_id"], row["seed"], row["model"]): row["text"] for row in written.iter_rows(named=True)}
    asked = {row["item_id"]: row for row in items.iter_rows(named=True)}
    ranked = sorted(judgements["item_id"].unique(), key=lambda item_id: (seeded_rank(1, "rate", item_id), item_id))
    chosen = ranked[:count]
    rows: dict[str, dict[str, Any]] = {}
    for row in judgements.filter(pl.col("item_id").is_in(chosen)).iter_rows(named=True):
        if row["verdict"] == SAME:
            continue
        item = asked[row["item_id"]]
        models = [row["model"], *([row["other"]] if row["other"] else [])]
        shown = [texts[row["item_id"], row["seed"], model] for model in models]
        rows[row["key"]] = {
            **{"key": row["key"], "rater": rater, "verdict": "", "choices": ", ".join(VERDICTS[row["kind"]])},
            "request": asked_turn(item["instruction"], item["source"]),
            **dict(zip(("text", "other_text"), [*(reversed(shown) if row["turned"] else shown), ""], strict=False)),
            "criterion": "" if row["criterion"] is None else item[CRITERIA][row["criterion"]]["criterion"],
            "rank": (chosen.index(row["item_id"]), row["criterion"] or 0, seeded_rank(1, "rate", row["key"])),
        }
    in_order = sorted(rows.values(), key=lambda row: row.pop("rank"))
    return pl.DataFrame(in_order, schema=dict.fromkeys(COLUMNS, pl.String))


def write_sheet(
    artifacts: Artifacts, sheet: Path, judge: str, task: str, rater: str, count: int, known: pl.DataFrame
) -> int:
    """Write a sheet; returns its rows.

    Args:
        artifacts: of the build.
        sheet: out, a new file.
        judge, task: whose judgements of which texts.
        rater: a name.
        count: of items.
        known: ratings that are there: what the rater has rated is left out.
    Raises:
        BuildError: nothing was judged, the file is there, or lies in the repository.
    """
    if sheet.exists():
        raise BuildError(f"{sheet}: there already; name a new file, or take it in with --take")
    place = sheet.resolve()
    if artifacts.root in place.parents and artifacts.root / "scratch" not in place.parents:
        raise BuildError(
            f"{sheet}: in the repository, and its texts may be about patients; write it below scratch/ or elsewhere"
        )
    path = artifacts.root / artifacts.stages["judge"].outs[0] / "judgements.parquet"
    if not path.is_file():
        raise BuildError("results/judgements: nothing is judged yet; run `dvc repro judge`")
    rows = pl.read_parquet(path).filter(pl.col("judge") == judge, pl.col("task") == task)
    if rows.is_empty():
        there = pl.read_parquet(path).select("judge", "task").unique().sort("judge", "task").rows()
        listed = ", ".join(f"{one} of {other}" for one, other in there)
        raise BuildError(f"{judge}, {task}: no judgements; there are {listed or 'none: section `judge` is empty'}")
    done = known.filter(pl.col("rater") == rater)["key"]
    rows = rows.filter(~pl.col("key").is_in(done.implode()))
    files = sorted((artifacts.root / "results/predictions").glob("*/generations.parquet"))
    written = pl.concat([pl.read_parquet(file).filter(pl.col("task") == task) for file in files], how="diagonal")
    items = pl.read_parquet(artifacts.root / artifacts.stages[f"tasks@{task}"].outs[0])
    found = sheet_of(rows, written, items, rater, count)
    write_bytes(sheet, found.write_csv().encode())
    return len(found)


def taken_in(ratings: Path, sheets: Sequence[Path]) -> Iterator[str]:
    """Add the verdicts of filled sheets to the ratings.

    Yields a line for each sheet.

    Raises:
        BuildError: see `read_ratings`; a rater had said otherwise before.
    """
    there = read_ratings(ratings)
    said = {(key, rater): verdict for key, rater, verdict in there.iter_rows()}
    for sheet in sheets:
        new = 0
        for key, rater, verdict in read_ratings(sheet).iter_rows():
            if said.get((key, rater), verdict) != verdict:
                raise BuildError(
                    f"{sheet}: {rater} says {verdict} of {key}, and {said[key, rater]} in {ratings.name}; correct one"
                )
            new += (key, rater) not in said
            said[key, rater] = verdict
        yield f"{sheet}: {new:,} verdicts taken into {ratings.name}"
    rows = [(*pair, verdict) for pair, verdict in sorted(said.items())]
    write_bytes(
        ratings, pl.DataFrame(rows, schema=dict.fromkeys(RATINGS, pl.String), orient="row").write_csv().encode()
    )


def strangers(ratings: pl.DataFrame, judgements: Path) -> int:
    """How many ratings are of nothing that a judge has judged.

    0 where nothing was judged yet.
    """
    if not judgements.is_file():
        return 0
    return ratings.join(pl.read_parquet(judgements, columns=["key"]), on="key", how="anti").height


def say(sheets: Sequence[Path], take: bool, judge: str | None, task: str | None, rater: str | None, count: int) -> None:
    """Write a sheet, or take filled ones in, and say so.

    Raises:
        BuildError: see `write_sheet` and `taken_in`, or an option is missing.
    """
    params = read_params(ROOT / PARAMS)
    ratings = ROOT / params["ratings"]
    if take:
        for line in taken_in(ratings, sheets):
            print(line)
        if strange := strangers(read_ratings(ratings), ROOT / "results/judgements/judgements.parquet"):
            print(f"{strange:,} of them are of texts that no judge has judged in this build")
        print("`dvc repro` says how far judges agree")
        return
    if judge is None or task is None or rater is None or len(sheets) != 1:
        raise BuildError("rate: a new sheet needs one file, --judge, --task and --rater; a filled one --take")
    artifacts = Artifacts(ROOT, declarations(ROOT, params))
    rows = write_sheet(artifacts, sheets[0], judge, task, rater, count, read_ratings(ratings))
    print(
        f"{sheets[0]}: {rows:,} rows for {rater}; write one of `choices` under `verdict`, then `osler rate --take {sheets[0]}`"
    )
