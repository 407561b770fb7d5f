"""A whole build with DVC, on profiles/micro.yaml: nothing is lost on the way, nor when it is killed, cloned or set up wrongly."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from osler.build.files import file_hash, folder_hash
from osler.build.lock import held_lock
from tests.build.test_portability import FORCED
from tests.support.damage import flip
from tests.support.kills import KILLED, killed_and_run_again, outcome
from tests.support.project import ENVIRONMENT, Project, ran

pytestmark = pytest.mark.dag
DOCTOR = (sys.executable, "-m", "osler", "doctor", "--verify")
SEEDS = {1: "", 2: "seeds/2/"}  # of the micro profile: seed -> where its model lies below the model's folder


def test_a_second_build_runs_nothing_and_leaves_git_clean(project: Project) -> None:
    """Everything is recorded in dvc.lock."""
    assert ran(project.run("dvc", "repro")) == set()
    assert project.run("git", "status", "--porcelain") == ""


def test_results_are_exported(project: Project, tmp_path: Path) -> None:
    """A file for each model, strategy and protocol with the accuracy of eval.json, tables, whole or not at all."""
    export = (sys.executable, "-m", "osler", "export", "results")
    said = project.run(*export, str(tmp_path / "out"))
    accuracies = json.loads((project.folder / "metrics/eval.json").read_text())
    for strategy, own in accuracies.items():
        for model, accuracy in own.items():
            found = json.loads((tmp_path / f"out/lm-eval/{model}/results_{strategy}_full_answer.json").read_text())
            assert found["results"]["synthetic"]["acc,none"] == pytest.approx(accuracy, abs=1e-6)
    files = list((tmp_path / "out/lm-eval").rglob("results_*.json"))
    tables = {path.stem for path in (tmp_path / "out/tables").glob("*.csv")}
    assert {path.stem for path in (tmp_path / "out/tables").glob("*.tex")} == tables
    assert {"accuracy", "claims", "corpus", "licenses", "bits-per-byte"} <= tables
    assert f"{len(tables)} tables as CSV and LaTeX in tables/, {len(files)} results in lm-eval/" in said
    assert "name a new one" in project.run(*export, str(tmp_path / "out"), fails=True)
    assert "--dtype and --merge are of models" in project.run(*export, str(tmp_path / "b"), "--merge", fails=True)
    (project.folder / "metrics/corpus.json").write_text("{}")
    assert "metrics/corpus.json: is not what select left there" in project.run(*export, str(tmp_path / "b"), fails=True)
    assert not list(tmp_path.glob("*b*"))


def test_no_artifact_knows_the_folder_it_was_built_in(project: Project) -> None:
    """Or another clone's bytes would differ: the path is in no file of a model and in no JSON or CSV."""
    path = str(project.folder).encode()
    files = [
        file for top in ("models", "metrics", "results", "data/plan") for file in (project.folder / top).rglob("*.*")
    ]
    assert len(files) > 50
    assert [file for file in files if file.is_file() and path in file.read_bytes()] == []


def test_planted_faults_are_found_and_nothing_else(project: Project) -> None:
    """Exact duplicates, near duplicates and contaminated documents: recall and precision 1.0, and no other clinical one goes."""
    raw = project.folder / "data/raw/default"
    planted = pl.DataFrame([json.loads(line) for line in (raw / "planted.jsonl").read_text().splitlines()])
    ledger = pl.read_parquet(project.folder / "data/ledger/select.parquet").filter(pl.col("reason") != "heldout")

    def pairs(kind: str) -> set[frozenset[str]]:
        rows = planted.filter(pl.col("kind") == kind).select(pl.col("source") + "/" + pl.col("id"), "of").iter_rows()
        return {frozenset(row) for row in rows}

    for kind, reason in (("exact", "exact_duplicate"), ("near", "near_duplicate")):
        dropped = ledger.filter(pl.col("reason") == reason).select(
            "doc_id", pl.col("detail").str.extract(r"of ([^\s,]+)")
        )
        assert {frozenset(row) for row in dropped.iter_rows()} == pairs(kind)
        assert len(pairs(kind)) == len(dropped) == 6
    contaminated = ledger.filter(pl.col("reason") == "contaminated")["doc_id"]
    leaks = planted.filter(pl.col("kind") == "contaminated").select(pl.col("source") + "/" + pl.col("id")).to_series()
    assert sorted(contaminated) == sorted(leaks)
    assert len(leaks) == 6
    rest = ledger.filter(~pl.col("reason").is_in(["exact_duplicate", "near_duplicate", "contaminated"]))
    assert set(rest["source"]) <= {"towns"}  # a quiz about one town repeats its name more than the rules allow
    assert rest.height <= 2


