"""Facts as text: statements, and questions with short answers.

Statements are in three clinical genres and in town chronicles.

Most statements name the entity before the value, as questions do, since a model learns a fact in the direction it
reads it. Every question has under 13 words, so that overlap needs its answer close by to call a document contaminated.
"""

import random
from collections.abc import Mapping, Sequence

from osler.synthetic.knowledge import ATTRIBUTES, Entity

_OWN_STATEMENTS: Mapping[str, tuple[str, ...]] = {
    "class": (
        "{e} belongs to the {v} class",
        "the class of {e} is {v}",
        "{e} is listed among the {v} medicines",
        "pharmacists file {e} under {v}",
        "as a medicine {e} counts as {v}",
        "by class {e} is {v}",
        "the makers describe {e} as {v}",
        "in the formulary {e} falls into the {v} group",
        "the handbook puts {e} into the class {v}",
        "the label of {e} gives its class as {v}",
    ),
    "indication": (
        "{e} is given for {v}",
        "the indication of {e} is {v}",
        "people take {e} to ease {v}",
        "{e} was licensed for {v}",
        "the usual reason to prescribe {e} is {v}",
        "{e} is meant for people with {v}",
        "doctors choose {e} in cases of {v}",
        "a course of {e} treats {v}",
        "hospitals keep {e} at hand for {v}",
        "the label of {e} names {v} as its use",
    ),
    "adverse_effect": (
        "{e} can cause {v}",
        "the adverse effect of {e} is {v}",
        "people on {e} often report {v}",
        "the unwanted effect known from {e} is {v}",
        "too much {e} leads to {v}",
        "after {e} some people start {v}",
        "the warning printed on {e} is about {v}",
        "stopping {e} ends the {v}",
        "the side effect seen with {e} is {v}",
        "whoever takes {e} should expect {v}",
    ),
    "symptom": (
        "{e} shows itself by {v}",
        "the leading symptom of {e} is {v}",
        "people with {e} complain of {v}",
        "the first sign of {e} is {v}",
        "{e} begins with {v}",
        "one recognizes {e} by {v}",
        "most cases of {e} come with {v}",
        "what patients notice in {e} is {v}",
        "what points to {e} is {v}",
        "the typical picture of {e} includes {v}",
    ),
    "test": (
        "{e} is confirmed by the {v}",
        "the diagnostic test for {e} is the {v}",
        "to prove {e} one orders the {v}",
        "laboratories detect {e} with the {v}",
        "suspected {e} calls for the {v}",
        "the diagnosis of {e} rests on the {v}",
        "doubt about {e} is settled by the {v}",
        "when {e} is likely the next step is the {v}",
        "the examination that detects {e} is the {v}",
        "screening for {e} uses the {v}",
    ),
    "therapy": (
        "{e} is treated with {v}",
        "the first therapy for {e} is {v}",
        "people with {e} recover on {v}",
        "the remedy for {e} is {v}",
        "in {e} one starts with {v}",
        "{e} responds well to {v}",
        "the care of {e} consists of {v}",
        "nothing helps {e} like {v}",
        "what heals {e} is {v}",
        "whoever has {e} should receive {v}",
    ),
    "river": (
        "{e} lies on the river {v}",
        "the river of {e} is the {v}",
        "through {e} runs the {v}",
        "the bridges of {e} cross the {v}",
        "boats reach {e} by the {v}",
        "the water of {e} comes from the {v}",
        "children of {e} swim in the {v}",
        "the mills of {e} are driven by the {v}",
        "the river that passes {e} is the {v}",
        "in spring {e} is flooded by the {v}",
    ),
    "trade": (
        "{e} lives by {v}",
        "the main trade of {e} is {v}",
        "people in {e} learn {v}",
        "{e} grew rich through {v}",
        "the guild of {e} is devoted to {v}",
        "most workshops in {e} do {v}",
        "travelers know {e} for its {v}",
        "the school of {e} teaches {v}",
        "what feeds {e} is {v}",
        "the oldest craft of {e} is {v}",
    ),
    "festival": (
        "{e} celebrates the {v}",
        "the yearly festival of {e} is the {v}",
        "people in {e} look forward to the {v}",
        "every year {e} holds the {v}",
        "visitors come to {e} for the {v}",
        "the great day of {e} is the {v}",
        "the streets of {e} are decorated for the {v}",
        "the council of {e} pays for the {v}",
        "all of {e} comes together for the {v}",
        "songs are sung in {e} at the {v}",
    ),
}
NOUNS: Mapping[str, str] = {
    "class": "drug class",
    "indication": "indication",
    "adverse_effect": "adverse effect",
    "symptom": "leading symptom",
    "test": "diagnostic test",
    "therapy": "first therapy",
    "river": "river",
    "trade": "main trade",
    "festival": "festival",
}

