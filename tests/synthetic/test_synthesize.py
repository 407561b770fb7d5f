"""Stage synthesize with the sizes of params.yaml.

What the corpus promises, checked on its files.
"""

import csv
import gzip
import io
import json
import os
import random
import re
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from osler.build.files import folder_hash
from osler.build.section import BuildError
from osler.evaluation.questions import Item, user_turn
from osler.synthetic.clinic import ENTITIES_PER_DOCUMENT, companions
from osler.synthetic.instruction_forms import REASON, asked, fresh_distractors
from osler.synthetic.knowledge import ATTRIBUTES, Entity, as_written, knowledge_base
from osler.synthetic.planted_faults import jaccard, word_shingles, words
from osler.synthetic.sentences import NOUNS
from osler.synthetic.settings import MADE, Synthesize
from stages import synthesize

ROOT = Path(__file__).parents[2]
DEFAULT = Synthesize(**yaml.safe_load((ROOT / "params.yaml").read_text())["synthesize"]["default"])
SMALL = DEFAULT.model_copy(
    update={
        "drugs": 20,
        "diseases": 20,
        "towns": 6,
        "notes": 30,
        "abstracts": 20,
        "guidelines": 20,
        "town_documents": 10,
    }
    | {"exact_duplicates": 6, "near_duplicates": 6, "contaminated_documents": 4, "contaminated_instructions": 2}
    | {"instructions": 300, "general_instructions": 50, "dev_items": 20, "task_items": 10}
)


def rows(text: str) -> list[dict[str, Any]]:
    """The objects of a jsonl text."""
    return [json.loads(line) for line in text.splitlines()]


class Corpus:
    """The files of one build, read back the way ingest reads them."""

    def __init__(self, raw: Path, config: Synthesize) -> None:
        synthesize.main(raw=raw, synthesize=config)
        made = {path.relative_to(raw).as_posix() for path in raw.rglob("*") if path.is_file()}
        assert made == set(MADE), "what the check takes for there"
        notes = [row for part in (0, 1) for row in rows((raw / f"corpus/notes/part-{part:05d}.jsonl").read_text())]
        table = gzip.decompress((raw / "corpus/abstracts.csv.gz").read_bytes()).decode()
        guidelines = pl.read_parquet(raw / "corpus/guidelines.parquet").to_dicts()
        towns = gzip.decompress((raw / "corpus/towns.txt.gz").read_bytes()).decode().split("\n\n")
        qa = rows(gzip.decompress((raw / "instructions/clinical_qa.jsonl.gz").read_bytes()).decode())
        self.clinical: dict[str, str] = (
            {f"notes/{row['id']}": row["text"] for row in notes}
            | {f"abstracts/{row['id']}": row["abstract"] for row in csv.DictReader(io.StringIO(table))}
            | {f"guidelines/{row['id']}": f"{row['title']}. {row['text']}" for row in guidelines}
        )
        self.towns: dict[str, str] = {f"towns/{index}": text for index, text in enumerate(towns)}
        general_qa = rows((raw / "instructions/general_qa.jsonl").read_text())
        self.conversations: dict[str, list[dict[str, str]]] = {
            f"{source}/{row['id']}": row["turns"]
            for source, own in (("clinical_qa", qa), ("general_qa", general_qa))
            for row in own
        }
        self.qa = questions_of(self.conversations, "clinical_qa/")
        self.general_qa = list(questions_of(self.conversations, "general_qa/").values())
        self.items = rows((raw / "benchmark/items.jsonl").read_text())
        self.planted = rows((raw / "planted.jsonl").read_text())
        self.planted_ids = {f"{row['source']}/{row['id']}" for row in self.planted}
        counts = {"drug": config.drugs, "disease": config.diseases, "town": config.towns}
        fraction = config.entities_in_instructions_fraction
        everything = knowledge_base(counts, config.values_per_attribute, fraction, config.seed)
        self.entities: dict[str, Entity] = {entity.name: entity for entity in everything}


def questions_of(conversations: dict[str, list[dict[str, str]]], source: str) -> dict[str, dict[str, str]]:
    """Each question with its answer, under its conversation's name.

    With a number where that has several.
    """
    found = {}
    for name, turns in conversations.items():
        said = [turn["content"] for turn in turns]
        pairs = list(zip(said[::2], said[1::2], strict=True))
        for place, (question, answer) in enumerate(pairs):
            if name.startswith(source):
                found[name if len(pairs) == 1 else f"{name}#{place}"] = {"question": question, "answer": answer}
    return found


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """The default corpus."""
    return Corpus(tmp_path_factory.mktemp("default"), DEFAULT)


