"""Stage `questions`: what every model is asked, as one file.

It also brings the models that read texts for it, if any: of the Hub, or the build's base.

Settings of benchmarks, strategies, protocols and tasks are the same for all models, so the evaluation of each depends on this
file and DVC does not write them down once a model.
"""

from collections.abc import Mapping
from pathlib import Path

from osler.build.files import write_json
from osler.build.stage import run
from osler.evaluation.asked_questions import asked_questions
from osler.evaluation.benchmarks import Benchmark
from osler.evaluation.settings import Evaluate, Strategies
from osler.evaluation.tasks import Task
from osler.inference.encoder_files import Encoders, write_encoders


def main(
    benchmark: Mapping[str, Benchmark],
    encoder: Encoders,
    evaluate: Evaluate,
    strategies: Strategies,
    task: Mapping[str, Task],
    model: Path,
    encoders: Path,
    questions: Path,
) -> None:
    """Write `questions`, and fill the folder `encoders`.

    `model` is the build's base.

    Raises:
        BuildError: see `asked_questions` and `write_encoders`.
    """
    write_json(questions, asked_questions(benchmark, evaluate, strategies, task).model_dump(mode="json"))
    write_encoders(encoder, encoders, model)


if __name__ == "__main__":
    run(main)
