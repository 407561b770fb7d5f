"""Places: streets, towns and institutions.

By lists and by the words beside them.
"""

import re
from functools import cache

from osler.privacy.lexicon import (
    COMMON,
    CUE,
    FIRST,
    LOWER,
    STATES,
    SURNAME,
    TOWN,
    UPPER,
    bare,
    lexicon,
    word_list,
)
from osler.privacy.spans import Span, word_set

WORD = rf"[{UPPER}](?=[\w'’]*[{LOWER}])[\w'’]++(?:-[{UPPER}]?[\w'’]++){{0,3}}"
PARTICLE = (
    r"(?:van|von|de|da|do|dos|das|del|della|degli|di|der|den|la|le|el|los|las|les|sur|sous|en|am|an|im|op|bei|aan|af|ter|ten"
    r"|bin|al|y|e|zu|zum|St\.|v\.)"
)
THERE = word_set("in from to at near of visiting")
LEFT_RUN = re.compile(rf"(?:(?:{WORD}|[{UPPER}]\.|St\.|VA|\d+)(?: (?:of|and|the|&|{PARTICLE})){{0,2}} ){{1,8}}$")
RIGHT_RUN = re.compile(rf"(?:,? (?:of|at|in|for) (?:the )?{WORD}(?: {WORD}){{0,2}})")
TOWN_RUN = re.compile(rf"(?:(?:{PARTICLE}|[{UPPER}]\.|{WORD})[ -]){{0,6}}{WORD}$")
A_TOWN = re.compile(rf"(?:St\.? |Mt\.? |Ft\.? )?{WORD}(?:(?: {PARTICLE})? {WORD}|-\w+){{0,3}}")
LIVING = re.compile(
    r"\b(?:[Oo]riginally|liv|resid|born|rais|mov|relocat|transfer|visit|grew|work|travel|return|home|originally|immigrat|hospitalized|native|teacher"
    r"|while|address|lies|flew|drove)\w*\b[^.\n]{0,30}?\b(?:in|from|to|at|near|of|visiting)$"
)
HOME = re.compile(
    r"\b(?:liv|resid|born|rais|[Oo]riginally|native|grew|teacher)\w*\b[^.\n]{0,30}?\b(?:in|from|at|near|of) $"
)
PLACE_LABEL = re.compile(r"(?:Address|ADDRESS|Home|Location|LOCATION|City|CITY|Facility|FACILITY|Hometown)\s*: ?$")
ZIP_AFTER = re.compile(r",? ?\d{5}(?:-\d{4})?\b")
BELOW = re.compile(r",?[ \t]*\n[ \t]*")
BOX = re.compile(r"Box \d+")
BOX_LEFT = re.compile(r"P\.? ?O\.? $")
SPECIALTY = re.compile(r"(?:logy|surgery|iatry|iatrics|edics|therapy|rics)$", re.I)


@cache
def street_pattern() -> re.Pattern[str]:
    short = {"St", "Ave", "Rd", "Dr", "Blvd", "Ln", "Ct", "Hwy"}
    suffixes = "|".join(sorted(word_list("lexicons/street_suffixes.txt") | short))
    return re.compile(
        rf"\d(?<![\w./-]\d)\d{{0,4}} (?:[NSEW]\.? )?(?:(?:{WORD}|\d+(?:st|nd|rd|th)) ){{1,4}}(?:{suffixes})\b\.?"
        r"(?:,? (?:Apt|Suite|Ste|Unit|#)\.? ?\w+)?"
    )


def institution(text: str, noun_start: int, noun_end: int) -> Span | None:
    """A named institution that ends in a noun such as Hospital.

    None where only a kind of institution is named.
    """
    flags = lexicon()
    left = LEFT_RUN.search(text, max(0, noun_start - 60), noun_start)
    right = RIGHT_RUN.match(text, noun_end)
    noun = text[noun_start:noun_end]
    after = flags.get(bare(right.group().split(" ")[-1]), 0) if right else COMMON
    words = left.group().rstrip().split(" ") if left else []
    formal = noun in FORMAL or (len(words) > 2 and {"Regional", "General", "VA"} & set(words))
    while words and (words[0] in ("The", "At", "In") or not (formal or _is_naming(words[0]))):
        words.pop(0)
    named = bool(words) and bool(formal or any(word[:1].isupper() and _is_naming(word) for word in words))
    begin = noun_start - len(" ".join(words)) - 1 if words else noun_start
    if right and not after & COMMON and (right.group().startswith((" of", " at")) or not named):
        named = named or noun in ("University", "Hospital", "Center", "Clinic", "College")
        return Span(begin, right.end(), "place") if named else None
    return Span(begin, noun_end, "place") if named else None


def _is_naming(word: str) -> bool:
    """Whether a word before Hospital names one.

    Mercy and Tolvanen do; General and Urology do not.
    """
    kind = COMMON if SPECIALTY.search(word) or len(word) < 3 else lexicon().get(bare(word), 0)
    return word in NAMING or (word[:1].isupper() and (not kind & COMMON or bool(kind & TOWN)))


FORMAL = ("Institute", "Orthopedics", "Associates")
NAMING = word_set(
    "Memorial Mercy Methodist Baptist Presbyterian Sinai Sacred Trinity Providence Doctors Veterans Deaconess St"
    " Saint St."
)


def town_before(text: str, comma: int, sure: bool) -> Span | None:
    """The town before ", Texas".

    `sure` where a ZIP code follows or the state is spelled out.
    """
    left = TOWN_RUN.search(text, max(0, comma - 40), comma)
    if not left:
        return None
    start, words = left.start(), left.group().split(" ")
    flags = lexicon()
    while len(words) > 1 and flags.get(words[0], 0) & COMMON and not flags.get(words[0], 0) & (TOWN | FIRST | SURNAME):
        start += len(words.pop(0)) + 1
    previous = text[max(0, start - 14) : start].split()
    there = bool(previous) and previous[-1].lower().strip("(:") in THERE
    kind = flags.get(words[0], 0)
    person = kind & FIRST and text.startswith((", MD", ", PA"), comma)  # Austin, MD
    if sure or there or (kind & TOWN and not kind & COMMON and not person):
        return Span(start, comma, "place")
    return None


def town_span(text: str, start: int, end: int) -> Span | None:
    flags = lexicon()
    words = text[start:end].split(" ")
    while (
        len(words) > 1 and flags.get(words[-1], 0) & COMMON and not flags.get(words[-1], 0) & (FIRST | SURNAME | TOWN)
    ):
        words.pop()
    if " ".join(words) in STATES:
        return None
    return Span(start, start + len(bare(" ".join(words))), "place")


def town_below(text: str, street_end: int) -> list[Span]:
    """The town at the beginning of the line after a street."""
    line = BELOW.match(text, street_end)
    town = A_TOWN.match(text, line.end()) if line else None
    if town is None or text[town.end() : town.end() + 1] == ":":
        return []
    first = lexicon().get(bare(town.group().split(" ")[0]), 0)
    if (
        first & CUE
        or town.group().startswith(("Suite", "Apt", "Unit", "Floor"))
        or (first & COMMON and not first & TOWN)
    ):
        return []
    found = town_span(text, town.start(), town.end())
    return [found] if found else []
