"""Changing params.yaml for a profile, and what the check refuses."""

import copy
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages import profile
from stages.lib.privacy import screening
from stages.lib.section import BuildError
from stages.lib.stage import ROOT, Declaration, read_params
from stages.profile import check_files, check_names, check_outs, check_references, check_sections, filled

PARAMS: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())


def changed(path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """The default params with another value at a path of keys."""
    params = copy.deepcopy(PARAMS)
    section = params
    for key in path[:-1]:
        section = section[key]
    section[path[-1]] = value
    return params


def test_only_the_root_line_changes() -> None:
    """Comments and order stay, and a path with spaces or a # survives."""
    text = "# top\nroot: null # here\nseed: 1\n"
    changed = filled(text, "/data/a b #1")
    assert changed.splitlines()[0::2] == text.splitlines()[0::2]
    assert yaml.safe_load(changed)["root"] == "/data/a b #1"


@pytest.mark.parametrize(("root", "message"), [(None, "needs --root"), ("data", "must be absolute")])
def test_a_profile_without_a_usable_root_is_refused(root: str | None, message: str) -> None:
    """Relative paths break experiments that run elsewhere."""
    with pytest.raises(BuildError, match=message):
        filled("root: null\n", root)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("root",), None, "root: must be a folder"),
        (("corpus",), [], "corpus: must be a mapping"),
        (("corpus",), {"notes": "general"}, "corpus: must be the text sources"),
        (("mix", "weights"), {"nots": 1.0}, "mix.weights: nots: not among"),
        (("mix", "epochs"), {"nots": 1.0}, "mix.epochs: nots: not among"),
        (("instruct", "weights"), {"notes": 1.0}, "instruct.weights: notes: not among"),
        (
            ("instruct", "benchmark_training_splits"),
            {"clinical_qa": "medqa"},
            "splits: clinical_qa: medqa: not",
        ),
        (("pretrain", "base", "weights"), {"notes": 1.0}, "pretrain.base.weights: notes: not among towns"),
        (("select", "priority"), ["notes"], "select.priority: must be every source once"),
        (("select", "priority"), ["notes", "towns", "notes"], "select.priority: notes: named twice"),
        (("mix", "weights"), {"notes": 0.0}, "mix.weights: no weight above 0"),
        (("instruct", "weights"), {}, "instruct.weights: no weight above 0"),
        (("pretrain", "base", "weights"), {"towns": 0}, "pretrain.base.weights: no weight above 0"),
        (
            ("tokenizer", "sources"),
            {"notes": "general"},
            "tokenizer.sources: notes: general: not among abstracts: clin",
        ),
        (("licenses", "allow"), ["MIT"], "source.guidelines.license: CC0-1.0: not in `licenses.allow`"),
        (("strategies", "cot", "models"), ["cpt-stf"], "strategies.cot.models: cpt-stf: not among base, base-neftune"),
        (("sft", "batch_tokens"), 100, "sft.batch_tokens: 100 is no multiple"),
        (("architecture", "maximum_positions"), 64, "architecture.maximum_positions: 64, below"),
        (("mix", "clinical_documents"), "subset", "mix.clinical_documents: subset, but pack.subset is null"),
        (("launch", "processes"), 3, "launch: 3 processes do not divide the 4 rows of pretrain.base.batch_tokens 512"),
        (("anneal",), {"a": {"from": "base", "tokens": 5}}, "anneal.a.tokens: 5, less than a step of cpt.batch_tokens"),
        (("strategies", "zero_shot"), None, "evaluate.compared: zero_shot answers in these"),
        (
            ("evaluate", "vllm"),
            {"version": "0.32.0", "scores": True},
            "evaluate.vllm.scores: vLLM gives no hidden states, by which knn_few_shot and medprompt",
        ),
        (("strategies", "cot", "limit_tokens"), 512, "strategies.cot.limit_tokens: 512 leave no room for a prompt"),
        (("evaluate", "generation_limit_tokens"), 999, "evaluate.generation_limit_tokens: 999 leave no room"),
        (("benchmark", "readings"), PARAMS["benchmark"]["synthetic"], "task.readings: is a benchmark too"),
        (("root",), "/nowhere", "source.guidelines.path: /nowhere/.* does not exist"),
    ],
)
def test_a_reference_that_points_nowhere_is_refused(path: tuple[str, ...], value: Any, message: str) -> None:
    """One line that names the key, before anything is built."""
    with pytest.raises(BuildError, match=message) as caught:
        check_references(changed(path, value), ROOT)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("source",), {}, "source: empty"),
        (("source",), None, "source: must be a mapping"),
        (("benchmark",), {}, "benchmark: empty"),
        (("tokenizer", "sources"), ["notes"], "tokenizer.sources: must be a mapping"),
        *(
            (("source", name), {}, "source: .* cannot be a name")
            for name in ("a/b", "..", ".a", "a b", "", "-a", "a.b", 7)
        ),
        (("benchmark", "../a"), {}, "benchmark: '../a' cannot be a name"),
        (("pretrain", "a/b"), {}, "pretrain: 'a/b' cannot be a name"),
        (("evaluated",), [], "evaluated: must be a list of models, each once"),
        (("evaluated",), ["base", "base"], "evaluated: must be a list of models, each once"),
        (("trunk",), {"a": None}, "trunk.a: Input should be an object"),
        (("anneal",), {"a": {"tokens": 5, "maximum_epochs": 1.0}}, "anneal.a.from: Field required"),
        (("trunk",), {"a": {"from": "trunk-a", "tokens": 5, "maximum_epochs": 1.0}}, "trunk.a.from: a circle of segm"),
        (
            ("trunk",),
            {
                name: {"from": f"trunk-{other}", "tokens": 5, "maximum_epochs": 1.0}
                for name, other in (("a", "b"), ("b", "c"), ("c", "b"))
            },
            "trunk.a.from: a circle of segments",
        ),
        (("source", "notes"), None, "source.notes: Input should be an object"),
        (("source", "notes", "path"), "/etc", "source.notes.path: must be relative to `root`"),
        (("source", "notes", "licence"), "x", "source.notes.licence: unknown key, take it out"),
        (
            ("source", "notes", "text"),
            {"text": None},
            "source.notes.text: Input should be a valid string; put it in quotes",
        ),
    ],
)
def test_what_dvc_makes_stages_from_is_checked_before_it_does(path: tuple[Any, ...], value: Any, message: str) -> None:
    """DVC's own words for such sections name its templates, not the key at fault."""
    with pytest.raises(BuildError, match=message) as caught:
        check_names(changed(path, value), ROOT)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("pretrain",), {}, "pretrain.base, download_model.base: none set"),
        (("download_model",), {"base": {}}, "pretrain and download_model set"),
    ],
)
def test_one_section_makes_the_base_model(tmp_path: Path, path: tuple[str, ...], value: Any, message: str) -> None:
    """Neither none nor two."""
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("[core]\n    no_scm = true\n")
    (tmp_path / "dvc.yaml").write_bytes((ROOT / "dvc.yaml").read_bytes())
    params = changed(path, value)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    with pytest.raises(BuildError, match=message):
        check_sections(params, tmp_path)


