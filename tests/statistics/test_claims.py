"""Verdicts follow from intervals, say when they rest on too few seeds or cannot be given, and correct for their number."""

from typing import Any

import polars as pl
import pytest

from osler.statistics.claims import Arm, Claim, Contrast, Rule, Test, claim_outcome, claims, outcomes, paired, verdict
from osler.statistics.intervals import Interval

TEST = Test(confidence=0.95, samples=400, seed=3, little_points=5.0, equivalence_points=5.0)
ITEMS = 60


def answers(right: dict[tuple[str, str], int], seeds: int = 1, items: int = ITEMS, draws: int = 1) -> pl.DataFrame:
    """For each (model, strategy), that many of `items` items right, the first ones, in each draw one fewer."""
    return pl.DataFrame(
        [
            {
                "benchmark": "b",
                "group": f"g{number}",
                "item_id": f"b/{number:03d}",
                "strategy": strategy,
                "protocol": "full_answer",
                "model": model,
                "seed": seed,
                "draw": draw,
                "correct": number < count - draw,
            }
            for (model, strategy), count in right.items()
            for seed in range(seeds)
            for draw in range(draws)
            for number in range(items)
        ]
    )


def outcome(key: str, right: dict[tuple[str, str], int], seeds: int = 1) -> dict[str, Any]:
    return dict(outcomes(answers(right, seeds), TEST)[key])


@pytest.mark.parametrize(
    ("rule", "low", "high", "expected"),
    [
        ("gain", 0.01, 0.2, "supported"),
        ("gain", 0.0, 0.2, "undecided"),
        ("gain", -0.01, 0.01, "equivalent"),
        ("gain", -0.2, -0.01, "contradicted"),
        ("little", -0.3, 0.04, "supported"),
        ("little", 0.01, 0.06, "undecided"),
        ("little", 0.06, 0.2, "contradicted"),
        ("gain_of_each", 0.01, 0.2, "supported"),
        ("gain_of_each", -0.2, -0.01, "contradicted"),
    ],
)
def test_verdicts_by_eye(rule: Rule, low: float, high: float, expected: str) -> None:
    """Only an interval wholly on one side of 0, or of the margin of 5 points, decides."""
    interval = Interval((low + high) / 2, low, high)
    assert verdict(rule, interval, [interval], [interval], 0.05, high < 0.05) == expected


def test_each_means_each() -> None:
    """One model without a sure gain leaves it undecided, however large the mean; one sure loss contradicts."""
    gain, none, loss = Interval(0.3, 0.2, 0.4), Interval(0.0, -0.1, 0.1), Interval(-0.3, -0.4, -0.2)
    assert verdict("gain_of_each", gain, [gain, none], [gain, none], 0.05, True) == "undecided"
    assert verdict("gain_of_each", gain, [gain, loss], [gain, loss], 0.05, True) == "contradicted"
    assert verdict("gain_of_each", gain, [gain, loss], [gain, none], 0.05, True) == "undecided"


def test_claims_name_models_of_the_build() -> None:
    """Four claims; each contrast of the first three is zero-shot, and the last has one for each model."""
    found = {claim.key: claim for claim in claims(["base", "cpt"])}
    assert len(found) == 4
    assert [one.name for one in found["neftune_beats_sft"].contrasts] == [
        "base-neftune - base-sft",
        "cpt-neftune - cpt-sft",
    ]
    assert [one.better for one in found["medprompt_beats_zero_shot"].contrasts] == [
        Arm("base", "medprompt"),
        Arm("cpt", "medprompt"),
    ]


def test_an_effect_is_in_points_of_the_better_arm() -> None:
    """40 of 60 against 10 of 60 are 50 points, with an interval around them, a small p, and one seed."""
    found = outcome("cpt_strengthens_sft", {("cpt-sft", "zero_shot"): 40, ("base-sft", "zero_shot"): 10})
    assert found["effect_points"] == 50.0
    assert 30 < found["low_points"] < 50 < found["high_points"] < 70
    assert found["p"] < 0.01
    assert found["contrasts"]["cpt-sft - base-sft"]["mcnemar_p"] == pytest.approx(2**-29, rel=1e-3)
    assert (found["items"], found["groups"], found["seeds"], found["verdict"]) == (60, 60, 1, "supported on 1 seed")
    assert found["tost_p"] > 0.99
    assert found["no_loss_p"] < 1e-6
    assert found["effect_points"] - found["low_points"] < found["minimum_detectable_points"] < 25


def test_three_seeds_drop_the_warning() -> None:
    """With three seeds the verdict stands alone; items are still counted once."""
    found = outcome("cpt_strengthens_sft", {("cpt-sft", "zero_shot"): 40, ("base-sft", "zero_shot"): 10}, seeds=3)
    assert (found["items"], found["seeds"], found["verdict"]) == (60, 3, "supported")


