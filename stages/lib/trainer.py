"""What the four training stages share: from a model and a run to a written model with its provenance and loss curve."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl

from stages.lib.checkpoints import Checkpoint, Logged
from stages.lib.files import write_bytes
from stages.lib.fingerprint import closure, fingerprint, package_versions
from stages.lib.launching import die_with_parent, started_launch
from stages.lib.mixture import seen
from stages.lib.models import provenance_of, write_model
from stages.lib.moments import FILE
from stages.lib.numerics import Numerics
from stages.lib.router import router_coefficient
from stages.lib.shards import content_hash
from stages.lib.stage import ROOT
from stages.lib.training import Run, train

SCRATCH = ROOT / "scratch"
WHERE_AND_WHEN = ("_name_or_path", "transformers_version")  # of a config: not what the weights depend on


def train_and_write(
    module: Path,
    model: Any,
    run: Run,
    numerics: Numerics,
    inputs: Mapping[str, Path],
    tokenizer: Path,
    trained_model: Path,
    training: Path,
    stream_tokens: int | None = None,
    keep_moments: bool = False,
) -> None:
    """Train, resuming where a killed run of the same params and inputs left off, and write the results.

    Args:
        module: the stage's file, whose fingerprint tells code changes.
        model: to start from; trained in place.
        inputs: name -> folder of everything the weights depend on; hashed into the checkpoint's key and the provenance.
        tokenizer: folder the tokenizer files are copied from.
        trained_model, training: outs: the model's folder and the CSV of the loss.
        stream_tokens: how far continued pretraining reads its stream, as asked for; None: it is another training.
        keep_moments: the model's folder gets the optimizer's moments too, so that a run can go on from it.
    """
    launch = started_launch(os.environ)
    if launch.engine != "python":
        die_with_parent()
    hashes = {name: content_hash(path) for name, path in sorted(inputs.items())}
    settings = {
        "alpha": run.alpha,
        "config": {key: value for key, value in model.config.to_dict().items() if key not in WHERE_AND_WHEN},
        "numerics": numerics.model_dump(),
        "recipe": run.recipe.model_dump(),
        "seed": run.seed,
        "rows": hashlib.sha256(run.order_N2.tobytes()).hexdigest(),
        "schedule": asdict(run.schedule) if run.schedule else None,
    }
    key = hashlib.sha256(json.dumps([settings, hashes], sort_keys=True, default=str).encode()).hexdigest()[:16]
    folder = SCRATCH / run.title / key
    code = hashlib.sha256(fingerprint(module, ROOT, with_packages=False).encode()).hexdigest()[:16]
    parameters = sum(parameter.numel() for parameter in model.parameters())  # an engine may divide them
    moments = folder / FILE if keep_moments else None
    state, weights = train(model, run, numerics, Checkpoint(folder, code, launch.accept_code_change), launch, moments)
    if os.environ.get("RANK", "0") != "0":
        return
    without = ["router_loss"] * (not router_coefficient(model.config)) + ["noise_free_loss"] * (not run.alpha)
    log = pl.DataFrame(state.log, schema=Logged._fields, orient="row").drop(without)
    write_bytes(training, log.write_csv().encode())
    parent = inputs.get("model")
    before = provenance_of(parent) if parent and (parent / "provenance.json").is_file() else {}
    ledger = [{"run": run.title} | entry for entry in seen(run, len(run.order_N2), run.rows_before())]
    tokens = state.tokens - (run.past.tokens if run.past else 0)
    provenance = {
        "code": state.codes,
        "inputs": hashes,
        "continued_tokens": None if stream_tokens is None else state.tokens,
        "packages": package_versions(closure(module, ROOT)[1]),
        "parameters": parameters,
        "rows_before": run.rows_read(0, run.rows_before()),
        "rows_read": run.rows_read(run.rows_before()),
        "rows_there": {name: len(rows.row_ends_R) for name, rows in run.sources.items()},
        "settings": settings,
        "steps": state.step,
        "stream_tokens": stream_tokens,
        "token_ledger": [*before.get("token_ledger", ()), *ledger],
        "tokens": tokens,
    }
    write_model(model, tokenizer, trained_model, provenance, weights, moments)
    shutil.rmtree(folder, ignore_errors=True)
    where = f" on {launch.world()} processes" if launch.world() > 1 else ""
    print(f"{run.title}: {state.step - run.first_step()} steps{where}, {tokens:,} tokens, loss {state.log[-1][2]:.3f}")
