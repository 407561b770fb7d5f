"""The curve over tokens, and the dip in it: found where it surely is, and told to be none or unknown elsewhere."""

import json
from pathlib import Path

import polars as pl
import pytest

from osler.evaluation.answered import EXPERTS
from osler.evaluation.task_predictions import GENERATIONS
from osler.report.method_sections import curve_blocks
from osler.statistics.claims import Test
from osler.statistics.intervals import Interval
from osler.statistics.token_curve import Point, accuracy_lost, bits_added, curve_points, dip, on_path, path_of
from tests.report.test_report import MODELS, STATISTICS, answers, build, documents, facts, folder, read  # noqa: F401 - a fixture

TEST = Test(0.95, STATISTICS.bootstrap_samples, 1, 5.0, 2.0)
CONFIDENCES: list[float] = []


def worse_of(levels: dict[str, float], half: float) -> object:
    """Differences of `levels`, each known to `half` either way."""

    def worse(model: str, other: str, confidence: float) -> Interval:
        CONFIDENCES.append(confidence)
        lost = levels[other] - levels[model]
        return Interval(lost, lost - half, lost + half)

    return worse


@pytest.mark.parametrize(
    ("levels", "verdict", "worst"),
    [
        ([5, 2], "not tested: 2 points where 3 are needed", None),
        ([5, 5.5, 4.5, 6], "no dip: no point is surely worse than the first", "c"),
        ([5, 3, 2, 6], "a dip and a recovery", "c"),
        ([5, 2, 3, 3.5], "a dip and a partial recovery", "b"),
        ([5, 2, 2.5, 1.9], "worst at the last point: whether it recovers is not known", "d"),
        ([5, 2, 2.5, 2.1], "a dip without sure recovery", "b"),
        ([5, 6, 7], "no dip: no point is surely worse than the first", "b"),
    ],
)
def test_dips_by_eye(levels: list[float], verdict: str, worst: str | None) -> None:
    """Scores known to 1 either way: 4.5 after 5 is no dip, 2 is; 3.5 is more than 2 for sure and still less than 5."""
    names = "abcd"[: len(levels)]
    found = dip(names, worse_of(dict(zip(names, levels, strict=True)), 1.0), 0.95)  # type: ignore[arg-type]
    assert found["verdict"] == verdict
    assert found.get("worst") == worst


def test_the_more_points_the_wider_the_intervals() -> None:
    """With four points after the first each is looked at with an error of 0.05 / 4, and the two after the worst with 0.05 / 2."""
    CONFIDENCES.clear()
    dip("abcde", worse_of(dict(zip("abcde", [5, 4, 1, 3, 6], strict=True)), 0.5), 0.95)  # type: ignore[arg-type]
    assert pytest.approx([0.9875] * 4 + [0.975] * 2) == CONFIDENCES


def test_a_loss_is_paired_by_item_and_by_document() -> None:
    """10 of 40 after 38 of 40 are 70 points less; two documents, each a tenth of a bit a byte more, are known exactly."""
    rows = pl.concat([answers("base", 38), answers("trunk-a", 10)])
    lost = accuracy_lost(rows, "zero_shot")("trunk-a", "base", 0.95)
    assert lost.estimate == pytest.approx(70)
    assert 40 < lost.low < 70 < lost.high < 98
    added = bits_added(pl.concat([documents("base", 1.5), documents("trunk-a", 1.6)]), "general")
    assert [added("trunk-a", "base", 0.95).low, added("base", "trunk-a", 0.95).high] == pytest.approx([0.1, -0.1])


def test_points_stand_on_their_paths() -> None:
    """Both begin with the base model, at 0; fine-tuned models are on none, and without a base model there is no path."""
    seen = {"cpt": 9, "trunk-b": 8, "base": None, "trunk-a": 4, "anneal-a": 5, "base-sft": None, "cpt-neftune": None}
    points = curve_points(seen, {("zero_shot", "cpt"): Interval(0.5, 0.4, 0.6)}, {}, "zero_shot")
    assert [(point.model, point.tokens) for point in points] == [
        ("base", 0), ("trunk-a", 4), ("anneal-a", 5), ("trunk-b", 8), ("cpt", 9),
    ]  # fmt: skip
    assert [point.model for point in on_path(points, "trunk")] == ["base", "trunk-a", "trunk-b"]
    assert [point.model for point in on_path(points, "annealed")] == ["base", "anneal-a", "cpt"]
    assert on_path(points[1:], "trunk") == []
    assert list(points[-1].scores) == ["accuracy"]
    assert path_of("trunks") is None