def test_more_seeds_of_the_same_items_do_not_make_items() -> None:
    """Three equal seeds give the interval of one: what is drawn is groups of items."""
    right = {("cpt-sft", "zero_shot"): 33, ("base-sft", "zero_shot"): 30}
    one, three = (outcome("cpt_strengthens_sft", right, seeds) for seeds in (1, 3))
    assert three["low_points"] == pytest.approx(one["low_points"])


def test_little_is_undecided_between() -> None:
    """No gain at all on 60 items is little (3 items of 60 are 5 points); a gain of 50 points is not; 5 cannot be told."""
    right = {("base", "zero_shot"): 10}
    verdicts = [
        outcome("cpt_alone_gives_little", right | {("cpt", "zero_shot"): count})["verdict"] for count in (10, 40, 13)
    ]
    assert verdicts == ["supported on 1 seed", "contradicted on 1 seed", "undecided on 1 seed"]


def test_a_mean_over_inits_is_reported_with_its_parts() -> None:
    """Ten points up from one start and ten down from the other are none on average, and both are shown."""
    found = outcome(
        "neftune_beats_sft",
        {
            ("base-sft", "zero_shot"): 20,
            ("base-neftune", "zero_shot"): 26,
            ("cpt-sft", "zero_shot"): 50,
            ("cpt-neftune", "zero_shot"): 44,
        },
    )
    assert found["effect_points"] == 0.0
    assert [part["effect_points"] for part in found["contrasts"].values()] == [10.0, -10.0]
    assert found["verdict"] == "undecided on 1 seed"


def test_a_missing_arm_is_said_not_guessed() -> None:
    """A build without base-sft has no verdict on it, and no numbers."""
    found = outcome("cpt_strengthens_sft", {("cpt-sft", "zero_shot"): 40})
    assert found["verdict"] == "not tested: no predictions for cpt-sft - base-sft"
    assert "effect_points" not in found


def test_pairs_are_of_shared_items_and_seeds() -> None:
    """A strategy that answered fewer items is compared on those; other seeds are not mixed in."""
    frame = pl.concat(
        [
            answers({("a", "zero_shot"): 5}, seeds=2, items=10),
            answers({("a", "few_shot"): 5}, seeds=1, items=7),
        ]
    )
    rows = paired(frame, Contrast(Arm("a", "few_shot"), Arm("a", "zero_shot")))
    assert rows.height == 7
    assert rows["better"].to_list() == rows["worse"].to_list()


def test_outcomes_hold_what_metrics_files_can() -> None:
    """Only numbers, strings and mappings: DVC drops lists, and NaN never equals itself."""

    def check(value: object) -> None:
        if isinstance(value, dict):
            for inner in value.values():
                check(inner)
        else:
            assert isinstance(value, int | float | str)
            assert value == value

    for claim in claims(["base"]):
        check(claim_outcome(claim, answers({("base", "zero_shot"): 9, ("base", "medprompt"): 9}), TEST))


def test_points_of_a_curve_are_in_no_claim() -> None:
    """A trunk that is evaluated for the curve changes no verdict."""
    named = {contrast.name for claim in claims(["base", "trunk-a", "anneal-a"]) for contrast in claim.contrasts}
    assert "base: medprompt - zero_shot" in named
    assert not any("trunk" in name or "anneal" in name for name in named)


def test_two_models_that_always_agree_are_equivalent_where_items_are_many() -> None:
    """All 600 answers the same: no gain beyond 5 points either way. Of 20 items nothing of the kind can be said."""
    right = {("cpt-sft", "zero_shot"): 10, ("base-sft", "zero_shot"): 10}
    verdicts = [
        str(outcomes(answers(right, items=items), TEST)["cpt_strengthens_sft"]["verdict"]) for items in (600, 20)
    ]
    assert verdicts == ["equivalent on 1 seed", "undecided on 1 seed"]


def test_draws_are_averaged_within_an_item() -> None:
    """40, 39 and 38 of 60 right in three draws against 10: item 39 counts a third, and McNemar's test does not apply."""
    few, plain = answers({("a", "few_shot"): 40}, draws=3), answers({("a", "zero_shot"): 10})
    contrast = Contrast(Arm("a", "few_shot"), Arm("a", "zero_shot"))
    rows = paired(pl.concat([few, plain]), contrast)
    assert rows.filter(pl.col("item_id") == "b/039")["better"].to_list() == [pytest.approx(1 / 3)]
    found = claim_outcome(Claim("k", "s", (contrast,), "gain"), pl.concat([few, plain]), TEST)
    assert (found["effect_points"], found["items"]) == (48.3333, 60)
    assert "mcnemar_p" not in found["contrasts"][contrast.name]


