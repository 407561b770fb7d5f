"""Names and places: words that begin with a capital, by lists, by what stands beside them, and by what the note said before.

A title, a credential, a kinship or a label makes a name of any capitalized word; a word of the lists alone does so only
beside another, or as a first name that is no common word and no eponym: Foley catheters, Kelly clamps and Crohn's disease
stay. A name once found is found wherever else its words stand in the same note.
"""

import re
from collections.abc import Iterator
from functools import cache

from stages.lib.privacy.hasty import hurried, is_last_first, is_person, is_upper_name
from stages.lib.privacy.lexicon import (
    COMMON,
    CUE,
    EPONYM,
    FIRST,
    LABELS,
    LOWER,
    NOUNS,
    STATES,
    SURNAME,
    TITLES,
    TOWN,
    UPPER,
    bare,
    lexicon,
    word_list,
)  # fmt: skip
from stages.lib.privacy.spans import Span, word_set

COUNTRIES = (
    "America|Mexico|Canada|Germany|France|Italy|Spain|England|China|Japan|India|Russia|Brazil|Cuba|Vietnam|Korea|Europe"
)
KIN = word_set(
    "daughter son husband wife mother father sister brother aunt uncle niece nephew grandson granddaughter"
    " grandmother grandfather friend boyfriend girlfriend partner fiance fiancee guardian caregiver spouse pt pt."
    " named therapist nurse resident surgeon doctor counselor roommate twin mom dad"
)
BESIDE = word_set("with to by per and cc saw see from thank for contacted")
THERE = word_set("in from to at near of visiting")
PLACEHOLDER = re.compile(
    r"(?:[A-Z]\.?|X{2,}\w*|XYZ\w?|A[Bb][Cc][Dd]?[Ee]?F?|Xyz|D[Ee][Ff]|Sample|Doe|DOE|Name|Doctor|Patient|Month)\b"
)

WORD = rf"[{UPPER}](?=[\w'’]*[{LOWER}])[\w'’]++(?:-[{UPPER}]?[\w'’]++){{0,3}}"
PARTICLE = (
    r"(?:van|von|de|da|do|dos|das|del|della|degli|di|der|den|la|le|el|los|las|les|sur|sous|en|am|an|im|op|bei|aan|af|ter|ten"
    r"|bin|al|y|e|zu|zum|St\.|v\.)"
)
NAME = (
    rf"(?:(?:[{UPPER}]\.? ?){{1,2}} ?|)(?:{PARTICLE} ){{0,2}}{WORD}"
    rf"(?: (?:[{UPPER}]\.?(?![\w'’])|(?:{PARTICLE} ){{0,2}}{WORD})){{0,3}}"
)
UPPER_WORD = rf"[{UPPER}][{UPPER}'’-]+"
UPPER_NAME = rf"(?:[{UPPER}]\. )?{UPPER_WORD}(?: (?:{UPPER_WORD}|[{UPPER}]\.?(?!\w))){{0,3}}"
CAPITALIZED = re.compile(rf"[{UPPER}](?<![\w.@/][{UPPER}])[\w'’]+")
A_NAME = re.compile(NAME)
AN_UPPER_NAME = re.compile(UPPER_NAME)
TITLED = re.compile(
    rf"\.? {{1,2}}(?P<name>{NAME}|{UPPER_NAME})(?:(?:,? and |, )(?:Drs?\. )?(?P<second>{WORD}|{UPPER_WORD})(?![\w:]))?"
)
LAST_FIRST = re.compile(rf"(?P<last>(?:{PARTICLE} )*{WORD}(?: {WORD})?), (?P<first>{WORD}(?: [A-Z]\b\.?)?)")
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
CREDENTIAL = re.compile(
    r",?\s{0,3}(?:M\.? ?D\b|D\.? ?O\b|R\.?N\b|N\.?P\b|PA(?:-C)?\b|P\.A\.|Ph\.? ?D|D\.?D\.?S|O\.?D\b|LCSW|CRNA|ARNP|LPN"
    r"|D\.?P\.?M\b|FACS|Psy\.?D|PharmD)"
)
INITIALS = re.compile(r"[A-Z]{2,3}(?<![A-Z]{4})(?=[/:][a-z]{2,3}\b)")
BY_INITIALS = re.compile(r"y(?<=\b[Bb]y):? (?P<name>(?:[A-Z]\.){2,3}|(?!DR|MR|MS|MD)[A-Z]{2,3}(?=\s*(?:\n|$|\. )))")
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
ACRONYM = re.compile(r"(?!ABC|XYZ|ASDF|\w*(?:ICU|CU|ED|OR|ER|EMS|PCP|AM|PM)\b)[A-Z]{4,6}\b")
SENT = re.compile(
    r"\b(?:transferred|referred|admitted|brought|taken|evaluated|presented|returned|seen|followed|follow-up|care|ER|ETC)"
    r" (?:to|at|from|by|in) (?:the )?$"
)
ZIP_AFTER = re.compile(r",? ?\d{5}(?:-\d{4})?\b")
BELOW = re.compile(r",?[ \t]*\n[ \t]*")
BOX = re.compile(r"Box \d+")
BOX_LEFT = re.compile(r"P\.? ?O\.? $")
SPECIALTY = re.compile(r"(?:logy|surgery|iatry|iatrics|edics|therapy|rics)$", re.I)
REPORTED = re.compile(r" (?:is|was|presents|returns|reports|has|had|states|denies)\b")
SPOKEN = re.compile(
    r"\b(?:discussed|spoke|reviewed|met|talked|consulted|assisted|seen|dictated|performed|signed|referred|according|conversation)"
    r" (?:with|to|by)$"
)
CLAUSE = re.compile(
    r"[ -](?:[a-z]|Clamp|Retractor|Disease|Syndrome|Test|Score|Sign|Scale|Procedure|Catheter|Drain|Needle|Stand)"
)


