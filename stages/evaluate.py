"""Stage `evaluate`: ask one model all questions of the build.

These are every prompting strategy, the held-out documents and the generative tasks (osler/evaluation/answered.py).
"""

from pathlib import Path

from osler.build.stage import Jobs, run
from osler.evaluation.written_answers import write_answers
from osler.model.numerics import Numerics
from osler.model.seeds import Seeds


def main(
    model: Path,
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
    """Write the answers of one model, and what is known of it."""
    write_answers(model, encoders, heldout, items, questions, template, predictions, jobs, numerics, seeds, name)


if __name__ == "__main__":
    run(main, may_be_job=True)
