"""What a source's params say about identifiers, and one text screened accordingly."""

from collections import Counter
from typing import Literal, Self

from pydantic import Field, model_validator

from stages.lib.privacy.detector import identifiers
from stages.lib.privacy.spans import Kind
from stages.lib.privacy.surrogates import deidentified
from stages.lib.records import Fault
from stages.lib.section import Section


class Phi(Section):
    """A section `phi` of a source: what is done about the identifiers in its texts, before any text is written."""

    action: Literal["none", "surrogate", "redact", "drop"] = Field(
        description="none leaves the text; surrogate invents, redact puts [NAME], drop sends the document to the ledger"
    )
    required: bool = Field(description="the texts are of patients: `action` may not be none, and recall is checked")
    minimum_recall: float = Field(
        ge=0, le=1, description="least lower bound of the 95 % interval of recall on planted identifiers, if `required`"
    )
    classes: tuple[Kind, ...] = Field(min_length=1, description="the classes of identifiers acted on")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.required and self.action == "none":
            raise ValueError("`required` asks for an `action` other than none")
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("`classes` names a class twice")
        return self


def screened(text: str, phi: Phi, key: bytes, subject: str) -> str | Fault:
    """The text without the identifiers of `phi.classes`, or, for drop, why the document goes: classes and counts, no text.

    Args:
        text: one document, or one turn.
        phi: the section.
        key: secret bytes; empty will do unless `action` is surrogate.
        subject: whose dates move together.
    """
    if phi.action == "none":
        return text
    spans = [span for span in identifiers(text) if span.kind in phi.classes]
    if phi.action != "drop":
        return deidentified(text, spans, phi.action, key, subject)
    if not spans:
        return text
    counts = Counter(span.kind for span in spans)
    return Fault("phi", ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())))
