"""Identifiers that have a digit or a sign in them.

Dates, ages, telephone numbers, addresses on the net, numbers of all kinds.

Each digit that starts a token is looked at once, and what stands to its left says what it is: "MRN", "Fax", "lot". A bare
12/20 is a date only where a preposition or a label asks for one, since notes are full of 5/5, 120/80 and 20/40.
"""

import re
from collections.abc import Iterator

from osler.privacy.lexicon import COMMON, lexicon
from osler.privacy.spans import Kind, Span, word_set

MONTH = (
    r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?"
    r"|Nov(?:ember)?|Dec(?:ember)?)"
)
YEAR = r"(?:(?:19|20)\d\d|'\d\d)"
DAY = r"(?:[0-3]?\d(?:st|nd|rd|th)?)"
MONTHS = re.compile(
    r"[JFMASOND](?<![A-Za-z_][JFMASOND])(?:an|eb|ar|pr|ay|un|ul|ug|ep|ct|ov|ec|AN|EB|AR|PR|AY|UN|UL|UG|EP|CT|OV|EC)\w*"
)
BEFORE_MONTH = re.compile(
    rf"(?:\b(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day,? (?:the )?)?(?:(?:\bthe )?(?<![\w/.-]){DAY}(?: of |[ -.]?)(?:the )?)?$",
    re.I,
)
MONTH_ON = re.compile(
    rf"{MONTH}(?![A-Za-z])\.?(?:(?:,? ?| of |[ -.])(?:{DAY})(?![\w%/]|\.\d|:\d)(?:,? ?(?:of )?{YEAR})?"
    rf"|(?:,? | of |[-.])?{YEAR}|[-. ]\d\d(?!\w))?"
    r"(?!\w)",
    re.I,
)
COMPACT = re.compile(rf"[0-3]?\d[- ]?{MONTH}\.?[- ,]{{0,2}}(?:{YEAR}|\d\d)(?!\w)", re.I)
SEASONS = ("spring of", "summer of", "fall of", "autumn of", "winter of", "Spring ", "Summer ", "Fall ", "Winter ")
SEASON = re.compile(rf"(?:[Ss]pring|[Ss]ummer|[Ff]all|[Aa]utumn|[Ww]inter)(?: of|,)? {YEAR}(?!\w)")
NUMERIC_DATE = re.compile(
    r"(?:[01]?\d([/-])[0-3]?\d\1(?:\d{4}|\d\d)|[0-3]?\d([/-])[01]?\d\2(?:\d{4}|\d\d)|(?:19|20)\d\d([/-])[01]?\d\3[0-3]?\d"
    r"|[0-3]?\d\.[0-3]?\d\.(?:19|20)\d\d|[01]?\d/[0-3]\d\d\d|[01]?\d[/-](?:19|20)\d\d)(?![\w/%]|-\d|\.\d)"
)
SHORT_DATE = re.compile(r"(0?[1-9]|1[0-2])/(\d\d?)(?![\w/%+-]|\.\d)")
DATE_WORDS = re.compile(
    r"(?:\b(?:on|in|since|until|till|dated?|from|(?:as|beginning|end|middle|morning|evening|night|week|month) of"
    r"|by|through|before|after|between"
    r"|thru|around|early|late|mid|approximately"
    r"|DOB|D|dob|born|seen|done|admitted|period was|surgery|was)\b[:,]? ?|[(,] ?)$",
    re.I,
)
NO_DATE = re.compile(
    r" ?(?:pain|strength|scale|murmur|systolic|SEM|mm|cm|mg|pack|inch|throughout|in (?:the|all)|bilat|positive)"
)

FRACTIONS = frozenset(["1/2", "1/3", "2/3", "1/4", "3/4", "1/8"])
ORDINALS = re.compile(
    r"(\d\d?(?:st|nd|rd|th)) (?:through|to|until|and) the (\d\d?(?:st|nd|rd|th))(?! \w+ (?:rib|nerve|toe))"
)

