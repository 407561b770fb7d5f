"""What Presidio's analyzer finds in a note.

As spans of our classes: an option, for its statistical names and places.

Presidio is in no list of what is installed: `INSTALL` gets it and the spaCy model that it takes by default. It is imported
by name, so that no stage's fingerprint depends on whether it is there; `phi.detector_version` tells which one was used.
Left out: EMAIL_ADDRESS, whose recognizer asks the network for a list of domains, and what spaCy calls dates, organizations
and nationalities, which in notes are durations, departments and no identifiers.

No model could be had where this was written, so the figures are those of the pattern recognizers alone, 2.2.366, seed 3 of
the planter in 600 real notes: they find 1,527 of 5,486 identifiers (27.8 %), the rules 5,452, both 5,455; of 183 labeled by
hand 81, the rules 178, both 178, with no false span more. 0.12 MB/s beside the rules' 2.0 on the same busy core. What the
model adds to names and places, and at what price in false spans, is not measured: let `audit` say, and read.

Source: microsoft.github.io/presidio, 2.2.
"""

import logging
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from osler.privacy.lexicon import STATES
from osler.privacy.spans import Kind, Span

MODEL = "en_core_web_lg"
INSTALL = f"pip install presidio-analyzer && python -m spacy download {MODEL}"
THRESHOLD = 0.4  # that of a telephone number; at 0.3 "C7" is a driving license, 2.1 false spans per 1,000 words
PIECE_CHARACTERS = 100_000  # spaCy tells of 1 GB for so many, and refuses ten times as many
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
    """The versions of Presidio and of its model.

    As `phi.detector_version` has them; None where one is missing.
    """
    try:
        return f"{version('presidio-analyzer')} {MODEL}-{version(MODEL)}"
    except PackageNotFoundError:
        return None


@cache
def analyzer() -> Any:
    """The analyzer with its model, one for each process."""
    presidio, nlp_engine = import_module("presidio_analyzer"), import_module("presidio_analyzer.nlp_engine")
    logging.getLogger("presidio-analyzer").setLevel(logging.ERROR)  # it warns of every language and label not asked for
    labels = nlp_engine.NerModelConfiguration(model_to_presidio_entity_mapping=NLP_LABELS)
    engine = nlp_engine.SpacyNlpEngine(ner_model_configuration=labels)
    engine.nlp = {"en": import_module("spacy").load(MODEL, exclude=["parser"])}  # what it loads itself it may download
    return presidio.AnalyzerEngine(nlp_engine=engine)


def pieces(text: str) -> Iterator[tuple[int, str]]:
    """The text in pieces of at most PIECE_CHARACTERS, with their offsets.

    They end with a line where they can.
    """
    start = 0
    while start < len(text):
        stop = start + PIECE_CHARACTERS
        end = len(text) if stop >= len(text) else text.rfind("\n", start, stop) + 1 or stop
        yield start, text[start:end]
        start = end


def recognized(text: str) -> Iterator[Span]:
    """What the analyzer finds, as it comes: spans may overlap.

    States stay, as the rule lets them.
    """
    for offset, piece in pieces(text):
        for result in analyzer().analyze(piece, "en", entities=[*KIND], score_threshold=THRESHOLD):
            found = piece[result.start : result.end]
            if found not in STATES and found not in STATES.values():
                start = offset + result.start
                yield Span(start, start + len(found), KIND[result.entity_type])