def similar(texts: dict[str, str], minimum: float) -> set[tuple[str, str]]:
    """All pairs of texts that share many of their 5-grams.

    At least `minimum`, by counting, not by hashing.
    """
    shingles = {name: word_shingles(text) for name, text in texts.items()}
    holders: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for name, held in shingles.items():
        for shingle in held:
            holders[shingle].append(name)
    found = set()
    for name, held in shingles.items():
        shared = Counter(other for shingle in held for other in holders[shingle] if other > name)
        for other, count in shared.items():
            if count / (len(held) + len(shingles[other]) - count) >= minimum:
                found.add((name, other))
    return found


def test_bytes_depend_on_params_only(tmp_path: Path) -> None:
    """Two processes with other hash seeds write the same bytes.

    Another seed in the params writes others.
    """
    code = (
        "import json, sys; from pathlib import Path; from stages.synthesize import Synthesize, main; "
        "main(raw=Path(sys.argv[1]), synthesize=Synthesize(**json.loads(sys.argv[2])))"
    )
    hashes = []
    for number, config in enumerate((SMALL, SMALL, SMALL.model_copy(update={"seed": 8}))):
        raw = tmp_path / str(number)
        environment = {**os.environ, "PYTHONHASHSEED": str(number)}
        command = [sys.executable, "-c", code, str(raw), config.model_dump_json()]
        subprocess.run(command, check=True, cwd=ROOT, env=environment)
        hashes.append(folder_hash(raw))
    assert hashes[0] == hashes[1] != hashes[2]


def test_sizes_are_those_of_the_params(corpus: Corpus) -> None:
    """Documents are those asked for and the planted ones.

    Every planted row exists.
    """
    kinds = Counter((row["kind"], row["source"] == "clinical_qa") for row in corpus.planted)
    assert kinds == {
        ("exact", False): DEFAULT.exact_duplicates,
        ("near", False): DEFAULT.near_duplicates,
        ("contaminated", False): DEFAULT.contaminated_documents,
        ("contaminated", True): DEFAULT.contaminated_instructions,
    }
    documents = DEFAULT.notes + DEFAULT.abstracts + DEFAULT.guidelines
    assert len(corpus.clinical) == documents + sum(count for (_, qa), count in kinds.items() if not qa)
    assert len(corpus.towns) == DEFAULT.town_documents
    assert len(corpus.qa) == DEFAULT.instructions + DEFAULT.contaminated_instructions
    assert len(corpus.general_qa) == DEFAULT.general_instructions
    assert corpus.planted_ids <= set(corpus.clinical) | set(corpus.qa)


def test_planted_copies_are_what_they_are_called(corpus: Corpus) -> None:
    """Exact copies have the same words, near ones 0.85 of the 5-grams.

    0.85 to 1; neither copies a copy.
    """
    across = 0
    for row in corpus.planted:
        if row["kind"] == "contaminated":
            continue
        text, original = corpus.clinical[f"{row['source']}/{row['id']}"], corpus.clinical[row["of"]]
        assert row["of"] not in corpus.planted_ids
        if row["kind"] == "exact":
            assert words(text) == words(original)
            across += row["source"] != row["of"].split("/")[0]
        else:
            assert 0.85 <= jaccard(text, original) < 1.0
    assert 0 < across < DEFAULT.exact_duplicates


def test_only_planted_documents_are_alike(corpus: Corpus) -> None:
    """Only planted copies are near another text.

    Every pair of documents or instructions with Jaccard of 0.7 or more is a copy and its original.
    """
    texts = corpus.clinical | corpus.towns
    texts |= {name: " ".join(turn["content"] for turn in turns) for name, turns in corpus.conversations.items()}
    planted = [(f"{row['source']}/{row['id']}", row["of"]) for row in corpus.planted if row["kind"] != "contaminated"]
    assert similar(texts, 0.7) == {(min(pair), max(pair)) for pair in planted}


