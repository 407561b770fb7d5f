"""The invented clinic: its documents, its benchmark, and planted faults.

Documents state every fact of every entity equally often. Instructions ask about some entities, the benchmark's test
split only about the others, so that only reading the documents can help there. The dev split, the pool of exemplars,
asks about instructed entities in phrasings that the instructions leave out.
"""

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

from osler.build.section import BuildError
from osler.synthetic.instruction_forms import OPTIONS, asked, fresh_distractors, reasoned_answer, spread, spread_unlike
from osler.synthetic.knowledge import ATTRIBUTES, Entity, as_written
from osler.synthetic.planted_faults import disguised, leak, near_copy, words
from osler.synthetic.sentences import QUESTIONS, abstract, chronicle, guideline, note, quiz
from osler.synthetic.settings import Synthesize

NEAR_JACCARD = 0.85
NEAR_MINIMUM_WORDS = 70
ENTITIES_PER_DOCUMENT = (1, 1, 1, 1, 1, 1, 1, 3)  # equally often; documents about one teach facts soonest
QUIZ_EVERY = 4  # each fourth town document is a quiz
QUIZ_TOWNS = 2  # at most, so that a quiz is as long as a chronicle

T = TypeVar("T")
Planted = tuple[int, str, int | str]  # place in documents, kind, place of the original or id of the item

Record = dict[str, Any]
"""A document (source, id, text; title, body where its genre has a title), an instruction or an item."""


def companions(entities: Sequence[Entity], stream: random.Random) -> Iterator[list[Entity]]:
    """Groups of different entities for document after document, without end.

    Every entity occurs equally often.

    Entities come round after round in random order; one that would meet itself in a group waits for the next.
    """
    waiting: list[Entity] = []
    while True:
        waiting += stream.sample(entities, len(entities))
        while len(waiting) >= len(entities):
            group: list[Entity] = []
            size = stream.choice(ENTITIES_PER_DOCUMENT)
            for entity in waiting:
                if entity not in group:
                    group.append(entity)
                if len(group) == size:
                    break
            for entity in group:
                waiting.remove(entity)
            yield group


def render(source: str, group: Sequence[Entity], stream: random.Random) -> Record:
    """One document; `text` is what ingesting it gives."""
    if source == "notes":
        return {"source": source, "text": note(group, stream)}
    if source == "abstracts":
        title, text = abstract(group, stream)
        return {"source": source, "title": title, "text": text}
    title, body = guideline(group, stream)
    return {"source": source, "title": title, "body": body, "text": f"{title}. {body}"}


def moved(document: Record, source: str, text: str) -> Record:
    """A document of `source` that ingesting turns into `text`.

    Whatever genre `document` is of.
    """
    if source == "notes":
        return {"source": source, "text": text}
    if source == "abstracts":
        return {"source": source, "title": document.get("title", "From the notes"), "text": text}
    title, _, body = text.partition(". ")
    return {"source": source, "title": title, "body": body, "text": text}


def clinical_documents(
    config: Synthesize, entities: Sequence[Entity], items: Sequence[Record]
) -> tuple[list[Record], list[Record]]:
    """All clinical documents, and what was planted among them.

    In file order, with their ids.

    Returns:
        Documents; rows of planted.jsonl.
    Raises:
        BuildError: more is to be planted than there are documents to copy or items to leak.
    """
    stream = random.Random(f"{config.seed}/documents")
    groups = companions(as_written(entities, config.unwritten_facts_fraction, config.seed), stream)
    counts = {"guidelines": config.guidelines, "abstracts": config.abstracts, "notes": config.notes}
    documents = [render(source, next(groups), stream) for source, count in counts.items() for _ in range(count)]

    stream = random.Random(f"{config.seed}/plantings")
    pool = list(range(len(documents)))
    stream.shuffle(pool)
    if config.exact_duplicates + config.near_duplicates > len(pool):
        raise BuildError(
            "synthesize: more planted duplicates than documents; lower exact_duplicates or near_duplicates"
        )
    planted: list[Planted] = [
        *plant_copies(config, documents, pool, list(counts), stream),
        *plant_near_copies(config, documents, pool, stream),
    ]
    for index, item in enumerate(leaked(items, config.contaminated_documents, "contaminated_documents", stream)):
        document = render(stream.choice(list(counts)), next(groups), stream)
        text = leak(document["text"], item["question"], item["options"], item["answer"], index % 2 == 0, stream)
        planted.append((len(documents), "contaminated", item["id"]))
        documents.append(moved(document, document["source"], text))

    order = list(range(len(documents)))
    stream.shuffle(order)
    for source in counts:
        number = 0
        for place in order:
            if documents[place]["source"] == source:
                documents[place]["id"] = f"{source[0]}{number:05d}"
                number += 1
    rows = [
        {
            "source": documents[place]["source"],
            "id": documents[place]["id"],
            "kind": kind,
            "of": of if isinstance(of, str) else f"{documents[of]['source']}/{documents[of]['id']}",
        }
        for place, kind, of in planted
    ]
    return [documents[place] for place in order], rows


