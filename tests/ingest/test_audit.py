"""Stage audit: recall on planted identifiers, and what it stops."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from osler.build.section import BuildError
from osler.ingest import audit
from tests.ingest.test_ingest import phi
from tests.ingest.test_records import section

AUDIT = audit.Audit(documents=40, identifiers_per_document=6, characters=2000, seed=3)


def audited(folder: Path, **changed: Any) -> dict[str, Any]:
    """The audit of forty invented notes."""
    texts = [
        f"Patient number {n} has pain. She takes tablets. The lungs are clear. Plan: return in a week."
        for n in range(40)
    ]
    documents = folder / "documents"
    documents.mkdir(exist_ok=True)
    frame = pl.DataFrame({"doc_id": [f"notes/{n}" for n in range(40)], "text": texts})
    frame.write_parquet(documents / "part-00000.parquet")
    source = section(phi=phi(**changed))
    audit.write_audit(documents=documents, source=source, audit=AUDIT, name="notes", audits=folder / "notes.json")
    found: dict[str, Any] = json.loads((folder / "notes.json").read_text())
    return found


def test_recall_is_given_for_every_class_with_its_interval(tmp_path: Path) -> None:
    """Nineteen classes and all together.

    Over nine tenths are found, and the interval holds the estimate.
    """
    rows = {row["kind"]: row for row in audited(tmp_path)["classes"]}
    assert len(rows) == 20
    assert all(row["low"] <= row["recall"] <= row["high"] for row in rows.values())
    assert rows["all"]["planted"] == sum(row["planted"] for kind, row in rows.items() if kind != "all") > 240
    assert rows["all"]["recall"] > 0.9


def test_only_the_classes_acted_on_are_measured(tmp_path: Path) -> None:
    """A source that loses only its dates is not judged by names.

    And names found do not count for dates.
    """
    assert [row["kind"] for row in audited(tmp_path, classes=["date"])["classes"]] == ["date", "all"]


def test_a_required_source_below_its_recall_stops_the_build(tmp_path: Path) -> None:
    """With the figures, the worst class, and the key.

    The same source without `required` is built.
    """
    with pytest.raises(
        BuildError, match=r"source.notes.phi.minimum_recall: 1.0, but of \d+ planted .*worst: "
    ) as caught:
        audited(tmp_path, required=True, minimum_recall=1.0)
    assert "\n" not in str(caught.value)
    audited(tmp_path, required=False, minimum_recall=1.0)


def test_a_source_that_is_not_screened_has_no_figures(tmp_path: Path) -> None:
    """Published text stays as it is."""
    audit.write_audit(documents=tmp_path, source=section(), audit=AUDIT, name="notes", audits=tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text()) == {"action": None, "classes": []}
