"""The loop that trains a causal language model on packed rows.

There is one for pretraining, continued pretraining, SFT and NEFTune. `Trainer.finished` (trained_model.py) calls `train`, which
starts an engine (engines.py), takes batches from the run (run.py), and has the steps done (optimization.py).

Documents in a row do not see each other: position ids restart at each segment, from which transformers builds the mask
(`use_cache=False` and no attention mask of our own, or it silently does not), and a segment's first token is no label.
Data order and noise are pure functions of the seed and the step, so that a checkpoint of weights, optimizer state and step
is the complete state: a run that was killed and resumed ends with the same bytes. The language-model head is computed
where there is a label only, which is most of the cost of SFT with a loss on responses.

Distribution is a library's (engines.py). Each process takes every k-th row of the same global batch, a few at a time if asked,
and the loss is the sum over the labels of all processes divided by their number, as if one process had seen them all.

Shape legend: B rows of a batch, T tokens in a row, N rows of the run, D embedding width.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from osler.build.progress import progress
from osler.model.numerics import Numerics
from osler.model.quantization import whole_elements
from osler.model.router import router_coefficient
from osler.model.throughput import weights_per_token
from osler.training.amendments import objection
from osler.training.checkpoints import Checkpoint, State
from osler.training.engine import WEIGHT, Engine
from osler.training.engines import started_engine
from osler.training.launch import Launch
from osler.training.live import Live
from osler.training.optimization import Optimization
from osler.training.optimizer_state import restore_moments, write_moments
from osler.training.packing_check import check_packing
from osler.training.prompted_loss import loss_of
from osler.training.run import Prepared, Run
from osler.training.speed import Speed
from osler.training.stopping import Stopping
from osler.training.tracker import started_tracker

T = TypeVar("T")
Weights = dict[str, Tensor]


def train(
    model: Any,
    run: Run,
    numerics: Numerics,
    checkpoint: Checkpoint,
    launch: Launch,
    moments: Path | None = None,
    live: Path | None = None,
) -> tuple[State, Weights]:
    """Train `model`, from the last checkpoint if there is one.

    The optimizer's moments are written to the file `moments`, and what can be seen of the run as it goes (live.py) to
    `live`, where they are given.

    Returns:
        The final state, on every process, and the trained weights, whole and on the CPU, on the first one. Where the
        engine keeps the model whole, it is `model` that was trained.
    Raises:
        BuildError: documents of a row see each other, too many steps are not finite, the batch does not fit, the
            checkpoint is another code's, or the engine cannot run here.
        StoppedError: it was asked to stop; the checkpoint is of the step that it names.
    """
    model.train()
    weights_used = weights_per_token(model, whole_elements)  # an engine may divide them
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    engine = started_engine(loss_of(model), run.recipe, numerics, launch)
    state = begun_state(run, engine, checkpoint)
    # with the weights that are trained next: FSDP keeps its root together after a pass, and would not see others
    check_packing(engine, run, numerics, model.config, launch.micro_batch_rows)
    coefficient = router_coefficient(model.config)
    speed = Speed(model.config, weights_used, engine, state.tokens)
    shown = _live(run, launch, state, speed, bool(coefficient), live) if live and engine.rank == 0 else None
    optimization = Optimization(run, numerics, engine, checkpoint, launch, state, coefficient, shown)

    def prepared(step: int) -> Prepared:
        return run.prepared(step, engine.rank, engine.processes, launch.micro_batch_rows, model.config.hidden_size)

    remaining = range(state.step, run.steps())
    batches = ahead(prepared, remaining) if engine.device.type == "cuda" else map(prepared, remaining)
    stopping = Stopping(engine, launch.stop_minutes_before_end, os.environ)
    bar = progress(remaining, len(remaining), run.label(), "steps", lambda: speed.status(state))
    try:
        for step, one in zip(bar if engine.rank == 0 else remaining, batches, strict=True):
            if stopping.is_asked():
                if step > remaining.start and step % launch.checkpoint_every_steps:
                    optimization.save()
                checkpoint.settle(engine)
                raise stopping.error(run.label(), step, run.steps())
            speed.count(part.lengths for part in one.parts)
            optimization.step(step, one)
    finally:
        if shown:
            shown.close()
    checkpoint.settle(engine)
    if moments:
        write_moments(moments, engine, shapes)
    return state, whole_weights(engine)


def begun_state(run: Run, engine: Engine, checkpoint: Checkpoint) -> State:
    """Where the run stands.

    It is at its last checkpoint, at the end of what it continues, or at the beginning.
    """
    amendments = run.amendments or ()
    state = checkpoint.load(engine, lambda state: objection(amendments, state.amendments, state.step))
    if state.step and engine.rank == 0:
        print(f"{run.label()}: resumed at step {state.step} of {run.steps()}", flush=True)
    elif run.past and not state.step:
        restore_moments(run.past.moments, engine, run.past.steps - run.past.idle_steps)
        state.step, state.tokens, state.idle_steps = run.past.steps, run.past.tokens, run.past.idle_steps
    return state


def _live(run: Run, launch: Launch, state: State, speed: Speed, has_router: bool, path: Path) -> Live:
    """The live files, and the tracker that `launch` asks for."""
    tracker = None
    if launch.tracker:
        settings = {
            key: value for key, value in run.recipe.model_dump().items() if isinstance(value, float | int | str)
        }
        settings |= {"alpha": run.alpha, "seed": run.seed, "steps": run.steps()}
        settings |= {"consistency": run.consistency} if run.consistency else {}
        tracker = started_tracker(launch.tracker, f"{run.title}-{run.seed}", path.parent, settings)
    return Live(path, speed, state.step if state.step > run.first_step() else 0, run.steps(), has_router, tracker)


def whole_weights(engine: Engine) -> Weights:
    """The trained weights on the first process; nothing on the others.

    They are gathered from all processes, one parameter at a time.
    """
    weights = {}
    for name in engine.parameters:
        weight = engine.gather(name)[WEIGHT]
        if engine.rank == 0:
            weights[name] = weight
    return weights


def ahead(value: Callable[[int], T], steps: Sequence[int]) -> Iterator[T]:
    """`value` of each step, computed ahead.

    A thread computes the next one while the caller is busy with this one.
    """
    with ThreadPoolExecutor(1) as executor:
        following = executor.submit(value, steps[0]) if steps else None
        for step in [*steps[1:], None]:
            current, following = following, None if step is None else executor.submit(value, step)
            if current:
                yield current.result()