@cache
def _street() -> re.Pattern[str]:
    short = {"St", "Ave", "Rd", "Dr", "Blvd", "Ln", "Ct", "Hwy"}
    suffixes = "|".join(sorted(word_list("lexicons/street_suffixes.txt") | short))
    return re.compile(
        rf"\d(?<![\w./-]\d)\d{{0,4}} (?:[NSEW]\.? )?(?:(?:{WORD}|\d+(?:st|nd|rd|th)) ){{1,4}}(?:{suffixes})\b\.?"
        r"(?:,? (?:Apt|Suite|Ste|Unit|#)\.? ?\w+)?"
    )


def _trimmed(text: str, start: int, end: int, least: int) -> int:
    """The end of a name without the common words that follow it: of "Okafor Will", the end of "Okafor"."""
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


def _name(text: str, start: int, end: int, least: int = 1) -> Span | None:
    if PLACEHOLDER.match(text, start) and PLACEHOLDER.fullmatch(text[start:end].split(" ")[-1]):
        return None
    end = _trimmed(text, start, end, least)
    return Span(start, end, "name") if re.search(r"\w[^\W\d_]", text[start:end]) else None


def _is_pair(text: str, run: str, end: int) -> bool:
    """Whether capitalized words in a row are a person's name by the lists."""
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


def _place_left(text: str, noun_start: int, noun_end: int) -> Span | None:
    """A named institution that ends in a noun such as Hospital, or None where only a kind of institution is named."""
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
    """Whether a word before Hospital names one, as Mercy and Tolvanen do, and General and Urology do not."""
    kind = COMMON if SPECIALTY.search(word) or len(word) < 3 else lexicon().get(bare(word), 0)
    return word in NAMING or (word[:1].isupper() and (not kind & COMMON or bool(kind & TOWN)))


FORMAL = ("Institute", "Orthopedics", "Associates")
NAMING = word_set(
    "Memorial Mercy Methodist Baptist Presbyterian Sinai Sacred Trinity Providence Doctors Veterans Deaconess St"
    " Saint St."
)


def _town_before(text: str, comma: int, sure: bool) -> Span | None:
    """The town before ", Texas"; `sure` where a ZIP code follows or the state is spelled out."""
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


def _cue(text: str, word: str, start: int, end: int) -> Iterator[Span]:
    """What a title, a label, an institution's noun or a state says about the words beside it."""
    if word in TITLES:
        titled = TITLED.match(text, end)
        if titled and not (word.isupper() and not titled["name"].isupper() and not titled["name"].istitle()):
            name = _name(text, *titled.span("name"))
            if name:
                yield name
            if titled["second"] and not lexicon().get(bare(titled["second"]), 0) & (COMMON | CUE):
                found = _name(text, *titled.span("second"))
                if found:
                    yield found
    if word in LABELS:
        labeled = LABELED.match(text, start)
        if labeled:
            begin, finish = labeled.span("name")
            first = lexicon().get(bare(labeled["name"].split(" ")[0].strip(",").capitalize()), 0)
            if not first & CUE and not (first & COMMON and not first & (FIRST | SURNAME)):
                name = _name(text, begin, finish)
                if name:
                    yield name
    if word in NOUNS:
        place = _place_left(text, start, end)
        if place:
            yield place
    if word == "County":
        left = TOWN_RUN.search(text, max(0, start - 41), start - 1)
        if left:
            yield Span(left.start(), left.end(), "place")
    if text[start - 2 : start] == ", ":
        full = next((state for state in STATES if state.startswith(word) and text.startswith(state, start)), None)
        if full or word in STATES.values():
            place = _town_before(text, start - 2, bool(full or ZIP_AFTER.match(text, end)))
            if place:
                yield place


def _previous(text: str, start: int) -> str:
    """The word before `start` on the same line, without signs, in lower case."""
    left = text[max(0, start - 20) : start]
    words = left[left.rfind("\n") + 1 :].split()
    return words[-1].strip(",:;(").lower() if words else ""


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
        found = _found(text, start, end, bare(word), kind)
        if found:
            spans.append(found)
            done = found.end
    spans += [Span(hit.start(), hit.end(), "name") for hit in INITIALS.finditer(text)]
    spans += [Span(*hit.span("name"), "name") for hit in BY_INITIALS.finditer(text)]
    spans += hurried(text)
    for hit in _street().finditer(text):
        spans.append(Span(hit.start(), hit.end(), "place"))
        spans += _town_below(text, hit.end())
    for hit in BOX.finditer(text):
        post = BOX_LEFT.search(text, max(0, hit.start() - 6), hit.start())
        spans.append(Span(post.start() if post else hit.start(), hit.end(), "place"))
    return spans + list(_again(text, spans))


