"""The noisy pass is pulled towards the clean one, conversation by conversation."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from osler.build.pipeline import ROOT
from osler.tokens.shards import PackedRows
from osler.training import finetuning
from osler.training.batches import Batch, batch_noise, batch_of, conversation_count
from osler.training.checkpoints import Checkpoint, Logged
from osler.training.consistency import Responses, response_means, summed_distance
from osler.training.finetuning import Sft, finetuned
from osler.training.launch import LAUNCH
from osler.training.live import lines
from osler.training.loop import Weights, train
from osler.training.packed_loss import PackedLoss
from osler.training.trained_model import CURVE, Training, _settings, _write
from tests.support.consistency_worker import ENGINES, FLOAT64, LENGTHS, consistent_run, trained
from tests.support.runs import VOCABULARY, KilledAt, recipe, rows_of, same
from tests.support.tiny import NUMERICS, launch, tiny_model, tiny_tokenizer


def test_means_and_distances_by_hand() -> None:
    """Of three states the first is one conversation, the others another; orthogonal is 1, opposite 2, longer 0."""
    states = torch.tensor([[1.0, 0.0], [0.0, 1.0], [4.0, 1.0]])
    assert response_means(states, torch.tensor([1, 2])).tolist() == [[1.0, 0.0], [2.0, 1.0]]
    noisy, clean = torch.tensor([[1.0, 0], [1, 0], [2, 2]]), torch.tensor([[0.0, 1], [-3, 0], [1, 1]])
    assert float(summed_distance(noisy, clean)) == pytest.approx(1 + 2 + 0, abs=1e-6)
    none = response_means(states[:0], torch.tensor([], dtype=torch.int64))
    assert float(summed_distance(none, none)) == 0


def test_a_conversation_without_a_label_is_none() -> None:
    """What a batch counts is what the whole step counts from lengths; single tokens teach nothing."""
    rows = rows_of(LENGTHS, learned=True)
    counted = [batch_of([(rows, row)]).responses(True).labels_C.tolist() for row in range(len(LENGTHS))]
    assert [conversation_count(rows, row) for row in range(len(LENGTHS))] == [len(each) for each in counted]
    assert counted[:4] == [[4, 1], [8], [1, 2, 2, 1], [3]]
    plain = rows_of([[3, 1, 2]])
    assert conversation_count(plain, 0) == len(batch_of([(plain, 0)]).responses(True).labels_C) == 2


def clean_means(module: PackedLoss, batch: Batch) -> Responses:
    """What the pass without noise gives."""
    responses = batch.responses(is_scored=False)
    with torch.no_grad():
        sums, means_CD = module(*replace(batch, noise_BTD=None).tensors(), responses)
    assert not sums.any()
    return replace(responses, clean_CD=means_CD)


def distance(module: PackedLoss, batch: Batch) -> float:
    sums: Tensor = module(*batch.tensors(), clean_means(module, batch))
    return float(sums[2].detach())


def alone(batch: Batch, row: int, start: int, length: int) -> Batch:
    """One conversation of a batch in a row of its own."""
    cut = (slice(row, row + 1), slice(start, start + length))
    assert batch.noise_BTD is not None
    tensors = (batch.tokens_BT, batch.positions_BT, batch.labels_BT, batch.kept_BT)
    tokens, positions, labels, kept = (tensor[cut] for tensor in tensors)
    return Batch(tokens, positions, labels, kept, [[length]], batch.noise_BTD[cut])


def test_packed_conversations_are_as_far_as_each_alone() -> None:
    """The distances of five packed rows sum to those of their fifteen conversations with labels, alone with the same noise."""
    module = PackedLoss(tiny_model(VOCABULARY).double())
    batch = batch_of([(rows_of(LENGTHS, learned=True), row) for row in range(len(LENGTHS))])
    batch.noise_BTD = batch_noise(LENGTHS, 16, 32, 30.0, range(len(LENGTHS))).double()
    every = []
    for row, lengths in enumerate(LENGTHS):
        for index, length in enumerate(lengths):
            every.append(distance(module, alone(batch, row, sum(lengths[:index]), length)))
    assert sum(value > 1e-3 for value in every) > 10
    assert distance(module, batch) == pytest.approx(sum(every), abs=1e-10)


def in_float64() -> Any:
    """A tiny model without the float32 in which transformers computes norms, whose rounding is larger than a difference."""
    model = tiny_model(VOCABULARY).double()
    for name, norm in list(model.named_modules()):
        if name.endswith("norm"):
            exact = torch.nn.RMSNorm(32, norm.variance_epsilon, dtype=torch.float64)
            model.set_submodule(name, exact)
    return model


def test_the_gradient_is_that_of_the_distance_from_means_that_stand_still() -> None:
    """Central differences in float64 are those with the clean means held; with means of the moved weights they are not."""
    module = PackedLoss(in_float64())
    batch = batch_of([(rows_of(LENGTHS, learned=True), row) for row in range(3)])
    batch.noise_BTD = batch_noise(LENGTHS[:3], 16, 32, 30.0, range(3)).double()
    fixed = clean_means(module, batch)

    def objective(responses: Responses | None = None) -> Tensor:
        sums = module(*batch.tensors(), responses or clean_means(module, batch))
        value: Tensor = sums[0] / 20 + 3 * sums[2] / 7
        return value

    objective(fixed).backward()
    seen, moving = 0.0, 0.0
    for weight in (module.model.model.embed_tokens.weight, module.model.model.layers[1].mlp.down_proj.weight):
        place = divmod(int(weight.grad.abs().argmax()), weight.shape[1])
        slopes = []
        for responses in (fixed, None):
            values = []
            for change in (1e-6, -2e-6):
                with torch.no_grad():
                    weight[place] += change
                    values.append(float(objective(responses)))
            with torch.no_grad():
                weight[place] += 1e-6
            slopes.append((values[0] - values[1]) / 2e-6)
        seen = max(seen, abs(slopes[0] - float(weight.grad[place])))
        moving = max(moving, abs(slopes[1] - float(weight.grad[place])))
    assert seen < 1e-7 < 1e-4 < moving


def test_no_gradient_flows_to_the_clean_means() -> None:
    """Even where they were computed with one."""
    noisy, clean = torch.randn(3, 4, requires_grad=True), torch.randn(3, 4, requires_grad=True)
    summed_distance(noisy, clean).backward()
    assert noisy.grad is not None
    assert clean.grad is None


def test_weight_zero_is_neftune_bit_for_bit_and_the_same_run(tmp_path: Path) -> None:
    """Weights, log and key are those of a run that knows of no consistency; weight 1 has others."""
    zero, plain, one = consistent_run(0.0), replace(consistent_run(), consistency=0.0), consistent_run(1.0)
    results = [trained(tmp_path / str(index), run, double=False) for index, run in enumerate((zero, plain, one))]
    assert same(results[0][1], results[1][1])
    assert not same(results[0][1], results[2][1])
    assert {row.consistency_loss for row in results[0][0].log} == {None}
    keys = [_settings(Training(tiny_model(VOCABULARY), run, {}, tmp_path), NUMERICS) for run in (zero, one)]
    assert keys[1] == keys[0] | {"consistency": 1.0}
    assert "consistency" not in keys[0]


def test_the_log_has_the_distance_and_shares_the_clean_pass(tmp_path: Path) -> None:
    """Of the first step: the losses of NEFTune, noise-free too, and the mean distance of its conversations."""
    run = consistent_run(rows=4)
    (row,) = trained(tmp_path / "a", run)[0].log
    (plain,) = trained(tmp_path / "b", replace(run, consistency=0.0))[0].log
    assert row[:6] == plain[:6]
    assert row.noise_free_loss is not None
    (batch,) = run.micro_batches(0, 0, 1, None, 32)
    expected = distance(PackedLoss(tiny_model(VOCABULARY).double()), batch) / len(batch.responses(True).labels_C)
    assert row.consistency_loss == pytest.approx(expected, abs=1e-6)
    assert expected > 0.01


@pytest.mark.parametrize("alpha", [0.0, 5.0])
def test_without_noise_the_weight_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alpha: float) -> None:
    """NEFTune with alpha 0 and a weight is the run, and has the key, of SFT."""
    tiny_model(VOCABULARY).save_pretrained(tmp_path)
    monkeypatch.setenv(LAUNCH, launch().model_dump_json())
    monkeypatch.setattr(finetuning, "verify", lambda _: None)
    monkeypatch.setattr(PackedRows, "open", lambda _: rows_of(LENGTHS, learned=True))
    section = Sft(**recipe().model_dump(), epochs=2)
    runs = [finetuned(tmp_path, tmp_path, section, "x", 1, alpha=alpha, consistency=weight) for weight in (0.0, 2.0)]
    assert runs[1].run.consistency == (2.0 if alpha else 0.0)
    assert (_settings(runs[0], NUMERICS) == _settings(runs[1], NUMERICS)) is not bool(alpha)


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_only_a_run_with_consistency_has_its_column(tmp_path: Path, weight: float) -> None:
    """The CSV of NEFTune alone has the columns that it had."""
    run = consistent_run(weight)
    state, weights = trained(tmp_path / "run", run, double=False)
    tiny_tokenizer().save_pretrained(tmp_path / "tokenizer")
    asked = Training(tiny_model(VOCABULARY), run, {}, tmp_path / "tokenizer")
    (tmp_path / "made").mkdir()
    _write(asked, {"inputs": {}}, state, weights, None, tmp_path / "made")
    header = (tmp_path / "made" / CURVE).read_text().splitlines()[0]
    assert header == "step,tokens,loss,learning_rate,noise_free_loss" + ",consistency_loss" * bool(weight)


@pytest.mark.parametrize("weight", [0.0, 2.0])
def test_the_live_file_has_the_distance(tmp_path: Path, weight: float) -> None:
    """That of the log, step by step; without a weight there is none."""
    model, file = tiny_model(VOCABULARY), tmp_path / "x.jsonl"
    checkpoint = Checkpoint(tmp_path / "checkpoints", "x", False)
    state, _ = train(model, consistent_run(weight, rows=8), NUMERICS, checkpoint, launch(), None, file)
    shown = [line["consistency_loss"] for line in lines(file)]
    assert len(shown) == 2
    assert shown == [row.consistency_loss and pytest.approx(row.consistency_loss, abs=1e-6) for row in state.log]
    assert all(shown) is bool(weight)


def test_accumulation_and_a_kill_change_nothing(tmp_path: Path) -> None:
    """Micro-batches of one and of three rows: losses to the last digit, weights to 1e-9; a resumed run: each bit."""
    state, weights = trained(tmp_path / "whole", consistent_run())
    for rows in (1, 3):
        again, others = trained(tmp_path / str(rows), consistent_run(), micro_batch_rows=rows)
        assert_close((state.log, weights), (again.log, others))
    with KilledAt(5):
        trained(tmp_path / "killed", consistent_run())
    resumed, others = trained(tmp_path / "killed", consistent_run())
    assert resumed.log == state.log
    assert same(others, weights)


def test_consistency_brings_the_passes_together(tmp_path: Path) -> None:
    """After 40 steps of heavy noise the distance is less than four fifths of what it is without."""
    ends = []
    for weight in (1e-9, 10.0):
        run = consistent_run(weight, rows=160, learning_rate=1e-2, epsilon=1e-8)
        ends.append(trained(tmp_path / str(weight), run, double=False)[0].log[-1].consistency_loss)
    assert ends[0] is not None
    assert ends[1] is not None
    assert ends[1] < 0.8 * ends[0]


def test_a_mixture_and_half_precision_learn_from_it() -> None:
    """Routers' loss and distance are both logged; under bfloat16 the means are compared in float32."""
    module = PackedLoss(tiny_model(VOCABULARY, experts=4))
    batch = consistent_run().micro_batches(0, 0, 1, None, 32)[0]
    sums = module(*batch.tensors(), clean_means(module, batch))
    assert sums.shape == (3,)
    assert (sums > 0).all()
    with torch.autocast("cpu", torch.bfloat16):
        clean = clean_means(module, batch)
    assert clean.clean_CD is not None
    assert clean.clean_CD.dtype == torch.float32


