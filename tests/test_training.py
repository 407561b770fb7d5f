"""The training loop: documents do not see each other, the loss is what is meant, a killed run ends as if it was not."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stages.lib.checkpoints import Checkpoint
from stages.lib.mixture import row_order
from stages.lib.recipe import Recipe, learning_rate
from stages.lib.section import BuildError
from stages.lib.shards import PackedRows
from stages.lib.training import IGNORED, PackedLoss, Run, batch_of, train
from tests.tiny import NUMERICS, launch, tiny_model

VOCABULARY, WIDTH = 50, 16


def rows_of(lengths: list[list[int]], seed: int = 0, learned: bool = False) -> PackedRows:
    """Rows of WIDTH random tokens with the given segments; with `learned`, labels on every second token."""
    rng = np.random.default_rng(seed)
    tokens = rng.integers(3, VOCABULARY, (len(lengths), WIDTH)).astype(np.uint16)
    labels = np.tile(np.arange(WIDTH) % 2, (len(lengths), 1)).astype(np.uint8) if learned else None
    ends = np.cumsum([len(row) for row in lengths])
    return PackedRows(tokens, ends, np.array([n for row in lengths for n in row], np.int32), labels)


def recipe(**changes: Any) -> Recipe:
    values: dict[str, Any] = {
        "batch_tokens": 2 * WIDTH,
        "learning_rate": 1e-2,
        "final_learning_rate_fraction": 0.1,
        "warmup_fraction": 0.1,
        "weight_decay": 0.1,
        "betas": (0.9, 0.98),
        "epsilon": 1e-8,
        "gradient_clip": 1.0,
        "checkpoint_every_steps": 3,
    }
    return Recipe(**values | changes)


def a_run(alpha: float = 0.0, rows: int = 20, **changes: Any) -> Run:
    packed = rows_of([[9, 4], [16]] * 5)
    return Run("test", {"x": packed}, row_order({"x": rows}, {"x": 10}, 1), recipe(**changes), 3, alpha)


def weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


def test_a_packed_document_is_read_as_if_it_were_alone() -> None:
    """Hidden states of each segment of three rows packed together agree to 1e-5 with those of the segment by itself."""
    model = PackedLoss(tiny_model(VOCABULARY))
    lengths = [[5, 7, 4], [1, 1, 10], [16]]
    batch = batch_of([(rows_of(lengths), row) for row in range(3)])
    with torch.no_grad():
        packed, _ = model.hidden(batch.tokens_BT, batch.positions_BT, None)
        for row, segments in enumerate(lengths):
            start = 0
            for length in segments:
                alone = batch.tokens_BT[row : row + 1, start : start + length]
                expected, _ = model.hidden(alone, torch.arange(length)[None], None)
                assert torch.allclose(packed[row, start : start + length], expected[0], atol=1e-5)
                start += length


def test_no_token_moves_another_documents_output() -> None:
    """Changing every token of one segment changes no hidden state outside it."""
    model = PackedLoss(tiny_model(VOCABULARY))
    batch = batch_of([(rows_of([[5, 7, 4]]), 0)])
    changed = batch.tokens_BT.clone()
    changed[0, 5:12] = (changed[0, 5:12] + 1) % VOCABULARY
    with torch.no_grad():
        before, _ = model.hidden(batch.tokens_BT, batch.positions_BT, None)
        after, _ = model.hidden(changed, batch.positions_BT, None)
    moved = (before != after).any(-1)[0]
    assert not moved[:5].any()
    assert moved[5:12].all()
    assert not moved[12:].any()


def test_labels_by_hand() -> None:
    """The next token within the segment; nothing at segment ends, in padding, and where the next token is not learned."""
    rows = rows_of([[3, 2]])
    tokens = rows.tokens_RT[0].tolist()
    batch = batch_of([(rows, 0)])
    assert batch.labels_BT[0].tolist() == [tokens[1], tokens[2], IGNORED, tokens[4], *[IGNORED] * 12]
    assert batch.positions_BT[0].tolist() == [0, 1, 2, 0, 1, *range(11)]
    learned = batch_of(
        [(PackedRows(rows.tokens_RT, rows.row_ends_R, rows.lengths_S, rows_of([[1]], learned=True).labels_RT), 0)]
    )
    assert learned.labels_BT[0].tolist() == [tokens[1], IGNORED, IGNORED, IGNORED, *[IGNORED] * 12]


def test_the_loss_is_the_sum_over_labels_of_the_models_own_cross_entropy() -> None:
    """On one document per row it equals transformers' mean loss times the number of labels."""
    model = tiny_model(VOCABULARY)
    batch = batch_of([(rows_of([[16], [16]]), row) for row in (0, 1)])
    with torch.no_grad():
        ours, _ = PackedLoss(model)(batch.tokens_BT, batch.positions_BT, batch.labels_BT, batch.kept_BT, None)
        theirs = model(input_ids=batch.tokens_BT, labels=batch.tokens_BT, use_cache=False).loss
    assert float(ours) == pytest.approx(float(theirs) * 30, rel=1e-5)


