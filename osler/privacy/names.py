"""Names and places, by capitals, lists and what stands beside them.

And by what the note said before.

A title, a credential, a kinship or a label makes a name of any capitalized word; a word of the lists alone does so only
beside another, or as a first name that is no common word and no eponym: Foley catheters, Kelly clamps and Crohn's disease
stay. A name once found is found wherever else its words stand in the same note.
"""

import re
from collections.abc import Iterator

from osler.privacy.informal_names import hurried, is_upper_name
from osler.privacy.lexicon import (
    COMMON,
    CUE,
    EPONYM,
    FIRST,
    LABELS,
    NOUNS,
    STATES,
    SURNAME,
    TITLES,
    TOWN,
    UPPER,
    bare,
    lexicon,
)  # fmt: skip
from osler.privacy.medical_terms import in_a_term
from osler.privacy.name_rules import CREDENTIAL, NAME, PLACEHOLDER, name_or_place, name_span
from osler.privacy.places import (
    A_TOWN,
    BOX,
    BOX_LEFT,
    HOME,
    TOWN_RUN,
    WORD,
    ZIP_AFTER,
    institution,
    street_pattern,
    town_before,
    town_below,
)
from osler.privacy.spans import Span

UPPER_WORD = rf"[{UPPER}][{UPPER}'’-]+"
UPPER_NAME = rf"(?:[{UPPER}]\. )?{UPPER_WORD}(?: (?:{UPPER_WORD}|[{UPPER}]\.?(?!\w))){{0,3}}"
CAPITALIZED = re.compile(rf"[{UPPER}](?<![\w.@/][{UPPER}])[\w'’]+")
AN_UPPER_NAME = re.compile(UPPER_NAME)
TITLED = re.compile(
    rf"\.? {{1,2}}(?P<name>{NAME}|{UPPER_NAME})(?:(?:,? and |, )(?:Drs?\. )?(?P<second>{WORD}|{UPPER_WORD})(?![\w:]))?"
)
UPPER_LAST_FIRST = re.compile(rf"{UPPER_WORD}(?: {UPPER_WORD})?, {UPPER_WORD}(?: [A-Z]\b\.?)?")
LABELED = re.compile(
    r"(?:[Pp]atient(?: [Nn]ame)?|PATIENT(?: NAME)?|Name|NAME"
    r"|(?:\w+ )?(?:Attending|Surgeons?|Assistant|Physician|Anesthesiologist|Provider|Consultant|ATTENDING|SURGEONS?|ASSISTANT"
    r"|PHYSICIAN|ANESTHESIOLOGIST|PROVIDER|CONSULTANT)(?: [Pp]hysician| PHYSICIAN| [Nn]ame| NAME)?"
    r"|(?:Electronically )?(?:Dictated|Signed|signed|Transcribed|DICTATED|SIGNED)(?: [Bb][Yy])?"
    r"|Primary [Cc]are(?: [Pp]hysician)?|Author|Dear)"
    r"(?: ?: ?|(?<=[Bb]y) |(?<=BY) |(?<=Dear) ) *(?:Drs?\.? |Mrs?\.? |Ms\.? )?"
    rf"(?P<name>{WORD}, {WORD}(?: [A-Z]\b\.?)?|{UPPER_LAST_FIRST.pattern}|{NAME}|{UPPER_NAME})"
)
INITIALS = re.compile(r"[A-Z]{2,3}(?<![A-Z]{4})(?=[/:][a-z]{2,3}\b)")
BY_INITIALS = re.compile(r"y(?<=\b[Bb]y):? (?P<name>(?:[A-Z]\.){2,3}|(?!DR|MR|MS|MD)[A-Z]{2,3}(?=\s*(?:\n|$|\. )))")
ACRONYM = re.compile(r"(?!ABC|XYZ|ASDF|\w*(?:ICU|CU|ED|OR|ER|EMS|PCP|AM|PM)\b)[A-Z]{4,6}\b")
SENT = re.compile(
    r"\b(?:transferred|referred|admitted|brought|taken|evaluated|presented|returned|seen|followed|follow-up|care|ER|ETC)"
    r" (?:to|at|from|by|in) (?:the )?$"
)


def _cue(text: str, word: str, start: int, end: int) -> Iterator[Span]:
    """What a cue says about the words beside it.

    A title, a label, an institution's noun or a state.
    """
    if word in TITLES:
        titled = TITLED.match(text, end)
        if titled and not (word.isupper() and not titled["name"].isupper() and not titled["name"].istitle()):
            name = name_span(text, *titled.span("name"))
            if name:
                yield name
            if titled["second"] and not lexicon().get(bare(titled["second"]), 0) & (COMMON | CUE):
                found = name_span(text, *titled.span("second"))
                if found:
                    yield found
    if word in LABELS:
        labeled = LABELED.match(text, start)
        if labeled:
            begin, finish = labeled.span("name")
            first = lexicon().get(bare(labeled["name"].split(" ")[0].strip(",").capitalize()), 0)
            if not first & CUE and not (first & COMMON and not first & (FIRST | SURNAME)):
                name = name_span(text, begin, finish)
                if name:
                    yield name
    if word in NOUNS:
        place = institution(text, start, end)
        if place and not in_a_term(text, place):
            yield place
    if word == "County":
        left = TOWN_RUN.search(text, max(0, start - 41), start - 1)
        if left:
            yield Span(left.start(), left.end(), "place")
    if text[start - 2 : start] == ", ":
        full = next((state for state in STATES if state.startswith(word) and text.startswith(state, start)), None)
        if full or word in STATES.values():
            place = town_before(text, start - 2, bool(full or ZIP_AFTER.match(text, end)))
            if place:
                yield place


