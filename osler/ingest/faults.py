"""Why a row, or the rest of its file, cannot be read."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Fault:
    """Why a row gives no document.

    A word for the ledger's `reason`, and a sentence for its `detail`.
    """

    reason: str
    detail: str


Rows = Iterator[tuple[int, Record | Fault]]  # numbered from 1


class Unreadable(Exception):
    """Nothing more of a file, or of an archive's member, is readable."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.fault = Fault(reason, detail)
