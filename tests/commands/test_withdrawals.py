"""Which models learned from withdrawn documents, on artifacts made inside the test."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from osler.build.artifacts import Artifacts
from osler.build.files import write_json, write_parquet
from osler.build.pipeline import Declaration
from osler.build.section import BuildError
from osler.commands.plan import withdrawal_lines
from osler.commands.trace import say
from osler.commands.withdrawals import lines
from osler.corpus.withdrawn import NAMES
from osler.tokens.shards import content_hash

STAGES = {
    "ingest@notes": ("data/documents/clinical/notes",),
    "tokenize@notes": ("data/tokens/notes",),
    "pack@notes": ("data/packed/clinical/notes",),
    **{model: (f"models/{model}",) for model in ("cpt", "cpt-sft", "base", "old")},
}


def built(root: Path) -> Artifacts:
    """Four documents in two rows (a and b, c and d), the first of which cpt read, and cpt-sft has it from cpt."""
    documents, tokens, packed = (root / STAGES[stage][0] for stage in ("ingest@notes", "tokenize@notes", "pack@notes"))
    ids = [f"notes/{name}" for name in "abcd"]
    write_parquet(documents / "part-00000.parquet", pl.DataFrame({"doc_id": ids, "text": ["secret"] * 4}))
    names = [("notes/b", "b#1", "10.1/b", None, False), ("notes/d", "d#1", None, "7", True)]
    write_parquet(documents / "names-00000.parquet", pl.DataFrame(names, schema=NAMES, orient="row"))
    write_parquet(tokens / "part-00000.parquet", pl.DataFrame({"doc_id": ids, "tokens": [5] * 4}))
    packed.mkdir(parents=True)
    np.save(packed / "documents.npy", np.array([0, 1, 2, 3]))
    np.save(packed / "row_ends.npy", np.array([2, 4]))
    (packed / "manifest.json").write_text("{}")

    def model(name: str, inputs: dict[str, str]) -> str:
        run: dict[str, Any] = {"rows_before": {"notes": 0}, "rows_read": {"notes": 1}, "rows_there": {"notes": 2}}
        write_json(root / f"models/{name}/provenance.json", {"inputs": inputs, "settings": {"seed": SEED}, **run})
        (root / f"models/{name}/weights").write_text(name)
        return content_hash(root / f"models/{name}")

    base = model("base", {})
    cpt = model("cpt", {"notes": content_hash(packed), "model": base})
    model("cpt-sft", {"instructions": "else", "model": cpt})
    model("old", {"notes": "of other rows", "model": base})
    return Artifacts(root, {name: Declaration(name, (), outs, {}) for name, outs in STAGES.items()})


SEED = 1


def said(artifacts: Artifacts, listed: str, drops_retracted: bool = False) -> list[str]:
    """The lines for a list."""
    (artifacts.root / "list").write_text(listed)
    return list(lines(artifacts, artifacts.root / "list", drops_retracted))


def test_a_model_that_read_a_withdrawn_document_and_its_heirs_are_named(tmp_path: Path) -> None:
    """What was trained on other rows is told as not known; no line has a text."""
    artifacts = built(tmp_path)
    other = [
        "  old: not known: it was trained on other rows of notes than lie here",
        "  ask again at the commit of such a model: git checkout COMMIT && dvc checkout",
    ]
    found = {name: said(artifacts, name) for name in "abcd"}
    read = [name for name in "abcd" if any(line.startswith("  cpt:") for line in found[name])]
    assert read in (["a", "b"], ["c", "d"])  # the row that the order of this seed begins with
    for name in "abcd":
        heirs = ["  cpt: read 1 of notes", "  cpt-sft: trained from cpt"] if name in read else []
        assert found[name] == ["1 withdrawn documents", *heirs, *other]
    assert said(artifacts, "doi:10.1/B\nb\nzzz\n")[:2] == ["1 of 3 names fit no document: zzz", "1 withdrawn documents"]
    assert "secret" not in str(found)
    assert said(artifacts, "# none") == []
    assert said(artifacts, "", drops_retracted=True)[0] == "1 retracted documents"
    assert said(artifacts, "zzz")[1:] == ["no documents"]


def test_the_plan_says_it_too(tmp_path: Path) -> None:
    """Nothing for an empty list; what is not built yet is told, and stops no plan."""
    artifacts = built(tmp_path)
    params = {"select": {"withdrawn": "list", "retracted": "keep"}}
    (tmp_path / "list").write_text("a\nb\n")
    first, *_, last = withdrawal_lines(params, artifacts.stages, tmp_path)
    assert (first, last) == ("to leave out (select.withdrawn, select.retracted): 2 withdrawn documents", "")
    (tmp_path / "models/cpt/provenance.json").unlink()
    (tmp_path / "data/packed/clinical/notes/documents.npy").parent.rename(tmp_path / "away")
    assert "not known: data/packed/clinical/notes: not there" in str(
        withdrawal_lines(params, artifacts.stages, tmp_path)
    )
    (tmp_path / "list").write_text("")
    assert withdrawal_lines(params, artifacts.stages, tmp_path) == []


def test_trace_takes_a_document_or_a_list() -> None:
    """Neither and both are one line that says so."""
    for given in ((None, None), ("notes/a", Path("list"))):
        with pytest.raises(BuildError, match="takes a document's <source>/<id>, or --withdrawn LIST"):
            say(*given)