def test_a_missing_section_is_looked_for_among_those_there_are() -> None:
    """What is written in its place is named."""
    params = {("sources" if key == "source" else key): value for key, value in PARAMS.items()}
    with pytest.raises(BuildError, match="source: missing, but there is sources;"):
        check_names(params, ROOT)


def test_no_two_stages_make_one_thing_and_every_model_is_made() -> None:
    """A model of pretraining named after one of fine-tuning, and none named `base`."""
    base, cpt = (
        Declaration("pretrain@x", (), ("models/x",), {}),
        Declaration("cpt", ("models/base",), ("models/cpt",), {}),
    )
    with pytest.raises(BuildError, match="no stage makes models/base, which cpt reads"):
        check_outs([base, cpt])
    tokenizer = Declaration("tokenizer", (), ("models/tokenizer",), {})
    with pytest.raises(BuildError, match="evaluated: tokenizer: no model of this build"):
        check_outs([tokenizer, Declaration("evaluate@tokenizer", ("models/tokenizer",), (), {})])
    with pytest.raises(BuildError, match="cpt, cpt: all would make models/cpt"):
        check_outs([cpt, cpt])


@pytest.fixture
def own(tmp_path: Path) -> dict[str, Any]:
    """Params with one source, a folder of one file, and one benchmark."""
    (tmp_path / "raw/notes").mkdir(parents=True)
    for name in ("notes/a.jsonl", "items.jsonl"):
        (tmp_path / "raw" / name).write_text("{}\n")
    own = copy.deepcopy(PARAMS) | {"root": "raw", "synthesize": {}}
    own["source"] = {"notes": PARAMS["source"]["notes"] | {"path": "notes"}}
    own["task"] = {}
    own["benchmark"] = {"items": {"path": "items.jsonl", "format": "jsonl"}}
    return own


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda notes: os.mkfifo(notes / ".git/pipe"), ".git/pipe: a pipe, a socket or a device"),
        (lambda notes: (notes / "b.jsonl").symlink_to("nothing"), "notes/b.jsonl: a link to nothing"),
        (lambda notes: (notes / "b.jsonl").symlink_to("b.jsonl"), "notes/b.jsonl: a link to nothing"),
        (lambda notes: (notes / "b.txt").symlink_to("/etc/passwd"), "notes/b.txt: a link that leads out"),
        (lambda notes: (notes / "b").symlink_to("/etc"), "notes/b: a link to a folder"),
        (lambda notes: Path(os.fsdecode(bytes(notes) + b"/\xff.jsonl")).touch(), "a name that is no UTF-8"),
        (lambda notes: (notes / "a.jsonl").rename(notes / "a.docx"), "has no file of `format` jsonl .*; it has a.docx"),
    ],
)
def test_what_would_hang_or_stop_dvc_is_refused(
    own: dict[str, Any], tmp_path: Path, make: Callable[[Path], None], message: str
) -> None:
    """One line with key, file and what to do; the same folder without it passes."""
    (tmp_path / "raw/notes/.git").mkdir()
    (tmp_path / "raw/notes/README.md").touch()
    (tmp_path / "raw/notes/c.jsonl").symlink_to("a.jsonl")
    if "format" in message:
        (tmp_path / "raw/notes/c.jsonl").unlink()
        (tmp_path / "raw/notes/README.md").unlink()
    check_files(own, tmp_path)
    make(tmp_path / "raw/notes")
    with pytest.raises(BuildError, match=f"params.yaml: source.notes.path: .*{message}") as caught:
        check_files(own, tmp_path)
    assert "\n" not in str(caught.value)