def test_alpha_zero_is_plain_training_bit_for_bit_and_alpha_five_is_not(tmp_path: Path) -> None:
    """NEFTune without noise is SFT."""
    results = []
    for index, alpha in enumerate((0.0, 0.0, 5.0)):
        model = tiny_model(VOCABULARY)
        train(model, a_run(alpha), NUMERICS, Checkpoint(tmp_path / str(index), "code", False), launch())
        results.append(weights(model))
    assert same(results[0], results[1])
    assert not same(results[0], results[2])


class Killed(Exception):
    """Stands for kill -9."""


@pytest.mark.parametrize("alpha", [0.0, 5.0])
@pytest.mark.parametrize("last_step", [4, 7])
def test_a_resumed_run_ends_with_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alpha: float, last_step: int
) -> None:
    """Weights and loss log of a run killed between checkpoints and resumed equal those of an uninterrupted one."""
    model = tiny_model(VOCABULARY)
    state, _ = train(model, a_run(alpha), NUMERICS, Checkpoint(tmp_path / "whole", "code", False), launch())
    original = Run.global_batch

    def killed(run: Run, step: int) -> Any:
        if step == last_step:
            raise Killed
        return original(run, step)

    monkeypatch.setattr(Run, "global_batch", killed)
    with pytest.raises(Killed):
        train(tiny_model(VOCABULARY), a_run(alpha), NUMERICS, Checkpoint(tmp_path / "part", "code", False), launch())
    monkeypatch.undo()
    resumed = tiny_model(VOCABULARY)
    torch.manual_seed(99)  # whatever state the new process starts in
    again, _ = train(resumed, a_run(alpha), NUMERICS, Checkpoint(tmp_path / "part", "code", False), launch())
    assert same(weights(model), weights(resumed))
    assert again.log == state.log
    assert again.tokens == state.tokens == 20 // 2 * (13 + 16)


def test_the_rate_warms_up_and_falls_to_its_floor() -> None:
    """10 of 100 steps up to the peak, cosine down to a tenth of it."""
    rates = [learning_rate(recipe(), step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(1e-3)
    assert max(rates) == rates[9] == pytest.approx(1e-2)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(1e-3)


def test_a_batch_that_is_no_whole_number_of_rows_is_refused() -> None:
    """The message names both params."""
    with pytest.raises(BuildError, match=r"batch_tokens of test: 33 .* pack.sequence_length_tokens 16"):
        a_run(batch_tokens=33).steps()


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    """A diverged model is not written."""
    model = tiny_model(VOCABULARY)
    with torch.no_grad():
        model.lm_head.weight.fill_(float("inf"))
    with pytest.raises(BuildError, match="lower the learning rate"):
        train(model, a_run(), NUMERICS, Checkpoint(tmp_path, "code", False), launch())


def test_the_loss_without_noise_is_that_of_the_same_weights_and_rows(tmp_path: Path) -> None:
    """Of the first step under heavy noise it is the loss of the run without noise, which has none of its own."""
    clean, _ = train(
        tiny_model(VOCABULARY), a_run(0.0, rows=2), NUMERICS, Checkpoint(tmp_path / "a", "", False), launch()
    )
    noisy, _ = train(
        tiny_model(VOCABULARY), a_run(1e3, rows=2), NUMERICS, Checkpoint(tmp_path / "b", "", False), launch()
    )
    assert noisy.log[0].noise_free_loss == clean.log[0].loss != noisy.log[0].loss
    assert clean.log[0].noise_free_loss is None