def test_protocols_are_never_mixed() -> None:
    """Rows of two protocols are refused: a claim is about one."""
    rows = answers({("cpt", "zero_shot"): 10, ("base", "zero_shot"): 9})
    both = pl.concat([rows, rows.with_columns(protocol=pl.lit("letter"))])
    with pytest.raises(ValueError, match="several protocols"):
        outcomes(both, TEST)


def test_only_models_that_were_prompted_are_in_the_last_claim() -> None:
    """With medprompt for the final model alone, its contrast is the only one, and the claim is tested."""
    right = {("base", "zero_shot"): 9, ("cpt-neftune", "zero_shot"): 9, ("cpt-neftune", "medprompt"): 50}
    found = outcome("medprompt_beats_zero_shot", right)
    assert list(found["contrasts"]) == ["cpt-neftune: medprompt - zero_shot"]
    assert found["verdict"] == "supported on 1 seed"
    assert outcome("medprompt_beats_zero_shot", {("base", "zero_shot"): 9})["verdict"] == (
        "not tested: no predictions for any model"
    )


def test_p_values_are_corrected_over_all_claims() -> None:
    """Five contrasts of three claims: the smallest p counts five times, and a claim of one contrast repeats its own."""
    right = {
        (model, "zero_shot"): n
        for model, n in {"base": 20, "cpt": 26, "base-sft": 20, "cpt-sft": 25, "base-neftune": 27}.items()
    }
    found = outcomes(answers(right | {("cpt-neftune", "zero_shot"): 25, ("base", "medprompt"): 23}), TEST)
    tested = [contrast for claim in found.values() for contrast in claim["contrasts"].values()]
    assert len(tested) == 5
    order = sorted(tested, key=lambda contrast: contrast["p"])
    assert order[0]["holm_p"] == pytest.approx(5 * order[0]["p"], abs=1e-5)
    assert all(contrast["holm_p"] >= contrast["p"] for contrast in tested)
    assert found["cpt_strengthens_sft"]["holm_p"] == tested[1]["holm_p"]
    assert "holm_p" not in found["neftune_beats_sft"]


def shifted(counts: dict[str, list[int]], items: int = 300) -> pl.DataFrame:
    """Zero-shot answers of models: the first so many items right, a number for each seed from 0."""
    frames = [
        answers({(model, "zero_shot"): count}, items=items).with_columns(seed=pl.lit(seed, pl.Int64))
        for model, own in counts.items()
        for seed, count in enumerate(own)
    ]
    return pl.concat(frames)


def test_seeds_that_disagree_take_a_verdict_back() -> None:
    """30 points of 300 items are sure on one seed; with seeds of 30, 2 and 25 points they are not, on two not even of 30 and 25."""
    one = shifted({"base-sft": [100], "cpt-sft": [190]})
    three = shifted({"base-sft": [100] * 3, "cpt-sft": [190, 106, 175]})
    two = shifted({"base-sft": [100] * 2, "cpt-sft": [190, 175]})
    found = [outcomes(rows, TEST)["cpt_strengthens_sft"] for rows in (one, three, two)]
    assert [own["verdict"] for own in found] == ["supported on 1 seed", "undecided", "supported on 2 seeds"]
    assert found[1]["effect_points"] == pytest.approx((90 + 6 + 75) / 9, abs=1e-3)
    assert found[1]["low_points"] < 0 < found[1]["high_points"]
    assert found[1]["p"] > 0.05 > found[0]["p"]
    assert found[1]["minimum_detectable_points"] > 3 * found[0]["minimum_detectable_points"]
    assert found[2]["high_points"] - found[2]["low_points"] > 2 * (found[0]["high_points"] - found[0]["low_points"])


def test_differences_are_within_a_seed() -> None:
    """Seeds of 20, 50 and 80 % that all gain 10 points: a sure gain, since what a seed does to both cancels."""
    rows = shifted({"base-sft": [60, 150, 240], "cpt-sft": [90, 180, 270]})
    found = outcomes(rows, TEST)["cpt_strengthens_sft"]
    assert found["verdict"] == "supported"
    assert found["low_points"] > 5


def test_a_claim_rests_on_the_seeds_of_all_its_contrasts() -> None:
    """NEFTune from base on three seeds and from cpt on the first: the mean of both is of that seed, and says so."""
    rows = shifted({"base-sft": [60] * 3, "base-neftune": [90] * 3, "cpt-sft": [60], "cpt-neftune": [120]})
    found = outcomes(rows, TEST)["neftune_beats_sft"]
    assert (found["seeds"], found["verdict"]) == (1, "supported on 1 seed")
    assert found["effect_points"] == pytest.approx(15)
    assert [part["seeds"] for part in found["contrasts"].values()] == [3, 1]
