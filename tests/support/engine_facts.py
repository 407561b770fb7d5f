"""What is held and what changes in an engine's processes, for the tests of engines that need several.

`python -m torch.distributed.run --nproc-per-node=2 tests/support/engine_facts.py FOLDER` writes `<rank>.json`, and of the
first process weights and moments.
"""

import gc
import json
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from osler.training import deepspeed_engine
from osler.training.deepspeed_engine import DeepSpeed
from osler.training.engine import Engine
from osler.training.engines import started_engine
from osler.training.packed_loss import PackedLoss
from tests.support.engine_worker import ENGINES
from tests.support.runs import VOCABULARY, a_run, recipe
from tests.support.tiny import NUMERICS, launch, tiny_model

BAD_STEP, STEPS = 2, 5
EXPERTS = 3  # more than two processes can cut evenly
TRAINED: dict[int, dict[str, dict[str, Any]]] = {  # by the number of processes
    1: {
        "fsdp": {"engine": "fsdp"},
        "fsdp-all": {"engine": "fsdp", "offload": "all"},
        "zero2-optimizer": {"engine": "deepspeed", "zero_stage": 2, "offload": "optimizer"},
        "zero3-all": {"engine": "deepspeed", "zero_stage": 3, "offload": "all"},
    },
    2: {
        "experts": {"engine": "fsdp", "experts": EXPERTS},
        "copies": {"engine": "fsdp", "double": True, "shard_processes": 1},
    },
    4: {
        "experts": {"engine": "fsdp", "experts": EXPERTS},
        "copies": {"engine": "fsdp", "double": True, "shard_processes": 2},
    },
}
BUCKET = 1000  # elements, of 13,000: DeepSpeed's buffers would hide what it keeps


def batches(engine: Engine, step: int) -> list[tuple[Tensor | None, ...]]:
    """This process's rows of a step of eight, each a micro-batch."""
    run = a_run(rows=40, batch_tokens=128)
    return [part.tensors() for part in run.micro_batches(step, engine.rank, engine.processes, 1, 32)]


def started(engine: str, experts: int = 0, double: bool = False, **changes: Any) -> Engine:
    """The engine, of which only the first process has weights."""
    model = tiny_model(VOCABULARY, experts=experts)
    model = model.double() if double else model
    if os.environ.get("RANK", "0") != "0":
        model = model.to("meta")
    asked = launch(engine=engine, processes=int(os.environ.get("WORLD_SIZE", "1")), **changes)
    return started_engine(PackedLoss(model.train()), recipe(epsilon=1e-2), NUMERICS, asked)


def held() -> dict[int, int]:
    """Bytes by address of all tensors that this process has, gradients too."""
    found = [one for one in gc.get_objects() if isinstance(one, torch.Tensor)]
    found += [one.grad for one in found if one.grad_fn is None and one.grad is not None]
    plain = [
        one for one in found if hasattr(one, "untyped_storage") and type(one).__name__ != "DTensor" and not one.is_meta
    ]
    return {one.untyped_storage().data_ptr(): one.untyped_storage().nbytes() for one in plain}


def kept_gradients(engine: Engine) -> float:
    """What is held more after a micro-batch that is not the last, over the size of a whole gradient in float32."""
    first, *_ = batches(engine, 0)
    gc.collect()
    before = sum(held().values())  # not by place: a buffer may be made anew elsewhere
    engine.backward(engine.loss(*first)[0], last=False)
    gc.collect()
    more = sum(held().values()) - before
    engine.backward(engine.loss(*first)[0], last=True)
    engine.step(0.0)
    return more / (4 * elements())


def elements() -> int:
    """Of the whole model."""
    return sum(value.numel() for value in tiny_model(VOCABULARY).parameters())


def state(engine: Engine) -> dict[str, Tensor]:
    """All weights and moments, whole."""
    gathered = {name: engine.gather(name) for name in engine.parameters}
    return {f"{name}.{kind}": value.clone() for name, kinds in gathered.items() for kind, value in kinds.items()}


def differences(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def stepped(engine: Engine, step: int, bad: bool = False) -> float:
    """The norm of a step, of which a `bad` one has a loss that is no number, in one micro-batch of the last process."""
    parts = batches(engine, step)
    for place, part in enumerate(parts):
        loss = engine.loss(*part).sum() / 100
        if bad and place == 0 and engine.rank == engine.processes - 1:
            loss = loss * float("nan")
        engine.backward(loss, last=place == len(parts) - 1)
    return float(engine.step(1e-2))


def trained(engine: Engine) -> dict[str, Tensor]:
    """Weights and moments after all steps."""
    for step in range(STEPS):
        stepped(engine, step)
    return state(engine)


def restore(engine: Engine, beginning: dict[str, dict[str, Tensor]]) -> None:
    for name, tensors in beginning.items():
        engine.scatter(name, tensors, 3)


def with_and_without_a_bad_step(engine: Engine) -> dict[str, Any]:
    """Steps without the bad one; then, from where these began, all of them."""
    beginning = {name: engine.gather(name) for name in engine.parameters}
    restore(engine, beginning)
    expected = [stepped(engine, step) for step in range(STEPS) if step != BAD_STEP]
    good = state(engine)
    restore(engine, beginning)
    norms, changed = [], 0.0
    for step in range(STEPS):
        before = state(engine) if step == BAD_STEP else {}
        norms.append(stepped(engine, step, bad=step == BAD_STEP))
        if before:
            changed = differences(before, state(engine))
    return {
        "finite": math.isfinite(norms.pop(BAD_STEP)),
        "norms": [norms, expected],
        "changed": changed,
        "afterwards": differences(good, state(engine)),
    }


def facts_of(name: str) -> dict[str, Any]:
    """Those of one of the engines that divide."""
    whole: list[int] = []
    original = DeepSpeed.arriving

    def watched(engine: DeepSpeed) -> Iterator[Any]:
        for parameter in original(engine):
            there = [value.numel() for value in engine.language_model.parameters() if not value.is_meta]
            whole.append(sum(there))
            yield parameter

    DeepSpeed.arriving = watched  # type: ignore[method-assign, assignment]
    engine = started(**ENGINES[name])
    DeepSpeed.arriving = original  # type: ignore[method-assign]
    facts: dict[str, Any] = {"whole": max(whole, default=0)}
    if name == "zero3":
        facts["parts"] = sum(value.ds_tensor.numel() for value in engine.parameters.values())
        facts["left_whole"] = sum(value.numel() for value in engine.parameters.values())
    stepped(engine, 0)  # what an engine makes at its first step is there
    facts["kept"] = kept_gradients(engine)
    return facts | with_and_without_a_bad_step(engine)


def main(folder: Path) -> None:
    """Write the facts of this process; alone it only trains."""
    NUMERICS.apply()
    vars(deepspeed_engine)["DEEPSPEED_BUCKET"] = BUCKET
    processes = int(os.environ["WORLD_SIZE"])
    results: dict[str, dict[str, Tensor]] = {}
    if processes == 2:
        facts = {name: facts_of(name) for name in ("fsdp", "zero1", "zero2", "zero3")}
        (folder / f"{os.environ['RANK']}.json").write_text(json.dumps(facts))
    for name, asked in TRAINED[processes].items():
        results[name] = trained(started(**asked))
    if os.environ["RANK"] == "0":
        for name, tensors in results.items():
            save_file({key: value.contiguous() for key, value in tensors.items()}, folder / f"{name}.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