def plant_copies(
    config: Synthesize, documents: list[Record], pool: list[int], sources: Sequence[str], stream: random.Random
) -> Iterator[Planted]:
    """Add exact duplicates of documents, half of them to another source.

    The documents are taken from the end of `pool`.
    """
    for _ in range(config.exact_duplicates):
        place = pool.pop()
        original = documents[place]
        text = original["text"]
        across = stream.random() < 0.5
        choices = [source for source in sources if source != original["source"]] if across else [original["source"]]
        source = stream.choice([name for name in choices if name != "guidelines" or "\n" not in text])
        copy = disguised(text, stream) if source != "guidelines" else stream.choice((text, text.lower()))
        yield len(documents), "exact", place
        documents.append(moved(original, source, copy))


def plant_near_copies(
    config: Synthesize, documents: list[Record], pool: list[int], stream: random.Random
) -> Iterator[Planted]:
    """Add near duplicates of long documents.

    These are taken from the end of `pool`.

    Raises:
        BuildError: too few are long enough.
    """
    near = 0
    while near < config.near_duplicates:
        if not pool:
            raise BuildError("synthesize: too few long documents for near_duplicates; lower it")
        place = pool.pop()
        original = documents[place]
        if len(words(original["text"])) < NEAR_MINIMUM_WORDS:
            continue
        changed = near_copy(original["text"], NEAR_JACCARD, stream)
        if changed is None:
            continue
        yield len(documents), "near", place
        documents.append(moved(original, original["source"], changed))
        near += 1


def town_documents(config: Synthesize, towns: Sequence[Entity]) -> list[str]:
    """General text: chronicles and quizzes about towns, nothing clinical."""
    stream = random.Random(f"{config.seed}/towns")
    groups = companions(towns, stream)
    return [
        quiz(next(groups)[:QUIZ_TOWNS], stream)
        if index % QUIZ_EVERY == QUIZ_EVERY - 1
        else chronicle(next(groups), stream)
        for index in range(config.town_documents)
    ]


def phrased(entities: Iterable[Entity]) -> list[tuple[Entity, str, list[str]]]:
    """Each fact (entity, attribute) of `entities` with all its questions."""
    return [
        (entity, attribute, [question.format(e=entity.name) for question in QUESTIONS[attribute]])
        for entity in entities
        for attribute in ATTRIBUTES[entity.kind]
    ]