def _upper(text: str, start: int, word: str) -> list[Span]:
    """A name in capitals: "SMITH, JOHN" by the lists, or before a credential."""
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


def _found(text: str, start: int, end: int, word: str, kind: int) -> Span | None:
    """The name or place that begins with this word, if one does."""
    flags = lexicon()
    initial = re.search(r"(?:\b[^\W\d_a-z]\. ?){1,2}$", text[max(0, start - 6) : start])
    begin = start - len(initial.group()) if initial else start
    run = A_NAME.match(text, begin)
    if run is None:
        return None
    whole = run.group()
    if CREDENTIAL.match(text, run.end()):
        full = [part for part in whole.split(" ") if len(part.rstrip(".")) > 1 and part[0].isupper()]
        common = [flags.get(bare(part), 0) for part in full]
        if not PLACEHOLDER.match(text, begin) and not any(c & COMMON and not c & (FIRST | SURNAME) for c in common):
            return Span(begin, run.end(), "name")
    last_first = LAST_FIRST.match(text, start)
    if last_first and not initial:
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
    previous = _previous(text, begin)
    while " " in whole:
        if _is_pair(text, whole, begin + len(whole)):
            stop = _trimmed(text, begin, begin + len(whole), 2)
            town = previous in THERE and kind & TOWN and LIVING.search(text[max(0, begin - 50) : begin].rstrip())
            return Span(begin, stop, "place" if town else "name")
        whole = whole.rpartition(" ")[0]
    if is_person(text, begin, end, word, previous):
        return Span(begin, start + len(word), "name")
    if " " in run.group() and previous in ("with", "to", "by") and SPOKEN.search(text, max(0, begin - 28), begin - 1):
        kinds = [flags.get(bare(part), 0) for part in run.group().split(" ") if len(part) > 2]
        if len(kinds) > 1 and not any(k & (COMMON | CUE) and not k & (FIRST | SURNAME) for k in kinds):
            return Span(begin, _trimmed(text, begin, run.end(), 1), "name")
    follows = CLAUSE.match(text, end)
    if previous == "doctor" and kind & SURNAME:
        return Span(start, end - (text[start:end] != word) * 2, "name")
    if previous in KIN and not kind & COMMON and not flags.get(word, 0) & CUE:
        stop = _trimmed(text, begin, run.end(), 1)
        return Span(begin, stop, "name")
    if (
        previous == "is"
        and not kind & CUE
        and re.search(
            r"\b(?:name|physician|doctor|PCP|provider|contact|surgeon) is $", text[max(0, begin - 16) : begin]
        )
        and not kind & COMMON
    ):
        return Span(begin, _trimmed(text, begin, run.end(), 1), "name")
    if initial and previous in BESIDE | {"by:", "dictated", "rn"} and not kind & COMMON:
        return Span(begin, _trimmed(text, begin, run.end(), 1), "name")
    left = text[max(0, start - 50) : start]
    label = PLACE_LABEL.search(left)
    if label or (previous in THERE and not SPECIALTY.search(word)):
        town = A_TOWN.match(text, start)
        if town and re.search(COUNTRIES, town.group()):
            return None
        living = town and LIVING.search(left.rstrip())
        listed = kind & TOWN and previous != "of" and not (kind & (COMMON | EPONYM) and follows)
        if (
            town
            and (label or living or listed)
            and not (kind & COMMON and not kind & TOWN and not (" " in town.group() and HOME.search(left)))
            and word not in STATES
            and not kind & CUE
        ):
            return _town(text, start, town.end())
    if previous == "in" and kind and not kind & (COMMON | EPONYM | CUE) and text[end : end + 1] in (".", ",", ";"):
        return Span(start, end, "place")
    if (
        kind & FIRST
        and not kind & (COMMON | EPONYM | SURNAME | TOWN)
        and (previous in BESIDE or previous in KIN)
        and not re.match(r"[ -](?:[a-z]+(?:scope|tome|or)\b)", text[end:])
    ):
        return Span(start, start + len(word), "name")
    return None


def _town(text: str, start: int, end: int) -> Span | None:
    flags = lexicon()
    words = text[start:end].split(" ")
    while (
        len(words) > 1 and flags.get(words[-1], 0) & COMMON and not flags.get(words[-1], 0) & (FIRST | SURNAME | TOWN)
    ):
        words.pop()
    if " ".join(words) in STATES:
        return None
    return Span(start, start + len(bare(" ".join(words))), "place")


def _town_below(text: str, street_end: int) -> list[Span]:
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
    found = _town(text, town.start(), town.end())
    return [found] if found else []


def _again(text: str, spans: list[Span]) -> Iterator[Span]:
    """The other places where a name or place found in this note stands, whole or by one of its words."""
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
                yield Span(at, end, span.kind)
            at = text.find(word, end)
