"""`osler show ledger`: counts of what was dropped, and some rows of it."""

import re
from pathlib import Path

import polars as pl
import pytest

from osler.build.artifacts import Artifacts
from osler.build.pipeline import Declaration
from osler.build.section import BuildError
from osler.commands import show_ledger

COLUMNS = dict.fromkeys(show_ledger.LEDGER, pl.String())


def written(folder: Path, name: str, rows: list[tuple[str | None, ...]]) -> str:
    """A ledger of these rows; its path in the project."""
    path = folder / "data/ledger" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(rows, schema=COLUMNS, orient="row").write_parquet(path)
    return path.relative_to(folder).as_posix()


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    """Ledgers of ingest and select, and one of a stage that has not run."""
    unread: tuple[str | None, ...] = ("ingest", "notes", None, "a.jsonl#3", "not_json", "line 3")
    copies = [("select", "notes", f"notes/n{n}", f"a.jsonl#{n}", "exact_duplicate", "of notes/n0") for n in range(1, 6)]
    held = [("select", "towns", "towns/t1", "t.jsonl#1", "heldout", "domain general")]
    outs = {
        "ingest@notes": ("data/documents/clinical/notes", written(tmp_path, "ingest/notes.parquet", [unread])),
        "select": (written(tmp_path, "select.parquet", [*copies, *held]),),
        "instruct": ("data/ledger/instruct.parquet",),
    }
    return Artifacts(tmp_path, {name: Declaration(name, (), paths, {}) for name, paths in outs.items()})


@pytest.fixture
def show(artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(show_ledger, "read_params", lambda _: {})
    monkeypatch.setattr(show_ledger, "declarations", lambda *_: artifacts.stages)
    monkeypatch.setattr(show_ledger, "ROOT", artifacts.root)


def test_every_row_is_counted_once(show: None, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: ARG001
    """By stage, source and reason, of the stages that have run."""
    show_ledger.say(None, "", 3)
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["stage", "source", "reason", "rows"],
        ["ingest", "notes", "not_json", "1"],
        ["select", "notes", "exact_duplicate", "5"],
        ["select", "towns", "heldout", "1"],
    ]


def test_rows_of_a_source_are_shown(show: None, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: ARG001
    """As many of each reason as asked for, the same ones again; a row without id goes by where it stood."""
    show_ledger.say("notes", "", 2)
    text = capsys.readouterr().out
    assert "ingest not_json:\n  notes/a.jsonl#3  a.jsonl#3; line 3\n" in text
    assert text.count("of notes/n0") == 2
    assert "towns" not in text
    show_ledger.say("notes", "", 2)
    assert capsys.readouterr().out == text
    show_ledger.say("notes", "dupl", 9)
    text = capsys.readouterr().out
    assert (text.count("of notes/n0"), "not_json" in text) == (5, False)


@pytest.mark.parametrize(
    ("source", "reason", "said"),
    [
        ("note", "", "note: in no ledger, did you mean notes?; there are notes, towns"),
        ("notes", "tea", "--search tea: no such reason; there are exact_duplicate, not_json"),
    ],
)
def test_what_is_not_there_is_said(show: None, source: str, reason: str, said: str) -> None:  # noqa: ARG001
    with pytest.raises(BuildError, match=re.escape(said)):
        show_ledger.say(source, reason, 3)


def test_before_a_build_one_line_says_what_to_run(artifacts: Artifacts) -> None:
    for path in artifacts.root.rglob("*.parquet"):
        path.unlink()
    with pytest.raises(BuildError, match="nothing has been built yet; run `dvc repro select`"):
        show_ledger.ledger_rows(artifacts)