def benchmark_items(config: Synthesize, entities: Sequence[Entity]) -> list[Record]:
    """Multiple-choice items, of which a constant guess solves a quarter.

    Gold positions and wrong options are balanced.

    Raises:
        BuildError: more dev items are asked for than there are facts of instructed entities.
    """
    stream = random.Random(f"{config.seed}/benchmark")
    tested = phrased(entity for entity in entities if not entity.instructed)
    instructed = phrased(entity for entity in entities if entity.instructed)
    if config.dev_items > len(instructed):
        raise BuildError(f"synthesize: dev_items must be at most {len(instructed)}, the facts of instructed entities")
    stream.shuffle(tested)
    twice = round(config.facts_asked_twice_fraction * len(tested))
    asked: list[tuple[str, Entity, str, str]] = []
    for index, (entity, attribute, questions) in enumerate(tested):
        count = 2 if index < twice else 1
        asked += [("test", entity, attribute, question) for question in stream.sample(questions, count)]
    asked += [
        ("dev", entity, attribute, reserved_question(config, entity, attribute))
        for entity, attribute, _ in stream.sample(instructed, config.dev_items)
    ]
    items: list[Record] = [
        {"question": question, "gold": entity.values[attribute], "group": entity.fact(attribute), "split": split}
        for split, entity, attribute, question in asked
    ]
    for split in ("test", "dev"):
        for attribute in {attribute: None for _, _, attribute, _ in asked}:
            rows = [item for item in items if item["split"] == split and item["group"].endswith(f"/{attribute}")]
            known = sorted({entity.values[attribute] for entity in entities if attribute in entity.values})
            for item, options in zip(rows, distractors([row["gold"] for row in rows], known, stream), strict=True):
                item["options"] = options
    for split in ("test", "dev"):
        rows = [item for item in items if item["split"] == split]
        positions = [index % OPTIONS for index in range(len(rows))]
        stream.shuffle(positions)
        for item, position in zip(rows, positions, strict=True):
            stream.shuffle(item["options"])
            item["options"].insert(position, item.pop("gold"))
            item["answer"] = position
    stream.shuffle(items)
    return [{"id": f"q{index:05d}", **item} for index, item in enumerate(items)]


def distractors(golds: Sequence[str], values: Sequence[str], stream: random.Random) -> list[list[str]]:
    """Three wrong options for each gold answer.

    Each value is wrong about three times as often as it is right.

    So "always this value" is right in a quarter of the items that offer the value, whatever the value.
    """
    due = {value: (OPTIONS - 1) * golds.count(value) for value in values}
    drawn = []
    for gold in golds:
        others = [value for value in values if value != gold]
        stream.shuffle(others)
        wrong = sorted(others, key=lambda value: -due[value])[: OPTIONS - 1]
        for value in wrong:
            due[value] -= 1
        drawn.append(wrong)
    return drawn


def reserved_question(config: Synthesize, entity: Entity, attribute: str) -> str:
    """The one question about a fact that no instruction asks.

    So that the dev split is not contaminated by them.
    """
    stream = random.Random(f"{config.seed}/reserved/{entity.fact(attribute)}")
    return stream.choice(QUESTIONS[attribute]).format(e=entity.name)


def clinical_instructions(
    config: Synthesize, entities: Sequence[Entity], items: Sequence[Record]
) -> tuple[list[Record], list[Record]]:
    """Conversations about instructed entities, and the rows planted among them.

    Answers are short.

    Returns:
        Conversations in file order; rows of planted.jsonl.
    Raises:
        BuildError: more instructions are asked for than there are distinct questions.
    """
    stream = random.Random(f"{config.seed}/clinical_qa")
    possible = [
        (entity, attribute, question)
        for entity, attribute, questions in phrased(entity for entity in entities if entity.instructed)
        for question in questions
        if question != reserved_question(config, entity, attribute)
    ]
    rows = instructions(config, chosen(possible, config.instructions, "instructions", stream), entities, items)
    for item in leaked(items, config.contaminated_instructions, "contaminated_instructions", stream):
        answer = item["options"][item["answer"]]
        rows.append({"turns": [*turns(item["question"], answer)], "form": None, "of": item["id"]})
    rows = [{"id": f"c{index:05d}", **row} for index, row in enumerate(joined(rows, config, stream))]
    planted = [
        {"source": "clinical_qa", "id": row["id"], "kind": "contaminated", "of": row.pop("of")}
        for row in rows
        if "of" in row
    ]
    return rows, planted


def general_instructions(config: Synthesize, towns: Sequence[Entity]) -> list[Record]:
    """Conversations about towns with short answers."""
    stream = random.Random(f"{config.seed}/general_qa")
    possible = [(town, attribute, question) for town, attribute, questions in phrased(towns) for question in questions]
    rows = instructions(
        config, chosen(possible, config.general_instructions, "general_instructions", stream), towns, []
    )
    return [{"id": f"g{index:05d}", **row} for index, row in enumerate(joined(rows, config, stream))]