def test_a_pipe_in_place_of_a_benchmark_is_refused(own: dict[str, Any], tmp_path: Path) -> None:
    """A path itself, not only what is below one."""
    (tmp_path / "raw/items.jsonl").unlink()
    os.mkfifo(tmp_path / "raw/items.jsonl")
    with pytest.raises(BuildError, match="benchmark.items.path: .*items.jsonl: is neither a file nor a folder"):
        check_files(own, tmp_path)


def test_the_key_of_surrogates_must_be_there(own: dict[str, Any], tmp_path: Path) -> None:
    """It is read before the build, not in the middle."""
    own["source"]["notes"]["phi"] = {
        "action": "surrogate", "detector": "rules", "detector_version": None, "required": False, "minimum_recall": 0.0,
        "classes": None, "key_file": "/nowhere/key", "key_id": "00000000",
    }  # fmt: skip
    with pytest.raises(BuildError, match="source.notes.phi.key_file: No such file"):
        check_files(own, tmp_path)


@pytest.mark.parametrize(
    ("source", "path", "is_split"),
    [
        ("clinical_qa", "instructions/clinical_qa.jsonl.gz", False),
        ("clinical_qa", "benchmark/items.jsonl", True),
        ("clinical_qa", "benchmark/items.jsonl/train", True),
        ("clinical_qa", "benchmark", True),
        ("clinical_qa", "./other/../benchmark/items.jsonl", True),
        ("clinical_qa", "benchmark/items", False),
        ("synthetic_train", "instructions/clinical_qa.jsonl.gz", True),
        ("photosynthetic", "instructions/clinical_qa.jsonl.gz", False),
    ],
)
def test_a_benchmarks_training_split_is_learned_only_if_named(source: str, path: str, is_split: bool) -> None:
    """What lies in the benchmark's path or bears its name is one, and is refused until it is written down as one."""
    params = copy.deepcopy(PARAMS)
    params["source"][source] = params["source"].pop("clinical_qa") | {"path": path}
    params["instruct"]["weights"] = {source: 1.0}
    if is_split:
        with pytest.raises(BuildError, match=f"instruct.weights.{source}: .* split of the benchmark synthetic"):
            profile.refuse_training_splits(params)
        params["instruct"]["benchmark_training_splits"] = {source: "synthetic"}
    profile.refuse_training_splits(params)


