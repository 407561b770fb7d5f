"""What an adapter adds to the model that it stands on.

Differences of accuracy on the same items, seeds and strategy, with the tests of claims. They are no claims: Holm's correction is
over the adapters' own differences, and those of the claims stay as they are without an adapter.
"""

from collections.abc import Mapping
from typing import Any

import polars as pl

from osler.evaluation.strategies.order import strategies_in_order
from osler.statistics.accuracy import in_order
from osler.statistics.claims import Arm, Claim, Contrast, Test, claim_outcome
from osler.statistics.paired_tests import holm

ADAPTERS = "adapter-"  # of the names of their models
VERDICTS = {"supported": "gain", "contradicted": "loss"}  # of the rule `gain`; the others keep their word


def bases(models: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Adapter -> the model below it, where both were asked.

    Args:
        models: the contents of model.json by model. The base is known by the hash of its files.
    """
    files = {own["files"]: name for name, own in models.items()}
    below = {
        name: files.get(own["provenance"].get("inputs", {}).get("model"))
        for name, own in models.items()
        if name.startswith(ADAPTERS)
    }
    return {name: base for name, base in below.items() if base is not None}


def adapter_effects(
    predictions: pl.DataFrame, below: Mapping[str, str], test: Test
) -> dict[str, dict[str, dict[str, Any]]]:
    """Adapter -> strategy -> its difference from its base.

    Args:
        predictions: rows of `results/predictions` in one protocol.
        below: the base of each adapter, see `bases`.
        test: how to test.
    Returns:
        The keys of a claim's outcome, `base`, and mcnemar_p where it applies. The verdict is gain, loss, equivalent or undecided;
        of fewer than three seeds it says on how many. Strategies that both were not asked under the same seed are left out.
    """
    found: dict[str, dict[str, dict[str, Any]]] = {}
    strategies = strategies_in_order(predictions["strategy"].unique().to_list())
    for adapter in in_order(below):
        for strategy in strategies:
            pair = Contrast(Arm(adapter, strategy), Arm(below[adapter], strategy))
            outcome = claim_outcome(Claim(adapter, "", (pair,), "gain"), predictions, test)
            if "effect_points" not in outcome:
                continue
            (own,) = outcome.pop("contrasts").values()
            word, _, rest = outcome["verdict"].partition(" ")
            told = {"base": below[adapter], "verdict": f"{VERDICTS.get(word, word)} {rest}".strip()}
            kept = {key: value for key, value in outcome.items() if key not in ("sentence", "rule")}
            found.setdefault(adapter, {})[strategy] = kept | own | told
    tested = [effect for of_adapter in found.values() for effect in of_adapter.values()]
    for effect, adjusted in zip(tested, holm([effect["p"] for effect in tested]), strict=True):
        effect["holm_p"] = round(adjusted, 6)
    return found