AGE = re.compile(r"[91](?<![\w.,/$-].)(?<![.,]\d)(?:\d|[01]\d)(?![\d/.%]*\d)")
AGE_AFTER = re.compile(
    r"(?:\s|-)?(?:[1-3]/[24][- ])?(?:years?|yrs?|y|yo|year-old)\b(?:[ -]?(?:old|/?o)\b|\.o|/o| of age)|[ -]?y\.?/?o\b|"
    r"[ -]year[ -]old|-yr|\s?yrs? old"
)
AGE_BEFORE = re.compile(
    r"(?:\b(?:age[sd]?|aged|Age)(?: of| at)?:? |\bAGE:? |\b(?:lived to(?: be)?|turned|died at|reached) "
    r"|\b(?:[Hh]e|[Ss]he|who) is )$"
)
AGE_WORDS = re.compile(
    r"[Nn]inety(?:[- ](?:one|two|three|four|five|six|seven|eight|nine))?(?=[- ]years?[- ]old|[- ]yr| y/?o)"
)

PHONE = re.compile(
    r"(?:\+?1[-. ])?\(?\d{3}\)?[-. ]{0,2}\d{3}[-. ]\d{4}(?:,? ?(?:ext\.?|x|extension) ?\d{2,5})?(?![\w-]*\d)"
    r"|\d{3}-\d{4}(?:,? ?(?:ext\.?|x|extension) ?\d{2,5})?(?![\w/-])"
)
PHONE_ABROAD = re.compile(
    r"(?:\+|00)[1-9](?:[ .()-]{0,2}\d){7,14}(?![\w%/]|[.,]\d)"  # E.164, with its signs
    r"|\(0\d{1,4}\)[ -]?\d(?:[ -]?\d){5,9}(?![\w%/]|[.,]\d)"  # (0975) 795367994
    r"|(?:(?<=at )|(?<=all )|(?<=ing )|(?<=by ))\d{3}([ -])\d{3}\1\d{3}(?![\w%/-]|[.,]\d| \d)"  # 947 047 299
)
SSN = re.compile(r"\d{3}([- ])\d\d\1\d{4}(?!\w|-[\dA-Z])")
IP = re.compile(r"\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}(?::\d+|/\d+)?(?![\w.]\d)")
HEXADECIMAL = re.compile(r":[0-9A-Fa-f]{0,4}:")
HEXADECIMAL_TOKEN = re.compile(r"[0-9A-Fa-f:]{7,45}(?:/\d+)?")
EMAIL_LEFT = re.compile(r"[\w.+'’-]+$")
HANDLE = re.compile(r"@[A-Za-z](?<![\w.@/-]@[A-Za-z])(?:[\w.]{1,29}[A-Za-z0-9_])(?![\w@])")
EMAIL_RIGHT = re.compile(r"[\w-]+(?:\.[\w-]+)+")
URL = re.compile(r"(?:https?|ftp)://[^\s<>\"')\]]+|www\.[^\s<>\"')\]]+")
BARE_URL = re.compile(r"\.(?:com|org|net|edu|gov|io|info|me)\b(?:/[^\s<>\"')\]]*)?")
FILE_NAME = re.compile(r"\.(?:jpe?g|png|tiff?|gif|bmp|heic|dcm)\b", re.I)

