"""Two processes train the adapter that one trains, whole copies or divided, and go on after a kill with the same bytes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from osler.build.pipeline import ROOT
from tests.support.adapter_worker import ENGINES, METHODS, adapted, weights_of


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("together")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*torchrun, "tests/support/adapter_worker.py", str(folder)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=540,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


@pytest.mark.parametrize("method", METHODS)
def test_two_processes_train_what_one_trains(method: str, together: Path, tmp_path: Path) -> None:
    """In float64 to 1e-9, where the adapter has moved by far more."""
    alone = weights_of(method, tmp_path)
    before = dict(adapted(method).named_parameters())
    for engine in ENGINES:
        found = load_file(together / f"{engine}-{method}.safetensors")
        assert found.keys() == alone.keys()
        assert max(float((found[name] - alone[name]).abs().max()) for name in alone) < 1e-9
        assert max(float((found[name] - before[name]).abs().max()) for name in alone) > 1e-3


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("method", METHODS)
def test_two_killed_processes_end_with_the_same_bytes(method: str, engine: str, together: Path) -> None:
    name = f"{engine}-{method}"
    assert (together / f"{name}.safetensors").read_bytes() == (together / f"{name}-resumed.safetensors").read_bytes()
