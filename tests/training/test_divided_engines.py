"""What engines that divide a model keep, in one, two and four real processes (tests/support/engine_facts.py)."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from osler.build.pipeline import ROOT
from tests.support.engine_facts import EXPERTS, TRAINED, elements, started, trained
from tests.support.runs import VOCABULARY
from tests.support.tiny import tiny_model

DIVIDED = ("fsdp", "zero1", "zero2", "zero3")
Facts = list[dict[str, Any]]


def written(folder: Path, processes: int) -> Path:
    """What so many processes of engine_facts.py write."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    done = subprocess.run(
        [*torchrun, "tests/support/engine_facts.py", str(folder)],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:]
    return folder


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("pair"), 2)


@pytest.fixture(scope="module")
def facts(pair: Path) -> Facts:
    """Of both processes, by engine."""
    return [json.loads((pair / f"{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.parametrize("engine", ["fsdp", "zero2", "zero3"])
def test_a_micro_batch_leaves_a_part_of_the_gradient(engine: str, facts: Facts) -> None:
    """Half of it on each of two processes, not the whole float32 gradient of the model (ZeRO-3's place for it is there)."""
    assert [round(process[engine]["kept"], 2) for process in facts] == [0.0 if engine == "zero3" else 0.5] * 2


@pytest.mark.parametrize("engine", DIVIDED)
def test_a_gradient_that_is_no_number_on_one_process_changes_nothing_on_any(engine: str, facts: Facts) -> None:
    """Weights and moments stay to the bit, the norm tells it on both, and the later steps are those of a run without it."""
    for process in facts:
        found = process[engine]
        assert not found["finite"]
        assert found["changed"] == 0.0
        assert found["afterwards"] == 0.0
        assert found["norms"][0] == found["norms"][1]
    assert facts[0][engine]["norms"] == facts[1][engine]["norms"]


def test_zero_3_starts_with_one_whole_parameter_at_a_time(facts: Facts) -> None:
    """On the process without weights; then each has half of all, and none whole."""
    largest = max(value.numel() for value in tiny_model(VOCABULARY).parameters())
    assert facts[1]["zero3"]["whole"] == largest
    for process in facts:
        assert process["zero3"]["parts"] == elements() / 2
        assert process["zero3"]["left_whole"] == 0


def worst(folder: Path, name: str, experts: int = 0, double: bool = False) -> float:
    """The largest difference from one process with engine python, of weights and moments."""
    one = trained(started(engine="python", experts=experts, double=double))
    other = load_file(folder / f"{name}.safetensors")
    assert one.keys() == other.keys()
    return max(float((one[key] - other[key]).abs().max()) for key in one)


def test_experts_that_are_cut_across_and_copies_train_the_same(pair: Path) -> None:
    """Three experts on two processes, cut along their second dimension; and two copies, whose gradients are added up."""
    assert worst(pair, "experts", experts=EXPERTS) <= 1e-5
    assert worst(pair, "copies", double=True) <= 1e-9


def test_one_process_with_a_dividing_engine_trains_as_python_does(tmp_path: Path) -> None:
    """With what `launch.offload` keeps in the machine's memory too (on a CPU that is where all is)."""
    folder = written(tmp_path, 1)
    for name in TRAINED[1]:
        assert worst(folder, name) <= 1e-5, name


@pytest.mark.campaign
def test_four_processes_as_two_copies_of_two_parts(tmp_path: Path) -> None:
    """And three experts on four."""
    folder = written(tmp_path, 4)
    assert worst(folder, "experts", experts=EXPERTS) <= 1e-5
    assert worst(folder, "copies", double=True) <= 1e-9


def test_the_kept_share_is_that_of_real_tensors() -> None:
    """One process keeps all of it: what the measure finds where nothing is divided."""
    from tests.support.engine_facts import kept_gradients

    engine = started(engine="python")
    assert kept_gradients(engine) == pytest.approx(1.0, abs=0.01)
    assert torch.isfinite(engine.step(0.0))
