"""Results as the Hub shows them beside a model: `model-index` of a card's front matter.

Source:
    Hugging Face's model card specification, https://github.com/huggingface/hub-docs/blob/main/modelcard.md.
"""

from typing import Any

from osler.report.findings import Findings

TASK = {"type": "multiple-choice", "name": "Multiple-choice questions"}


def model_index(name: str, found: Findings) -> list[dict[str, Any]]:
    """Accuracies of one model, in percent, by benchmark and strategy.

    A benchmark goes by its name in params.yaml, since which data set of the Hub its files are is not known.
    """
    results = []
    for benchmark in sorted(found.chance):
        metrics = [
            {
                "type": "accuracy",
                "value": round(100 * cell.share.estimate, 1),
                "name": f"accuracy in percent, {strategy}, {found.protocol}",
                "args": {
                    "strategy": strategy,
                    "protocol": found.protocol,
                    "items": cell.items,
                    "seeds": cell.seeds,
                    "confidence": found.confidence,
                    "low": round(100 * cell.share.low, 1),
                    "high": round(100 * cell.share.high, 1),
                },
            }
            for strategy in found.strategies
            if (cell := found.cells.get((benchmark, strategy, name)))
        ]
        if metrics:
            dataset = {"type": benchmark, "name": benchmark, "split": "test"}
            results.append({"task": dict(TASK), "dataset": dataset, "metrics": metrics})
    return [{"name": name, "results": results}]
