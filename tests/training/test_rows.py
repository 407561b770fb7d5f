"""Steps whose rows the processes do not divide, and fewer rows than processes: the same training as of one process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from osler.build.pipeline import ROOT
from osler.training.live import lines
from tests.support.rows_worker import CASES, STEPS, trained
from tests.support.tiny import launch


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes wrote."""
    folder = tmp_path_factory.mktemp("together")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*torchrun, "tests/support/rows_worker.py", folder],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:]
    return folder


@pytest.mark.parametrize("case", CASES)
def test_rows_need_not_be_divided_by_processes(case: str, together: Path, tmp_path: Path) -> None:
    """Losses, those of routers too, and weights are one process's: to 1e-5, in float64 to their last digit and 1e-9."""
    loss, weight = (1e-5, 1e-5) if CASES[case]["experts"] else (1.1e-6, 1e-9)
    log, weights = trained(case, tmp_path, launch(micro_batch_rows=1, checkpoint_every_steps=100))
    rows = json.loads((together / f"{case}.log.json").read_text())
    assert len(log) == len(rows) == STEPS
    for ours, theirs in zip(log, rows, strict=True):
        assert max(abs(ours[2] - theirs[2]), abs(ours[4] - theirs[4])) <= loss
    if CASES[case]["experts"]:
        assert all(row[4] > 0 for row in rows)
    ours_seen, seen = (
        [line["heldout_general_loss"] for line in lines(where / f"{case}.jsonl")] for where in (tmp_path, together)
    )
    assert [value is not None for value in seen] == [step in (3, 6, 8) for step in range(1, STEPS + 1)]
    assert [value or 0.0 for value in seen] == pytest.approx([value or 0.0 for value in ours_seen], abs=1e-5)
    found = load_file(together / f"{case}.safetensors")
    assert max(float((weights[name] - value).abs().max()) for name, value in found.items()) <= weight
