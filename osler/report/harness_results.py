"""Accuracies in the results format of lm-evaluation-harness, for programs that read it.

A file is of one model, strategy and protocol. `acc` is a mean over the items that were asked, of their means over draws and
training seeds. `acc_stderr` is the harness's: items are independent and seeds the same. For one seed and one draw both are
what the harness would say of these answers. Osler's own interval, over groups and seeds, stands under `osler`.

Source:
    lm-evaluation-harness 0.4.13, evaluator.py, and mean_stderr in api/metrics.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from osler.statistics.accuracy import accuracies, item_means


@dataclass(frozen=True)
class BenchmarkFacts:
    """What is known of a benchmark besides its answers.

    Args:
        items: of its test split.
        version: a hash of them.
    """

    items: int
    version: str


def harness_results(
    answers: pl.DataFrame, facts: Mapping[str, BenchmarkFacts], shots: int, files: str, confidence: float
) -> dict[str, Any]:
    """The contents of a results file.

    Args:
        answers: predictions of one model, strategy and protocol.
        facts: by benchmark.
        shots: solved questions before each one.
        files: hash of the model's files.
        confidence: of the intervals under `osler`.
    """
    model, strategy, protocol = (answers[name][0] for name in ("model", "strategy", "protocol"))
    shares = {name: share for (name, _, _), share in accuracies(answers, confidence).items()}
    means = item_means(answers).group_by("benchmark", "item_id").agg(pl.col("correct").mean()).sort("item_id")
    results, own = {}, {}
    for name, share in shares.items():
        scores = means.filter(pl.col("benchmark") == name)["correct"].to_numpy()
        error = float(np.std(scores, ddof=1) / len(scores) ** 0.5) if len(scores) > 1 else "N/A"
        results[name] = {"alias": name, "acc,none": float(scores.mean()), "acc_stderr,none": error}
        own[name] = {"low": share.share.low, "high": share.share.high, "groups": share.groups}
    options = {"metric": "acc", "aggregation": "mean", "higher_is_better": True}
    return {
        "results": results,
        "configs": {
            name: {"task": name, "num_fewshot": shots, "metric_list": [options], "metadata": {"version": facts[name].version}}
            for name in results
        },
        "versions": {name: facts[name].version for name in results},
        "n-shot": dict.fromkeys(results, shots),
        "higher_is_better": {name: {"acc": True} for name in results},
        "n-samples": {
            name: {"original": facts[name].items, "effective": shares[name].items} for name in results
        },
        "config": {"model": "osler", "model_args": {"pretrained": f"models/{model}", "files": files}},
        "model_name": model,
        "osler": {
            "strategy": strategy,
            "protocol": protocol,
            "seeds": sorted(answers["seed"].unique().to_list()),
            "confidence": confidence,
            "intervals": own,
        },
    }  # fmt: skip
