"""A trunk in segments is one run; a branch of it falls to the floor; what a segment goes on from is checked."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file

from osler.build.files import file_hash, folder_hash, write_json
from osler.build.section import BuildError
from osler.tokens.mixture import row_order
from osler.tokens.shards import write_manifest
from osler.training import trained_model
from osler.training.continued_pretraining import Branch, Cpt, Segment
from osler.training.heldout_loss import FOLDER
from osler.training.launch import LAUNCH
from osler.training.live import lines
from osler.training.recipe import Schedule
from osler.training.run import Run
from stages import anneal, cpt, trunk
from tests.support.damage import flip
from tests.support.durability import power_may_fail
from tests.support.runs import Killed, recipe
from tests.support.tiny import NUMERICS, TEXTS, launch, tiny_model, tiny_tokenizer

pytestmark = pytest.mark.usefixtures("trains_here")

WIDTH, ROWS = 8, {"notes": 11, "towns": 4}
RATES = {"notes": 0.1, "towns": 0.025}  # a row has 8 tokens: every token of the run is one of a row
COLLECTIONS = {"notes": "clinical", "towns": "general"}
CPT = Cpt(**recipe(batch_tokens=2 * WIDTH, warmup_fraction=0.25).model_dump())  # two rows a step
Build = Callable[..., Path]


def packed(folder: Path, source: str, tokens: int) -> None:
    """Rows of one document each, of random tokens."""
    folder.mkdir(parents=True)
    rows = ROWS[source]
    np.save(folder / "tokens-00000.npy", np.random.default_rng(rows).integers(3, tokens, (rows, WIDTH)).astype("<u2"))
    np.save(folder / "row_ends.npy", np.arange(1, rows + 1))
    np.save(folder / "lengths.npy", np.full(rows, WIDTH, np.int32))
    np.save(folder / "origins.npy", np.zeros(rows, np.uint16))
    write_manifest(folder, {"rows": rows, "origins": [{"source": source, "license": "CC0-1.0"}]})


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model, two packed sources, and the plan of 160 tokens: 10 steps, of which `cpt` warms up 2."""
    folder = tmp_path_factory.mktemp("trunk")
    tokenizer = tiny_tokenizer()
    tiny_model(len(tokenizer)).save_pretrained(folder / "models/base")
    tokenizer.save_pretrained(folder / "models/base")
    for source, collection in COLLECTIONS.items():
        packed(folder / "packed" / collection / source, source, len(tokenizer))
    counts = np.bincount(row_order(RATES, ROWS, 1, 160)[:, 0]).tolist()
    sources = {
        source: {
            "collection": COLLECTIONS[source],
            "rows": count,
            "rows_per_token": RATES[source],
            "rows_there": ROWS[source],
        }
        for source, count in zip(ROWS, counts, strict=True)
    }
    write_json(folder / "plan/plan.json", {"budget_tokens": 160, "sources": sources})
    return folder


