"""From token shards and a keep-list to rows and a plan.

Stages `pack` and `mix` on five documents.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from osler.build.section import BuildError
from osler.tokens.mixture import Mix
from osler.tokens.packing import Pack
from osler.tokens.shards import PackedRows, write_manifest
from stages import mix, pack

WIDTH = 8
DOCUMENTS = {  # by part: id, tokens, license
    0: [("n/a", 10, "CC0"), ("n/b", 3, "MIT")],
    1: [("n/c", 4, "CC0"), ("n/d", 8, "CC0"), ("n/e", 5, "MIT")],
}
KEPT = ["n/a", "n/c", "n/d", "n/e"]
SIGNALS = {"n/a": 0.5, "n/b": 0.9, "n/c": 0.8, "n/d": 0.1, "n/e": 0.7}


def write_tokens(folder: Path) -> None:
    """Two parts of known tokens.

    Those of the n-th document of the source are 100 n + 0, 1, 2 ...
    """
    folder.mkdir(parents=True)
    number = 0
    for part, documents in DOCUMENTS.items():
        values = []
        for _, length, _ in documents:
            values += list(range(100 * number, 100 * number + length))
            number += 1
        (folder / f"part-{part:05d}.bin").write_bytes(np.array(values, "<u2").tobytes())
        columns = {"doc_id": pl.String, "tokens": pl.UInt32, "license": pl.String}
        pl.DataFrame(documents, schema=columns, orient="row").write_parquet(folder / f"part-{part:05d}.parquet")
    write_manifest(folder, {"dtype": "<u2"})


def packed(folder: Path, collection: str = "clinical", source: str = "n", subset: Any = None) -> Path:
    """Run `pack` on DOCUMENTS."""
    place = folder / source
    write_tokens(place / "tokens")
    pl.DataFrame({"doc_id": KEPT}).write_parquet(place / "keep.parquet")
    (place / "screens").mkdir()
    screens = {"doc_id": [*SIGNALS], "signal": [*SIGNALS.values()], "language": ["en"] * 5, "text_hash": [1] * 5}
    pl.DataFrame(screens).reverse().write_parquet(place / "screens/part-00000.parquet")
    out = folder / "packed" / collection / source
    settings = Pack.model_validate({"sequence_length_tokens": WIDTH, "seed": 1, "subset": subset})
    pack.main(place / "keep.parquet", place / "screens", place / "tokens", out, settings)
    return out


def contents(rows: PackedRows) -> list[list[int]]:
    """The segments of each row, as the first token of each."""
    found = []
    for row in range(len(rows.row_ends_R)):
        ends = np.cumsum(rows.segment_lengths(row))
        found.append(
            [int(rows.tokens_RT[row][end - n]) for end, n in zip(ends, rows.segment_lengths(row), strict=True)]
        )
    return found


def test_kept_documents_are_packed_whole_with_their_license(tmp_path: Path) -> None:
    """27 tokens lie in four rows of 8 with five empty places.

    Documents of 10, 4, 8 and 5 tokens are 8, 8, 5 + 2 and 4; b is nowhere.
    """
    out = packed(tmp_path)
    rows = PackedRows.open(out)
    assert sorted(contents(rows)) == [[0], [200], [300], [400, 8]]
    facts = json.loads((out / "manifest.json").read_text())
    assert (facts["tokens"], facts["padding_tokens"], facts["documents"], facts["documents_split"]) == (27, 5, 4, 1)
    assert facts["subset"] == {"documents": 0, "rows": 0, "tokens": 0}
    assert [origin.license for origin in rows.origins] == ["CC0", "MIT"]
    assert rows.tokens_by_origin().sum(0).tolist() == [22, 5]
    assert sorted(np.load(out / "documents.npy").tolist()) == [0, 0, 2, 3, 4]


def test_the_rows_of_the_subset_come_first(tmp_path: Path) -> None:
    """The best 30 % by the signal are c and e.

    4 and 5 of 27 tokens, whose rows can be opened alone; b, better, is not kept.
    """
    out = packed(tmp_path, subset={"signal": "signal", "prefer": "high", "fraction": 0.3})
    facts = json.loads((out / "manifest.json").read_text())
    assert facts["subset"] == {"documents": 2, "rows": 2, "tokens": 9}
    assert sorted(contents(PackedRows.open(out, 2))) == [[200], [400]]
    assert facts["rows"] == 5


def test_a_signal_that_screen_does_not_have_is_refused(tmp_path: Path) -> None:
    """Only numbers can be ranked, and a hash is none."""
    with pytest.raises(BuildError, match=r"pack.subset.signal: language: not one of signal$"):
        packed(tmp_path, subset={"signal": "language", "prefer": "high", "fraction": 0.3})


def test_a_damaged_token_shard_is_refused(tmp_path: Path) -> None:
    """A flipped byte of what `tokenize` wrote never reaches a row."""
    packed(tmp_path)
    part = tmp_path / "n/tokens/part-00001.bin"
    part.write_bytes(b"\xff" + part.read_bytes()[1:])
    with pytest.raises(BuildError, match="part-00001.bin: missing or damaged"):
        pack.main(
            tmp_path / "n/keep.parquet", tmp_path / "n/screens", tmp_path / "n/tokens", tmp_path / "again",
            Pack(sequence_length_tokens=WIDTH, seed=1, subset=None),
        )  # fmt: skip


def plan(folder: Path, **changes: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run `mix`; the plan and the metrics."""
    values: dict[str, Any] = {
        "tokens": 90,
        "replay_fraction": 0.1,
        "clinical_documents": "all",
        "epochs": {"n": 3.0},
        "weights": {"t": 1.0},
        "maximum_epochs": 20.0,
        "seed": 1,
    }
    mix.main(folder / "packed", folder / "plan", folder / "packing.json", Mix(**values | changes))
    return json.loads((folder / "plan/plan.json").read_text()), json.loads((folder / "packing.json").read_text())


