"""What a source's params say about identifiers, and one text screened accordingly."""

import hmac
from collections import Counter
from typing import Literal, Self

from pydantic import Field, model_validator

from osler.build.section import BuildError, Section, absent
from osler.privacy.detector import Detector, identifiers
from osler.privacy.presidio import INSTALL, installed
from osler.privacy.pseudonyms import private_date
from osler.privacy.spans import Kind
from osler.privacy.surrogates import deidentified


class Phi(Section):
    """A section `phi`: what is done about identifiers in a source's texts.

    It is done before any text is written.
    """

    action: Literal["surrogate", "redact", "drop"] = Field(
        description="surrogate invents, redact puts [NAME], drop sends the document to the ledger"
    )
    detector: Detector = Field(description="rules, or presidio: the rules and Microsoft's analyzer, if it is installed")
    detector_version: str | None = Field(
        default=None,
        description="versions of the analyzer and its model, so that other ones are another build; null for rules",
    )
    required: bool = Field(description="the texts are of patients: no build where recall is below `minimum_recall`")
    minimum_recall: float = Field(
        ge=0, le=1, description="least lower bound of the 95 % interval of recall on planted identifiers, if `required`"
    )
    classes: tuple[Kind, ...] | None = Field(
        default=None, min_length=1, description="classes of identifiers acted on; null: all"
    )
    key_file: str | None = Field(
        default=None,
        description="file of the secret, outside the repository, 16 bytes or more; null, but not for surrogate: ids and"
        " names of files are hidden under the contents of each file, so that an id is another one in another file",
    )
    key_id: str | None = Field(
        default=None, description="`key_id` of that secret, so that another one is another build"
    )

    judged_elsewhere: bool = absent(
        "texts of the same file may be sent to the address of a `judge`; false: they never leave this machine",
        default=False,
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.classes and len(set(self.classes)) < len(self.classes):
            raise ValueError("`classes` names a class twice")
        if (self.key_file is None) != (self.key_id is None):
            raise ValueError("`key_file` and `key_id` go together")
        if self.detector == "rules" and self.detector_version is not None:
            raise ValueError("`detector_version` goes with the detector presidio")
        if self.action == "surrogate" and self.key_file is None:
            raise ValueError("the action surrogate needs `key_file` and `key_id`")
        return self


def document_date(date: str, phi: Phi, key: bytes, subject: str) -> str | None:
    """The date of a document as far as it may be told.

    As it is where `phi.classes` leaves dates.
    """
    if phi.classes is not None and "date" not in phi.classes:
        return date
    return private_date(date, "surrogate" if phi.action == "surrogate" else "redact", key, subject)


def key_id(key: bytes) -> str:
    """Eight hexadecimal digits that tell one secret from another.

    They tell nothing about it.
    """
    return hmac.digest(key, b"key_id", "sha256").hex()[:8]


def check_detector(phi: Phi, name: str) -> None:
    """Stop where the detector of the source `name` is not here.

    In the versions that its params tell.

    Raises:
        BuildError: it is not installed, or in another version.
    """
    if phi.detector == "rules":
        return
    here = installed()
    if here is None:
        raise BuildError(
            f"params.yaml: source.{name}.phi.detector: presidio is not installed; `{INSTALL}`, or set rules"
        )
    if here != phi.detector_version:
        raise BuildError(
            f"params.yaml: source.{name}.phi.detector_version: {phi.detector_version!r}, but installed is {here!r}"
        )


def screened(text: str, phi: Phi, key: bytes, subject: str) -> tuple[str | None, Counter[str]]:
    """The text without the identifiers of `phi.classes`.

    And how many of each class it had.

    Args:
        text: one document, or one turn.
        phi: the section.
        key: secret bytes; empty will do unless `action` is surrogate.
        subject: whose dates move together.
    Returns:
        None for the text where it has to go: `action` is drop, and it has one.
    """
    spans = [span for span in identifiers(text, phi.detector) if phi.classes is None or span.kind in phi.classes]
    counts = Counter[str](span.kind for span in spans)
    if phi.action == "drop":
        return None if spans else text, counts
    return deidentified(text, spans, phi.action, key, subject), counts