LABELS: tuple[tuple[Kind, str], ...] = (
    ("fax", r"fax\w*|^f"),
    ("ssn", r"ssn|ss ?#|soc(?:ial)? sec(?:urity)?"),
    ("biometric", r"finger ?prints?|voice ?prints?|iris|retinal?|palm(?: vein)?|face id|biometric|dna profile"),
    ("photo", r"photo\w*|pictures?|images?"),
    (
        "record",
        r"mrn?|med(?:ical|\.)? ?rec(?:ord|\.)?s?|chart|hospital (?:number|no|id|#)|unit (?:number|no|#)|patient id|record|mr ?#",
    ),
    (
        "plan",
        r"medicare|medicaid|member(?:ship)?|policy|insurance|subscriber|beneficiary|health ?plan|plan id"
        r"|group (?:no|num|#|id)|hic",
    ),
    ("account", r"acc(?:oun)?t|billing|(?:credit )?card|bank|iban|guarantor"),
    ("license", r"dea|npi|licen[sc]e|lic|dl ?#|certificate|certification|driver'?s"),
    ("vehicle", r"vin|plates?|vehicle|registration|tag"),
    ("device", r"serial|s/n|sn|lot|udi|device|imei|mac|implant id|model (?:no|num|#)"),
    ("phone", r"(?:tele)?phone|tel|cell|mobile|pager|beeper|call(?:ing|ed)?(?: back)?|contact|reached|ext(?:ension)?"),
    (
        "other",
        r"accession|study|(?:case|order|visit|claim|job|document|confirmation|encounter|specimen) ?(?:no|num|id|#)?|employee"
        r"|passport|dictation|subject|requisition|reference|patient",
    ),
)
LABEL = re.compile(
    "(?:" + "|".join(rf"(?P<{kind}>(?<![A-Za-z])(?:{pattern}))" for kind, pattern in LABELS) + ")"
    r"(?P<glue>(?:[\s:#.(=]|['’]s|\b(?:number|num|no|id|ids|is|was|at|to|scan|template|file|back|card|of|on|address|identification"
    r"|security|via|machine|line|records?|the|results?|her|him|us|me)\b)*)(?:blue cross, id )?$",
    re.I,
)
RANGE = re.compile(r"(\d{1,3})-(\d{1,3})")
PLURAL = re.compile(r"[a-z]s(?: ?(?:#|nos?\.?|numbers?))?[ :(#]*$", re.I)
LETTERS = re.compile(r"[a-z]+")
LABEL_STARTS = word_set(  # of every word that a label may begin with, so that LABEL is tried on few windows
    "fax f ssn ss soc fin voi iri ret pal fac bio dna pho pic ima mrn mr med cha hos uni pat rec mem pol ins sub ben hea pla gro"
    " hic acc bil cre car ban iba gua dea npi lic dl cer dri vin veh reg tag ser s sn lot udi dev ime mac imp mod tel cel mob"
    " pag bee cal con rea ext stu cas ord vis cla job doc enc spe emp pas dic req ref"
)
EXPLICIT = re.compile(r"#|:|\b(?:no|num|number|id)\b", re.I)
WEAK = {"other", "photo", "record", "phone"}  # their labels are everyday words
CODE_LEFT = re.compile(r"(?:[\w(./+-]|\)(?=\d))*$")
LETTERS_LEFT = re.compile(r"(?<!\w)[A-Z]{1,4} $")
CODE = re.compile(
    r"[A-Za-z0-9(+][\w()+/-]{0,40}(?:[./-]\w{1,40}){0,8}"
    r"(?: [A-Z]{0,3}\d[\dA-Z-]{0,40}(?![\w/.,]*\d* ?(?:mg|mm|cm|mcg|mL|units?|years?|%))){0,6}"
)
TOKEN = re.compile(
    r"\d(?<!\d\d)(?!\d{0,2}(?:\.\d{1,2})?(?![\w/()-]|\.\d| ?[\d(])"  # no doses and readings,
    r"|(?:(?<=[2-9])\d\d?|(?<=1)(?:[3-9]|\d\d))/\d{1,3}(?![\d/])"  # no pressures,
    r"|(?:(?<=1)9|(?<=2)0)\d\d(?![\w/-]|\.\d| \d))"  # no years
    r"(?=\d{0,3}/\d|(?:[ ()/.-]{0,2}|[A-Z-]{0,7})\d(?:[ ()/.-]{0,2}|[A-Z-]{0,7})\d)"
)
BARE_NUMBER = re.compile(r"(?:[A-Z]{0,3}\d{6,12}[A-Z]?)(?![\w,.]*\d)")
ZIP = re.compile(r"\d{5}(?:-\d{4})?(?![\w,-]|\.\d)")


def months(text: str) -> Iterator[Span]:
    """Dates with the month in letters.

    March 14, 2021; the 14th of March; 14-MAR-21; May 2021; in November.
    """
    for hit in MONTHS.finditer(text):
        on = MONTH_ON.match(text, hit.start())
        if on is None:
            continue
        start, end = hit.start(), on.end()
        before = BEFORE_MONTH.search(text, max(0, start - 24), start)
        if before and before.group():
            compact = COMPACT.match(
                text, start - len(before.group().split()[-1]) if " " not in before.group() else start
            )
            start, end = before.start(), max(end, compact.end() if compact else 0)
        elif (bare := hit.group().lower().rstrip(".")) in (
            "may",
            "mar",
            "march",
            "sun",
            "dec",
            "jun",
            "jan",
            "apr",
        ) and (on.end() == hit.end()):
            left = text[max(0, start - 12) : start].split()
            upper = hit.group()[1:2].isupper()
            if upper or bare in ("mar", "dec") or not left or left[-1].lower() not in MONTH_PREPOSITIONS:
                continue
        elif on.end() <= hit.end() and len(hit.group()) == 3 and hit.group() not in ("May",):
            continue
        yield Span(start, end - text[start:end].endswith("."), "date")
    for hit in ORDINALS.finditer(text):
        yield from (Span(hit.start(group), hit.end(group), "date") for group in (1, 2))
    if any(season in text for season in SEASONS):
        yield from (Span(hit.start(), hit.end(), "date") for hit in SEASON.finditer(text))


