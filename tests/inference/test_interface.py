"""What is asked of a model."""

from osler.inference.interface import seeded_rank


def test_a_rank_depends_on_every_argument_and_where_names_end() -> None:
    """The same arguments give one number on every machine; another seed, name or border between names another."""
    assert seeded_rank(0, "a", "b") == 8833506812361832566
    others = {seeded_rank(1, "a", "b"), seeded_rank(0, "a", "c"), seeded_rank(0, "ab"), seeded_rank(0, "a", "b", "")}
    assert len(others | {seeded_rank(0, "a", "b")}) == 5
    assert all(0 <= rank < 2**64 for rank in others)
