"""What sections of params.yaml must say of each other."""

import copy
from typing import Any

import pytest

from osler.build.pipeline import ROOT
from osler.build.section import BuildError
from osler.commands.references import check_references, refuse_training_splits
from osler.ingest.inspection import UNSTATED
from tests.support.params import PARAMS, changed
from tests.support.task_sequence import SECTION


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
        (("source", "notes", "license"), UNSTATED, "source.notes.license: TO BE STATED; write what its owner calls it"),
        (("licenses", "allow"), ["MIT"], "source.guidelines.license: CC0-1.0: not in `licenses.allow`"),
        (("strategies", "cot", "models"), ["cpt-stf"], "strategies.cot.models: cpt-stf: not among base, base-neftune"),
        (("sft", "batch_tokens"), 100, "sft.batch_tokens: 100 is no multiple"),
        (("architecture", "maximum_positions"), 64, "architecture.maximum_positions: 64, below"),
        (("mix", "clinical_documents"), "subset", "mix.clinical_documents: subset, but pack.subset is null"),
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


def test_what_would_do_nothing_or_stop_an_evaluation_is_refused() -> None:
    """Chains that are read anyway, and a temperature that vLLM does not take: it would say so after all training."""
    params = changed(("evaluate", "protocol"), "generation")
    check_references(params, ROOT)
    params["strategies"]["cot"]["read_chains"] = True
    with pytest.raises(BuildError, match=r"strategies.cot.read_chains: true, and under evaluate.protocol generation"):
        check_references(params, ROOT)
    params = changed(("strategies", "self_consistency"), PARAMS["strategies"]["cot"] | {"temperature": 2.5})
    check_references(params, ROOT)
    params["evaluate"]["vllm"] = {"version": "0.32.0", "scores": False}
    with pytest.raises(BuildError, match=r"strategies.self_consistency.temperature: 2.5, and vLLM draws at 2 at most"):
        check_references(params, ROOT)
    params["strategies"]["self_consistency"]["temperature"] = 2.0
    check_references(params, ROOT)


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
            refuse_training_splits(params)
        params["instruct"]["benchmark_training_splits"] = {source: "synthetic"}
    refuse_training_splits(params)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"tasks": ["readings", "others"]},
            "continual.x.tasks: others: no section of `task`, which are again, findings, readings",
        ),
        (
            {"tasks": ["readings", "findings"]},
            "continual.x.tasks: findings: of metric entities; only tasks of metric label",
        ),
        (
            {"source_limit_tokens": 128},
            "continual.x.source_limit_tokens: 128, which leaves no room for a label in pack",
        ),
        ({"batch_tokens": 100}, "continual.x.batch_tokens: 100 is no multiple of pack.sequence_length_tokens 128"),
    ],
)
def test_tasks_in_sequence_must_be_labelled_and_fit(changes: dict[str, Any], message: str) -> None:
    """One line that names the key; what is whole passes."""
    second = PARAMS["task"]["readings"]
    params = changed(("continual",), {"x": SECTION | {"tasks": ["readings", "again"]}})
    params["task"] = {**params["task"], "again": second}
    check_references(params, ROOT)
    params["continual"]["x"] |= changes
    with pytest.raises(BuildError, match=message):
        check_references(params, ROOT)


def test_every_model_is_asked_under_each_seed() -> None:
    """By some strategy; one seed, the build's or an adapter's, is asked by any."""
    assert len(PARAMS["seeds"]) > 1
    params = changed(("strategies", "zero_shot"), PARAMS["strategies"]["zero_shot"] | {"seeds": "first"})
    with pytest.raises(
        BuildError, match="strategies: none asks base under other seeds than the first: set `seeds: all`"
    ):
        check_references(params, ROOT)
    check_references(params | {"seeds": [1]}, ROOT)
    thin = {"from": "cpt", "rows": "instructions", "method": "lora", "batch_tokens": 2048}
    chosen = {"zero_shot": {"seeds": "all", "models": PARAMS["evaluated"], "limit_items": None}}
    params = PARAMS | {"strategies": chosen | dict.fromkeys(PARAMS["strategies"].keys() - {"zero_shot"})}
    check_references(params, ROOT)
    with pytest.raises(BuildError, match="strategies: none asks adapter-thin: set one"):
        check_references(params | {"adapter": {"thin": thin}}, ROOT)
    chosen["zero_shot"] |= {"seeds": "first", "models": ["adapter-thin"]}
    params |= {"adapter": {"thin": thin | {"seeds": [2]}}, "evaluated": []}
    check_references(params, ROOT)
    with pytest.raises(BuildError, match="none asks adapter-thin under other seeds"):
        check_references(params | {"adapter": {"thin": thin}}, ROOT)


def test_tasks_in_sequence_need_one_process() -> None:
    """Of the stage alone, or of the section `launch`; another stage may have several."""
    params = changed(("continual",), {"x": SECTION | {"tasks": ["readings", "again"]}})
    params["task"] = {**params["task"], "again": PARAMS["task"]["readings"]}
    params["launch"] = params["launch"] | {"engine": "fsdp", "stages": {"continual": {"engine": "python"}}}
    check_references(params, ROOT)
    params["launch"]["stages"] = {"sft": {"engine": "python"}}
    with pytest.raises(BuildError, match="launch.engine: fsdp; tasks in sequence are trained by one process"):
        check_references(params, ROOT)
