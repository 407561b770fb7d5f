"""Documents without identifiers, and what is said of those that are dropped."""

from collections import Counter

import polars as pl

from osler.ingest.drafts import SCHEMA, private
from osler.privacy.screening import Phi

DROP = Phi.model_validate({"action": "drop", "detector": "rules", "required": False, "minimum_recall": 0})


def test_a_dropped_conversation_is_told_by_classes_and_counts() -> None:
    """A turn each, never its text.

    Neither these nor the clean turns of a dropped conversation count as replaced.
    """
    turns = [
        ("No cough.", "Rest."),
        ("Seen on 03/14/2021 and 03/24/2021.", "Call (555) 123-4567 on 04/01/2021."),
    ]
    rows = {
        "doc_id": ["s/1", "s/2"],
        "text": ["\n".join(each) for each in turns],
        "license": ["CC0-1.0"] * 2,
        "date": [None] * 2,
        "origin": ["f#1", "f#2"],
        "turns": [
            [{"role": "user", "content": asked}, {"role": "assistant", "content": said}] for asked, said in turns
        ],
    }
    kept, dropped, counts = private(pl.DataFrame(rows, schema=SCHEMA), DROP, b"")
    assert kept["doc_id"].to_list() == ["s/1"]
    assert dropped == [("f#2", "s/2", "2 date; 1 date, 1 phone")]
    assert counts == Counter()
