"""QLoRA under ddp: two processes train the adapter that one trains, beside weights of 4 bits that stay.

Skipped where bitsandbytes is not installed (`make qlora`, which CI runs).
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from osler.build.files import read_json
from osler.build.pipeline import ROOT
from tests.support.qlora_worker import adapted, frozen, learned, trained
from tests.training.test_qlora import needs_bitsandbytes

RANKS = (0, 1)


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes over gloo wrote."""
    folder = tmp_path_factory.mktemp("together")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*torchrun, "tests/support/qlora_worker.py", str(folder)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=540,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


@needs_bitsandbytes
def test_two_processes_train_what_one_trains(together: Path, tmp_path: Path) -> None:
    """In float32 to 1e-6, where the adapter has moved by far more; both processes to the bit."""
    alone, before = trained(learned(tmp_path)), trained(adapted())
    first, second = (load_file(together / f"adapter-{rank}.safetensors") for rank in RANKS)
    assert (together / "adapter-0.safetensors").read_bytes() == (together / "adapter-1.safetensors").read_bytes()
    assert first.keys() == second.keys() == alone.keys()
    assert len(alone) == 8  # two layers, two maps, two factors
    assert max(float((first[name] - alone[name]).abs().max()) for name in alone) < 1e-6
    assert max(float((first[name] - before[name]).abs().max()) for name in alone) > 1e-3


@needs_bitsandbytes
def test_what_is_frozen_stays_on_both(together: Path) -> None:
    """Weights in 4 bits and their scales, norms and embeddings: as one process quantizes them, before and after."""
    expected = frozen(adapted())
    assert sum(name.endswith(".absmax") for name in expected) == 14  # two layers, seven maps
    for rank in RANKS:
        assert read_json(together / f"frozen-{rank}.json") == {"before": expected, "after": expected}


@needs_bitsandbytes
def test_two_killed_processes_end_with_the_same_bytes(together: Path) -> None:
    """From a checkpoint of the adapter alone; each quantizes the model again."""
    whole = (together / "adapter-0.safetensors").read_bytes()
    assert [(together / f"resumed-{rank}.safetensors").read_bytes() for rank in RANKS] == [whole, whole]