def assert_close(
    one: tuple[list[Logged], Weights], other: tuple[list[Logged], Weights], loss: float = 1.1e-6, weight: float = 1e-9
) -> None:
    """By default losses to their last digit, weights to 1e-9."""
    assert len(one[0]) == len(other[0])
    for ours, theirs in zip(one[0], other[0], strict=True):
        assert ours.loss == pytest.approx(theirs.loss, abs=loss)
        assert ours.consistency_loss == pytest.approx(theirs.consistency_loss, abs=loss)
        assert ours.noise_free_loss == pytest.approx(theirs.noise_free_loss, abs=loss)
    assert all(torch.allclose(one[1][name], other[1][name], rtol=0, atol=weight) for name in one[1])


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes wrote."""
    folder = tmp_path_factory.mktemp("together")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*torchrun, "tests/support/consistency_worker.py", str(folder)],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:]
    return folder


@pytest.mark.parametrize("engine", ENGINES)
def test_two_processes_train_what_one_trains(engine: str, together: Path, tmp_path: Path) -> None:
    """A row at a time, with unequal numbers of conversations and a last step of three rows; fsdp computes twice."""
    state, weights = trained(tmp_path, consistent_run(), engine in FLOAT64)
    log = [Logged(*row) for row in json.loads((together / f"{engine}.json").read_text())]
    ends = (state.log, weights), (log, load_file(together / f"{engine}.safetensors"))
    assert_close(*ends, *((1.1e-6, 1e-9) if engine in FLOAT64 else (1e-5, 1e-5)))
