"""Write the invented clinic: documents in four formats, instructions, benchmark items and the list of planted faults.

    python -m stages.synthesize        # as DVC runs it; about 2 s

Documents state every fact of every entity about equally often. Instructions ask about some entities, the benchmark's
test split only about the others, so that only reading the documents can help there. The benchmark's dev split, the pool
of exemplars, asks about instructed entities in phrasings that the instructions leave out.
"""

import gzip
import io
import json
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from csv import writer
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import Field

from stages.lib.files import write_bytes, write_parquet, write_text
from stages.lib.knowledge import ATTRIBUTES, CLINICAL_KINDS, MAXIMUM_VALUES, Entity, knowledge_base
from stages.lib.plantings import disguised, leak, near_copy, words
from stages.lib.renderings import QUESTIONS, abstract, chronicle, guideline, note, quiz
from stages.lib.section import BuildError, Section
from stages.lib.stage import run

LICENSE = "CC0-1.0"
NEAR_JACCARD = 0.85
NEAR_MINIMUM_WORDS = 70
OPTIONS = 4
ENTITIES_PER_DOCUMENT = 3
QUIZ_EVERY = 4  # each fourth town document is a quiz
QUIZ_TOWNS = 2  # so that a quiz is as long as a chronicle

Record = dict[str, Any]
"""A document (source, id, text; title, body where its genre has a title), an instruction or an item."""


class Synthesize(Section):
    """Sizes of the invented corpus."""

    seed: int = Field(description="of the corpus alone; training has its own")
    drugs: int = Field(gt=1, le=200, description="invented drugs")
    diseases: int = Field(gt=1, le=200, description="invented diseases")
    towns: int = Field(gt=1, le=200, description="invented towns")
    values_per_attribute: int = Field(ge=OPTIONS, le=MAXIMUM_VALUES, description="values that an attribute can have")
    notes: int = Field(ge=2, description="documents before planting")
    abstracts: int = Field(ge=2, description="documents before planting")
    guidelines: int = Field(ge=2, description="documents before planting")
    town_documents: int = Field(ge=2, description="documents")
    exact_duplicates: int = Field(ge=0, description="planted documents")
    near_duplicates: int = Field(ge=0, description="planted documents")
    contaminated_documents: int = Field(ge=0, description="planted documents")
    contaminated_instructions: int = Field(ge=0, description="planted rows of clinical_qa")
    entities_in_instructions_fraction: float = Field(gt=0.0, lt=1.0, description="of the drugs and of the diseases")
    instructions: int = Field(ge=0, description="rows of clinical_qa before planting")
    general_instructions: int = Field(ge=0, description="rows of general_qa")
    facts_asked_twice_fraction: float = Field(ge=0.0, le=1.0, description="of the test facts; the others have one item")
    dev_items: int = Field(ge=0, description="benchmark items; a fact has at most one")


def companions(entities: Sequence[Entity], stream: random.Random) -> Iterator[list[Entity]]:
    """Groups of entities for document after document; every entity has its turn before any has the next."""
    while True:
        order = list(entities)
        stream.shuffle(order)
        for start in range(0, len(order) - ENTITIES_PER_DOCUMENT + 1, ENTITIES_PER_DOCUMENT):
            yield order[start : start + ENTITIES_PER_DOCUMENT]


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
    """A document of `source` that ingesting turns into `text`, whatever genre `document` is of."""
    if source == "notes":
        return {"source": source, "text": text}
    if source == "abstracts":
        return {"source": source, "title": document.get("title", "From the notes"), "text": text}
    title, _, body = text.partition(". ")
    return {"source": source, "title": title, "body": body, "text": text}


def clinical_documents(
    config: Synthesize, entities: Sequence[Entity], items: Sequence[Record]
) -> tuple[list[Record], list[Record]]:
    """All clinical documents in file order with their ids, and what was planted among them.

    Returns:
        Documents; rows of planted.jsonl.
    Raises:
        BuildError: more copies are asked for than there are documents to copy.
    """
    stream = random.Random(f"{config.seed}/documents")
    groups = companions(entities, stream)
    counts = {"guidelines": config.guidelines, "abstracts": config.abstracts, "notes": config.notes}
    documents = [render(source, next(groups), stream) for source, count in counts.items() for _ in range(count)]

    stream = random.Random(f"{config.seed}/plantings")
    pool = list(range(len(documents)))
    stream.shuffle(pool)
    if config.exact_duplicates + config.near_duplicates > len(pool):
        raise BuildError(
            "synthesize: more planted duplicates than documents; lower exact_duplicates or near_duplicates"
        )
    planted: list[tuple[int, str, int | str]] = []  # place in documents, kind, place of the original or id of the item
    for _ in range(config.exact_duplicates):
        place = pool.pop()
        original = documents[place]
        text = original["text"]
        across = stream.random() < 0.5
        choices = [source for source in counts if source != original["source"]] if across else [original["source"]]
        source = stream.choice([name for name in choices if name != "guidelines" or "\n" not in text])
        copy = disguised(text, stream) if source != "guidelines" else stream.choice((text, text.lower()))
        planted.append((len(documents), "exact", place))
        documents.append(moved(original, source, copy))
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
        planted.append((len(documents), "near", place))
        documents.append(moved(original, original["source"], changed))
        near += 1
    tested = [item for item in items if item["split"] == "test"]
    for index, item in enumerate(stream.sample(tested, config.contaminated_documents)):
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
    """Multiple-choice items; gold positions and wrong options are balanced, so a constant guess scores a quarter.

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
    """Three wrong options for each gold answer, each value wrong about three times as often as it is right.

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
    """The one question about a fact that no instruction asks, so that the dev split is not contaminated by them."""
    stream = random.Random(f"{config.seed}/reserved/{entity.fact(attribute)}")
    return stream.choice(QUESTIONS[attribute]).format(e=entity.name)