def test_the_detector_must_be_there(own: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And in the versions that the params tell: the check says so, not the build."""
    monkeypatch.setattr(screening, "installed", lambda: "1.0 en_core_web_lg-3.8.0")
    own["source"]["notes"]["phi"] = {
        "action": "redact", "detector": "presidio", "detector_version": None, "required": False, "minimum_recall": 0.0,
        "classes": None, "key_file": None, "key_id": None,
    }  # fmt: skip
    with pytest.raises(BuildError, match="source.notes.phi.detector_version: None, but installed is '1.0 en_core"):
        check_files(own, tmp_path)
    own["source"]["notes"]["phi"]["detector_version"] = "1.0 en_core_web_lg-3.8.0"
    check_files(own, tmp_path)


def test_a_profile_that_does_not_pass_leaves_the_params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Edited params are not lost to a wrong --root."""
    shutil.copytree(ROOT / ".dvc", tmp_path / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp"))
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / "params.yaml").write_text("edited: 1\n")
    monkeypatch.setattr(profile, "ROOT", tmp_path)
    text = (ROOT / "profiles/real-small.yaml").read_text()
    with pytest.raises(BuildError, match=r"does not exist; params.yaml is left as it was"):
        profile.put_in_force(text, str(tmp_path))
    assert (tmp_path / "params.yaml").read_text() == "edited: 1\n"


def test_a_base_model_is_pinned_to_a_commit(tmp_path: Path) -> None:
    """Full-scale profiles name a repository and 40 digits; a branch in their place is one line that names the key."""
    for name in ("mistral-7b", "mixtral-8x7b"):
        text = (ROOT / f"profiles/{name}.yaml").read_text()
        revision = yaml.safe_load(text)["download_model"]["base"]["revision"]
        shutil.copytree(ROOT / ".dvc", tmp_path / name / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp"))
        shutil.copy(ROOT / "dvc.yaml", tmp_path / name)
        subprocess.run(["git", "init", "-q", tmp_path / name], check=True)
        (tmp_path / name / "params.yaml").write_text(filled(text.replace(revision, "main"), "/data"))
        params = read_params(tmp_path / name / "params.yaml")
        with pytest.raises(BuildError, match=r"download_model.base.revision: String should match pattern") as caught:
            check_sections(params, tmp_path / name)
        assert "\n" not in str(caught.value)
