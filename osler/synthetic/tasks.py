"""Generative tasks about the invented clinic.

All that is known of an entity, and what a note says about one.

Both ask in a model's own words what no instruction has taught: lists are a form that no instruction has (a model tuned on
short answers names one thing of three, an F1 of 0.5 at best), and no note here is one of the corpus.
"""

import random
from collections.abc import Sequence
from typing import Any

from osler.build.section import BuildError
from osler.synthetic.clinic import companions
from osler.synthetic.knowledge import ATTRIBUTES, Entity
from osler.synthetic.sentences import QUESTIONS, note
from osler.synthetic.settings import Synthesize

SEPARATOR = ", "  # no value has a comma


def findings(config: Synthesize, entities: Sequence[Entity]) -> list[dict[str, Any]]:
    """Ask for all attributes of an entity.

    An entity at most once: id, question, answer (a list).

    Raises:
        BuildError: there are fewer entities that no instruction asks about.
    """
    unknown = [entity for entity in entities if not entity.instructed]
    if config.task_items > len(unknown):
        raise BuildError(f"synthesize: task_items must be at most {len(unknown)}, the entities without instructions")
    rows = []
    for number, entity in enumerate(random.Random(f"{config.seed}/findings").sample(unknown, config.task_items)):
        *first, last = [f"the {attribute.replace('_', ' ')}" for attribute in ATTRIBUTES[entity.kind]]
        question = f"What are {', '.join(first)} and {last} of {entity.name}?"
        answer = SEPARATOR.join(entity.values[attribute] for attribute in ATTRIBUTES[entity.kind])
        rows.append({"id": f"f{number:05d}", "question": question, "answer": answer})
    return rows


def readings(config: Synthesize, entities: Sequence[Entity]) -> list[dict[str, Any]]:
    """Ask about the first entity that a new note names.

    id, note, question, answer, entity.

    The question is one that instructions ask about other entities.
    """
    stream = random.Random(f"{config.seed}/readings")
    groups = companions([entity for entity in entities if not entity.instructed], stream)
    rows = []
    for number in range(config.task_items):
        group = next(groups)
        attribute = stream.choice(ATTRIBUTES[group[0].kind])
        question = stream.choice(QUESTIONS[attribute]).format(e=group[0].name)
        row = {"id": f"r{number:05d}", "note": note(group, stream), "question": question}
        rows.append(row | {"answer": group[0].values[attribute], "entity": group[0].name})
    return rows
