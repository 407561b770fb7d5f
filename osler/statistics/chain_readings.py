"""The same chains of thought read two ways: by the likelihood of what follows them, and by what they say.

Of strategies that were asked to read their chains (`read_chains`): rows of the headline protocol beside those of the protocol
`chain`.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from osler.evaluation.questions import CHAIN
from osler.statistics.accuracy import item_means, mean_accuracies
from osler.statistics.intervals import Interval, Pairs, difference_interval


@dataclass(frozen=True)
class ChainReading:
    """Accuracies of one strategy and model, as means over benchmarks.

    Args:
        by_likelihood: under the headline protocol.
        by_chain: of what the chains say; one that names no option is wrong.
        difference: the second less the first, item by item.
        unread: answers that named none, of `answers`.
    """

    by_likelihood: Interval
    by_chain: Interval
    difference: Interval
    unread: int
    answers: int


def chain_readings(predictions: pl.DataFrame, protocol: str, confidence: float) -> dict[tuple[str, str], ChainReading]:
    """By strategy and model.

    Args:
        predictions: of all protocols.
        protocol: the headline.
        confidence: of the intervals.
    """
    found = {}
    chains = predictions.filter(protocol=CHAIN)
    for (strategy, model), said in sorted(chains.partition_by("strategy", "model", as_dict=True).items()):
        likely = predictions.filter(protocol=protocol, strategy=strategy, model=model)
        keys = ["benchmark", "item_id", "seed"]
        both = item_means(likely).join(item_means(said).select(*keys, other="correct"), on=keys).sort(keys)
        difference = (both["other"] - both["correct"]).to_numpy().astype(np.float64)
        pairs = Pairs(both["benchmark"].to_list(), both["group"].to_list(), difference, both["seed"].to_list())
        (first,), (second,) = (mean_accuracies(rows, confidence).values() for rows in (likely, said))
        found[str(strategy), str(model)] = ChainReading(
            first, second, difference_interval(pairs, confidence), int(said["prediction"].is_null().sum()), said.height
        )
    return found