MONTH_PREPOSITIONS = word_set("in of since last until by early late mid next this from during to")


def ages(text: str) -> Iterator[Span]:
    """Ages of 90 and more, the number only."""
    for hit in AGE.finditer(text):
        value = int(hit.group())
        if not 90 <= value <= 120:
            continue
        before = AGE_BEFORE.search(text, max(0, hit.start() - 18), hit.start())
        after = AGE_AFTER.match(text, hit.end())
        if after or (
            before
            and not re.match(r"[%/]| ?(?:mg|mm|lb|kg|pound|beat|month|week|day)", text[hit.end() : hit.end() + 8])
        ):
            yield Span(hit.start(), hit.end(), "age")
    for hit in AGE_WORDS.finditer(text):
        yield Span(hit.start(), hit.end(), "age")


def addresses(text: str) -> Iterator[Span]:
    """E-mail addresses, @handles, URLs, hexadecimal addresses and names of picture files."""
    at = text.find("@")
    while at >= 0:
        left, right = EMAIL_LEFT.search(text, max(0, at - 64), at), EMAIL_RIGHT.match(text, at + 1)
        if left and right:
            yield Span(left.start(), right.end(), "email")
        elif (handle := HANDLE.match(text, at)) and not lexicon().get(handle.group()[1:].capitalize(), 0) & COMMON:
            yield Span(at, handle.end(), "other")
        at = text.find("@", at + 1)
    if "://" in text or "www." in text:
        for hit in URL.finditer(text):
            yield Span(hit.start(), hit.start() + len(hit.group().rstrip(".,;:")), "url")
    for hit in BARE_URL.finditer(text):
        left = re.search(r"[\w.-]+$", text[max(0, hit.start() - 64) : hit.start()])
        if left:
            yield Span(hit.start() - len(left.group()), hit.start() + len(hit.group().rstrip(".,;:")), "url")
    for hit in FILE_NAME.finditer(text):
        left = re.search(r"(?:\b(?:Image|Photo|Scan) )?[\w-]+$", text[max(0, hit.start() - 40) : hit.start()])
        if left:
            yield Span(hit.start() - len(left.group()), hit.end(), "photo")
    for hit in HEXADECIMAL.finditer(text):
        left = re.search(r"[0-9A-Fa-f:]*$", text[max(0, hit.start() - 40) : hit.start()])
        start = hit.start() - len(left.group() if left else "")
        token = HEXADECIMAL_TOKEN.match(text, start)
        if token and token.group().count(":") >= 4:
            yield Span(start, token.end(), "device" if re.fullmatch(r"(?:\w\w:){5}\w\w", token.group()) else "ip")


def _labeled(text: str, start: int) -> tuple[Kind, bool] | None:
    """The class that the words before `start` give to what follows.

    And whether they say that it is a number.
    """
    window = text[max(0, start - 48) : start]
    window = window[window.rfind("\n") + 1 :]
    if LABEL_STARTS.isdisjoint(word[:3] for word in LETTERS.findall(window.lower())):
        return None
    found = LABEL.search(window)
    if found is None:
        return None
    kind = next(kind for kind, _ in LABELS if found.group(kind) is not None)
    return kind, bool(EXPLICIT.search(found.group()))


def _short_date(text: str, start: int) -> int | None:
    found = SHORT_DATE.match(text, start)
    if found is None or text[start - 1 : start] in (".", "/", "-", "+") or NO_DATE.match(text, found.end()):
        return None
    second = int(found.group(2))
    if found.group() in FRACTIONS:
        return None
    asked = DATE_WORDS.search(text, max(0, start - 16), start)
    label = (start == 0 or text[start - 1] == "\n") and text[found.end() : found.end() + 1] == ":"
    year = len(found.group(2)) == 2 and (second > 31 or found.group(2)[0] == "0")
    return found.end() if label or year or (asked and second > 0) else None


