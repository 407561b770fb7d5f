"""A card's results, as the Hub's own library reads them."""

from pathlib import Path

import yaml
from huggingface_hub import ModelCardData
from huggingface_hub.repocard_data import model_index_to_eval_results

from tests.report.test_report import build, folder

__all__ = ["folder"]  # a fixture


def test_the_hubs_library_reads_the_card(folder: Path) -> None:
    """Each strategy's accuracy of a benchmark in percent, with interval, items and protocol."""
    text = (build(folder) / "cards/cpt-sft.md").read_text()
    matter = yaml.safe_load(text.split("---\n")[1])
    name, results = model_index_to_eval_results(matter["model-index"])
    assert name == "cpt-sft"
    found = {result.metric_args["strategy"]: result for result in results if result.metric_args}
    assert set(found) == {"medprompt", "zero_shot"}
    own = found["zero_shot"]
    assert (own.task_type, own.dataset_name, own.dataset_split, own.metric_type) == (
        "multiple-choice",
        "b",
        "test",
        "accuracy",
    )
    assert own.metric_value == 95.0  # 38 of 40
    assert own.metric_args is not None
    assert own.metric_args["low"] < 95 < own.metric_args["high"]
    assert (own.metric_args["items"], own.metric_args["seeds"]) == (40, 1)
    assert own.metric_args["protocol"] == "full_answer"
    data = ModelCardData(ignore_metadata_errors=False, **matter)  # raises where the index cannot be read
    assert data.eval_results is not None
    assert len(data.eval_results) == 2
