"""What Presidio's analyzer finds in a note, as spans of our classes: an option, for its statistical names and places.

Presidio is in no list of what is installed: `INSTALL` gets it and the spaCy model that it takes by default. It is imported
by name, so that no stage's fingerprint depends on whether it is there; `phi.detector_version` tells which one was used.
Left out: EMAIL_ADDRESS, whose recognizer asks the network for a list of domains, and what spaCy calls dates, organizations
and nationalities, which in notes are durations, departments and no identifiers.

Source: microsoft.github.io/presidio, 2.2.
"""

from collections.abc import Iterator
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from stages.lib.privacy.lexicon import STATES
from stages.lib.privacy.spans import Kind, Span

MODEL = "en_core_web_lg"
INSTALL = f"pip install presidio-analyzer && python -m spacy download {MODEL}"
THRESHOLD = 0.4  # score; telephone numbers without a word such as "call" nearby have 0.4
PIECE_CHARACTERS = 100_000  # spaCy takes 1 GB for so many and refuses ten times as many
NLP_LABELS = {"PERSON": "PERSON", "FAC": "LOCATION", "GPE": "LOCATION", "LOC": "LOCATION"}  # of the model's
KIND: dict[str, Kind] = {
    "PERSON": "name",
    "LOCATION": "place",
    "DATE_TIME": "date",
    "PHONE_NUMBER": "phone",
    "US_SSN": "ssn",
    "IBAN_CODE": "account",
    "CREDIT_CARD": "account",
    "US_BANK_NUMBER": "account",
    "MEDICAL_LICENSE": "license",
    "US_DRIVER_LICENSE": "license",
    "URL": "url",
    "IP_ADDRESS": "ip",
    "MAC_ADDRESS": "device",
    "US_PASSPORT": "other",
    "US_ITIN": "other",
}


def installed() -> str | None:
    """The versions of Presidio and of its model, as `phi.detector_version` has them; None where one is missing."""
    try:
        return f"{version('presidio-analyzer')} {MODEL}-{version(MODEL)}"
    except PackageNotFoundError:
        return None


@cache
def analyzer() -> Any:
    """The analyzer with the model, 2 s and 1 GB; one for each process."""
    presidio, nlp_engine = import_module("presidio_analyzer"), import_module("presidio_analyzer.nlp_engine")
    nlp = import_module("spacy").load(MODEL, exclude=["parser"])
    ignored = {label for labels in nlp.pipe_labels.values() for label in labels} - NLP_LABELS.keys()
    engine = nlp_engine.SpacyNlpEngine(
        ner_model_configuration=nlp_engine.NerModelConfiguration(
            model_to_presidio_entity_mapping=NLP_LABELS, labels_to_ignore=ignored
        )
    )
    engine.nlp = {"en": nlp}  # what the engine loads by itself it may download
    return presidio.AnalyzerEngine(nlp_engine=engine)


def pieces(text: str) -> Iterator[tuple[int, str]]:
    """The text in pieces of at most PIECE_CHARACTERS that end with a line where they can, each with its offset."""
    start = 0
    while start < len(text):
        stop = start + PIECE_CHARACTERS
        end = len(text) if stop >= len(text) else text.rfind("\n", start, stop) + 1 or stop
        yield start, text[start:end]
        start = end


def recognized(text: str) -> Iterator[Span]:
    """What the analyzer finds, as it comes: spans may overlap. States stay, as the rule lets them."""
    for offset, piece in pieces(text):
        for result in analyzer().analyze(piece, "en", entities=[*KIND], score_threshold=THRESHOLD):
            found = piece[result.start : result.end]
            if found not in STATES and found not in STATES.values():
                start = offset + result.start
                yield Span(start, start + len(found), KIND[result.entity_type])
