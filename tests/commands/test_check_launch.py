"""Section `launch` as `osler check` reads it: each stage's keys as those of all, and one line a fault."""

from typing import Any

import pytest

from osler.build.pipeline import ROOT, read_params
from osler.build.section import BuildError
from osler.build.validation import validated
from osler.commands.check import check_files, check_sections
from osler.training import tracker
from osler.training.launch import Launch, check_stages


def params(**launch: Any) -> dict[str, Any]:
    own = read_params(ROOT / "params.yaml")
    return own | {"launch": own["launch"] | launch}


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "a tracker of one stage": (
        {"stages": {"cpt": {"tracker": "wandb"}}},
        "params.yaml: launch.stages.cpt.tracker: wandb: no such package here; pip install wandb, or set null",
    ),
    "an argument of an evaluation": (
        {"stages": {"evaluate": {"submit": {"arguments": ["--nodes=2"]}}}},
        "params.yaml: launch.stages.evaluate.submit.arguments: --nodes=2: osler sets --nodes itself, from other keys; take it out",
    ),
    "the beginning of an argument": (
        {"submit": {"arguments": ["--nod=2"]}},
        "params.yaml: launch.submit.arguments: --nod=2: osler sets --nodes itself, from other keys; take it out",
    ),
    "a cluster of one stage": (
        {"stages": {"cpt": {"cluster": {"address": "auto", "cpus": 1, "retries": 1}}}},
        "params.yaml: launch.stages.cpt.cluster: no training uses a Ray cluster; take it out",
    ),
    "a stage that is none": (
        {"stages": {"sftt": {"nodes": 2}}},
        "params.yaml: launch.stages.sftt: unknown, did you mean sft?; there are pretrain, cpt, trunk, anneal, sft, neftune,"
        " adapter, continual, evaluate, evaluate_adapter",
    ),
    "a word for a truth": (
        {"activation_checkpointing": "yes"},
        "params.yaml: launch.activation_checkpointing: must be true or false or selective (it is 'yes')",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_line_with_its_key(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line names the key where it stands and what to do."""
    launch, line = FAULTS[fault]
    monkeypatch.setattr(tracker, "find_spec", lambda _: None)
    with pytest.raises(BuildError) as caught:
        check_sections(params(**launch), ROOT)
    assert str(caught.value) == line


@pytest.mark.parametrize("gpus", [0, -1, True, "", "h100 8", "h100:8:1", 8.0])
def test_gpus_are_a_number_or_a_kind_and_a_number(gpus: object) -> None:
    """What sbatch would refuse after the corpus is built is refused before."""
    with pytest.raises(BuildError, match="launch.submit.gpus_per_node: "):
        check_stages(validated("launch", params(submit={"gpus_per_node": gpus})["launch"], Launch))


@pytest.mark.parametrize(
    "elsewhere", [{"submit": {"partition": "gpu"}}, {"stages": {"sft": {"submit": {"partition": "gpu"}}}}]
)
def test_kernels_of_other_machines_are_not_looked_for_here(elsewhere: dict[str, Any]) -> None:
    """On a login node without a GPU a job's attention is accepted, and without a job refused."""
    own = params() | {"numerics": params()["numerics"] | {"attention": "flash_attention_2", "dtype": "bfloat16"}}
    with pytest.raises(BuildError, match="numerics.attention"):
        check_files(own | {"source": {}, "benchmark": {}, "task": {}}, ROOT)
    check_files(own | {"launch": own["launch"] | elsewhere, "source": {}, "benchmark": {}, "task": {}}, ROOT)
