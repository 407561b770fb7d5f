"""What is asked of a model, a split or a folder beyond what it has."""

import copy
import gzip
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from osler.build.section import BuildError
from osler.commands.limits import check_amendments, check_memory, check_model, check_paths, check_shots
from tests.support.params import PARAMS, changed, profile_params


def with_attention(head: int, attention: str) -> dict[str, Any]:
    """Params whose four heads have `head` numbers."""
    params = changed(("architecture", "hidden_size"), 4 * head)
    params["numerics"]["attention"] = attention
    return params


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (
            changed(("evaluate", "window_tokens"), 513) | {"numerics": {"attention": "sdpa"}},
            "evaluate.window_tokens: 513, above architecture.maximum_positions 512;",
        ),
        (with_attention(20, "flash_attention_2"), "numerics.attention: .* multiple of 8 numbers, .* is 20; use sdpa"),
        (with_attention(264, "flash_attention_2"), "numerics.attention: .* at most 256, .* is 264; use sdpa"),
    ],
)
def test_more_than_the_model_has_is_refused(params: dict[str, Any], message: str) -> None:
    """Positions of a window, and heads that a kernel cannot take; one less passes."""
    with pytest.raises(BuildError, match=f"^params.yaml: {message}"):
        check_model(params)
    params["evaluate"]["window_tokens"] = 512
    params["numerics"]["attention"] = "sdpa"
    check_model(params)


@pytest.mark.parametrize(
    ("launch", "gigabytes", "message"),
    [
        ({"processes": 1}, 80, "launch: .* take 116 GB on each GPU, which has 80;"),
        ({"processes": 2}, 80, None),
        ({"processes": 1, "offload": "all"}, 80, None),
        ({"processes": 4, "nodes": 1, "engine": "ddp"}, 80, "launch: .* take 159 GB on each GPU, which has 80;"),
        ({"processes": 1, "nodes": 2}, 40, None),
        ({"processes": 2, "stages": {"sft": {"processes": 1}}}, 80, "launch.stages.sft: .* take 116 GB on each GPU"),
    ],
)
def test_a_model_that_this_machine_cannot_hold_is_refused(
    launch: dict[str, Any], gigabytes: int, message: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mistral 7B has 116 GB of state: not on one GPU of 80, but on two or in the machine's memory; of others nothing is known."""
    params = profile_params("mistral-7b")
    params["launch"] |= {"nodes": 1, "engine": "fsdp"} | launch
    check_memory(params)  # without a GPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=gigabytes * 10**9))
    monkeypatch.setattr("os.sysconf", lambda _: 1 << 20)  # 1.1 TB of memory
    if message is None:
        check_memory(params)
        return
    with pytest.raises(BuildError, match=f"^params.yaml: {message}"):
        check_memory(params)


def test_what_is_offloaded_has_to_fit_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """116 GB of state in 64."""
    params = profile_params("mistral-7b")
    params["launch"] |= {"nodes": 1, "processes": 1, "engine": "fsdp", "offload": "all"}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=80 * 10**9))
    monkeypatch.setattr("os.sysconf", lambda name: 64 * 10**9 // 4096 if name == "SC_PHYS_PAGES" else 4096)
    with pytest.raises(BuildError, match="take 116 GB in this machine's memory, which has 64;"):
        check_memory(params)


def test_a_decision_is_for_a_seed_of_the_build() -> None:
    """One for another would change nothing, silently; a trunk may have seeds of its own."""
    params = profile_params("default")
    params["cpt"]["amendments"] = [{"skip_steps": [1, 2]}, {"skip_steps": [3, 4], "seed": 9}]
    with pytest.raises(
        BuildError, match=r"^params.yaml: cpt.amendments.1.seed: 9, and no model of it is trained: 1, 2, 3"
    ):
        check_amendments(params)
    params["trunk"] = {"x": {"from": "base", "tokens": 1, "maximum_epochs": 1, "seeds": [9]}}
    check_amendments(params)


@pytest.mark.parametrize(
    ("section", "path", "message"),
    [
        (("source", "notes"), "../other/notes", "source.notes.path: '../other/notes' leads out of `root`"),
        (("source", "notes"), "corpus/../../../notes", "source.notes.path: .* leads out of `root`"),
        (("benchmark", "synthetic"), "..", r"benchmark.synthetic.path: '..' leads out of `root`"),
        (("task", "findings"), "a/../../x.jsonl", "task.findings.path: .* leads out of `root`"),
        (
            ("source", "notes"),
            "corpus/letters",
            "source.notes.path: 'corpus/letters': not among what synthesize.default",
        ),
        (("source", "notes"), "../other/corpus/letters", "source.notes.path: .*: not among what synthesize.other"),
        (("source", "notes"), "./corpus/notes/", None),
        (("source", "notes"), "corpus/../corpus/notes/part-00001.jsonl", None),
        (("source", "notes"), "../other/corpus/notes", None),  # made by the build, as its own
        (("source", "notes"), "../fetched/any/thing", None),  # what the stage `download` is for
    ],
)
def test_paths_stay_below_root_or_in_what_the_build_brings(
    section: tuple[str, str], path: str, message: str | None
) -> None:
    """By `..` too, and below a synthetic root there is what the stage makes."""
    params = changed((*section, "path"), path)
    if "other/corpus" in path:
        params["synthesize"]["other"] = params["synthesize"]["default"]
    params["download"] = {"fetched": {}}
    if message is None:
        check_paths(params)
    else:
        with pytest.raises(BuildError, match=f"^params.yaml: {message}"):
            check_paths(params)


def test_exercises_stay_there_too() -> None:
    """They are read as tasks are."""
    params = changed(("source", "notes", "path"), "corpus/notes") | {"exercise": {"few": {"path": "../x.jsonl"}}}
    with pytest.raises(BuildError, match="exercise.few.path: '../x.jsonl' leads out of `root`"):
        check_paths(params)


def test_a_root_of_ones_own_may_hold_anything() -> None:
    """The check of files says what is not there."""
    check_paths(changed(("source", "notes", "path"), "corpus/letters") | {"root": "/data"})


def test_no_strategy_shows_more_solved_questions_than_there_are(tmp_path: Path) -> None:
    """Of a synthetic benchmark params say how many, whatever lies there; of others their files."""
    few = changed(("synthesize", "default", "dev_items"), 1)
    with pytest.raises(
        BuildError, match=r"strategies.few_shot.shots: 2, and the benchmark synthetic has 1 solved questions"
    ):
        check_shots(few, tmp_path)
    check_shots(changed(("synthesize", "default", "dev_items"), 2), tmp_path)
    off = copy.deepcopy(few)
    for name in ("few_shot", "knn_few_shot", "medprompt"):
        off["strategies"][name] = None
    check_shots(off, tmp_path)


def benchmarks(folder: Path, **dev: int) -> dict[str, Any]:
    """Params with benchmarks of one's own, each with one test item and `dev` solved questions."""
    for name, count in dev.items():
        items = [
            {"id": f"{name}{n}", "question": "?", "options": ["a", "b"], "answer": 0, "split": "dev" if n else "test"}
            for n in range(count + 1)
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    sections = {name: {"path": f"{name}.jsonl", "format": "jsonl"} for name in dev}
    return copy.deepcopy(PARAMS) | {"root": str(folder), "synthesize": {}, "benchmark": sections}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{}\n", "items.jsonl#1: 'id' is None"),
        (b"[\n", "items.jsonl#1: no JSON"),
        (b"\xff\n", "no UTF-8 at byte 0"),
        (gzip.compress(b"{}\n" * 99)[:-12], "items.jsonl.gz|Compressed file ended"),
    ],
)
def test_a_benchmark_that_cannot_be_read_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    """By its key, whatever is wrong with the file."""
    params = benchmarks(tmp_path, items=1)
    path = tmp_path / ("items.jsonl.gz" if content[:2] == b"\x1f\x8b" else "items.jsonl")
    path.write_bytes(content)
    params["benchmark"]["items"]["path"] = path.name
    with pytest.raises(BuildError, match=rf"^params.yaml: benchmark.items.path: .*({message})"):
        check_shots(params, tmp_path)