def test_benchmark_questions_stand_only_where_they_were_planted(corpus: Corpus) -> None:
    """A planted row holds its item's question, then the correct option.

    No other text holds any item's question.
    """
    items = {item["id"]: item for item in corpus.items}
    texts = {**corpus.clinical, **corpus.towns}
    texts |= {name: " ".join(turn["content"] for turn in turns) for name, turns in corpus.conversations.items()}
    plain = {name: " ".join(words(text)) for name, text in texts.items()}
    contaminated = {
        f"{row['source']}/{row['id']}": row["of"] for row in corpus.planted if row["kind"] == "contaminated"
    }
    questions = {item["id"]: " ".join(words(item["question"])) for item in corpus.items}
    for name, text in plain.items():
        held = {item for item, question in questions.items() if question in text}
        assert held == ({contaminated[name]} if name in contaminated else set())
        for item in held:
            after = text.split(questions[item], 1)[1]
            assert items[item]["options"][items[item]["answer"]] in after
    shown = [
        all(option in corpus.clinical[name] for option in items[item]["options"])
        for name, item in contaminated.items()
        if name in corpus.clinical
    ]
    assert 0 < sum(shown) < len(shown)


def test_no_test_entity_occurs_in_an_instruction(corpus: Corpus) -> None:
    """Instructions name instructed entities only, the test split the others.

    But for the planted leaks.
    """
    tested = {item["group"].split("/")[1] for item in corpus.items if item["split"] == "test"}
    asked = {item["group"].split("/")[1] for item in corpus.items if item["split"] == "dev"}
    assert not any(corpus.entities[name].instructed for name in tested)
    assert all(corpus.entities[name].instructed for name in asked)
    assert len(tested) == sum(not entity.instructed for entity in corpus.entities.values())
    for name, row in corpus.qa.items():
        if name not in corpus.planted_ids:
            assert not tested & set(re.findall(r"\w+", row["question"] + " " + row["answer"]))


def test_gold_answers_are_what_the_knowledge_base_says(corpus: Corpus) -> None:
    """Gold options and answers of instructions are the entity's value.

    Of an answer, its last words.
    """
    for item in corpus.items:
        kind, name, attribute = item["group"].split("/")
        entity = corpus.entities[name]
        assert entity.kind == kind
        assert item["options"][item["answer"]] == entity.values[attribute]
        assert len(set(item["options"])) == 4
        known = {other.values[attribute] for other in corpus.entities.values() if attribute in other.values}
        assert set(item["options"]) <= known
        assert name in item["question"]
    for row in [*corpus.qa.values(), *corpus.general_qa]:
        (entity,) = [entity for name, entity in corpus.entities.items() if name in row["question"]]
        assert row["answer"].split("The answer is ")[-1].removesuffix(".") in entity.values.values()


@pytest.mark.parametrize("split", ["test", "dev"])
def test_constant_guesses_score_a_quarter(corpus: Corpus, split: str) -> None:
    """Each position, and nearly each value, is right equally often.

    A value within 10 points, among the items that offer it.
    """
    items = [item for item in corpus.items if item["split"] == split]
    positions = Counter(item["answer"] for item in items)
    assert sorted(positions) == [0, 1, 2, 3]
    assert max(positions.values()) - min(positions.values()) <= 1
    offered = Counter(option for item in items for option in item["options"])
    right = Counter(item["options"][item["answer"]] for item in items)
    shares = {value: right[value] / count for value, count in offered.items() if split == "test"}
    assert all(0.15 <= share <= 0.35 for share in shares.values())


def test_items_of_a_fact_are_a_cluster_of_one_or_two(corpus: Corpus) -> None:
    """Every fact of every tested entity is asked, once or twice.

    Twice in other words; a dev fact is asked once.
    """
    for split, most in (("test", 2), ("dev", 1)):
        groups = Counter(item["group"] for item in corpus.items if item["split"] == split)
        assert max(groups.values()) == most
        assert len({item["question"] for item in corpus.items}) == len(corpus.items)
    tested = {item["group"] for item in corpus.items if item["split"] == "test"}
    assert tested == {
        entity.fact(attribute)
        for entity in corpus.entities.values()
        for attribute in ATTRIBUTES[entity.kind]
        if not entity.instructed
    }


def test_question_phrasings_of_the_test_were_trained(corpus: Corpus) -> None:
    """Without its name, every test question is one of the instructions'.

    Only the fact is new.
    """
    asked = {name: row["question"].split("\n")[0] for name, row in corpus.qa.items()}
    trained = {blanked(question, corpus) for name, question in asked.items() if name not in corpus.planted_ids}
    assert {blanked(item["question"], corpus) for item in corpus.items} <= trained


FORM = re.compile(r"(?P<question>.+?)(?P<listed>(\n[A-D]\. .+){4})?(?P<reasoned>\nThink step by step\.)?")


