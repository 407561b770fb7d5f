"""TRL's SFTTrainer with packing on given documents, for bench/training.py. Runs in the peer's interpreter.

`python trl_training.py FOLDER WIDTH ROWS STEPS`: FOLDER has `model` and `documents.jsonl`, and gets `report.json` with the CPU
seconds of the steps after the first and the tokens read in them. One long row a batch without padding is TRL's own way.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
import trl
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback


class Clock(TrainerCallback):  # type: ignore[misc]
    """CPU seconds from the end of the first step to the end of the last."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, *arguments: Any, **others: Any) -> None:  # noqa: ARG002 - the trainer's signature
        """Called by the trainer."""
        self.ends.append(time.process_time())


def main(folder: Path, width: int, rows: int, steps: int) -> None:
    """Train and write the report."""
    torch.set_num_threads(1)
    lines = (folder / "documents.jsonl").read_text(encoding="utf-8").splitlines()
    clock = Clock()
    settings = trl.SFTConfig(
        output_dir=str(folder / "out"), max_length=width, packing=True, packing_strategy="bfd", use_cpu=True, bf16=False,
        per_device_train_batch_size=rows, max_steps=steps, learning_rate=1e-3, weight_decay=0.1, adam_beta2=0.98,
        max_grad_norm=1.0, lr_scheduler_type="cosine", optim="adamw_torch_fused", gradient_checkpointing=False,
        report_to=[], save_strategy="no", logging_strategy="no", disable_tqdm=True,
    )  # fmt: skip
    trainer = trl.SFTTrainer(
        AutoModelForCausalLM.from_pretrained(folder / "model", attn_implementation="sdpa", dtype=torch.float32),
        args=settings,
        train_dataset=Dataset.from_list([json.loads(line) for line in lines]),
        processing_class=AutoTokenizer.from_pretrained(folder / "model"),
        callbacks=[clock],
    )
    trainer.train()
    seconds = clock.ends[-1] - clock.ends[0]
    report = {
        "cpu_seconds": seconds,
        "tokens": (len(clock.ends) - 1) * rows * width,
        "versions": {"torch": torch.__version__, "trl": trl.__version__},
    }
    (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
