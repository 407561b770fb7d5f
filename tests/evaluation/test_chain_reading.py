"""One chain read both ways: by the likelihood of what follows it, and by what it says itself."""

from dataclasses import replace

import pytest

from osler.evaluation.exemplars import drawn_exemplars
from osler.evaluation.questions import Item
from tests.evaluation.test_strategies import ITEMS, Recorder, item, last_option, protocol, run


def test_the_same_chain_is_read_both_ways() -> None:
    """Likelihoods say option 3, the chain says 1, and one that names none is no answer; the model writes once an item."""
    model = Recorder(
        last_option, lambda asked, *_: "Hm. So it is test0 option 1." if "test0" in asked.turns[0][1] else "tea"
    )
    rows = run("cot", model, ITEMS[:2], read_chains=True)
    assert rows.select("protocol", "prediction").rows() == [
        *(("full_answer", 3), ("full_answer", 3)),
        *(("chain", 1), ("chain", None)),
    ]
    assert len(model.written) == 2
    assert rows["prompt_tokens"].to_list() == [14, 14, 7, 7]  # the second pass is not the chain's
    assert rows["texts"][2].to_list() == ["Hm. So it is test0 option 1."]
    assert rows.drop("protocol").head(2).equals(run("cot", model, ITEMS[:2]).drop("protocol"))


def test_under_generation_there_is_one_reading() -> None:
    """It is the chain's already."""
    rows = run(
        "cot", Recorder(last_option, lambda *_: "test0 option 1"), ITEMS[:1], protocol("generation"), read_chains=True
    )
    assert rows["protocol"].to_list() == ["generation"]


def test_chains_vote_as_they_say() -> None:
    """Two of three samples say option 2 where all likelihoods say 3."""
    said = iter([f"So it is test{number} option {2 if sample else 0}" for number in range(6) for sample in range(3)])
    rows = run("self_consistency", Recorder(last_option, lambda *_: next(said)), ITEMS, read_chains=True)
    by = {name: own["prediction"].to_list() for (name,), own in rows.partition_by("protocol", as_dict=True).items()}
    assert by == {"full_answer": [3] * 6, "chain": [2] * 6}


@pytest.mark.parametrize("letter", ["B", "C"])
def test_medprompts_members_say_letters_of_their_own_order(letter: str) -> None:
    """Each member names the same place of another order: over whole rotations every option gets as many votes."""
    model = Recorder(last_option, lambda *_: f"Words. The answer is {letter}")
    rows = run("medprompt", model, [item(6)], ensemble=4, read_chains=True)
    by = {row["protocol"]: row for row in rows.iter_rows(named=True)}
    assert by["full_answer"]["prediction"] == 3
    assert by["chain"]["scores"] == [0.25] * 4
    named = Recorder(last_option, lambda *_: "So it is test6 option 1")
    chain = run("medprompt", named, [item(6)], ensemble=4, read_chains=True).filter(protocol="chain")
    assert chain["prediction"].to_list() == [1]


def places(pool: list[Item], shots: int, balanced: bool, draw: int = 0) -> list[int]:
    return [one.answer for one in drawn_exemplars(pool, shots, 1, draw, balanced)]


def test_balanced_exemplars_have_answers_in_each_place() -> None:
    """Of a pool where three of four answers are A, five exemplars have each letter once and one twice; what lacks is filled up."""
    pool = [replace(item(number, "dev"), answer=0 if number % 4 else 1 + number // 4 % 3) for number in range(40)]
    for draw in range(20):
        own = places(pool, 5, True, draw)
        assert sorted(own.count(place) for place in range(4)) == [1, 1, 1, 2]
    assert len({tuple(places(pool, 4, True, draw)) for draw in range(40)}) > 12  # no order of its own
    few = [one for one in pool if one.answer == 0] + [one for one in pool if one.answer == 2][:1]
    assert sorted(places(few, 4, True)) == [0, 0, 0, 2]
    assert places(pool, 5, True, 3) == places(pool, 5, True, 3)


def test_answers_do_not_choose_the_exemplars() -> None:
    """Other answers to the same dev items: the same exemplars in the same order, so that neither tells of an answer."""
    pool = [item(number, "dev") for number in range(30)]
    other = [replace(one, answer=(one.answer + 1 + number % 3) % 4) for number, one in enumerate(pool)]
    for draw in range(10):
        names = [[one.item_id for one in drawn_exemplars(own, 5, 1, draw)] for own in (pool, other)]
        assert names[0] == names[1]
