"""What two processes make of steps whose rows they do not divide, for test_rows.py: `torchrun ... rows_worker.py FOLDER`."""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from osler.training.checkpoints import Checkpoint
from osler.training.heldout_loss import Heldout
from osler.training.launch import Launch
from osler.training.loop import train
from tests.support.runs import VOCABULARY, WIDTH, a_run, rows_of
from tests.support.tiny import NUMERICS, launch, tiny_model

CASES: dict[str, dict[str, Any]] = {
    f"{model}, {rows} rows, {engine}": {"experts": experts, "rows": rows, "engine": engine}
    for model, experts in (("Mistral", 0), ("Mixtral", 4))
    for rows in (3, 1)
    for engine in ("ddp", "fsdp")
}
STEPS = 8


def trained(case: str, folder: Path, asked: Launch) -> tuple[list[Any], dict[str, Any]]:
    """The log and the weights of a case, with noise and in micro-batches of a row; in float64, which experts cannot.

    Beside the case's folder lie its live files, with the loss of three held-out rows.
    """
    about = CASES[case]
    model = tiny_model(VOCABULARY, experts=about["experts"])
    if not about["experts"]:
        model = model.double()
    if asked.engine == "fsdp" and os.environ.get("RANK", "0") != "0":
        model = model.to("meta")
    run = a_run(5.0, rows=STEPS * about["rows"], batch_tokens=WIDTH * about["rows"], learning_rate=1e-3, epsilon=1e-2)
    run = replace(run, heldout=Heldout({"general": rows_of([[9, 4], [16], [5]], seed=7)}, every_steps=3))
    checkpoint = Checkpoint(folder / case, "x", False)
    state, weights = train(model, run, NUMERICS, checkpoint, asked, live=folder / f"{case}.jsonl")
    return state.log, weights


def main(folder: Path) -> None:
    """All cases."""
    NUMERICS.apply()
    for case, about in CASES.items():
        asked = launch(engine=about["engine"], processes=2, micro_batch_rows=1, checkpoint_every_steps=100)
        log, weights = trained(case, folder, asked)
        if weights:
            save_file({key: value.contiguous() for key, value in weights.items()}, folder / f"{case}.safetensors")
            (folder / f"{case}.log.json").write_text(json.dumps(log))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