def test_rows_in_are_rows_out_plus_the_ledger_at_every_stage(project: Project) -> None:
    """Per source: documents = kept + ledger of select; tokenized documents = documents; packed tokens = kept tokens."""
    data = project.folder / "data"
    dropped = pl.read_parquet(data / "ledger/select.parquet")
    for folder in sorted(data.glob("documents/*/*")):
        documents = pl.read_parquet(folder / "*.parquet")
        kept = pl.read_parquet(data / "keep" / folder.parent.name / f"{folder.name}.parquet")
        gone = dropped.filter(pl.col("source") == folder.name)
        assert sorted([*kept["doc_id"], *gone["doc_id"]]) == sorted(documents["doc_id"])
        if folder.parent.name != "instructions":
            tokens = json.loads((data / "tokens" / folder.name / "manifest.json").read_text())
            packed = json.loads((data / "packed" / folder.parent.name / folder.name / "manifest.json").read_text())
            assert tokens["documents"] == len(documents)
            assert packed["documents"] == len(kept)
            assert packed["rows"] * packed["sequence_length_tokens"] == packed["tokens"] + packed["padding_tokens"]


def test_a_models_ledger_is_the_plans_and_begins_with_its_parents(project: Project) -> None:
    """Tokens by source, license and epoch: of cpt those that `mix` planned, summing to its log; of cpt-sft also its own."""

    def provenance(model: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((project.folder / f"models/{model}/provenance.json").read_text())
        return found

    base, cpt, sft = map(provenance, ("base", "cpt", "cpt-sft"))
    own = cpt["token_ledger"][len(base["token_ledger"]) :]
    planned = json.loads((project.folder / "data/plan/plan.json").read_text())["token_ledger"]
    assert cpt["token_ledger"] == [*base["token_ledger"], *({"run": "cpt"} | entry for entry in planned)]
    assert sum(entry["tokens"] for entry in own) == cpt["tokens"]
    assert sft["token_ledger"][: len(cpt["token_ledger"])] == cpt["token_ledger"]
    assert {entry["source"] for entry in sft["token_ledger"][len(cpt["token_ledger"]) :]} == {
        "clinical_qa",
        "general_qa",
    }


def test_a_document_is_traced_to_the_rows_and_models_it_ended_in(project: Project) -> None:
    """A kept note was read by cpt and inherited by what was tuned from it; a copy names its twin; others where they went."""
    kept = pl.read_parquet(project.folder / "data/keep/clinical/notes.parquet")["doc_id"][3]
    lines = trace(project, kept)
    numbers = [int(number) for number in re.findall(r"\d+", lines["packed in"].partition("row")[2])]
    rows = np.load(project.folder / "data/packed/clinical/notes/tokens-00000.npy")[numbers].tolist()
    place = re.fullmatch(r"(\S+), (\d+) from ([\d,]+)", lines["tokens in"])
    assert place
    start = int(place[3].replace(",", ""))
    tokens = np.fromfile(project.folder / place[1], "<u2")[start : start + int(place[2])][:20].tolist()
    assert any(row[at : at + 20] == tokens for row in rows for at in range(len(row)))
    assert re.fullmatch(r"cpt, \d+ times", lines["read by"])
    assert lines["inherited by"] == "cpt-neftune, trained from cpt"
    shown = project.run("python", "-m", "osler", "show", "rows", "notes", "--count", "2").splitlines()
    assert sum(line.startswith("--- notes/") for line in shown) == 2
    assert shown[-1].endswith("none is cut")

    ledger = pl.read_parquet(project.folder / "data/ledger/select.parquet")
    copy = ledger.filter(pl.col("reason") == "exact_duplicate").row(0, named=True)
    assert trace(project, copy["doc_id"])["not kept by select"] == f"exact_duplicate: {copy['detail']}"
    learned = pl.read_parquet(project.folder / "data/instructions/documents.parquet")["doc_id"][0]
    assert trace(project, learned)["read by"] == "cpt-neftune, 1 times"
    assert "a doc_id starts with its source" in project.run(sys.executable, "-m", "osler", "trace", "x/1", fails=True)

    shutil.rmtree(project.folder / "data/packed/clinical/notes")  # as after `dvc repro select` alone
    said = trace(project, kept)
    assert said["kept by select"] == "data/packed/clinical/notes is not built yet; run `dvc repro`"
    assert "tokens in" not in said


def trace(project: Project, doc_id: str) -> dict[str, str]:
    """What `osler trace` prints, the last line of each kind."""
    lines = project.run(sys.executable, "-m", "osler", "trace", doc_id).splitlines()
    return {line[:20].strip(" :"): line[20:] for line in lines}


@pytest.mark.builds
def test_two_processes_build_what_one_builds(project: Project) -> None:
    """With engines ddp and fsdp a training stage runs on two processes; its losses are those of one up to the order of sums."""

    def losses() -> dict[str, pl.DataFrame]:
        return {
            model: pl.read_csv(project.folder / f"results/training/{model}.csv") for model in ("cpt", "cpt-neftune")
        }

    one = losses()
    finished = project.folder / "scratch/trained"
    finished.rename(finished.with_name("before"))  # `--force` alone would take the models from there
    project.edit("params.yaml", "processes: 1", "processes: 2")
    for stage, before, engine in (("cpt", "python", "ddp"), ("neftune@cpt", "ddp", "fsdp")):
        project.edit("params.yaml", f"engine: {before}", f"engine: {engine}")
        output = project.run("dvc", "repro", "--force", "--single-item", stage)
        assert re.search(r"\d+ steps on 2 processes", output), output
    for model, two in losses().items():
        assert two.select("step", "tokens", "learning_rate").equals(
            one[model].select("step", "tokens", "learning_rate")
        )
        assert two["loss"].to_numpy() == pytest.approx(one[model]["loss"].to_numpy(), abs=1e-3)
    shutil.rmtree(finished)
    finished.with_name("before").rename(finished)


@pytest.mark.builds
def test_an_environment_of_another_cpu_changes_no_byte(project: Project) -> None:
    """Trained, asked and reported anew under what another machine would choose: same models, predictions and metrics."""
    folders = [project.folder / name for name in ("models", "results/training", "results/predictions", "metrics")]
    before = [folder_hash(folder) for folder in folders]
    scratch = project.folder / "scratch"
    for name in ("trained", "predictions"):
        (scratch / name).rename(scratch / f"{name}-before")
    forced = [f"{name}={value}" for name, value in FORCED.items()]
    chain = ("pretrain@base", "cpt", "sft@cpt", "neftune@cpt", "evaluate@cpt", "evaluate@cpt-neftune", "report")
    output = project.run("env", *forced, "dvc", "repro", "--force", "--single-item", "--no-run-cache", *chain)
    assert ran(output) == set(chain)
    assert "reused" not in output
    assert [folder_hash(folder) for folder in folders] == before
    for name in ("trained", "predictions"):
        shutil.rmtree(scratch / name)
        (scratch / f"{name}-before").rename(scratch / name)


@pytest.mark.builds
def test_one_more_seed_is_one_more_model(project: Project) -> None:
    """With seeds 1, 2 and 3 the third is trained and asked alone, and the others keep their bytes; 2 alone is what it was."""
    first = {seed: file_hash(project.folder / f"models/cpt/{where}model.safetensors") for seed, where in SEEDS.items()}
    chain = ("pretrain@base", "cpt", "sft@cpt", "evaluate@cpt-sft")
    project.edit("params.yaml", "- 1\n- 2\n\nroot", "- 1\n- 2\n- 3\n\nroot")
    output = project.run("dvc", "repro", "--single-item", *chain)
    assert len(re.findall(r"seed 3: \d+ steps", output)) == 3
    assert not re.search(r"seed [12]: \d+ steps", output)
    assert re.search(r"seed 3: \w+ .*computed", output)
    assert not re.search(r"seed [12]: \w+ .*computed", output)
    for seed, where in SEEDS.items():
        assert file_hash(project.folder / f"models/cpt/{where}model.safetensors") == first[seed]
    project.edit("params.yaml", "- 1\n- 2\n- 3\n\nroot", "- 2\n\nroot")
    project.run("dvc", "repro", "--single-item", *chain[:2])
    assert file_hash(project.folder / "models/cpt/model.safetensors") == first[2]
    assert not (project.folder / "models/cpt/seeds").exists()


def test_a_clone_pulls_from_a_remote_and_runs_nothing(project: Project, tmp_path: Path) -> None:
    """With a folder as remote: push, clone, pull, repro."""
    project.run("dvc", "remote", "add", "--local", "-d", "store", str(tmp_path / "store"))
    project.run("dvc", "push", "--quiet")
    clone = Project(tmp_path / "clone")
    project.run("git", "clone", "-q", ".", str(clone.folder))
    clone.run("dvc", "remote", "add", "--local", "-d", "store", str(tmp_path / "store"))
    clone.run("dvc", "pull", "--quiet")
    assert ran(clone.run("dvc", "repro")) == set()
    assert clone.run("git", "status", "--porcelain") == ""


BAD = {
    "a missing key": ("params.yaml", "  alpha: 5", "  alpa: 5", r"params.yaml: neftune.alpha: Field required"),
    "a wrong type": ("params.yaml", "  alpha: 5", "  alpha: five", r"neftune.alpha: Input should be a valid number"),
    "a value out of range": (
        "params.yaml",
        "  alpha: 5",
        "  alpha: -1",
        r"neftune.alpha: .*greater than or equal to 0",
    ),
    "an unknown weight": ("params.yaml", "    notes: 0.3", "    nots: 0.3", r"mix.weights: nots: not a packed source"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_params_are_one_line_and_leave_artifacts_untouched(project: Project, case: str) -> None:
    """`dvc repro` fails, names file and key in one line, and every earlier artifact has the bytes it had."""
    name, old, new, message = BAD[case]
    folders = [project.folder / folder for folder in ("models", "data/documents", "data/plan", "results/predictions")]
    before = [folder_hash(folder) for folder in folders]
    project.edit(name, old, new)
    output = project.run("dvc", "repro", fails=True)
    assert re.search(message, output), output[-2000:]
    assert "Traceback" not in output
    assert [folder_hash(folder) for folder in folders] == before


def test_a_missing_source_path_is_refused_before_the_build(project: Project) -> None:
    """DVC would remove the source's documents before it notices; the check that `make repro` starts with touches nothing."""
    before = folder_hash(project.folder / "data/documents")
    project.edit("params.yaml", "path: corpus/notes", "path: corpus/nothing")
    output = project.run(sys.executable, "-m", "osler", "check", fails=True)
    assert re.fullmatch(r"osler: params.yaml: source.notes.path: .*corpus/nothing does not exist\n", output)
    assert folder_hash(project.folder / "data/documents") == before


def test_a_section_that_no_stage_reads_is_refused_before_the_build(project: Project) -> None:
    """DVC would not notice a misspelled section; the check that `make repro` starts with does."""
    project.edit("params.yaml", "launch:", "surprise: 1\nlaunch:")
    output = project.run(sys.executable, "-m", "osler", "check", fails=True)
    assert output.startswith("osler: params.yaml: surprise: no stage declares it")
    assert output.count("\n") == 1


@pytest.mark.parametrize(
    ("stage", "seconds"), list(zip(KILLED[1:], (0.0, 0.05), strict=True)), ids=lambda value: str(value)
)
def test_a_killed_fine_tuning_ends_with_the_same_bytes(
    project: Project, stage: tuple[str, str, str], seconds: float
) -> None:
    """sft and neftune killed after their first checkpoint; `make campaign` does twenty moments, cpt among them."""
    expected = outcome(project, stage[2])
    killed_and_run_again(project, stage, seconds)
    assert outcome(project, stage[2]) == expected


@pytest.mark.parametrize(
    "how", ["Ctrl-C", "kill -9 of all", pytest.param("kill -9 of dvc alone", marks=pytest.mark.builds)]
)
def test_an_interrupted_build_ends_with_the_same_bytes(project: Project, how: str) -> None:
    """Interrupted in `cpt` after a checkpoint and run again, cpt is resumed and equals an uninterrupted one byte for byte.

    Where only dvc was killed, the trainer lives on, and the second run refuses with the process to wait for.
    """
    expected = folder_hash(project.folder / "models/cpt")
    for folder in ("models/cpt", "scratch/trained/cpt"):
        shutil.rmtree(project.folder / folder)
    scratch = project.folder / "scratch/cpt"
    project.edit("params.yaml", "  tokens: 20000", "  tokens: 20000 # the same")
    running = subprocess.Popen(
        ["dvc", "repro", "--force", "--single-item", "cpt"], cwd=project.folder, env=ENVIRONMENT,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not list(scratch.glob("*/step-*")) and time.monotonic() < deadline:
        time.sleep(0.005)
    assert running.poll() is None, "cpt ended before it could be interrupted"
    if how == "kill -9 of dvc alone":
        trainer = int((project.folder / "scratch/locks/cpt").read_text())
        os.kill(trainer, signal.SIGSTOP)
        running.kill()
    else:
        os.killpg(running.pid, signal.SIGINT if how == "Ctrl-C" else signal.SIGKILL)
    running.wait()
    if how == "kill -9 of dvc alone":
        refused = project.run("dvc", "repro", "--force", "--single-item", "cpt", fails=True)
        assert f"still being built by process {trainer}" in refused
        os.kill(trainer, signal.SIGKILL)
    output = project.run("dvc", "repro", "--force", "--single-item", "cpt")
    assert re.search(r"cpt seed [12]: (resumed at step \d+|reused)", output)
    assert folder_hash(project.folder / "models/cpt") == expected


@pytest.mark.builds
def test_two_clones_share_a_cache_by_hard_links(project: Project, tmp_path: Path) -> None:
    """A second clone takes all from the first one's cache; what either makes anew changes nothing of the other."""
    project.run("git", "clone", "-q", ".", str(tmp_path / "second"))
    second = Project(tmp_path / "second")
    second.run("dvc", "cache", "dir", "--local", str(project.folder / ".dvc/cache"))
    for clone in (project, second):
        clone.run("dvc", "config", "--local", "cache.type", "hardlink,copy")
        clone.run("dvc", "checkout", "--relink")
        assert ran(clone.run("dvc", "repro")) == set()
    model = "models/base/model.safetensors"
    assert (project.folder / model).samefile(second.folder / model)
    forced = ("dvc", "repro", "--force", "--single-item", "ingest@notes", "tokenize@notes", "select", "pretrain@base")
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda clone: clone.run(*forced), (project, second)))
    for clone in (project, second):
        assert "all as they were made" in clone.run(*DOCTOR)
        assert clone.run("git", "status", "--porcelain") == ""
    project.run("dvc", "config", "--local", "--unset", "cache.type")
    project.run("dvc", "checkout", "--relink")


@pytest.mark.builds
def test_a_damaged_dep_stops_its_stage_and_the_line_mends_it(project: Project) -> None:
    """One bit of a model, of documents, tokens or packed rows: nothing is computed of it, and what the line says brings it back."""
    lock = (project.folder / "dvc.lock").read_bytes()
    assert "all as they were made" in project.run(*DOCTOR)
    for stage, pattern in (
        ("cpt", "models/base/model.safetensors"),
        ("screen@notes", "data/documents/clinical/notes/*.parquet"),
        ("pack@notes", "data/tokens/notes/*.bin"),
        ("mix", "data/packed/clinical/notes/lengths.npy"),
    ):
        path = next(project.folder.glob(pattern))
        name = path.relative_to(project.folder).as_posix()
        flip(path, 8 * (path.stat().st_size // 2))
        assert f"{name}: is not what" in project.run(*DOCTOR, fails=True)
        refused = project.run("dvc", "repro", "--force", "--single-item", stage, fails=True)
        (line,) = re.findall(rf"osler: {re.escape(stage)}: {re.escape(name)}: is not what .+", refused)
        project.run("sh", "-ec", re.findall("`(.+?)`", line)[0])
        assert "all as they were made" in project.run(*DOCTOR)
        project.run("dvc", "repro", "--force", "--single-item", stage)
    assert (project.folder / "dvc.lock").read_bytes() == lock


def test_a_stage_that_still_runs_is_not_run_beside(project: Project) -> None:
    """The refusal names the process and takes nothing away; when that has ended, the stage runs."""
    descriptor = held_lock(project.folder / "scratch/locks/select", "select")
    said = project.run("dvc", "repro", "--force", "--single-item", "select", fails=True)
    assert f"osler: select: select is still being built by process {os.getpid()}, from an earlier run" in said
    os.close(descriptor)
    project.run("dvc", "repro", "--force", "--single-item", "select")
    assert project.run("git", "status", "--porcelain") == ""
