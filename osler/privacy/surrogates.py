"""Put something else where identifiers stand.

A class in brackets, or invented surrogates of the same form.

A surrogate is a function of the key and the identifier, so that one person, number or hospital is called the same in every
document, and nobody without the key can go back; two identifiers may share one (names: 1 in 10,000). Dates go back by a
number of days that depends on the key and the subject, 31 to 395: the intervals within a subject stay to the day, or to the
month where no day is given, and years that stand alone, which are no identifiers, may disagree with them by two.

Source: 45 CFR 164.514(c) for codes derived by a key; Stubbs and Uzuner 2015, Annotating longitudinal clinical narratives for
de-identification, J Biomed Inform 58, for surrogates that keep form and intervals.
"""

import datetime
import hmac
import re
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import groupby
from typing import Literal

from osler.privacy.lexicon import COMMON, EPONYM, FIRST, SURNAME, TOWN, lexicon
from osler.privacy.spans import Span, word_set

Replacement = Literal["surrogate", "redact"]

KEPT = word_set(
    "Hospital Hospitals Clinic Medical Center Centre Institute University College Nursing Home Hospice General"
    " Regional Memorial Community County Health Care Rehabilitation Rehab Children's VA of at and the St. St de la Box"
    " P.O. PO"
)
MONTHS = (
    [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ],
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"],
)
WORDY = re.compile(
    r"(?P<weekday>\w+day,? (?:the )?)?(?P<the>the )?(?P<before>\d{1,2})?(?P<nth1>st|nd|rd|th)?(?P<link1> of |[ .-]|)"
    r"(?P<month>[A-Za-z]{3,9})(?P<dot>\.?)(?P<link2>,? ?(?:of )?|[ .-])(?P<rest>\d[\w, ]*|'\d\d)?"
)
NUMERIC = re.compile(r"(\d{1,4})([/.-])(\d{1,4})(?:\2(\d{2,4}))?")


def _number(key: bytes, *parts: str) -> int:
    return int.from_bytes(hmac.digest(key, "\0".join(parts).encode(), "sha256"))


def _stream(key: bytes, *parts: str) -> Iterator[int]:
    block = 0
    while True:
        yield from hmac.digest(key, "\0".join((*parts, str(block))).encode(), "sha256")
        block += 1


def shift_days(key: bytes, subject: str) -> int:
    """By how many days the dates of a subject move.

    -395 to -31, so that a month without a day moves too.
    """
    return -31 - _number(key, "shift", subject) % 365


@cache
def _choices(flag: int) -> list[str]:
    return sorted(
        w
        for w, kind in lexicon().items()
        if kind & flag and not kind & (COMMON | EPONYM) and w.isalpha() and w.isascii()
    )


def _word(key: bytes, word: str, flag: int) -> str:
    """An invented word for one of a name, in the same case."""
    choices = _choices(flag)
    place = _number(key, "word", word.casefold()) % len(choices)
    if choices[place].casefold() == word.casefold():
        place = (place + 1) % len(choices)
    return choices[place].upper() if word.isupper() else choices[place]


def _name(key: bytes, name: str) -> str:
    pieces = re.split(r"([\s,.;/-]+)", name)
    for number in range(0, len(pieces), 2):
        word = pieces[number]
        if len(word) == 1:
            pieces[number] = chr(ord("A") + _number(key, "initial", word) % 26)
        elif len(word) < 4 and word.isupper():
            pieces[number] = _scrambled(key, "initials", word)
        elif word and word[0].isupper():
            kind = lexicon().get(word.capitalize() if word.isupper() else word, 0)
            pieces[number] = _word(key, word, FIRST if kind & FIRST and not kind & SURNAME else SURNAME)
    return "".join(pieces)


def _place(key: bytes, place: str) -> str:
    if place[0].isdigit():
        head, _, last = place.rpartition(" ")
        words = [
            _scrambled(key, "place", w) if any(map(str.isdigit, w)) else _word(key, w, SURNAME) for w in head.split()
        ]
        return " ".join([*words, last]) if head else _scrambled(key, "place", place)
    out: list[str] = []
    for kept, run in groupby(place.split(" "), KEPT.__contains__):
        words = list(run)
        out += words if kept else [_word(key, " ".join(words), TOWN)]
    return " ".join(out)


def _scrambled(key: bytes, kind: str, code: str) -> str:
    """A digit for every digit, a letter for every letter.

    Signs stay as they are.
    """
    stream = _stream(key, kind, code.casefold())
    hexadecimal = ":" in code

    def other(character: str) -> str:
        if character.isdigit():
            return str(next(stream) % 10)
        if character.isalpha():
            letter = chr(ord("a") + next(stream) % (6 if hexadecimal else 26))
            return letter.upper() if character.isupper() else letter
        return character

    return "".join(map(other, code))


def _year(digits: str, day: datetime.date) -> str:
    return f"{day.year:04d}"[-len(digits) :]


def _full_year(digits: str) -> int:
    if len(digits) == 4 and not 1850 < int(digits) < 2150:
        raise ValueError(digits)
    if len(digits) == 4:
        return int(digits)
    return int(digits) + (1900 if int(digits) > 30 else 2000)


def _shifted(date: str, days: int) -> str | None:
    """The date `days` later, in the same format.

    None where the format is none of those known.
    """
    move = datetime.timedelta(days)
    try:
        numeric = NUMERIC.fullmatch(date)
        if numeric:
            return _shifted_numeric(numeric, move)
        wordy = WORDY.fullmatch(date)
        return _shifted_wordy(wordy, move) if wordy else None
    except (ValueError, OverflowError):  # a 31st of February, the year 1
        return None


