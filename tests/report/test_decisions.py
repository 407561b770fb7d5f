"""What report and cards say of steps that taught nothing and of decisions taken as a model trained."""

from typing import Any

from osler.report.corpus_sections import learned, license_table
from osler.report.model_cards import decisions, read_table

LEDGER: list[dict[str, Any]] = [
    {"run": "cpt", "source": "notes", "license": "cc0", "epoch": 1, "tokens": 900},
    {"run": "cpt", "source": "notes", "license": "cc0", "epoch": 1, "tokens": 100, "skipped": True},
]


def test_tables_of_what_was_learned_have_no_skipped_rows() -> None:
    """900 of 1,000 tokens taught the model."""
    assert read_table(learned(LEDGER)).rows[0][3] == "900"
    assert license_table({"cpt": learned(LEDGER)}).rows[0][3] == "900"


def test_a_card_tells_decisions_and_steps_that_taught_nothing() -> None:
    """And nothing at all of a model that trained as it was asked to."""
    facts = {
        "amendments": [{"from_step": 1200, "learning_rate": 1e-4}, {"skip_steps": [7, 9]}],
        "skipped_steps": [{"step": 4}, {"step": 1300}],
        "token_ledger": LEDGER,
    }
    assert decisions(facts) == [
        "Decided as it trained: a peak learning rate of 0.0001 from step 1,200 on.",
        "Decided as it trained: steps 7 to 9 were left out.",
        "Steps whose loss or gradient was not finite changed nothing: 4, 1,300.",
        "100 tokens of such steps, of all its runs, were read and not learned; they are not counted below.",
    ]
    assert decisions({"token_ledger": LEDGER[:1]}) == []
