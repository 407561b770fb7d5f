"""What prompts begin with is read once, chosen by what it saves, and no token sees what is not its own."""

import random

import pytest
import torch

from osler.inference.prefix_cache import (
    CACHED_PER_READ,
    Prefix,
    begun_batches,
    shared_batches,
    shared_lengths,
    tree_attention,
)
from tests.support.tiny import tiny_model


def test_tree_attention_by_eye() -> None:
    """Prompt of 2, options of 2 and 1, one of padding: the second option sees the prompt and itself only."""
    segments, positions = torch.tensor([[0, 0, 1, 1, 2, -1]]), torch.tensor([[0, 1, 2, 3, 2, 0]])
    expected = ["100000", "110000", "111000", "111100", "110010", "000001"]
    for reading in (6, 4, 1):
        seen = tree_attention(segments, positions, reading, None)[0, 0].int().tolist()
        assert ["".join(map(str, row)) for row in seen] == expected[-reading:]
    seen = tree_attention(segments, positions, 6, 2)[0, 0].int().tolist()
    assert ["".join(map(str, row)) for row in seen] == ["100000", "110000", "011000", "001100", "010010", "000001"]


def test_a_mask_takes_effect_beside_a_cache() -> None:
    """Text read in two parts has the states of one pass, and tokens of another segment do not change them."""
    model = tiny_model(200)
    whole = Prefix(model, 1).read([[1, 5, 6, 7, 8, 9]], [range(6)])
    context = Prefix(model, 1)
    parts = [context.read([[1, 5, 6]], [range(3)]), context.read([[90, 91, 7]], [[3, 4, 3]], [[1, 1, 2]])[:, 2:]]
    assert torch.cat(parts, dim=1)[0].allclose(whole[0, :4], atol=1e-5)
    leaking = Prefix(model, 1).read([[1, 5, 6, 90, 91, 7]], [[0, 1, 2, 3, 4, 3]])
    assert not leaking[0, -1].allclose(whole[0, 3], atol=1e-2)


def test_rows_of_a_context_go_on_by_themselves() -> None:
    """A context chosen twice is read on in two ways, and the one it was chosen from is as before."""
    model = tiny_model(200)
    context = Prefix(model, 2)
    context.read([[1, 5, 6], [1, 9]], [range(3), range(2)])
    both = context.rows([1, 0, 1]).read([[7], [7], [8]], [[2], [3], [2]])[:, 0]
    for row, text in zip(both, ([1, 9, 7], [1, 5, 6, 7], [1, 9, 8]), strict=True):
        assert row.allclose(Prefix(model, 1).read([text], [range(len(text))])[0, -1], atol=1e-5)
    again = context.rows([0]).read([[7]], [[3]])[0, 0]
    assert again.allclose(both[1], atol=1e-5)


def test_what_is_shared_saves_most() -> None:
    """Ten rows after 20 tokens share them; of two halves that go on alike for 30 more each half shares all its 50."""
    start, left, right = list(range(20)), list(range(100, 130)), list(range(200, 230))
    assert shared_lengths([[*start, index + 50] for index in range(10)]) == [20] * 10
    halves = [[*start, *side, 40 + index] for side in (left, right) for index in range(5)]
    assert shared_lengths(halves) == [50] * 10
    assert shared_lengths([*halves, [*start, 1], [7]]) == [50] * 10 + [0, 0]


def test_little_is_not_shared() -> None:
    """Less than 8 tokens are read with each row, and so is a row that begins like no other."""
    assert shared_lengths([[*range(7), 500 + index] for index in range(9)]) == [0] * 9
    assert shared_lengths([list(range(90))]) == [0]


def test_equal_rows_share_all() -> None:
    """Samples of one prompt have the whole of it in common, also beside a prompt that goes on after it."""
    assert shared_lengths([list(range(20))] * 4) == [20] * 4
    assert shared_lengths([list(range(20))] * 4 + [list(range(25))]) == [20] * 5
    assert shared_lengths([]) == []


def test_shared_batches_hold_every_row_once_within_the_limits() -> None:
    """Neither what is read, nor the beginnings, nor the cache of a batch is larger than allowed, except of one row."""
    source = random.Random(4)
    stems = [[stem, *range(source.randint(16, 60))] for stem in range(300, 306)]
    rows = [[*source.choice(stems), *range(400, 400 + source.randint(1, 20))] for _ in range(60)] + [[1] * 9, [2] * 200]
    after = [source.randint(0, 9) for _ in rows]
    shared = shared_lengths([row[:-1] for row in rows])
    assert 0 < shared.count(0) < len(rows)
    found = list(shared_batches(rows, shared, after, 5, 100))
    assert sorted(index for batch in found for index in batch) == list(range(len(rows)))
    for batch in found:
        rest = max(len(rows[index]) - shared[index] + after[index] for index in batch)
        beginnings = {tuple(rows[index][: shared[index]]) for index in batch}
        width = max(map(len, beginnings))
        assert len({shared[index] > 0 for index in batch}) == 1
        assert len(batch) == 1 or len(batch) * rest <= 100
        assert len(beginnings) == 1 or len(beginnings) * width <= 100
        assert len(batch) == 1 or len(batch) * (width + rest + 5) <= CACHED_PER_READ * 100


def test_a_beginning_is_read_once_for_all_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Solved questions before every question are read in one pass, however many batches the questions take."""
    model, read = tiny_model(200), []
    plain = Prefix.read

    def counted(context: Prefix, ids: list[list[int]], *rest: object) -> torch.Tensor:
        read.append(sum(map(len, ids)))
        return plain(context, ids, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Prefix, "read", counted)
    rows = [[*range(20, 60), 100 + index, 7] for index in range(30)]
    batches = list(begun_batches(model, rows, [0] * 30, 0, 40, "reading"))
    assert len(batches) > 1
    assert read == [40]
    read.clear()
    batches = list(begun_batches(model, rows, [0] * 30, 0, 20, "reading"))
    assert len(batches) == 10  # of 3 rows, what the cache holds, although the beginning is longer than one pass
    assert read == [40]
