"""Items under a limit, and one answer from several."""

from dataclasses import asdict, replace

import numpy as np

from osler.evaluation.questions import Answer, averaged, in_item_order, limited, predictions, voted
from tests.evaluation.test_strategies import item


def test_averaged_and_voted_by_eye() -> None:
    """Scores go back through the order of their prompt; the second member listed option 1 first."""
    odds = [np.log((0.2, 0.8)), np.log((0.6, 0.4))]
    members = [
        in_item_order(Answer(int(np.argmax(odd)), tuple(odd.tolist()), 10, 1, bool(place), (str(place),)), order)
        for place, (odd, order) in enumerate(zip(odds, [[0, 1], [1, 0]], strict=True))
    ]
    mean = averaged(members)
    assert np.allclose(mean.scores, (0.3, 0.7))
    assert asdict(replace(mean, scores=())) == asdict(Answer(1, (), 20, 2, True, ("0", "1")))
    assert voted(members, "b/1").scores == (0.0, 1.0)
    assert voted([replace(members[0], choice=None)], "b/1").choice is None


def test_no_place_wins_the_ties() -> None:
    """Two options with two votes each win about half of the items each, as the lot of an item says whatever the order of votes."""
    votes = [Answer(choice, (0.0,) * 4, 1, 1, False) for choice in (1, 3, 3, 1)]
    chosen = [voted(votes, f"b/{number}").choice for number in range(400)]
    assert set(chosen) == {1, 3}
    assert 160 <= chosen.count(1) <= 240
    assert chosen == [voted(votes[::-1], f"b/{number}").choice for number in range(400)]
    most = [*votes, votes[0]]
    assert {voted(most, f"b/{number}").choice for number in range(50)} == {1}


def test_a_limit_is_nested_and_blind_to_other_benchmarks() -> None:
    """A smaller limit keeps a subset, and another benchmark changes nothing."""
    items = [item(number) for number in range(40)]
    ten = limited(items, 10, 1)
    assert len(ten) == 10
    assert set(limited(items, 4, 1)) < set(ten)
    assert [one for one in limited([*items, *(item(n, benchmark="c") for n in range(9))], 10, 1) if one in items] == ten
    assert limited(items, 10, 2) != ten
    assert limited(items, None, 1) == items


def test_an_option_listed_twice_is_one_answer() -> None:
    """To choose the other one of the same text is right, as if the answer were chosen; another option is not."""
    twins = replace(item(1), options=("fever", "rash", "cough", "rash "), answer=3)
    answers = [Answer(choice, (0.0,) * 4, 1, 0, False) for choice in (0, 1, 3, None)]
    found = predictions([twins] * 4, answers, "letter", 1)
    assert found["correct"].to_list() == [False, True, True, False]
    assert found["prediction"].to_list() == [0, 3, 3, None]