def clinical_instructions(
    config: Synthesize, entities: Sequence[Entity], items: Sequence[Record]
) -> tuple[list[Record], list[Record]]:
    """Questions about instructed entities with short answers, and the rows planted among them.

    Returns:
        Instructions in file order; rows of planted.jsonl.
    Raises:
        BuildError: more instructions are asked for than there are distinct questions.
    """
    stream = random.Random(f"{config.seed}/clinical_qa")
    possible = [
        {"question": question, "answer": entity.values[attribute]}
        for entity, attribute, questions in phrased(entity for entity in entities if entity.instructed)
        for question in questions
        if question != reserved_question(config, entity, attribute)
    ]
    rows: list[Record] = chosen(possible, config.instructions, "instructions", stream)
    tested = [item for item in items if item["split"] == "test"]
    for item in stream.sample(tested, config.contaminated_instructions):
        rows.append({"question": item["question"], "answer": item["options"][item["answer"]], "of": item["id"]})
    stream.shuffle(rows)
    rows = [{"id": f"c{index:05d}", **row} for index, row in enumerate(rows)]
    planted = [
        {"source": "clinical_qa", "id": row["id"], "kind": "contaminated", "of": row.pop("of")}
        for row in rows
        if "of" in row
    ]
    return rows, planted


def general_instructions(config: Synthesize, towns: Sequence[Entity]) -> list[Record]:
    """Questions about towns with short answers."""
    stream = random.Random(f"{config.seed}/general_qa")
    possible = [
        {"question": question, "answer": town.values[attribute]}
        for town, attribute, questions in phrased(towns)
        for question in questions
    ]
    rows = chosen(possible, config.general_instructions, "general_instructions", stream)
    return [{"id": f"g{index:05d}", **row} for index, row in enumerate(rows)]


def chosen(possible: Sequence[Record], count: int, key: str, stream: random.Random) -> list[Record]:
    """`count` of `possible` at random."""
    if count > len(possible):
        raise BuildError(f"synthesize: {key} must be at most {len(possible)}, the number of distinct questions")
    return [dict(row) for row in stream.sample(possible, count)]


def jsonl(rows: Iterable[Mapping[str, Any]]) -> str:
    """One JSON object a line, keys in their order."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def gzipped(text: str) -> bytes:
    """`text` compressed without a time stamp."""
    return gzip.compress(text.encode(), compresslevel=9, mtime=0)


def main(raw: Path, synthesize: Synthesize) -> None:
    """Write the folder `raw`; its bytes are a function of the params."""
    counts = {"drug": synthesize.drugs, "disease": synthesize.diseases, "town": synthesize.towns}
    everything = knowledge_base(
        counts, synthesize.values_per_attribute, synthesize.entities_in_instructions_fraction, synthesize.seed
    )
    clinical = [entity for entity in everything if entity.kind in CLINICAL_KINDS]
    towns = [entity for entity in everything if entity.kind not in CLINICAL_KINDS]
    items = benchmark_items(synthesize, clinical)
    documents, planted = clinical_documents(synthesize, clinical, items)
    instructions, planted_instructions = clinical_instructions(synthesize, clinical, items)
    of_source = {
        source: [document for document in documents if document["source"] == source]
        for source in ("guidelines", "abstracts", "notes")
    }

    notes = [{"id": document["id"], "text": document["text"], "license": LICENSE} for document in of_source["notes"]]
    half = len(notes) // 2
    for part, rows in enumerate((notes[:half], notes[half:])):
        write_text(raw / "corpus" / "notes" / f"part-{part:05d}.jsonl", jsonl(rows))
    table = io.StringIO()
    sheet = writer(table, lineterminator="\n")
    sheet.writerow(("id", "title", "abstract"))
    sheet.writerows((document["id"], document["title"], document["text"]) for document in of_source["abstracts"])
    write_bytes(raw / "corpus" / "abstracts.csv.gz", gzipped(table.getvalue()))
    columns = ("id", "title", "body")
    frame = pl.DataFrame(
        [[document[column] for document in of_source["guidelines"]] for column in columns], schema=columns
    )
    write_parquet(raw / "corpus" / "guidelines.parquet", frame.rename({"body": "text"}))
    write_bytes(raw / "corpus" / "towns.txt.gz", gzipped("\n\n".join(town_documents(synthesize, towns)) + "\n"))
    write_bytes(raw / "instructions" / "clinical_qa.jsonl.gz", gzipped(jsonl(instructions)))
    write_text(raw / "instructions" / "general_qa.jsonl", jsonl(general_instructions(synthesize, towns)))
    write_text(raw / "benchmark" / "items.jsonl", jsonl(items))
    write_text(raw / "planted.jsonl", jsonl(planted + planted_instructions))


if __name__ == "__main__":
    run(main)
