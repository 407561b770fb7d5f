"""What the check refuses in sections and files."""

import copy
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from osler.build.pipeline import ROOT, Declaration
from osler.build.section import BuildError
from osler.commands.check import check_files, check_names, check_outs, check_sections, check_withdrawn
from osler.commands.references import check_references
from osler.privacy import screening
from tests.support.params import PARAMS, changed


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("source",), {}, "source: empty"),
        (("source",), None, "source: must be a mapping"),
        (("benchmark",), {}, "benchmark: empty"),
        (("tokenizer", "sources"), ["notes"], "tokenizer.sources: must be a mapping"),
        (("tokenizer",), ["notes"], "tokenizer.sources: must be a mapping"),
        (("select", "withdrawn"), None, r"select.withdrawn: must be a file's path \(it is null\)"),
        (("ratings",), None, r"ratings: must be a file's path \(it is null\)"),
        (("root",), [], r"root: must be a folder's path \(it is \[\]\)"),
        (("corpus", "notes"), [], r"corpus.notes: must be clinical or general \(it is \[\]\)"),
        *(
            ((key, "base"), value, rf"{key}.base: must be a mapping, .* \(it is {shown}\); .* take its name out")
            for key in ("pretrain", "synthesize", "download", "download_model")
            for value, shown in ((None, "null"), ([], r"\[\]"), (1, "1"))
        ),
        *(
            (("source", name), {}, "source: .* cannot be a name")
            for name in ("a/b", "..", ".a", "a b", "", "-a", "a.b", 7)
        ),
        (("benchmark", "../a"), {}, "benchmark: '../a' cannot be a name"),
        (("pretrain", "a/b"), {}, "pretrain: 'a/b' cannot be a name"),
        (("evaluated",), [], "evaluated: must be a list of models, each once"),
        (("evaluated",), ["base", "base"], "evaluated: must be a list of models, each once"),
        (("evaluated",), ["base", ""], "evaluated: must be a list of models, each once"),
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
        (("tokenizer", "chat_template"), "x", "tokenizer.chat_template: is a key of its own now"),
        (("source", "notes"), None, "source.notes: Input should be an object"),
        (("source", "notes", "path"), "/etc", "source.notes.path: must be relative to `root`"),
        (("source", "notes", "licence"), "x", "source.notes.licence: unknown key, take it out"),
        (
            ("source", "notes", "text"),
            {"text": None},
            "source.notes.text: Input should be a valid string .*; put it in quotes",
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


def test_a_section_in_place_of_a_value_is_refused(tmp_path: Path) -> None:
    """`instruct` reads one value of `pack`, and no section."""
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("[core]\n    no_scm = true\n")
    (tmp_path / "dvc.yaml").write_bytes((ROOT / "dvc.yaml").read_bytes())
    params = changed(("pack", "sequence_length_tokens"), {})
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    with pytest.raises(BuildError, match=r"pack.sequence_length_tokens: Input should be a valid integer \(it is {}\)"):
        check_sections(params, tmp_path)


def test_what_may_be_absent_is_there_for_the_checks_that_follow() -> None:
    """Keys that are off by default need no word in params."""
    short = copy.deepcopy(PARAMS)
    for section, key in (("evaluate", "vllm"), ("encoder", "embeddings"), ("pack", "subset"), ("strategies", "cot")):
        del short[section][key]
    whole = check_sections(short, ROOT)
    assert (whole["evaluate"]["vllm"], whole["encoder"]["embeddings"], whole["pack"]["subset"]) == (None, None, None)
    assert whole["strategies"]["cot"] is None
    check_references(whole, ROOT)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"attention": "flex_attention"}, "attention: flex_attention cannot train on a CPU; use sdpa"),
        ({"attention": "flash_attention_2"}, "attention: flash_attention_2 needs numerics.dtype: bfloat16"),
        ({"attention": "flash_attention_2", "dtype": "bfloat16"}, "attention: flash_attention_2 cannot train on a CPU"),
        ({"liger": True}, "liger: needs a GPU and the package liger-kernel; or set false"),
    ],
)
def test_kernels_for_gpus_need_one(
    own: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], message: str
) -> None:
    """Here, unless training runs on other machines."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    own["numerics"] |= change
    with pytest.raises(BuildError, match=f"^params.yaml: numerics.{message}"):
        check_files(own, tmp_path)
    own["launch"]["nodes"] = 2
    if "dtype: bf" not in message:
        check_files(own, tmp_path)


def test_a_missing_section_is_looked_for_among_those_there_are() -> None:
    """What is written in its place is named."""
    params = {("sources" if key == "source" else key): value for key, value in PARAMS.items()}
    with pytest.raises(BuildError, match="source: missing, but there is sources;"):
        check_names(params, ROOT)


@pytest.mark.parametrize("key", sorted(PARAMS))
def test_a_missing_section_is_told(key: str) -> None:
    """Each of them, as an older params.yaml may lack it."""
    with pytest.raises(BuildError, match=rf"^params.yaml: [^:]*\b{key}\b"):
        check_sections({name: value for name, value in PARAMS.items() if name != key}, ROOT)


def test_no_two_stages_make_one_thing_and_every_model_is_made() -> None:
    """A model of pretraining named after one of fine-tuning, and none named `base`."""
    base, cpt = (
        Declaration("pretrain@x", (), ("models/x",), {}),
        Declaration("cpt", ("models/base",), ("models/cpt",), {}),
    )
    with pytest.raises(BuildError, match="no stage makes models/base, which cpt reads"):
        check_outs([base, cpt])
    tokenizer = Declaration("tokenizer", (), ("models/tokenizer",), {})
    continual = Declaration("continual@x", ("models/cpt-stf",), ("models/continual-x",), {})
    with pytest.raises(BuildError, match="continual.x.from: cpt-stf: no model of this build, which are base, "):
        check_outs([Declaration("pretrain@base", (), ("models/base",), {}), continual])
    with pytest.raises(BuildError, match="evaluated: tokenizer: no model of this build"):
        check_outs([tokenizer, Declaration("evaluate@tokenizer", ("models/tokenizer",), (), {})])
    with pytest.raises(BuildError, match="cpt, cpt: all would make models/cpt; give"):
        check_outs([cpt, cpt])
    upper = Declaration("pretrain@CPT", (), ("models/CPT",), {})
    message = "pretrain@CPT, cpt: all would make models/CPT, but for upper and lower case; give one another name"
    with pytest.raises(BuildError, match=message):
        check_outs([upper, cpt])


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


def test_the_list_of_withdrawn_documents_is_missed_before_the_build(tmp_path: Path) -> None:
    """Or `select` would miss it, after hours of ingesting."""
    params = changed(("select", "withdrawn"), "lists/withdrawn.txt")
    with pytest.raises(
        BuildError, match=r"^params.yaml: select.withdrawn: .*lists/withdrawn.txt: .*No such file"
    ) as caught:
        check_withdrawn(params, tmp_path)
    assert "\n" not in str(caught.value)
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/withdrawn.txt").write_text("# none\n")
    check_withdrawn(params, tmp_path)