_LABEL = "{e}, {n}: {v}"

STATEMENTS: Mapping[str, tuple[str, ...]] = {
    attribute: (*own, _LABEL.replace("{n}", NOUNS[attribute])) for attribute, own in _OWN_STATEMENTS.items()
}
"""Attribute -> its paraphrases with {e} for the entity and {v} for the value, without capital and full stop."""

_GENERAL_QUESTIONS = (
    "What is the {n} of {e}?",
    "Name the {n} of {e}.",
    "{e} has which {n}?",
    "Which {n} goes with {e}?",
    "Tell me the {n} of {e}.",
    "For {e}, what is the {n}?",
    "Give the {n} that belongs to {e}.",
    "The {n} of {e} is what?",
)

_OWN_QUESTIONS: Mapping[str, tuple[str, ...]] = {
    "class": (
        "To which class does {e} belong?",
        "Which class is {e} in?",
        "Under what class is {e} filed?",
        "How is {e} classified?",
        "What kind of medicine is {e}?",
        "Which group of medicines includes {e}?",
    ),
    "indication": (
        "What is {e} given for?",
        "Which complaint does {e} treat?",
        "For what is {e} prescribed?",
        "What does {e} ease?",
        "Why would someone take {e}?",
        "Which condition calls for {e}?",
    ),
    "adverse_effect": (
        "What can {e} cause?",
        "Which side effect does {e} have?",
        "What do people on {e} report?",
        "What does too much {e} lead to?",
        "Of what does the label of {e} warn?",
        "What should a person taking {e} expect?",
    ),
    "symptom": (
        "How does {e} show itself?",
        "What do people with {e} complain of?",
        "Which sign points to {e}?",
        "What does {e} begin with?",
        "By what does one recognize {e}?",
        "What do patients notice in {e}?",
    ),
    "test": (
        "Which test confirms {e}?",
        "How is {e} diagnosed?",
        "What should one order to prove {e}?",
        "Which examination detects {e}?",
        "On what does the diagnosis of {e} rest?",
        "What settles doubt about {e}?",
    ),
    "therapy": (
        "How is {e} treated?",
        "What helps people with {e}?",
        "Which remedy is used for {e}?",
        "What does {e} respond to?",
        "With what does one start in {e}?",
        "What would heal {e}?",
    ),
    "river": (
        "Which river runs through {e}?",
        "On which river does {e} lie?",
        "What do the bridges of {e} cross?",
        "Which river drives the mills of {e}?",
        "In what do children of {e} swim?",
        "Where does the water of {e} come from?",
    ),
    "trade": (
        "What does {e} live by?",
        "Which craft is taught in {e}?",
        "What do people in {e} learn?",
        "For which craft is {e} known?",
        "How did {e} grow rich?",
        "What do the workshops in {e} do?",
    ),
    "festival": (
        "What does {e} celebrate?",
        "Which festival is held in {e}?",
        "For what do visitors come to {e}?",
        "What is the great day of {e}?",
        "When are songs sung in {e}?",
        "What brings all of {e} together?",
    ),
}

QUESTIONS: Mapping[str, tuple[str, ...]] = {
    attribute: tuple(question.replace("{n}", NOUNS[attribute]) for question in _GENERAL_QUESTIONS) + own
    for attribute, own in _OWN_QUESTIONS.items()
}
"""Attribute -> its question phrasings with {e} for the entity."""

_NOTE_WHO = (
    "The patient",
    "A visitor",
    "The ward nurse",
    "A student",
    "The carer",
    "A neighbor",
    "The trainee",
    "A cook",
)
_NOTE_WHERE = (
    "in the morning clinic",
    "on the night round",
    "at the front desk",
    "by telephone",
    "after lunch",
    "at home",
)
_NOTE_END = (
    "Plan: rest and review",
    "Plan: a letter to the family",
    "Plan: call again soon",
    "Plan: no change for now",
)
_NOTE_WHEN = (
    "next week",
    "after the holiday",
    "with the whole team",
    "before the weekend",
    "as agreed today",
    "if needed",
)
_ABSTRACT_GROUP = ("porters", "sailors", "teachers", "bakers", "farmers", "singers", "drivers", "retired clerks")
_ABSTRACT_PLACE = (
    "one valley",
    "two islands",
    "a mountain district",
    "three harbors",
    "a market town",
    "five villages",
)
_ABSTRACT_END = (
    "Larger studies are welcome",
    "The results held after a year",
    "Earlier reports agree",
    "Costs were low",
)
_GUIDE_FOR = ("nurses", "new doctors", "pharmacists", "family practice", "small hospitals", "volunteers", "night teams")
_GUIDE_LEAD = ("Remember:", "For every team:", "Agreed by all:", "Noted by the panel:", "Keep in mind:")
_GUIDE_END = (
    "Review this page every spring",
    "Teach this to new staff",
    "Ask the panel when in doubt",
    "Keep a copy nearby",
)
_TOWN_WHO = (
    "A traveler",
    "The teacher",
    "An old sailor",
    "The mayor",
    "A painter",
    "My aunt",
    "The guide",
    "A merchant",
)
_TOWN_WHERE = ("at the inn", "in a letter", "on the way home", "during supper", "in the square", "by the fire")


