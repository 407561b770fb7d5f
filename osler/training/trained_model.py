"""What all training stages share: a written model for each seed.

A stage says what one seed trains: a `Training`, which is a model, a `Run` and what these depend on. Its `Trainer` has the loop
(loop.py) train it, and writes the model with its provenance and loss curve.

Seeds are trained by processes of their own, `launch.jobs` at a time, where one process trains a model on a CPU; else one after
another. Each is resumed by itself from its checkpoints in `scratch/<model>/`, whose folder is named after all that changes what
is computed. A finished one is kept in `scratch/trained/` under the hash of all it depends on, code and kernels included,
hard-linked into the out: a seed more costs that seed.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from osler.build.files import link, write_bytes, write_json
from osler.build.fingerprint import closure, fingerprint
from osler.build.packages import package_versions
from osler.build.pipeline import ROOT
from osler.build.shard_store import content_key, made_entry, whole_entry
from osler.model.adapters import Adapter, write_adapter
from osler.model.folder import import_ahead, provenance_of, write_model
from osler.model.numerics import Numerics
from osler.model.quantization import whole_elements
from osler.model.router import router_coefficient
from osler.model.seeds import made_folder
from osler.tokens.shards import content_hash
from osler.training.amendments import in_force, without_effect
from osler.training.checkpoint_folders import FINISHED, begin
from osler.training.checkpoints import Checkpoint, Logged, State
from osler.training.heartbeat import heartbeat
from osler.training.launch import die_with_parent, started_launch
from osler.training.live import FOLDER as LIVE
from osler.training.loop import Weights, train
from osler.training.optimizer_state import FILE
from osler.training.patience import leave, summed_patiently
from osler.training.recipe import Recipe
from osler.training.run import Run
from osler.training.skipped_rows import token_ledger
from osler.training.stopping import listen, listen_no_more

SCRATCH = ROOT / "scratch"
TRAINED = "trained"  # finished models, below SCRATCH
CURVE = "training.csv"  # the loss of a seed, beside its model
CHAT_TEMPLATE = "chat_template.jinja"  # where transformers looks for it
SAME_MATHEMATICS = ("threads", "compile", "attention", "liger")  # of numerics: these change the last bits
T = TypeVar("T")
WHERE_AND_WHEN = ("_name_or_path", "transformers_version")  # of a config: not what the weights depend on


@dataclass(frozen=True)
class Training:
    """What one seed trains, and what its result depends on.

    Args:
        model: to start from; trained in place.
        run: on what, and how.
        inputs: name -> folder of everything the weights depend on; hashed into the checkpoint's key and the provenance.
        tokenizer: folder the tokenizer files are copied from.
        stream_tokens: how far continued pretraining reads its stream, as asked for; None: it is another training.
        keep_moments: the model's folder gets the optimizer's moments too, so that a run can go on from it.
        adapter: on the model; it alone is trained and written. None: the whole model is.
    """

    model: Any
    run: Run
    inputs: Mapping[str, Path]
    tokenizer: Path
    stream_tokens: int | None = None
    keep_moments: bool = False
    adapter: Adapter | None = None


def of_seeds(made: Callable[[int], T], seeds: tuple[int, ...], jobs: int) -> list[T]:
    """What is `made` of each seed.

    `jobs` at a time, unless they would share a GPU.

    Args:
        made: pickled, since processes call it.
    """
    import torch

    jobs = min(jobs, len(seeds))
    if jobs == 1 or torch.cuda.is_available():
        return [made(seed) for seed in seeds]
    import_ahead()
    # forked, so that torch is imported once; nothing has been computed yet, and no thread started
    with ProcessPoolExecutor(jobs, get_context("fork"), initializer=die_with_parent) as processes:
        return list(processes.map(made, seeds))


@dataclass(frozen=True)
class Trainer:
    """The training of a stage.

    It has what each seed trains, by the code of the file `module`. The chat template of what is trained on conversations goes
    with its tokenizer; a finished training does not depend on it.
    """

    module: Path
    numerics: Numerics
    training: Callable[[int], Training]
    template: Path | None = None

    def write(self, seeds: tuple[int, ...], trained_model: Path, training: Path) -> None:
        """Train all seeds and write the results.

        What a killed run left is resumed. One that is told to stop (stopping.py) ends with a StoppedError.

        Args:
            seeds: the first one's model is written to the out itself, the others' below it (seed_models.py).
            trained_model, training: outs: the model's folder and the CSV of the first seed's loss.
        """
        launch = started_launch(os.environ)
        if launch.engine != "python":
            die_with_parent()
        listen()
        with heartbeat(os.environ):
            jobs = launch.jobs if launch.engine == "python" else 1
            entries = dict(zip(seeds, of_seeds(partial(self._of_last, seeds[-1]), seeds, jobs), strict=True))
        listen_no_more()
        if os.environ.get("RANK", "0") != "0":
            return
        for seed, entry in entries.items():
            folder = made_folder(trained_model, seed, seeds)
            for file in sorted(entry.iterdir()):
                if file.name == CURVE and seed == seeds[0]:
                    write_bytes(training, file.read_bytes())
                else:
                    link(file, folder / file.name)
            if self.template:
                write_bytes(folder / CHAT_TEMPLATE, self.template.read_bytes())
        used = {entry.parent for entry in entries.values()}
        for place in (SCRATCH / TRAINED / trained_model.name).iterdir():
            if place not in used:
                shutil.rmtree(place)

    def _of_last(self, last: int, seed: int) -> Path:
        return self.finished(seed, seed == last)

    def finished(self, seed: int, is_last: bool = True) -> Path:
        """Train one seed if it is not yet.

        After the last one the processes part; the first one writes alone. It returns a folder of the model's files and
        CURVE.
        """
        launch = started_launch(os.environ)
        asked = self.training(seed)
        run, model = asked.run, asked.model
        hashes = {name: content_hash(path) for name, path in sorted(asked.inputs.items())}
        settings = _settings(asked, self.numerics)
        key = run_key(settings, hashes)
        code = hashlib.sha256(fingerprint(self.module, ROOT, with_packages=False).encode()).hexdigest()[:16]
        numerics = settings["numerics"]
        amended = in_force(run.amendments or (), run.steps())
        own = {"amendments": amended} if amended else {}
        parts = {"key": key, "code": code, "title": run.title, "numerics": numerics} | own
        place = SCRATCH / TRAINED / run.title / content_key(**parts)[:16]
        is_first = os.environ.get("RANK", "0") == "0"
        if entry := whole_entry(place):
            if is_first:
                print(f"{run.label()}: reused, it has been trained before", flush=True)
            return entry
        folder = SCRATCH / run.title / key
        if is_first:
            begin(folder, run.seed)
            for one in without_effect(run.amendments or (), run.first_step() + 1, run.steps()):
                print(f"warning: {run.label()}: cpt.amendments: {one}: none of its {run.steps()} steps", flush=True)
        moments = folder / FILE if asked.keep_moments else None
        parameters = sum(whole_elements(parameter) for parameter in model.parameters())  # an engine may divide them
        trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
        live = SCRATCH / LIVE / f"{run.title}-{run.seed}.jsonl"
        checkpoint = Checkpoint(folder, code, launch.accept_code_change, numerics, launch.keep_every_steps)
        state, weights = train(model, run, self.numerics, checkpoint, launch, moments, live)
        if is_last:
            leave()
        if is_first:
            facts = {"inputs": hashes, "settings": settings, "parameters": parameters}
            if asked.adapter:
                facts["trained_parameters"] = trained
            facts["packages"] = package_versions(closure(self.module, ROOT)[1])
            entry = made_entry(place, lambda folder: _write(asked, facts, state, weights, moments, folder))
            checkpoint.retire(folder.with_name(f"{key}-{FINISHED}-{code[:8]}"))
            where = f" on {launch.world()} processes" if launch.world() > 1 else ""
            steps, tokens = state.step - run.first_step(), _own_tokens(asked, state)
            print(f"{run.label()}: {steps} steps{where}, {tokens:,} tokens, loss {state.log[-1].loss:.3f}", flush=True)
        summed_patiently([0])  # the others wait here while the first one writes; after the last seed nobody does
        return entry or place


def run_key(settings: Mapping[str, Any], hashes: Mapping[str, str]) -> str:
    """What a run's folder of checkpoints is named after.

    It is hashed from all that the result depends on but for what changes the last bits only: with another kernel the run
    goes on, and its provenance says so.
    """
    numerics = {key: value for key, value in settings["numerics"].items() if key not in SAME_MATHEMATICS}
    parts = [{**settings, "numerics": numerics}, hashes]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _settings(asked: Training, numerics: Numerics) -> dict[str, Any]:
    """All that a result depends on besides its inputs and the code."""
    run = asked.run
    adapter = {"adapter": asked.adapter.settings | {"from": asked.adapter.start}} if asked.adapter else {}
    return (
        adapter
        | {
            "alpha": run.alpha,
            "config": {key: value for key, value in asked.model.config.to_dict().items() if key not in WHERE_AND_WHEN},
            "numerics": numerics.model_dump(),
            "recipe": run.recipe.model_dump(
                include=set(Recipe.model_fields)
            ),  # the rest of a section decides on rows alone
            "seed": run.seed,
            "rows": hashlib.sha256(run.order_N2.tobytes()).hexdigest(),
            "schedule": asdict(run.schedule) if run.schedule else None,
        }
        | ({"consistency": run.consistency} if run.consistency else {})
    )  # what has none is known as before there was any


def _own_tokens(asked: Training, state: State) -> int:
    """Those of the run without its past."""
    return state.tokens - (asked.run.past.tokens if asked.run.past else 0)


def _write(
    asked: Training, facts: dict[str, Any], state: State, weights: Weights, moments: Path | None, entry: Path
) -> None:
    """The folder `entry`, whole or not at all: the model, its provenance with `facts`, and CURVE."""
    run = asked.run
    without = ["router_loss"] * (not router_coefficient(asked.model.config)) + ["noise_free_loss"] * (not run.alpha)
    without += ["consistency_loss"] * (not run.consistency)
    log = pl.DataFrame(state.log, schema=Logged._fields, orient="row").drop(without)
    parent = asked.inputs.get("model")
    before = provenance_of(parent) if parent and (parent / "provenance.json").is_file() else {}
    ledger = [{"run": run.title} | fact for fact in token_ledger(run, state)]
    changed = [fact | {"from_step": max(fact["from_step"], run.first_step())} for fact in state.numerics]
    provenance = facts | {
        "code": state.codes,
        "continued_tokens": None if asked.stream_tokens is None else state.tokens,
        "rows_before": run.rows_read(0, run.rows_before()),
        "rows_read": run.rows_read(run.rows_before()),
        "rows_there": {name: len(rows.row_ends_R) for name, rows in run.sources.items()},
        "steps": state.step,
        "stream_tokens": asked.stream_tokens,
        "token_ledger": [*before.get("token_ledger", ()), *ledger],
        "tokens": _own_tokens(asked, state),
    }
    if len(changed) > 1:
        provenance["numerics"] = changed
    if amended := in_force(run.amendments or (), state.step):
        provenance["amendments"] = amended
    if state.skipped:
        provenance["skipped_steps"] = state.skipped
    if state.idle_steps:
        provenance["idle_steps"] = state.idle_steps
    files = {CURVE: log.write_csv().encode()}
    if asked.adapter:
        write_adapter(asked.adapter, weights, asked.tokenizer, entry, files)
        write_json(entry / "provenance.json", provenance)
        return
    write_model(asked.model, asked.tokenizer, entry, provenance, weights, moments, files)
