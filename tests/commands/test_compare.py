"""`osler compare` on two commits and an experiment of a small DVC project."""

import csv
import dataclasses
import json
import re
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from osler.build.dvc_cache import cache_folder
from osler.build.recorded import cached, recorded
from osler.build.section import BuildError
from osler.commands import compare, leaderboard
from tests.support.command import osler
from tests.support.damage import flip
from tests.support.project import Project
from tests.support.small import small_project


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Built at alpha 0, tagged `first`; at alpha 12, in HEAD; and as an experiment with another seed and item, `other`."""
    made = small_project(tmp_path_factory.mktemp("small"))
    made.edit("params.yaml", "alpha: 0", "alpha: 12")
    made.run("dvc", "repro", "-q")
    made.run("git", "commit", "-qam", "second")
    made.run("dvc", "exp", "run", "-q", "-n", "other", "-S", "seeds=[2]", "-S", "option=yea", "-S", "touched=0")
    return made


@pytest.fixture(autouse=True)
def in_project(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command works in that project."""
    monkeypatch.setattr(compare, "ROOT", project.folder)
    monkeypatch.setattr(leaderboard, "ROOT", project.folder)


def found(tmp_path: Path, *arguments: str) -> dict[str, Any]:
    """What `--json` says, rows by model and strategy."""
    osler("compare", *arguments, "--json", str(tmp_path / "found.json"))
    result: dict[str, Any] = json.loads((tmp_path / "found.json").read_text())
    result["rows"] = {(row["model"], row["strategy"]): row for row in result["rows"]}
    return result


def test_between_commits_the_planted_difference_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """12 of 40 items gained by one model of two; among the 36 untouched ones the same 12; draws are averaged, not counted."""
    result = found(tmp_path, "first", "HEAD")
    row = result["rows"]["tuned", "zero_shot"]
    assert (row["items"], row["first"], row["second"], row["effect_points"]) == (40, 0.275, 0.575, 30)
    assert row["mcnemar_p"] == pytest.approx(2 * 0.5**12, rel=1e-3)
    assert (row["untouched"]["items"], row["untouched"]["effect_points"]) == (36, pytest.approx(100 / 3, abs=1e-3))
    few = result["rows"]["tuned", "few_shot"]
    assert (few["items"], few["first"], few["mcnemar_p"]) == (40, 0.2625, None)
    assert result["rows"]["base", "zero_shot"]["verdict"] == "same"
    printed = capsys.readouterr().out
    assert "Same scores on every item: base." in printed
    assert "Another training seed moves scores too" in printed


def test_a_revision_beside_itself_is_zero_at_p_1(tmp_path: Path) -> None:
    """In all rows."""
    rows = found(tmp_path, "first", "first")["rows"].values()
    assert len(rows) == 4
    assert {(row["effect_points"], row["p"], row["holm_p"], row["verdict"]) for row in rows} == {(0, 1, 1, "same")}