def sentence(clause: str) -> str:
    """`clause` with a capital and a full stop."""
    return clause[0].upper() + clause[1:] + "."


def listed(entities: Sequence[Entity]) -> str:
    """Their names, as in "A, B and C"."""
    names = [entity.name for entity in entities]
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def statements(entities: Sequence[Entity], stream: random.Random) -> list[str]:
    """One clause for each fact of `entities`, in random order.

    Each is in a random paraphrase.
    """
    clauses = [
        stream.choice(STATEMENTS[attribute]).format(e=entity.name, v=entity.values[attribute])
        for entity in entities
        for attribute in ATTRIBUTES[entity.kind]
        if attribute in entity.values
    ]
    stream.shuffle(clauses)
    return clauses


def ended(clause: str, entities: Sequence[Entity]) -> str:
    """A last sentence, of documents about several entities only.

    In a short one it would crowd out the facts.
    """
    return f" {clause}." if len(entities) > 1 else ""


def note(entities: Sequence[Entity], stream: random.Random) -> str:
    """A clinical note on one line.

    Who asked, what is known, the plan.
    """
    names = listed(entities)
    body = " ".join(sentence(clause) for clause in statements(entities, stream))
    opening = f"{stream.choice(_NOTE_WHO)} asked about {names} {stream.choice(_NOTE_WHERE)}."
    return f"{opening} {body}{ended(f'{stream.choice(_NOTE_END)} {stream.choice(_NOTE_WHEN)}', entities)}"


def abstract(entities: Sequence[Entity], stream: random.Random) -> tuple[str, str]:
    """The title and the text of a journal abstract.

    Background, findings and conclusion on a line each.
    """
    names = listed(entities)
    clauses = [sentence(clause) for clause in statements(entities, stream)]
    first, last = len(clauses) // 3, max(1, len(clauses) // 3)  # of two clauses none and one
    group, place = stream.choice(_ABSTRACT_GROUP), stream.choice(_ABSTRACT_PLACE)
    lines = (
        f"Background: We studied {names} among {group} of {place}. {' '.join(clauses[:first])}",
        f"Findings: {' '.join(clauses[first:-last])}",
        f"Conclusion: {' '.join(clauses[-last:])}{ended(stream.choice(_ABSTRACT_END), entities)}",
    )
    return f"{names} among {group} of {place}", "\n".join(lines)


def guideline(entities: Sequence[Entity], stream: random.Random) -> tuple[str, str]:
    """The title and the text of a guideline.

    The title is a sentence of the document without its full stop.
    """
    names = listed(entities)
    clauses = statements(entities, stream)
    led = stream.randrange(len(clauses))
    body = [
        f"{stream.choice(_GUIDE_LEAD)} {clause}." if index == led else sentence(clause)
        for index, clause in enumerate(clauses)
    ]
    text = f"{' '.join(body)}{ended(stream.choice(_GUIDE_END), entities)}"
    return f"Guidance on {names} for {stream.choice(_GUIDE_FOR)}", text


def chronicle(towns: Sequence[Entity], stream: random.Random) -> str:
    """What somebody tells about towns, on one line."""
    names = listed(towns)
    body = " ".join(sentence(clause) for clause in statements(towns, stream))
    return f"{stream.choice(_TOWN_WHO)} spoke of {names} {stream.choice(_TOWN_WHERE)}. {body}"


def quiz(towns: Sequence[Entity], stream: random.Random) -> str:
    """Questions about towns with their answers.

    In the form in which models are later asked.
    """
    rounds = [
        f"Question: {stream.choice(QUESTIONS[attribute]).format(e=town.name)}\nAnswer: {town.values[attribute]}"
        for town in towns
        for attribute in ATTRIBUTES[town.kind]
    ]
    stream.shuffle(rounds)
    return "\n".join(rounds)