def worded(text: str) -> list[Span]:
    """Every name and place; spans may overlap."""
    flags, spans, done = lexicon(), [], 0
    for hit in CAPITALIZED.finditer(text):
        start, end = hit.span()
        if start < done:
            continue
        word = hit.group()
        kind = flags.get(word)
        if kind is None:
            if word.isupper():
                spans += _upper(text, start, word)
                continue
            kind = flags.get(bare(word), 0)
        if kind & CUE:
            spans += _cue(text, word, start, end)
        if kind & COMMON and not kind & (FIRST | SURNAME | TOWN):
            if text[start - 3 : start] in ("in ", "of ", "om ") and text[end + 1 : end + 2].isupper():
                town = A_TOWN.match(text, start)
                if town and " " in town.group() and not kind & CUE and HOME.search(text[max(0, start - 50) : start]):
                    spans.append(Span(start, town.end(), "place"))
            continue
        found = name_or_place(text, start, end, bare(word), kind)
        if found:
            done = found.end
            if not in_a_term(text, found):
                spans.append(found)
    spans += [Span(hit.start(), hit.end(), "name") for hit in INITIALS.finditer(text)]
    spans += [Span(*hit.span("name"), "name") for hit in BY_INITIALS.finditer(text)]
    spans += hurried(text)
    for hit in street_pattern().finditer(text):
        spans.append(Span(hit.start(), hit.end(), "place"))
        spans += town_below(text, hit.end())
    for hit in BOX.finditer(text):
        post = BOX_LEFT.search(text, max(0, hit.start() - 6), hit.start())
        spans.append(Span(post.start() if post else hit.start(), hit.end(), "place"))
    return spans + list(_again(text, spans))


def _upper(text: str, start: int, word: str) -> list[Span]:
    """A name in capitals.

    "SMITH, JOHN" by the lists, or before a credential.
    """
    flags = lexicon()
    if text[start - 3 : start - 1] in ("to", "at", "in", "by", "he", "om") and ACRONYM.fullmatch(word):
        return [Span(start, start + len(word), "place")] if SENT.search(text, max(0, start - 24), start) else []
    if text[start + len(word) : start + len(word) + 1] not in (",", " "):
        return []
    run = UPPER_LAST_FIRST.match(text, start)
    if run:
        parts = run.group().replace(",", "").split(" ")
        kinds = [flags.get(part.capitalize(), 0) for part in parts if len(part.rstrip(".")) > 1]
        if all(kind & (FIRST | SURNAME) and not kind & (COMMON | TOWN) for kind in kinds):
            return [Span(start, run.end(), "name")]
    name = AN_UPPER_NAME.match(text, start)
    if name and is_upper_name([part for part in name.group().split(" ") if len(part.rstrip(".")) > 1]):
        return [Span(start, name.end(), "name")]
    if name and " " in name.group() and CREDENTIAL.match(text, name.end()):
        kinds = [flags.get(part.capitalize(), 0) for part in name.group().split(" ") if len(part) > 2]
        if (
            kinds
            and not any(kind & COMMON and not kind & (FIRST | SURNAME) for kind in kinds)
            and not PLACEHOLDER.fullmatch(word)
        ):
            return [Span(start, name.end(), "name")]
    return []


def _again(text: str, spans: list[Span]) -> Iterator[Span]:
    """Where else a name or place found in this note stands.

    Whole, or by one of its words.
    """
    flags = lexicon()
    wanted: dict[str, Span] = {}
    for span in spans:
        found = text[span.start : span.end]
        words = [found, *(re.split(r"[ ,]+", found) if span.kind == "name" else found.split(" ")[:1])]
        for word in words:
            kind = flags.get(word, 0)
            if (
                len(word) > 3
                and word[0].isupper()
                and not kind & (COMMON | EPONYM | CUE)
                and (word == found or span.kind == "name" or not kind & TOWN)
                and any(c.isalpha() for c in word)
            ):
                wanted.setdefault(word, span)
    for word, span in wanted.items():
        at = text.find(word)
        while at >= 0:
            end = at + len(word)
            if not text[at - 1 : at].isalnum() and not text[end : end + 1].isalnum():
                again = Span(at, end, span.kind)
                if not in_a_term(text, again):
                    yield again
            at = text.find(word, end)