def test_an_experiment_is_named_and_its_changed_item_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Seed 2 has one item more right; the item with another option is told; the workspace is the experiment that ran last."""
    result = found(tmp_path, "HEAD", "other")
    row = result["rows"]["tuned", "zero_shot"]
    assert (row["items"], row["differing"], row["mcnemar_p"], row["verdict"]) == (39, 1, 1, "not shown")
    assert result["seeds"] == {"first": [1], "second": [2]}
    assert result["changed_items"] == ["small/39"]
    assert "1 item with another question, context, options or answer (small/39)" in capsys.readouterr().out
    assert found(tmp_path, "HEAD", "workspace")["rows"] == result["rows"]
    assert found(tmp_path, "other", "workspace")["changed_items"] == []


def test_what_is_only_in_one_is_named(project: Project) -> None:
    """Answers of a model that the other revision does not evaluate, and items that it did not ask."""
    first, second = compare.build(project.folder, "first"), compare.build(project.folder, "HEAD")
    fewer = second.answers.filter((second.answers["model"] != "base") & (second.answers["item_id"] != "small/00"))
    result = compare.comparison(
        first,
        compare.Build("fewer", fewer, second.headlines, second.items, second.touched),
        "full_answer",
        0.95,
    )
    printed = "\n".join(compare.lines(result))
    assert "Only in first: base (few_shot, zero_shot)." in printed
    assert "left out: zero_shot on small: 1 in first, 0 in fewer." in printed
    assert "Only in fewer" not in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["first", "nonsense"], "nonsense: unknown Git revision 'nonsense'"),
        (
            ["first", "HEAD", "--protocol", "letter"],
            "--protocol letter: first has no answers in it; all have full_answer",
        ),
        (["first", "HEAD", "--json", "/dev/null/x"], "--json /dev/null/x: "),
    ],
)
def test_what_cannot_be_compared_is_one_line(arguments: list[str], message: str) -> None:
    """On standard error, without a traceback."""
    with pytest.raises(SystemExit, match=message) as caught:
        osler("compare", *arguments)
    assert "\n" not in str(caught.value)


def test_accuracies_of_two_protocols_are_not_compared(project: Project) -> None:
    """Unless one is asked for that both have."""
    first, second = compare.build(project.folder, "first"), compare.build(project.folder, "HEAD")
    letter = compare.Build("b", second.answers, ("letter",), second.items, second.touched)
    with pytest.raises(BuildError, match="of different protocols .first: full_answer; b: letter.; name one with"):
        compare.common_protocol((first, letter), None)
    assert compare.common_protocol((first, letter), "full_answer") == "full_answer"


def test_damaged_predictions_are_not_compared(tmp_path: Path, project: Project) -> None:
    """One bit of a table in DVC's cache: the line names revision and file, and says what finds the rest."""
    (tmp_path / "dvc.lock").write_text(project.run("git", "show", "first:dvc.lock"))
    cache = cache_folder(project.folder)
    (folder,) = (out for out in recorded(tmp_path, ("build",)) if out.path.endswith("predictions/tuned"))
    listed = {each["relpath"]: each["md5"] for each in json.loads(cached(cache, folder.md5).read_text())}
    table = cached(cache, listed["predictions.parquet"])
    flip(table, 8 * (table.stat().st_size // 2))
    said = "first: results/predictions/tuned/predictions.parquet: is not what was built; `osler doctor --verify`"
    with pytest.raises(SystemExit, match=said):
        osler("compare", "first", "HEAD")
    flip(table, 8 * (table.stat().st_size // 2))
    osler("compare", "first", "HEAD")


def test_a_revision_whose_cache_is_gone_says_what_to_run(tmp_path: Path, project: Project) -> None:
    """In one line; the workspace's files are still there and need no cache."""
    cache = project.folder / ".dvc/cache/files"
    shutil.move(cache, tmp_path / "files")
    try:
        message = "osler: first: results/predictions/base/predictions.parquet: not in DVC's cache; run `dvc fetch"
        with pytest.raises(SystemExit, match=message) as caught:
            osler("compare", "first")
        assert "\n" not in str(caught.value)
        osler("compare", "workspace", "workspace")
    finally:
        shutil.move(tmp_path / "files", cache)


def test_a_clone_without_data_says_what_to_run(
    tmp_path: Path, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There DVC does not even know what the folders hold."""
    project.run("git", "clone", "-q", ".", str(tmp_path / "clone"))
    monkeypatch.setattr(compare, "ROOT", tmp_path / "clone")
    for name, advice in (("HEAD", "run `dvc fetch"), ("workspace", "run `dvc pull` or `dvc repro`")):
        with pytest.raises(SystemExit, match=f"osler: {name}: results/.*: not in DVC's cache; {advice}"):
            osler("compare", name)


@pytest.mark.parametrize(
    ("seeds", "others", "shown", "said"),
    [
        ((1, 2, 3), (1, 2, 3), "3", "rows with 3 seeds are over items, in groups, and training seeds, paired by both."),
        ((1, 2), (1, 2), "2", "Two seeds say little"),
        ((1, 2, 3), (7,), "3 and 1", "No training seed in common (seed 1, 2, 3 in first, 7 in HEAD)"),
    ],
)
def test_what_intervals_are_over_is_said(
    project: Project, seeds: tuple[int, ...], others: tuple[int, ...], shown: str, said: str
) -> None:
    """A column of seeds, and a sentence for each kind of row; rows on one seed keep their warning."""
    builds = [compare.build(project.folder, name) for name in ("first", "HEAD")]
    many = []
    for own, wanted in zip(builds, (seeds, others), strict=True):
        zero_shot = own.answers.filter(pl.col("strategy") == "zero_shot")
        frames = [zero_shot.with_columns(seed=pl.lit(seed, pl.Int64)) for seed in wanted]
        rest = own.answers.filter((pl.col("strategy") == "few_shot") & pl.lit(1 in wanted))
        many.append(dataclasses.replace(own, answers=pl.concat([*frames, rest])))
    found = compare.comparison(many[0], many[1], "full_answer", 0.95)
    printed = "\n".join(compare.lines(found))
    assert said in printed
    line = next(line for line in printed.split("\n") if line.startswith("tuned  zero_shot"))
    assert f"  {shown}  " in line
    assert ("Intervals on 1 seed are about other items" in printed) == (1 in others)


def test_unpaired_seeds_are_written_down(tmp_path: Path) -> None:
    """How many seeds of each, and whether they are pairs, stand in the JSON."""
    row = found(tmp_path, "HEAD", "other")["rows"]["tuned", "zero_shot"]
    assert (row["seeds"], row["seeds_paired"]) == ([1, 1], True)


def test_three_builds_are_one_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The best first on 39 of 40 items, since one differs in `other`; models are told by build, and a file has the table."""
    osler(
        "compare",
        "first",
        "HEAD",
        "other",
        "--json",
        str(tmp_path / "found.json"),
        "--table",
        str(tmp_path / "found.csv"),
    )
    found = json.loads((tmp_path / "found.json").read_text())
    assert (found["items"], found["left_out"], found["silent"]) == (39, 1, [])
    order = [(place["builds"], place["model"]) for place in found["places"]]
    assert order[:3] == [(["other"], "tuned"), (["HEAD"], "tuned"), (["first"], "tuned")]
    assert order[3:] == [(["first", "HEAD"], "base"), (["other"], "base")]  # `other` has another seed
    first, *others = found["places"]
    assert first["accuracies"]["small"]["estimate"] == pytest.approx(24 / 39)
    assert others[2]["behind"]["estimate"] == pytest.approx(-14 / 39)
    assert [place["verdict"] for place in found["places"]] == ["first", *2 * ["may be best"], *2 * ["behind"]]
    printed = capsys.readouterr().out
    assert "zero_shot, protocol full_answer, on 39 items" in printed
    assert "Left out, since not all answered them or builds differ in them: 1 item." in printed
    head, best, *_ = csv.reader((tmp_path / "found.csv").read_text().splitlines())
    assert head[:5] == ["build", "model", "seeds", "small", "small low"]
    assert best[:4] == ["other", "tuned", "1", "61.5"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["first", "HEAD", "other", "--strategy", "cot"],
            "--strategy cot: no model was asked so; there are few_shot, zero_shot",
        ),
        (
            ["first", "HEAD", "other", "--protocol", "letter"],
            "--protocol letter: first has no answers in it; all have full_answer",
        ),
        (["first", "HEAD", "first"], "first: is named twice; name each build once"),
        (["first", "HEAD", "other", "--table", "x.xlsx"], "--table x.xlsx: ends in none of .csv, .md, .tex"),
        (["first", "HEAD", "--strategy", "few_shot"], "compare: --strategy and --table are for three builds or more"),
        (["first", "HEAD", "nowhere"], "nowhere: "),
    ],
)
def test_what_cannot_stand_in_one_table_is_refused(arguments: list[str], said: str) -> None:
    """In one line."""
    with pytest.raises(SystemExit, match=f"osler: {re.escape(said)}"):
        osler("compare", *arguments)