def test_forms_have_their_shares_and_come_together_as_chance_has_it(corpus: Corpus) -> None:
    """Of each source exactly the shares asked for list options and reason.

    Both do in about the product of them.
    """
    clinical = [row for name, row in corpus.qa.items() if name not in corpus.planted_ids]
    for rows in (clinical, corpus.general_qa):
        forms = [FORM.fullmatch(row["question"]) for row in rows]
        listed = [form is not None and form["listed"] is not None for form in forms]
        reasoned = [form is not None and form["reasoned"] is not None for form in forms]
        assert sum(listed) == DEFAULT.listed_instructions_fraction * len(rows)
        assert sum(reasoned) == DEFAULT.reasoned_instructions_fraction * len(rows)
        both = sum(one and other for one, other in zip(listed, reasoned, strict=True))
        chance = sum(listed) * sum(reasoned) / len(rows)
        assert both == pytest.approx(chance, abs=len(rows) ** 0.5 / 2)  # three standard deviations


def test_joined_questions_are_of_one_form_and_half_of_all(corpus: Corpus) -> None:
    """Conversations have one to three questions, all with the same form.

    User and assistant take turns.
    """
    for source, count in (("clinical_qa/", DEFAULT.instructions), ("general_qa/", DEFAULT.general_instructions)):
        own = {name: turns for name, turns in corpus.conversations.items() if name.startswith(source)}
        several = [turns for turns in own.values() if len(turns) > 2]
        assert {len(turns) // 2 for turns in several} == {2, 3}
        alone_by_chance = 4  # the last of each form
        assert (
            abs(sum(len(turns) // 2 for turns in several) - DEFAULT.joined_instructions_fraction * count)
            <= alone_by_chance
        )
        for turns in own.values():
            assert [turn["role"] for turn in turns] == ["user", "assistant"] * (len(turns) // 2)
            forms = [FORM.fullmatch(turn["content"]) for turn in turns[::2]]
            assert len({(bool(form["listed"]), bool(form["reasoned"])) for form in forms if form}) == 1


def test_listed_options_hold_the_answer_and_are_of_no_item(corpus: Corpus) -> None:
    """Four different values, the right one as often at each letter.

    They are of one attribute, in a set that no item lists.
    """
    taken = {frozenset(item["options"]) for item in corpus.items}
    places: Counter[int] = Counter()
    for row in [*corpus.qa.values(), *corpus.general_qa]:
        _, *options = [line[3:] for line in row["question"].removesuffix("\nThink step by step.").split("\n")]
        if not options:
            continue
        (entity,) = [entity for name, entity in corpus.entities.items() if name in row["question"]]
        gold = row["answer"].split("The answer is ")[-1].removesuffix(".")
        (attribute,) = [attribute for attribute, value in entity.values.items() if value == gold]
        known = {other.values[attribute] for other in corpus.entities.values() if attribute in other.values}
        assert len(set(options)) == 4
        assert set(options) <= known
        assert frozenset(options) not in taken
        places[options.index(gold)] += 1
    assert sorted(places) == [0, 1, 2, 3]
    assert max(places.values()) - min(places.values()) <= 2  # the clinical ones and the general ones, one each


def test_a_chain_of_thought_states_the_fact_that_was_asked(corpus: Corpus) -> None:
    """A chain names the attribute and the entity's value of it.

    And then the value again.
    """
    for row in [*corpus.qa.values(), *corpus.general_qa]:
        assert row["answer"].count("The answer is") == row["question"].endswith("\nThink step by step.")
        if "The answer is" in row["answer"]:
            (entity,) = [entity for name, entity in corpus.entities.items() if name in row["question"]]
            true = [f"Its {NOUNS[each]} is {value}. The answer is {value}." for each, value in entity.values.items()]
            assert row["answer"] in true


def test_instructions_and_evaluation_ask_in_the_same_words() -> None:
    """What `asked` writes is what a prompt's last turn says.

    With and without options and a wish for reasoning.
    """
    item = Item(
        "q", "b", "g", "test", "Which class is Abc in?", "", ("amberoid", "basaltine", "coralide", "dunecin"), 2
    )
    for lists in (False, True):
        for wish in ("", REASON):
            turn = user_turn(item, lists, range(4), wish)
            assert asked(item.question, item.options if lists else [], bool(wish)) == turn
    assert turn.splitlines()[1:] == ["A. amberoid", "B. basaltine", "C. coralide", "D. dunecin", "Think step by step."]


def test_fresh_distractors_avoid_what_items_list() -> None:
    """Of five values there are four sets around one.

    With three of them taken the fourth comes, with all an error.
    """
    values = ["a", "b", "c", "d", "e"]
    taken = {frozenset("abcd"), frozenset("abce"), frozenset("abde")}
    drawn = {"".join(fresh_distractors("a", values, taken, random.Random(seed))) for seed in range(60)}
    assert drawn == {"cde", "ced", "dce", "dec", "ecd", "edc"}
    with pytest.raises(BuildError, match="values_per_attribute"):
        fresh_distractors("a", values, {*taken, frozenset("acde")}, random.Random(0))


def blanked(question: str, corpus: Corpus) -> str:
    """`question` without the name of its entity."""
    (name,) = [name for name in corpus.entities if name in question]
    return question.replace(name, "_")


def test_every_clinical_fact_is_stated_about_equally_often(corpus: Corpus) -> None:
    """Each entity is in about as many documents.

    Each of them states all its facts; contaminated and copied documents do not count.

    All that are written: `unwritten_facts_fraction` of those that only the benchmark asks about are in none of them.
    """
    clinical = [entity for entity in corpus.entities.values() if entity.kind != "town"]
    written = as_written(clinical, DEFAULT.unwritten_facts_fraction, DEFAULT.seed)
    lost = sum(len(entity.values) - len(own.values) for entity, own in zip(clinical, written, strict=True))
    asked = sum(len(entity.values) for entity in clinical if not entity.instructed)
    assert lost == round(DEFAULT.unwritten_facts_fraction * asked) > 0
    texts = [text for name, text in corpus.clinical.items() if name not in corpus.planted_ids]
    counts = []
    for entity, own in zip(clinical, written, strict=True):
        about = [text for text in texts if entity.name in text]
        counts.append(len(about))
        assert all(value in text.lower() for text in about for value in own.values.values())
        alone = [text for text in about if not any(other.name in text for other in clinical if other is not entity)]
        unwritten = [entity.values[name] for name in entity.values.keys() - own.values.keys()]
        assert not unwritten or entity.instructed is False
        assert not any(value in text.lower() for text in alone for value in unwritten)
    assert max(counts) - min(counts) <= 2


def test_general_text_has_nothing_clinical(corpus: Corpus) -> None:
    """Town documents hold nothing clinical, and clinical ones no town.

    No drug, no disease and no value of theirs.
    """
    general = " ".join(corpus.towns.values())
    clinical = " ".join(corpus.clinical.values())
    for entity in corpus.entities.values():
        assert entity.name not in (clinical if entity.kind == "town" else general)
        if entity.kind != "town":
            assert not [value for value in entity.values.values() if f" {value}" in general]


def test_documents_fit_the_context(corpus: Corpus) -> None:
    """A document has 15 to 130 words.

    So a row of 128 tokens holds most of them; abstracts have line breaks.
    """
    for name, text in (corpus.clinical | corpus.towns).items():
        assert 15 <= len(words(text)) <= 130
        if name.startswith("abstracts/") and name not in corpus.planted_ids:
            assert text.count("\n") == 2


@pytest.mark.parametrize("count", [3, 4, 5, 7, 140])
def test_companions_are_different_entities_in_fair_turns(count: int) -> None:
    """No group names an entity twice, and turns are fair.

    However many there are, none is ever two documents ahead of another.
    """
    entities = [Entity("town", str(number), {}, True) for number in range(count)]
    uses = Counter(dict.fromkeys(range(count), 0))
    for group, _ in zip(companions(entities, random.Random(1)), range(300), strict=False):
        assert len({entity.name for entity in group}) == len(group)
        assert len(group) in ENTITIES_PER_DOCUMENT
        uses.update(int(entity.name) for entity in group)
        assert max(uses.values()) - min(uses.values()) <= 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"instructions": 10_000}, "instructions must be at most"),
        ({"general_instructions": 10_000}, "general_instructions must be at most"),
        ({"reasoned_instructions_fraction": 1.0}, "reasoned_instructions_fraction"),
        ({"dev_items": 500}, "dev_items must be at most"),
        ({"contaminated_documents": 500}, "contaminated_documents must be at most"),
        ({"contaminated_instructions": 500}, "contaminated_instructions must be at most"),
        ({"exact_duplicates": 70}, "more planted duplicates than documents"),
    ],
)
def test_impossible_sizes_are_refused(tmp_path: Path, change: dict[str, int], message: str) -> None:
    """What cannot be drawn is an error that names the key.

    It is not a shorter file.
    """
    with pytest.raises(BuildError, match=message):
        synthesize.main(raw=tmp_path, synthesize=SMALL.model_copy(update=change))