def test_the_plan_carries_the_ledger_and_the_metrics_the_packing(tmp_path: Path) -> None:
    """An epoch of n is 22 CC0 and 5 MIT tokens.

    There are three epochs. The metrics count rows whether they are read or not.
    """
    packed(tmp_path)
    packed(tmp_path, "general", "t")
    found, metrics = plan(tmp_path)
    notes = [tuple(entry.values()) for entry in found["token_ledger"] if entry["source"] == "n"]
    assert {(entry["epoch"], entry["license"], entry["tokens"]) for entry in found["token_ledger"][:6]} == {
        (epoch, *part) for epoch in (1, 2, 3) for part in (("CC0", 22), ("MIT", 5))
    }
    assert len(notes) == 6
    assert found["sources"]["n"] == {
        "collection": "clinical", "epochs": 3.0, "rows": 12, "rows_per_token": 12 / 90, "rows_there": 4, "tokens": 81,
        "tokens_per_license": {"CC0": 66, "MIT": 15},
    }  # fmt: skip
    assert found["tokens"] == 81 + found["sources"]["t"]["tokens"]
    assert found["replay_fraction"] == round(found["sources"]["t"]["tokens"] / found["tokens"], 6)
    assert (metrics["rows"], metrics["tokens"], metrics["padding_tokens"]) == (8, 54, 10)
    assert metrics["fill_fraction"] == 54 / 64
    assert [entry["source"] for entry in metrics["sources"]] == ["n", "t"]


def test_a_plan_of_the_subset_reads_its_rows_alone(tmp_path: Path) -> None:
    """Nine tokens in two rows, nine times, and all general text.

    Without pack.subset it is refused.
    """
    packed(tmp_path, subset={"signal": "signal", "prefer": "high", "fraction": 0.3})
    packed(tmp_path, "general", "t")
    found, _ = plan(tmp_path, clinical_documents="subset", epochs={"n": 9.0})
    assert (found["sources"]["n"]["rows"], found["sources"]["n"]["rows_there"]) == (18, 2)
    assert found["sources"]["n"]["tokens_per_license"] == {"CC0": 36, "MIT": 45}
    assert found["sources"]["t"]["rows_there"] == 4

    packed(tmp_path, "clinical", "u")
    with pytest.raises(BuildError, match="mix.clinical_documents: subset, but pack.subset is null"):
        plan(tmp_path, clinical_documents="subset")
