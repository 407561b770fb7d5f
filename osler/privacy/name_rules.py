"""What a capitalized word is: a name, a place, or neither.

By the lists and by the words beside it.
"""

import re
from typing import NamedTuple

from osler.privacy.informal_names import is_last_first, is_person
from osler.privacy.lexicon import (
    COMMON,
    CUE,
    EPONYM,
    FIRST,
    STATES,
    SURNAME,
    TOWN,
    UPPER,
    bare,
    lexicon,
)
from osler.privacy.places import (
    A_TOWN,
    HOME,
    LIVING,
    PARTICLE,
    PLACE_LABEL,
    SPECIALTY,
    THERE,
    WORD,
    town_span,
)
from osler.privacy.spans import Span, word_set

COUNTRIES = (
    "America|Mexico|Canada|Germany|France|Italy|Spain|England|China|Japan|India|Russia|Brazil|Cuba|Vietnam|Korea|Europe"
)
KIN = word_set(
    "daughter son husband wife mother father sister brother aunt uncle niece nephew grandson granddaughter"
    " grandmother grandfather friend boyfriend girlfriend partner fiance fiancee guardian caregiver spouse pt pt."
    " named therapist nurse resident surgeon doctor counselor roommate twin mom dad"
)
BESIDE = word_set("with to by per and cc saw see from thank for contacted")
PLACEHOLDER = re.compile(
    r"(?:[A-Z]\.?|X{2,}\w*|XYZ\w?|A[Bb][Cc][Dd]?[Ee]?F?|Xyz|D[Ee][Ff]|Sample|Doe|DOE|Name|Doctor|Patient|Month)\b"
)
NAME = (
    rf"(?:(?:[{UPPER}]\.? ?){{1,2}} ?|)(?:{PARTICLE} ){{0,2}}{WORD}"
    rf"(?: (?:[{UPPER}]\.?(?![\w'’])|(?:{PARTICLE} ){{0,2}}{WORD})){{0,3}}"
)
A_NAME = re.compile(NAME)
LAST_FIRST = re.compile(rf"(?P<last>(?:{PARTICLE} )*{WORD}(?: {WORD})?), (?P<first>{WORD}(?: [A-Z]\b\.?)?)")
CREDENTIAL = re.compile(
    r",?\s{0,3}(?:M\.? ?D\b|D\.? ?O\b|R\.?N\b|N\.?P\b|PA(?:-C)?\b|P\.A\.|Ph\.? ?D|D\.?D\.?S|O\.?D\b|LCSW|CRNA|ARNP|LPN"
    r"|D\.?P\.?M\b|FACS|Psy\.?D|PharmD)"
)
CALLED = re.compile(r"\b(?:name|physician|doctor|PCP|provider|contact|surgeon) is $")
REPORTED = re.compile(r" (?:is|was|presents|returns|reports|has|had|states|denies)\b")
SPOKEN = re.compile(
    r"\b(?:discussed|spoke|reviewed|met|talked|consulted|assisted|seen|dictated|performed|signed|referred|according|conversation)"
    r" (?:with|to|by)$"
)
CLAUSE = re.compile(
    r"[ -](?:[a-z]|Clamp|Retractor|Disease|Syndrome|Test|Score|Sign|Scale|Procedure|Catheter|Drain|Needle|Stand)"
)


def trimmed_end(text: str, start: int, end: int, least: int) -> int:
    """The end of a name without the common words that follow it.

    Of "Okafor Will", the end of "Okafor".
    """
    flags = lexicon()
    words = text[start:end].split(" ")
    while len(words) > least and words[-1]:
        if len(words) > 2 and len(words[-2].rstrip(".")) == 1:
            break  # Jane Q. Public
        if len(words) == 2 and flags.get(words[0], 0) & (FIRST | SURNAME | COMMON) == FIRST:
            break  # Jane Public
        last = flags.get(bare(words[-1]).capitalize() if words[-1].isupper() else bare(words[-1]), 0)
        plain = last & CUE or (last & COMMON and not last & (FIRST | SURNAME))
        if not (words[-1] in ("A", "I", "A.", "I.") or (len(words[-1]) > 2 and plain)):
            break
        words.pop()
    length = len(" ".join(words))
    whole = text[start : start + length]
    return start + len(bare(whole) if whole.endswith(("'s", "’s", "'", "’")) else whole)


