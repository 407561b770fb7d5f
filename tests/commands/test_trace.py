"""The command trace, on artifacts made inside the test; the whole way to a model is in test_dag.py."""

from pathlib import Path

import pytest

from osler.build.artifacts import Artifacts
from osler.build.files import write_json
from osler.build.pipeline import Declaration
from osler.build.section import BuildError
from osler.commands.trace import key_at_hand, readers, traced
from osler.privacy.screening import key_id
from osler.tokens.shards import content_hash
from tests.ingest.test_ingest import ingested, phi
from tests.ingest.test_records import section

KEY = b"k" * 32


def test_who_holds_the_key_traces_a_document_by_its_own_id(tmp_path: Path) -> None:
    """By id, or by file and row where a row gave no document; by the name on disk anyone; without the key not by the id."""
    (tmp_path / "key").write_bytes(KEY)
    source = section(id="id", phi=phi(key_file=str(tmp_path / "key"), key_id=key_id(KEY)))
    documents, _ = ingested(tmp_path, [{"id": "MRN7001234", "text": "No cough."}, {"text": "No id."}], source)
    stages = {
        "ingest@notes": Declaration("ingest@notes", (), ("data/documents/clinical/notes", "data/ledger/notes"), {}),
        "select": Declaration("select", (), ("data/ledger/select.parquet",), {}),
    }
    artifacts = Artifacts(tmp_path, stages)
    (tmp_path / "data/documents/clinical").mkdir(parents=True)
    (tmp_path / "documents").rename(tmp_path / "data/documents/clinical/notes")
    (tmp_path / "data/ledger").mkdir()
    (tmp_path / "ledger.parquet").rename(tmp_path / "data/ledger/notes")
    key = key_at_hand({"source": {"notes": source.model_dump(mode="json")}}, "notes/MRN7001234")
    assert key == KEY
    for name, its_key in (("notes/MRN7001234", key), (documents["doc_id"][0], b"")):
        steps = traced(artifacts, name, its_key)
        assert next(steps) == ("from", f"{documents['origin'][0]}, CC0-1.0, 9 bytes")
    assert next(traced(artifacts, "notes/rows.jsonl#2", key))[0] == "dropped by ingest"
    with pytest.raises(BuildError, match="neither a document of notes nor in its ledger"):
        list(traced(artifacts, "notes/MRN7001234", b""))
    (tmp_path / "key").unlink()
    assert key_at_hand({"source": {"notes": source.model_dump(mode="json")}}, "notes/MRN7001234") == b""


def test_a_model_that_does_not_tell_its_rows_is_named(tmp_path: Path) -> None:
    """A key that is missing in provenance.json is told with the file, where its value is needed."""
    packed, model = tmp_path / "data/packed/notes", tmp_path / "models/cpt"
    packed.mkdir(parents=True)
    (packed / "manifest.json").write_text("{}")
    artifacts = Artifacts(tmp_path, {"cpt": Declaration("cpt", (), ("models/cpt",), {})})
    model.mkdir(parents=True)
    write_json(model / "provenance.json", {"inputs": {"notes": content_hash(packed)}, "rows_before": {"qa": 0}})
    with pytest.raises(BuildError, match=r"^models/cpt/provenance.json: rows_before.notes: missing"):
        list(readers(artifacts, packed, "notes", [0]))
    write_json(model / "provenance.json", {})
    with pytest.raises(BuildError, match=r"^models/cpt/provenance.json: inputs: missing"):
        list(readers(artifacts, packed, "notes", [0]))
