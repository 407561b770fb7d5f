"""What a build asks every model, from its sections."""

from collections.abc import Mapping

from osler.evaluation.benchmarks import Benchmark
from osler.evaluation.published import PUBLISHED, check_published
from osler.evaluation.settings import Evaluate, Questions, Strategies
from osler.evaluation.tasks import Task


def asked_questions(
    benchmarks: Mapping[str, Benchmark], evaluate: Evaluate, strategies: Strategies, task: Mapping[str, Task]
) -> Questions:
    """What the build asks.

    Raises:
        BuildError: see `check_published`.
    """
    names = [evaluate.protocol, *evaluate.compared]
    formats = {name: str(section.format) for name, section in benchmarks.items()}
    check_published(names, formats, {name: own for name, own in strategies if own})
    return Questions(
        benchmarks=sorted(benchmarks),
        beside=sorted(name for name, section in benchmarks.items() if section.typing_errors),
        formats=formats if set(names) & set(PUBLISHED) else {},
        evaluate=evaluate,
        strategies=strategies,
        task=task,
    )