def name_span(text: str, start: int, end: int, least: int = 1) -> Span | None:
    if PLACEHOLDER.match(text, start) and PLACEHOLDER.fullmatch(text[start:end].split(" ")[-1]):
        return None
    end = trimmed_end(text, start, end, least)
    return Span(start, end, "name") if re.search(r"\w[^\W\d_]", text[start:end]) else None


def is_listed_pair(text: str, run: str, end: int) -> bool:
    """Whether capitalized words in a row are a person, by the lists."""
    flags = lexicon()
    words = [bare(word) for word in run.split(" ")]
    full = [word for word in words if len(word.rstrip(".")) > 1 and word[0].isupper()]
    if len(words) < 2 or not full:
        return False
    kinds = [flags.get(word, 0) for word in full]
    if any(kind & COMMON and not kind & (FIRST | SURNAME) for kind in kinds):
        return False
    if all(kind & EPONYM for kind in kinds) and not (kinds[0] & FIRST and len(full) > 1 and REPORTED.match(text, end)):
        return False
    if any(kind & CUE for kind in kinds):
        return False
    last = kinds[-1]
    if len(full) == 1:
        return bool(last & SURNAME and not last & (COMMON | EPONYM)) and words[0].endswith(".")
    first = kinds[0]
    if first & FIRST and not first & COMMON:
        return not last & COMMON or bool(last & SURNAME)
    if (first & FIRST and last & SURNAME) or (len(words) > 2 and first & SURNAME and last & (FIRST | SURNAME)):
        return True
    return bool(last & SURNAME and not last & (COMMON | EPONYM) and not first & (COMMON | EPONYM | TOWN))


def _previous(text: str, start: int) -> str:
    """The word before `start` on the same line.

    Without signs, in lower case.
    """
    left = text[max(0, start - 20) : start]
    words = left[left.rfind("\n") + 1 :].split()
    return words[-1].strip(",:;(").lower() if words else ""


class CapitalizedRun(NamedTuple):
    """A capitalized word, and the run of such words that it begins.

    After an initial it goes on with the run.

    `start` and `end` are the word's as it stands, `word` is it without signs, `kind` what the lists say of it; `begin` and
    `stop` are the run's, and `previous` is the word before, as `_previous` has it.
    """

    text: str
    start: int
    end: int
    word: str
    kind: int
    begin: int
    stop: int
    previous: str

    @property
    def whole(self) -> str:
        return self.text[self.begin : self.stop]

    def name(self, least: int = 1) -> Span:
        """The run as a name, without the common words that follow it."""
        return Span(self.begin, trimmed_end(self.text, self.begin, self.stop, least), "name")


def name_or_place(text: str, start: int, end: int, word: str, kind: int) -> Span | None:
    """The name or place that begins with this word, if one does."""
    initial = re.search(r"(?:\b[^\W\d_a-z]\. ?){1,2}$", text[max(0, start - 6) : start])
    begin = start - len(initial.group()) if initial else start
    run = A_NAME.match(text, begin)
    if run is None:
        return None
    found = _before_credential(text, begin, run.end()) or (None if initial else _last_name_first(text, start))
    if found:
        return found
    here = CapitalizedRun(text, start, end, word, kind, begin, run.end(), _previous(text, begin))
    for rule in (_listed, _spoken_of, _after_a_word):
        found = rule(here)
        if found:
            return found
    if initial and here.previous in BESIDE | {"by:", "dictated", "rn"} and not kind & COMMON:
        return here.name()
    is_settled, town = _town_here(here)
    return town if is_settled else _by_place_or_person(here)


def _before_credential(text: str, begin: int, stop: int) -> Span | None:
    """ "Okafor" of "Okafor, MD"."""
    if not CREDENTIAL.match(text, stop) or PLACEHOLDER.match(text, begin):
        return None
    full = [part for part in text[begin:stop].split(" ") if len(part.rstrip(".")) > 1 and part[0].isupper()]
    common = [lexicon().get(bare(part), 0) for part in full]
    return None if any(c & COMMON and not c & (FIRST | SURNAME) for c in common) else Span(begin, stop, "name")