def test_a_benchmark_without_solved_questions_shows_those_of_all(tmp_path: Path) -> None:
    """One with too few of its own is refused all the same, as `exemplar_pool` has it."""
    check_shots(benchmarks(tmp_path, none=0, some=2), tmp_path)
    with pytest.raises(BuildError, match="the benchmark few has 1 solved"):
        check_shots(benchmarks(tmp_path, few=1, some=5), tmp_path)
    with pytest.raises(BuildError, match="the benchmark none has 0 solved"):
        check_shots(benchmarks(tmp_path, none=0), tmp_path)
    fetched = benchmarks(tmp_path, none=0) | {"download": {"x": {}}}
    fetched["benchmark"]["later"] = {"path": str(tmp_path / "nothing"), "format": "jsonl"}
    check_shots(fetched, tmp_path)  # what is not there yet may bring them


@pytest.mark.parametrize(("method", "fits"), [("qlora", True), ("lora", False)])
def test_adapters_of_a_placement_of_their_own_hold_what_adapters_hold(
    method: str, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mistral 7B in 4 bits on one GPU of 24 GB, where its float32 weights do not fit; the rest of the build has eight."""
    params = profile_params("mistral-7b")
    params["adapter"] = {"thin": {"method": method, "rank": 16, "target_modules": "all-linear"}}
    alone = {"processes": 1, "engine": "python"}
    params["launch"] |= {"nodes": 1, "processes": 8, "engine": "fsdp", "stages": {"adapter": alone}}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=24 * 10**9))
    if fits:
        check_memory(params)
        return
    with pytest.raises(BuildError, match=r"launch.stages.adapter: weights, gradients and optimizer take 31 GB on each"):
        check_memory(params)