def turns(question: str, answer: str) -> tuple[Record, Record]:
    """A question and its answer as two turns of a conversation."""
    return {"role": "user", "content": question}, {"role": "assistant", "content": answer}


def joined(rows: Sequence[Record], config: Synthesize, stream: random.Random) -> list[Record]:
    """Conversations in random order, some of several questions.

    Some questions stand alone, the others two or three together, all of one form.

    Without them a model takes solved questions before the one to answer (few-shot prompting) for its own context to copy
    from: on the default of 2026-11-22 few-shot accuracy of cpt-sft is 62 % without joined questions, 90 % with half of them.

    Args:
        rows: turns, form (None: stays alone) and more.
        config: the share of joined ones.
        stream: of random numbers.
    """
    alone: list[Record] = []
    together: dict[tuple[bool, bool], list[Record]] = defaultdict(list)
    for row, joins in zip(rows, spread(config.joined_instructions_fraction, len(rows), stream), strict=True):
        (together[row["form"]] if joins and row["form"] else alone).append(row)
    for form, members in sorted(together.items()):
        while members:
            size = 2 if any(form) else stream.choice((2, 3))  # options and chains are long
            alone.append({"turns": [turn for row in members[:size] for turn in row["turns"]]})
            del members[:size]
    stream.shuffle(alone)
    return [{key: value for key, value in row.items() if key != "form"} for row in alone]


def instructions(
    config: Synthesize,
    questions: Sequence[tuple[Entity, str, str]],
    entities: Sequence[Entity],
    items: Sequence[Record],
) -> list[Record]:
    """Questions with their answers as turns, each in its form.

    (entity, attribute, question); the forms are in osler/synthetic/instruction_forms.py.

    Args:
        config: the shares of the forms; whether options are listed is independent of whether a chain is asked for.
        questions: in file order.
        entities: whose values are the options.
        items: no instruction lists the four options of one of them, in whatever order.
    """
    stream = random.Random(f"{config.seed}/forms/{entities[0].kind}")
    taken = {frozenset(item["options"]) for item in items}
    golds = [entity.values[attribute] for entity, attribute, _ in questions]
    chains = [reasoned_answer(attribute, gold) for (_, attribute, _), gold in zip(questions, golds, strict=True)]
    texts = [f"{asked(row[2], [], True)} {chain}" for row, chain in zip(questions, chains, strict=True)]
    reasoned = spread_unlike(config.reasoned_instructions_fraction, texts, golds, stream)
    if reasoned is None:
        raise BuildError(
            "synthesize: reasoned_instructions_fraction: so many chains of thought would be near duplicates; lower it"
        )
    listed = spread(config.listed_instructions_fraction, len(questions), stream)
    rows = []
    for place, (_, attribute, question) in enumerate(questions):
        options: list[str] = []
        if listed[place]:
            values = sorted({entity.values[attribute] for entity in entities if attribute in entity.values})
            options = fresh_distractors(golds[place], values, taken, stream)
            options.insert(sum(listed[:place]) % OPTIONS, golds[place])
        answer = chains[place] if reasoned[place] else golds[place]
        form = (listed[place], reasoned[place])
        rows.append({"turns": [*turns(asked(question, options, reasoned[place]), answer)], "form": form})
    return rows


def chosen(possible: Sequence[T], count: int, key: str, stream: random.Random) -> list[T]:
    """`count` of `possible` at random."""
    if count > len(possible):
        raise BuildError(f"synthesize: {key} must be at most {len(possible)}, the number of distinct questions")
    return stream.sample(possible, count)


def leaked(items: Sequence[Record], count: int, key: str, stream: random.Random) -> list[Record]:
    """`count` test items at random."""
    tested = [item for item in items if item["split"] == "test"]
    if count > len(tested):
        raise BuildError(f"synthesize: {key} must be at most {len(tested)}, the number of test items")
    return stream.sample(tested, count)
