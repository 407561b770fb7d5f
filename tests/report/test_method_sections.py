"""What the report says of how its numbers may be compared."""

from osler.report.method_sections import encoder_lines
from osler.report.page import Items, markdown


def test_encoders_are_named_where_numbers_are_compared() -> None:
    """Repository, commit and layer; nothing where there is none."""
    made = {"repository": "org/near", "revision": "0123456789abcdef", "layer": None}
    used = {"bertscore": made | {"layer": 9}, "embeddings": made}
    own = {"bertscore": {"from": "base", "layer": None, "idf": True}}
    texts = [
        markdown([Items(encoder_lines({"base": {"encoders": {}}, "cpt": {"encoders": one}}))]) for one in (used, own)
    ]
    floor = "bertscore_shuffled is that of texts and targets of no relation."
    assert "".join(texts).splitlines() == [
        "* The nearest solved questions are those of `org/near@0123456789ab`.",
        f"* BERTScore is F1 under `org/near@0123456789ab`, layer 9. {floor}",
        f"* BERTScore is F1 under `models/base`, tokens weighed by rarity. {floor}",
    ]
    assert encoder_lines({"base": {}}) == []
