"""Stage `evaluate_adapter`: ask one adapter all questions of the build.

It is on the model that it was trained on; all else is as in stage `evaluate`.
"""

from pathlib import Path

from osler.build.stage import Jobs, run
from osler.evaluation.written_answers import write_answers
from osler.model.numerics import Numerics
from osler.model.seeds import Seeds
from osler.training.adapters import PREFIX


def main(
    model: tuple[Path, ...],
    encoders: Path,
    heldout: Path,
    items: Path,
    questions: Path,
    template: Path,
    predictions: Path,
    jobs: Jobs,
    numerics: Numerics,
    seeds: Seeds,
    name: str,
) -> None:
    """Write the answers of one adapter, and what is known of it.

    `model` has its folder and that of the model below, which is not asked for where all weights were trained.
    """
    adapter = next(path for path in model if path.name == f"{PREFIX}{name}")
    is_whole = (adapter / "config.json").is_file()
    start = None if is_whole else next(path for path in model if path != adapter)
    write_answers(
        adapter, encoders, heldout, items, questions, template, predictions, jobs, numerics, seeds, adapter.name, start
    )


if __name__ == "__main__":
    run(main, may_be_job=True)
