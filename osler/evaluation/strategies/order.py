"""The prompting strategies' names, from plain to elaborate."""

from collections.abc import Sequence

ORDER = (
    *("zero_shot", "few_shot", "knn_few_shot", "cot", "self_consistency", "choice_shuffle", "medprompt"),
    "expand_guess_refine",
)  # from plain to elaborate


def strategies_in_order(names: Sequence[str]) -> list[str]:
    """The known strategies from plain to elaborate, others after them."""
    found = set(names)
    return [name for name in ORDER if name in found] + sorted(found - set(ORDER))
