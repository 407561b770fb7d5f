"""Notes labeled by hand for identifiers: offsets are in tests/data/phi_labels.jsonl, texts only where the data lie."""

import csv
import gzip
import hashlib
import io
import json
from dataclasses import dataclass
from functools import cache

from osler.build.pipeline import ROOT
from osler.privacy.spans import Span
from tests.support.project import SHARED

LABELS = ROOT / "tests" / "data" / "phi_labels.jsonl"
MTSAMPLES = "corpus/mtsamples/mtsamples.jsonl.gz"


@dataclass(frozen=True)
class Label:
    """One note that was read whole, and every identifier in it."""

    file: str
    row: int
    field: str
    sha256: str
    spans: list[Span]

    @property
    def text(self) -> str:
        """The note as the file has it now."""
        return _rows(self.file)[self.row - 1][self.field]

    @property
    def is_as_labeled(self) -> bool:
        return hashlib.sha256(self.text.encode()).hexdigest() == self.sha256


@cache
def _rows(file: str) -> list[dict[str, str]]:
    with gzip.open(SHARED / file, "rb") as stream:
        if file.endswith(".jsonl.gz"):
            return [json.loads(line) for line in stream]
        return list(csv.DictReader(io.TextIOWrapper(stream, encoding="utf-8", newline="")))


def labels() -> list[Label]:
    """All labeled notes; those at even positions (0, 2, ...) are for tuning, the others for reporting."""
    lines = LABELS.read_text(encoding="utf-8").splitlines()[1:]  # the first says what was counted
    parsed = [json.loads(line) for line in lines]
    return [Label(**{**label, "spans": [Span(*span) for span in label["spans"]]}) for label in parsed]


def mtsamples() -> list[str]:
    """Every different transcription, in the order of the file."""
    return list(dict.fromkeys(row["transcription"] for row in _rows(MTSAMPLES)))
