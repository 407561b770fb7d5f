"""Which option a text names."""

import re
from collections.abc import Sequence

from stages.lib.prompts import LETTERS


def extracted(text: str, options: Sequence[str]) -> int | None:
    """The option that `text` answers with, by letter or by its words; None when it names none or several."""
    plain = text.strip()
    for index, option in enumerate(options):
        if plain.casefold().rstrip(".") == option.casefold():
            return index
    if found := re.match(r"\(?([A-Z])[).:]?(?:\s|$)", plain):
        place = LETTERS.index(found[1])
        return place if place < len(options) else None
    return None