def shifted(date: str, key: bytes, subject: str) -> str | None:
    """A date as far back as those of its subject go.

    None where its form is not known.
    """
    return _shifted(date, shift_days(key, subject))


def _padded(like: str, value: int) -> str:
    return f"{value:02d}" if like.startswith("0") or (len(like) == 2 and value > 9) else str(value)


def _shifted_numeric(found: re.Match[str], move: datetime.timedelta) -> str:
    one, sign, two, three = found.groups()
    if len(one) == 4:
        moved = datetime.date(int(one), int(two), int(three or 15)) + move
        return sign.join([str(moved.year), f"{moved.month:02d}", *([f"{moved.day:02d}"] if three else [])])
    if three is None:
        if len(two) == 4 or int(two) > 31 or (len(two) == 2 and two[0] == "0"):
            moved = datetime.date(_full_year(two), int(one), 15) + move
            return f"{_padded(one, moved.month)}{sign}{_year(two, moved)}"
        moved = datetime.date(2001, int(one), int(two)) + move
        return f"{_padded(one, moved.month)}{sign}{_padded(two, moved.day)}"
    first_is_day = int(one) > 12
    month, day = (two, one) if first_is_day else (one, two)
    moved = datetime.date(_full_year(three), int(month), int(day)) + move
    width = 2 if one[0] == "0" or two[0] == "0" or (len(one) == len(two) == 2 and len(three) == 4) else 1
    parts = (moved.day, moved.month) if first_is_day else (moved.month, moved.day)
    return sign.join([*(f"{part:0{width}d}" for part in parts), _year(three, moved)])


def _shifted_wordy(found: re.Match[str], move: datetime.timedelta) -> str | None:
    name = found["month"]
    month = next(
        (number for names in MONTHS for number, full in enumerate(names, 1) if full.lower() == name.lower()), None
    )
    month = 9 if name.lower() == "sept" else month
    if month is None:
        return None
    rest = re.fullmatch(r"(?:(\d{1,2})(st|nd|rd|th)?(?!\d))?((?:,| of)? ?|'|)(\d{4}|(?<=')\d\d)?", found["rest"] or "")
    if rest is None:
        return None
    day, nth, link, year = rest.groups()
    if found["before"] and day:  # 14-Mar-21
        year, day, link = day, None, ""
    if len(found["rest"] or "") == 2 and not found["before"] and int(found["rest"]) > 31:
        year, day = found["rest"], None
    given = found["before"] or day
    moved = datetime.date(_full_year(year) if year else 2001, month, int(given or 15)) + move
    names = MONTHS[len(name) == 3 and name.lower() != "may"]
    text = names[moved.month - 1]
    text = text.upper() if name.isupper() else text.lower() if name.islower() else text
    number = (
        f"{moved.day:02d}"
        if found["before"] and found["link1"] in ("", "-") and len(given) == 2
        else _padded(given or "", moved.day)
    )
    if nth or found["nth1"]:
        suffix = "th" if moved.day in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(moved.day % 10, "th")
        number = f"{moved.day}{suffix}"
    ending = f"{link}{_year(year, moved)}" if year else link
    weekday = f"{moved:%A}" + found["weekday"][found["weekday"].index("day") + 3 :] if found["weekday"] else ""
    number = number if given else ""
    before = f"{number}{found['link1']}" if found["before"] else found["link1"]
    after = number if day else ""
    return f"{weekday}{found['the'] or ''}{before}{text}{found['dot']}{found['link2']}{after}{ending}"


def surrogate(span: Span, text: str, key: bytes, subject: str) -> str:
    """What stands in for one identifier: invented, of its form.

    [DATE] for a date of a form not known.

    Args:
        span: where it stands in `text`.
        key: secret bytes, the same for all documents that belong together.
        subject: whose dates move together: the patient's id where there is one, else the document's.
    """
    found = text[span.start : span.end]
    match span.kind:
        case "name":
            return _name(key, found)
        case "place":
            return _place(key, found)
        case "date":
            return shifted(found, key, subject) or "[DATE]"
        case "age":
            return "90+"
        case "email":
            return f"{_scrambled(key, 'email', found.partition('@')[0])}@example.org"
        case "url":
            return f"https://example.org/{_scrambled(key, 'url', 'aaaaaaaa' + found)[:8]}"
        case "ip" if ":" not in found:
            return f"192.0.2.{_number(key, 'ip', found) % 254 + 1}"
        case "photo":
            stem, dot, ending = found.rpartition(".")
            return _scrambled(key, "photo", stem) + dot + ending if dot else _scrambled(key, "photo", found)
        case _:
            return _scrambled(key, span.kind, found)


def deidentified(text: str, spans: Sequence[Span], action: Replacement, key: bytes, subject: str) -> str:
    """The text with every span replaced.

    What is outside them stays as it is.

    Args:
        text: one document, or one turn of it.
        spans: of `identifiers(text)`, in order, none overlapping another.
        action: "redact" puts the class in brackets, [NAME]; "surrogate" something invented of the same form.
        key: secret bytes, at least 16; not used to redact.
        subject: whose dates move together.
    Raises:
        ValueError: the key is too short for surrogates, which then could be guessed.
    """
    if action == "surrogate" and len(key) < 16:
        raise ValueError(f"a key of {len(key)} bytes: surrogates need at least 16")
    pieces, end = [], 0
    for span in spans:
        pieces.append(text[end : span.start])
        pieces.append(f"[{span.kind.upper()}]" if action == "redact" else surrogate(span, text, key, subject))
        end = span.end
    return "".join([*pieces, text[end:]])