@pytest.fixture
def build(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    """Runs a stage, called as DVC calls it, in a folder of its own; returns the model."""
    monkeypatch.setenv(LAUNCH, launch().model_dump_json())
    monkeypatch.setattr(trained_model, "SCRATCH", tmp_path / "scratch")

    def run(stage: Any, out: str, start: str = "base", tokens: int = 0, **changes: Any) -> Path:
        model = inputs / "models/base" if start == "base" else tmp_path / start
        kind = {trunk: "trunk", anneal: "anneal", cpt: None}[stage]
        section = {"from": start, "tokens": tokens, "maximum_epochs": 9.0} | changes
        stage.main(
            model=model,
            packed=inputs / "packed",
            plan=inputs / "plan",
            trained_model=tmp_path / out,
            training=tmp_path / f"{out}.csv",
            cpt=CPT,
            numerics=NUMERICS,
            seeds=(1,),
            **({kind: (Branch if stage is anneal else Segment).model_validate(section)} if kind else {}),
        )
        return tmp_path / out

    return run


def test_a_finished_model_is_kept_whole_or_not_at_all(
    build: Build, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the disk before it has its name; asked for again it is not trained again, and is when a bit of it has changed."""
    with power_may_fail(tmp_path / "scratch/trained") as named:
        model = build(trunk, "trunk-early", tokens=22)
    (entry,) = (tmp_path / "scratch/trained/trunk-early").glob("*/*")
    assert named == [entry.relative_to(tmp_path / "scratch/trained").as_posix()]
    before = folder_hash(model)
    shutil.rmtree(model)
    assert folder_hash(build(trunk, "trunk-early", tokens=22)) == before
    assert "reused, it has been trained before" in capsys.readouterr().out
    for file in sorted(entry.iterdir()):
        (entry,) = (tmp_path / "scratch/trained/trunk-early").glob("*/*")
        flip(entry / file.name, 8 * (file.stat().st_size - 2))
        assert folder_hash(build(trunk, "trunk-early", tokens=22)) == before, file.name
        told = capsys.readouterr()
        assert f"warning: {entry}: damaged; made again" in told.err
        assert "reused" not in told.out


def test_the_loss_on_heldout_documents_is_shown_and_is_no_part_of_a_model(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Segment by segment, counted from the beginning of the trunk; the model's folder has the bytes it has without."""
    before = folder_hash(build(trunk, "trunk-x", tokens=100))
    schema = {"text": pl.String}
    for domain, texts in (("clinical", TEXTS), ("general", [])):
        (tmp_path / "heldout").mkdir(exist_ok=True)
        pl.DataFrame({"text": texts}, schema).write_parquet(tmp_path / "heldout" / f"{domain}.parquet")
    monkeypatch.setenv(FOLDER, str(tmp_path / "heldout"))
    monkeypatch.setenv(LAUNCH, launch(heldout_every_steps=4).model_dump_json())
    shutil.rmtree(tmp_path / "scratch")
    assert folder_hash(build(trunk, "trunk-x", tokens=100)) == before
    seen = {line["step"]: line for line in lines(tmp_path / "scratch/live/trunk-x-1.jsonl")}
    steps = max(seen)
    assert {step for step, line in seen.items() if line["heldout_clinical_loss"]} == {4, steps}
    assert all(line["heldout_general_loss"] is None for line in seen.values())


def provenance(model: Path) -> Any:
    return json.loads((model / "provenance.json").read_text())


def test_two_segments_are_one_of_their_length_bit_for_bit(build: Build) -> None:
    """Weights and moments. The first ends after one of two steps of warm-up; both ends leave a row of a step over."""
    whole = build(trunk, "trunk-whole", tokens=307)
    early = build(trunk, "trunk-early", tokens=22)
    late = build(trunk, "trunk-late", "trunk-early", tokens=285)
    for name in ("model.safetensors", "optimizer.safetensors"):
        assert file_hash(late / name) == file_hash(whole / name)
        assert file_hash(late / name) != file_hash(early / name)
    assert {tensor.dtype for tensor in load_file(late / "optimizer.safetensors").values()} == {torch.float32}
    one, first, second = (provenance(model) for model in (whole, early, late))
    assert first["steps"] == 1
    assert one["steps"] == second["steps"] == 19
    assert one["continued_tokens"] == second["continued_tokens"] == first["tokens"] + second["tokens"] == 19 * 2 * WIDTH
    assert {key: second["rows_before"][key] + count for key, count in second["rows_read"].items()} == one["rows_read"]
    entries = [(entry["source"], entry["epoch"], entry["tokens"]) for entry in one["token_ledger"]]
    sums: dict[tuple[str, int], int] = {}
    for entry in second["token_ledger"]:
        key = entry["source"], entry["epoch"]
        sums[key] = sums.get(key, 0) + entry["tokens"]
    assert sorted((*key, tokens) for key, tokens in sums.items()) == entries
    assert {entry["run"] for entry in second["token_ledger"]} == {"trunk-early", "trunk-late"}


def test_a_segment_warms_up_once_and_a_branch_falls_to_the_floor(build: Build) -> None:
    """The rate is at its peak after 2 of 20 steps' warm-up until the branch, whose last step has a tenth of it."""
    build(trunk, "trunk-early", tokens=160)
    build(trunk, "trunk-late", "trunk-early", tokens=160)
    branch = build(anneal, "anneal-late", "trunk-late", tokens=96)
    early, late, fall = (
        pl.read_csv(branch.parent / f"{name}.csv") for name in ("trunk-early", "trunk-late", "anneal-late")
    )
    rates = early["learning_rate"].to_list()
    warmup = round(0.25 * 10)
    assert rates[:warmup] == pytest.approx([1e-2 * (step + 1) / warmup for step in range(warmup)])
    assert set(rates[warmup:]) == set(late["learning_rate"]) == {1e-2}
    falling = fall["learning_rate"].to_list()
    assert falling == sorted(falling, reverse=True)
    assert falling[0] < 1e-2
    assert falling[-1] == pytest.approx(1e-3)
    assert late["step"][0] == early["step"][-1] + 1
    assert fall["step"][0] == late["step"][-1] + 1
    assert fall["tokens"][0] == late["tokens"][-1] + 2 * WIDTH
    assert not (branch / "optimizer.safetensors").exists()
    assert provenance(branch)["continued_tokens"] == 26 * 2 * WIDTH


def test_the_trunk_reads_what_cpt_reads(build: Build) -> None:
    """A trunk as long as the plan has the rows of `cpt`, up to the last whole step."""
    one, other = provenance(build(cpt, "cpt")), provenance(build(trunk, "trunk-same", tokens=160))
    assert one["stream_tokens"] == other["stream_tokens"] == 160
    assert 0 <= one["continued_tokens"] - other["continued_tokens"] < 2 * WIDTH
    assert not (one["settings"]["schedule"])


def test_a_killed_segment_goes_on_and_ends_with_the_same_bits(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after its first checkpoint, which is counted from the trunk's first step."""
    early = build(trunk, "trunk-early", tokens=80)
    expected = build(trunk, "trunk-late", "trunk-early", tokens=160)
    hashes = [file_hash(expected / name) for name in ("model.safetensors", "optimizer.safetensors")]
    shutil.rmtree(expected)
    shutil.rmtree(early.parent / "scratch")  # and the finished one
    original = Run.global_batch

    def killed(run: Run, step: int) -> Any:
        if step == 11:
            raise Killed
        return original(run, step)

    monkeypatch.setattr(Run, "global_batch", killed)
    with pytest.raises(Killed):
        build(trunk, "trunk-late", "trunk-early", tokens=160)
    monkeypatch.undo()
    monkeypatch.setenv(LAUNCH, launch().model_dump_json())
    monkeypatch.setattr(trained_model, "SCRATCH", early.parent / "scratch")
    assert list((early.parent / "scratch").rglob("step-00000006"))  # the one after it may still have been written
    again = build(trunk, "trunk-late", "trunk-early", tokens=160)
    assert [file_hash(again / name) for name in ("model.safetensors", "optimizer.safetensors")] == hashes


@pytest.mark.parametrize(
    ("tokens", "changes", "message"),
    [
        (12, {}, r"params.yaml: trunk.x.tokens: 12, less than a step of cpt.batch_tokens 16"),
        (
            300,
            {"maximum_epochs": 2.0},
            r"params.yaml: trunk.x.tokens: by its end notes is read 2.\d times, above its max",
        ),
        (300, {"from": "trunk-none"}, r"models/base: has no optimizer.safetensors, .* name a trunk"),
    ],
)
def test_a_segment_that_cannot_be_is_refused(build: Build, tokens: int, changes: dict[str, Any], message: str) -> None:
    """In one line."""
    with pytest.raises(BuildError, match=message):
        build(trunk, "trunk-x", tokens=tokens, **changes)


def test_a_schedule_by_eye() -> None:
    """Half of the peak, the peak, and from step 4 to 7 down as 1 - sqrt to a tenth."""
    rates = [Schedule(2, 4).rate(recipe(learning_rate=1.0), step, 8) for step in range(4, 8)]
    assert [Schedule(2, None).rate(recipe(learning_rate=1.0), step, 8) for step in range(8)] == [0.5, *[1.0] * 7]
    assert rates == pytest.approx([0.1 + 0.9 * (1 - (quarter / 4) ** 0.5) for quarter in (1, 2, 3, 4)])