def test_the_report_says_nothing_of_a_curve_of_two_points() -> None:
    """Base and cpt stand in the other tables."""
    assert curve_blocks([Point("base", 0, {}), Point("cpt", 5, {})], {}, "zero_shot") == []


def test_the_report_finds_the_dip_of_a_trunk(folder: Path) -> None:  # noqa: F811 - the fixture
    """Of 40 items base has 20 right, after 1,000 tokens 2, after 2,000 39; the six models' results stay what they were.

    Without general documents for one point, bits per byte have one point less.
    """
    before = build(folder, "before")
    for model in MODELS:
        documents(model, 2.0).head(2).write_parquet(folder / "predictions" / model / "heldout.parquet")  # clinical
    assert read(build(folder, "none") / "curve.json")["dip"]["annealed"]["general_bits_per_byte"] == {
        "verdict": "not tested: 0 points where 3 are needed",
        "evidence": [{"verdict": "not tested: 0 points where 3 are needed"}],
    }
    for model, right, tokens in (
        ("base", 20, None),
        ("trunk-a", 2, 1000),
        ("trunk-b", 39, 2000),
        ("anneal-b", 39, 2500),
    ):
        place = folder / "predictions" / model
        place.mkdir(exist_ok=True)
        answers(model, right).write_parquet(place / "predictions.parquet")
        documents(model, 2.0).write_parquet(place / "heldout.parquet")
        (place / "model.json").write_text(json.dumps(facts(model, tokens)))
        pl.DataFrame(schema=EXPERTS).write_parquet(place / "experts.parquet")
        pl.DataFrame(schema=GENERATIONS).write_parquet(place / "generations.parquet")
        (folder / f"training/{model}.csv").write_text("step,tokens,loss,learning_rate\n1,512,7.6,0.1\n")
    metrics = build(folder)
    curve = read(metrics / "curve.json")
    assert [(point["model"], point["tokens"]) for point in curve["points"]] == [
        ("base", 0), ("trunk-a", 1000), ("trunk-b", 2000), ("anneal-b", 2500), ("cpt", 4000),
    ]  # fmt: skip
    assert curve["dip"]["trunk"]["accuracy"]["verdict"] == "a dip and a recovery"
    evidence = curve["dip"]["trunk"]["accuracy"]["evidence"][0]
    assert (evidence["worst"], evidence["change"]["estimate"], evidence["recovery"]) == ("trunk-a", 45.0, "trunk-b")
    assert 0 < evidence["change"]["low"] < 45 < evidence["change"]["high"]
    assert curve["dip"]["trunk"]["general_bits_per_byte"]["verdict"].startswith("no dip")
    text = (metrics / "report.md").read_text()
    assert "| `trunk-a` | 1,000 | 5.0 [" in text
    assert "* trunk, accuracy: a dip and a recovery (`trunk-a`: worse by 45.000 [" in text
    table = pl.read_csv(metrics / "plots/curve.csv")
    assert table["accuracy"].to_list()[:3] == [0.5, 0.05, 0.975]
    (folder / "predictions/trunk-a/heldout.parquet").unlink()
    documents("trunk-a", 2.0).filter(pl.col("domain") == "clinical").write_parquet(
        folder / "predictions/trunk-a/heldout.parquet"
    )
    unmeasured = read(build(folder, "unmeasured") / "curve.json")["dip"]["trunk"]
    assert unmeasured["general_bits_per_byte"]["verdict"] == "not tested: 2 points where 3 are needed"
    assert unmeasured["accuracy"] == curve["dip"]["trunk"]["accuracy"]
    claims = [read(where / "claims.json")["cpt_strengthens_sft"] for where in (before, metrics)]
    assert claims[0] == claims[1]


def test_a_point_of_one_seed_compares_on_that_seed() -> None:
    """Base has 38, 20 and 2 of 40 right on seeds 1 to 3, the trunk 10 on seed 1: 70 points less; likewise its documents."""
    base = [answers("base", right, seed=seed) for seed, right in ((1, 38), (2, 20), (3, 2))]
    lost = accuracy_lost(pl.concat([*base, answers("trunk-a", 10)]), "zero_shot")("trunk-a", "base", 0.95)
    assert lost.estimate == pytest.approx(70)
    seeds = [documents("base", bits).with_columns(seed=pl.lit(seed)) for seed, bits in ((1, 1.5), (2, 1.9))]
    rows = pl.concat([*seeds, documents("trunk-a", 1.6).with_columns(seed=pl.lit(1))])
    assert bits_added(rows, "general")("trunk-a", "base", 0.95).estimate == pytest.approx(0.1)