def _last_name_first(text: str, start: int) -> Span | None:
    """ "Okafor, Ada"."""
    last_first = LAST_FIRST.match(text, start)
    if not last_first:
        return None
    flags = lexicon()
    one, other = bare(last_first["last"].split(" ")[-1]), last_first["first"].split(" ")[0]
    one_kind, other_kind = flags.get(one, 0), flags.get(bare(other), 0)
    if (
        other_kind & FIRST
        and not (one_kind | other_kind) & (COMMON | EPONYM | CUE)
        and one_kind & (SURNAME | FIRST)
        and not one_kind & TOWN
    ):
        return Span(start, last_first.end("first"), "name")
    abroad = re.match(rf",? (?:{COUNTRIES})\b", text[last_first.end() : last_first.end() + 12])
    asked = _previous(text, start) in ("with", "by", "to", "from") or bool(REPORTED.match(text, last_first.end()))
    if is_last_first(one, bare(other), asked) and not abroad:
        return Span(start, last_first.end("first"), "name")
    return None


def _listed(here: CapitalizedRun) -> Span | None:
    """A person by the lists.

    The longest pair of names at the run's beginning, or the word alone.
    """
    text, begin, whole = here.text, here.begin, here.whole
    while " " in whole:
        if is_listed_pair(text, whole, begin + len(whole)):
            stop = trimmed_end(text, begin, begin + len(whole), 2)
            town = (
                here.previous in THERE and here.kind & TOWN and LIVING.search(text[max(0, begin - 50) : begin].rstrip())
            )
            return Span(begin, stop, "place" if town else "name")
        whole = whole.rpartition(" ")[0]
    if is_person(text, begin, here.end, here.word, here.previous):
        return Span(begin, here.start + len(here.word), "name")
    return None


def _spoken_of(here: CapitalizedRun) -> Span | None:
    """Someone unknown to the lists that somebody spoke with.

    "discussed with Ngozi Adeyemi".
    """
    if " " not in here.whole or here.previous not in ("with", "to", "by"):
        return None
    if not SPOKEN.search(here.text, max(0, here.begin - 28), here.begin - 1):
        return None
    kinds = [lexicon().get(bare(part), 0) for part in here.whole.split(" ") if len(part) > 2]
    if len(kinds) > 1 and not any(k & (COMMON | CUE) and not k & (FIRST | SURNAME) for k in kinds):
        return here.name()
    return None


def _after_a_word(here: CapitalizedRun) -> Span | None:
    """A name by the word before it.

    "doctor Okafor", "daughter Ada", "her surgeon is Okafor".
    """
    if here.previous == "doctor" and here.kind & SURNAME:
        return Span(here.start, here.end - (here.text[here.start : here.end] != here.word) * 2, "name")
    if here.previous in KIN and not here.kind & COMMON and not lexicon().get(here.word, 0) & CUE:
        return here.name()
    left = here.text[max(0, here.begin - 16) : here.begin]
    if here.previous == "is" and not here.kind & (CUE | COMMON) and CALLED.search(left):
        return here.name()
    return None


def _town_here(here: CapitalizedRun) -> tuple[bool, Span | None]:
    """Whether the word surely begins a place or country, and the place."""
    text, start, kind, previous = here.text, here.start, here.kind, here.previous
    left = text[max(0, start - 50) : start]
    label = PLACE_LABEL.search(left)
    if not label and (previous not in THERE or SPECIALTY.search(here.word)):
        return False, None
    town = A_TOWN.match(text, start)
    if town is None:
        return False, None
    if re.search(COUNTRIES, town.group()):
        return True, None
    follows = CLAUSE.match(text, here.end)
    listed = kind & TOWN and previous != "of" and not (kind & (COMMON | EPONYM) and follows)
    if (
        (label or LIVING.search(left.rstrip()) or listed)
        and not (kind & COMMON and not kind & TOWN and not (" " in town.group() and HOME.search(left)))
        and here.word not in STATES
        and not kind & CUE
    ):
        return True, town_span(text, start, town.end())
    return False, None


def _by_place_or_person(here: CapitalizedRun) -> Span | None:
    """The last resort: two weak signs.

    An unknown word after "in", and a first name beside a person.
    """
    text, start, end, kind = here.text, here.start, here.end, here.kind
    if here.previous == "in" and kind and not kind & (COMMON | EPONYM | CUE) and text[end : end + 1] in (".", ",", ";"):
        return Span(start, end, "place")
    if (
        kind & FIRST
        and not kind & (COMMON | EPONYM | SURNAME | TOWN)
        and (here.previous in BESIDE or here.previous in KIN)
        and not re.match(r"[ -](?:[a-z]+(?:scope|tome|or)\b)", text[end:])
    ):
        return Span(start, start + len(here.word), "name")
    return None
