"""What a published protocol is made of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from osler.evaluation.questions import LETTERS, Item
from osler.inference.interface import Prompt

Shown = Sequence[tuple[Item, str]]
"""Solved questions, each with its benchmark's format."""


@dataclass(frozen=True)
class PublishedProtocol:
    """One protocol of a source.

    Args:
        formats: of benchmarks that it has prompts for.
        prompt: of an item, its benchmark's format, and solved questions to show before it.
        shows: whether the source says how solved questions are shown.
        fixes: formats before whose items the source always shows the same solved questions; it draws others.
        fixed: these, for an item, out of a pool, as many as asked for.
        read: the option that a text names, of those asked for, after solved questions or not; None where it names none. No
            function: options are compared by log-likelihood.
        limits_tokens: of what is written, without solved questions and with them.
    """

    formats: tuple[str, ...]
    prompt: Callable[[Item, str, Shown], Prompt]
    shows: bool = True
    fixes: tuple[str, ...] = ()
    fixed: Callable[[Item, Sequence[Item], int], list[Item]] | None = None
    read: Callable[[str, Sequence[str], bool], int | None] | None = None
    limits_tokens: tuple[int, int] = (0, 0)


def lettered(item: Item) -> list[str]:
    """Each option behind its letter, `A. oak`."""
    return [f"{letter}. {option}" for letter, option in zip(LETTERS, item.options, strict=False)]