def numbers(text: str) -> Iterator[Span]:
    """Dates in figures, telephone and other numbers.

    By their form, or by the label before them.
    """
    size, done = len(text), 0
    for hit in TOKEN.finditer(text):
        start = hit.start()
        if start < done:
            continue
        after = text[start + 1] if start + 1 < size else ""
        before = text[start - 1] if start else ""
        if not (after.isalnum() or after in "/-.() " or before.isalpha() or before in "(-+_.#"):
            continue
        span = _number(text, start, before)
        if span:
            done = span.end
            yield span


def _is_enumeration(text: str, start: int, code: str, kind: Kind) -> bool:
    """Whether the code at `start` counts things, as `images #12-14`."""
    ends = RANGE.fullmatch(code)
    several = kind == "photo" or PLURAL.search(text[max(0, start - 16) : start])
    return bool(ends and several and int(ends[1]) < int(ends[2]))


def _number(text: str, start: int, before: str) -> Span | None:
    if not before.isalnum() and (before not in "./" or not text[start - 2 : start - 1].isdigit()):
        date = NUMERIC_DATE.match(text, start)
        if date and "-" in date.group() and _labeled(text, start):
            date = None  # MRN 03-12-21
        if date and all(int(part) for part in re.split("[/.-]", date.group())):
            return Span(start, date.end(), "date")
        end = _short_date(text, start)
        if end:
            return Span(start, end, "date")
    piece = text[start : start + 24]
    digits = sum(map(str.isdigit, piece.split("\n")[0]))
    if digits < 3:
        return None
    if before not in "-" or not before:
        ssn = SSN.match(text, start)
        if ssn and (ssn.group(1) == "-" or _labeled(text, start)):
            return Span(start, ssn.end(), "ssn")
        ip = IP.match(text, start)
        if ip:
            return Span(start, ip.end(), "ip")
    left = CODE_LEFT.search(text, max(0, start - 24), start)
    begin = left.start() if left else start
    if begin < start and text[begin:start].strip("(").strip() == "":
        begin = start - (1 if before == "(" else 0)
    abroad = PHONE_ABROAD.match(text, start - (before in ("+", "(")))
    if abroad and not before.isalnum() and before not in (".", "/", "-"):
        return Span(abroad.start(), abroad.end(), "phone")
    phone = PHONE.match(text, begin if text[begin:start] in ("(", "+") else start)
    label = _labeled(text, begin)
    if label is None:
        letters = LETTERS_LEFT.search(text, max(0, begin - 6), begin)
        label = _labeled(text, letters.start()) if letters else None
        begin = letters.start() if letters and label else begin
    if phone and not before.isalnum():
        kind = label[0] if label and label[0] in ("fax", "phone", "account", "record", "other", "license") else "phone"
        opening = begin if text[begin:start] in ("(", "+") else start
        bracket = text[opening] == "(" and ")" not in phone.group()
        return Span(opening + bracket, phone.end(), kind)
    if label:
        code = CODE.match(text, begin)
        if code:
            body = code.group()
            stripped = body.rstrip("-/(").removesuffix(")") if body.count("(") < body.count(")") else body.rstrip("-/(")
            opened = begin + (stripped.startswith("(") and ")" not in stripped)
            count = sum(map(str.isdigit, stripped))
            mixed = not stripped.isdigit()
            least = 3 if label[0] in ("vehicle", "biometric") else 4 if label[1] or label[0] not in WEAK else 6 - mixed
            enumerates = _is_enumeration(text, begin, stripped, label[0])
            if count >= least and begin + len(stripped) > start and not enumerates:
                return Span(opened, begin + len(stripped), label[0])
    number = BARE_NUMBER.match(text, begin if not text[begin:start].startswith("(") else start)
    if number and number.end() > start and not number.group().endswith("000"):
        return Span(number.start(), number.end(), "other")
    zip_code = ZIP.match(text, start)
    if zip_code and re.search(r"(?:\b[A-Z]{2},? |[Zz](?:ip|IP)(?: code)?:? )$", text[max(0, start - 10) : start]):
        return Span(start, zip_code.end(), "place")
    return None


def coded(text: str) -> list[Span]:
    """Every identifier of this file's kinds; spans may overlap."""
    return [*months(text), *ages(text), *addresses(text), *numbers(text)]
