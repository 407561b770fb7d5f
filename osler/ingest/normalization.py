"""Normalized texts for documents, and normalized words to compare them by.

`normalized_texts` makes these changes in this order, each counted in the documents that it touches:

* `windows_1252`: C1 control characters are what that encoding has in their place (`\\x92` is an apostrophe): somebody took it for
  Latin-1; but NEL, which may end a line, only beside others
* `line_ends`: CR LF and CR, vertical tab, NEL and the Unicode line and paragraph separators are line feeds
* `invisible_characters`: control characters but for tab, line feed and form feed, byte order marks, soft hyphens, zero-width
  spaces and word joiners go
* `spaces`: no-break and other Unicode spaces are spaces
* `unicode_nfc`: one spelling for each character, where a text is not ASCII
* `markup`: HTML's own tags go (ends of blocks leave a line feed, cells a space), and so do comments, and scripts and styles with
  what is in them; superscripts, subscripts and MathML are as notation.py says, and entities become their characters. `<5 mg`,
  `p<0.05` and `<name>` are no tags of HTML. A text that shows markup on purpose (a whole page, a fenced block of code) keeps all
* `page_furniture`: in a text with at least three pages, divided by form feeds, lines among the first or last three of a page
  go if more than half of the pages have them, but for a number that counts the pages
* `hyphenation`: what a hyphen divides at a line's end is in one piece again. The hyphen stays where the same text has the
  compound elsewhere, or its first half as a word of its own: of 520 divisions in the PDF text of 161 labels most are of
  compounds ("antibody-", "negative"), 65 become one word, and about half of those should have kept the hyphen
* `white_space`: spaces at line ends go, several between words are one (indentation and tabs stay), three or more blank lines
  are two, and what is at both ends goes

A search finds the texts that a step can change, so that clean text costs little. On one core abstracts 77 MB/s, notes 80, full
articles 38 (NFC), PDF text with pages 10.
"""

import html
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from functools import partial

import polars as pl

from osler.ingest.markup import mathml_text
from osler.ingest.notation import CLOSE, OPEN, plain

# What some datasets append to an answer; the trainer adds the tokenizer's own.
END_MARKERS = (r"<\|endoftext\|>", r"<\|im_end\|>", r"<\|eot_id\|>", r"</s>")

INVISIBLE = "[\x00-\x08\x0e-\x1f\x7f-\x9f\u00ad\u200b\u2060\ufeff]"
SPACES = "[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]"

ATTRIBUTES = r"""(?:\s+[\w:-]+\s*=\s*(?:"[^"<>]*"|'[^'<>]*'|[^\s"'<>]+))*\s*/?>"""
BLOCKS = r"p|br|hr|div|li|ul|ol|dl|dt|dd|tr|table|thead|tbody|h[1-6]|blockquote|pre|section|article|figure|figcaption"
CELLS = "td|th|caption"
INLINE = (
    "a|abbr|acronym|b|big|center|cite|code|del|em|font|i|img|ins|kbd|label|mark|q|small|span|strike|strong|tt|u|var"
    "|body|head|html|link|meta"
)
UNREAD = rf"(?is)<script{ATTRIBUTES}.*?</script\s*>|<style{ATTRIBUTES}.*?</style\s*>|<!--.*?-->"
ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
SCRIPTS = "(?i)</?su[bp]"
SCRIPT_MARKS = (
    (
        rf"(?i)<sup{ATTRIBUTES}\s*<a\s+[^<>]*href\s*=\s*[\"']?#[^<>]*>\s*([\[(]?[\d,;\s–-]*[\])]?)\s*</a>\s*</sup\s*>",
        f"{OPEN}^{OPEN}c$1{CLOSE}{CLOSE}",
    ),
    (rf"(?i)<sup{ATTRIBUTES}", f"{OPEN}^"),
    (rf"(?i)<sub{ATTRIBUTES}", f"{OPEN}_"),
    (r"(?i)</su[bp]\s*>", CLOSE),
)
MATHML = re.compile(r"(?is)<(mml:|m:)?math\b[^<>]*>(?:(?!<(?:mml:|m:)?math\b).)*?</(?:mml:|m:)?math\s*>")
ON_PURPOSE = r"(?i)```|<!doctype|<html|<\?xml|<\?php"
MARKUP = r"</?[A-Za-z!]|&[#A-Za-z][A-Za-z0-9]{1,31};"  # what may be a tag or an entity
ESCAPED_TIMES = 3  # "&amp;lt;" is escaped twice

EDGE_LINES = 3  # of a page, at its top and at its bottom
DIVISION = re.compile(r"-\n(?=([a-z]{2,}))")
WORD_BEFORE = re.compile(r"(?<![A-Za-z])[A-Za-z]+$")


def without_markup(texts: pl.Series) -> pl.Series:
    """The texts without HTML's tags and entities.

    As the module says; polars' regular expressions take linear time.
    """
    rows = (~texts.str.contains(ON_PURPOSE)).arg_true()
    before = texts
    for _ in range(ESCAPED_TIMES):
        texts = texts.clone().scatter(rows, _without_tags(texts.gather(rows)))
        rows = rows.gather(texts.gather(rows).str.contains(MARKUP).arg_true())
    rows = texts.str.contains(f"[{OPEN}{CLOSE}]").arg_true()
    texts = texts.scatter(rows, _each(partial(plain, counts=Counter()))(texts.gather(rows)))
    changed = (texts != before).arg_true()
    return texts.scatter(changed, texts.gather(changed).str.normalize("NFC"))


def _without_tags(texts: pl.Series) -> pl.Series:
    return (
        _marked(_each(_unescaped)(texts).str.replace_all(UNREAD, ""))
        .str.replace_all(rf"(?i)</?(?:{BLOCKS}){ATTRIBUTES}", "\n")
        .str.replace_all(rf"(?i)</?(?:{CELLS}){ATTRIBUTES}", " ")
        .str.replace_all(rf"(?i)</?(?:{INLINE}){ATTRIBUTES}", "")
    )


def _marked(texts: pl.Series) -> pl.Series:
    """The texts with marks in place of superscripts and subscripts."""
    rows = texts.str.contains(SCRIPTS).arg_true()
    if not len(rows):
        return texts
    marked = texts.gather(rows)
    for pattern, mark in SCRIPT_MARKS:
        marked = marked.str.replace_all(pattern, mark)
    return texts.clone().scatter(rows, marked)


def _unescaped(text: str) -> str:
    """`text` with entities as characters, and before that MathML, whose entities are its own, as text."""
    if "<math" in text or ":math" in text or "<MATH" in text:
        text = MATHML.sub(lambda formula: mathml_text(formula.group()), text)
    return ENTITY.sub(_character, text)


def _character(entity: re.Match[str]) -> str:
    character = html.unescape(entity.group())
    if character == entity.group() or not re.fullmatch(f"{INVISIBLE}|[\v\f\r\u2028\u2029]", character):
        return re.sub(SPACES, " ", character)
    return ""


def without_page_furniture(text: str) -> str:
    """`text` without the lines that most of its pages share.

    At their beginnings and ends; form feeds stay.
    """
    pages = [page.split("\n") for page in text.split("\f")]
    keys: list[dict[int, set[str]]] = []
    for page, lines in enumerate(pages):
        filled = [number for number, line in enumerate(lines) if line.strip()]
        edges = {*filled[:EDGE_LINES], *filled[-EDGE_LINES:]}
        keys.append({number: _furniture_keys(lines[number].strip(), page) for number in edges})
    on_pages = Counter(key for page_keys in keys for key in set[str]().union(*page_keys.values()))
    furniture = {key for key, count in on_pages.items() if count >= 3 and 2 * count > len(pages)}
    return "\f".join(
        "\n".join(line for number, line in enumerate(lines) if furniture.isdisjoint(page_keys.get(number, ())))
        for lines, page_keys in zip(pages, keys, strict=True)
    )


def _furniture_keys(line: str, page: int) -> set[str]:
    """The line itself, and it with each of its first numbers relative.

    That is, as what the number is more than the page's.
    """
    if not any(map(str.isalnum, line)):
        return set()
    numbers = [found for found, _ in zip(re.finditer(r"\d{1,6}", line), range(4), strict=False)]
    counted = (f"{line[: n.start()]}\f{int(n.group()) - page}{line[n.end() :]}" for n in numbers)
    return {*counted, *([line] if len(line) > 3 and not line.isdigit() else [])}


def undivided(text: str) -> str:
    """`text` with words in one piece that a line's end divides.

    By a hyphen.
    """
    lowered = text.lower()
    for mark in '.,;:()[]/"':
        lowered = lowered.replace(mark, " ")
    words = set(lowered.split())
    words |= {word.partition("-")[0] for word in words if "-" in word and not word.endswith("-")}

    def joined(division: re.Match[str]) -> str:
        before = WORD_BEFORE.search(text, max(0, division.start() - 40), division.start())
        if not before:
            return division.group()
        first, second = before.group().lower(), division.group(1).lower()
        is_compound = f"{first}-{second}" in words or (first in words and first + second not in words)
        return "-" if is_compound else ""

    return DIVISION.sub(joined, text)


def _each(change: Callable[[str], str]) -> Callable[[pl.Series], pl.Series]:
    return lambda texts: pl.Series(texts.name, [change(text) for text in texts.to_list()], pl.String)


def _tidied(texts: pl.Series) -> pl.Series:
    return (
        texts.str.replace_all("\f", "\n", literal=True)
        .str.replace_all("(?m)[ \t]+$", "")
        .str.replace_all(r"(\S) {2,}", "$1 ")
        .str.replace_all("\n{4,}", "\n\n\n")
        .str.strip_chars()
    )


C1 = {
    ord(character): character.encode("latin-1").decode("cp1252", "ignore") or None
    for character in map(chr, range(0x80, 0xA0))
}

UNUSUAL = "[^\\t\\n\\f -~]"  # what every text has that one of CHARACTER_STEPS can change

# Name, a pattern that every text has which the step can change, and the step.
CHARACTER_STEPS: tuple[tuple[str, str, Callable[[pl.Series], pl.Series]], ...] = (
    ("windows_1252", "[\x80\x82-\x84\x86-\x8c\x8e\x91-\x9c\x9e\x9f]", _each(lambda text: text.translate(C1))),
    (
        "line_ends",
        "[\r\x0b\x85\u2028\u2029]",
        lambda texts: texts.str.replace_all("\r\n", "\n", literal=True).str.replace_all(
            "[\r\x0b\x85\u2028\u2029]", "\n"
        ),
    ),
    ("invisible_characters", INVISIBLE, lambda texts: texts.str.replace_all(INVISIBLE, "")),
    ("spaces", SPACES, lambda texts: texts.str.replace_all(SPACES, " ")),
    ("unicode_nfc", "[^\x00-\x7f]", _each(partial(unicodedata.normalize, "NFC"))),
)
LAYOUT_STEPS: tuple[tuple[str, str, Callable[[pl.Series], pl.Series]], ...] = (
    ("markup", MARKUP, without_markup),
    ("page_furniture", "(?s)\f.*\f", _each(without_page_furniture)),
    (
        "hyphenation",
        "[A-Za-z]-[ \t]*\n[a-z]",
        lambda texts: _each(undivided)(texts.str.replace_all("-[ \t]+\n", "-\n")),
    ),
    ("white_space", "(?m)^\\s*$|[ \t]$|\f|  |^\\s|\\s$", _tidied),
)


def normalized_texts(texts: pl.Series, without: Collection[str] = ()) -> tuple[pl.Series, dict[str, int]]:
    """The texts as documents hold them.

    And for each step how many of them it changed.

    Args:
        texts: no nulls.
        without: steps to leave out: "markup" for instructions, whose answers may be markup.
    """
    counts: dict[str, int] = {}

    def stepped(texts: pl.Series, steps: Iterable[tuple[str, str, Callable[[pl.Series], pl.Series]]]) -> pl.Series:
        texts = texts.clone()  # a scatter writes into the series it is called on
        for name, pattern, change in steps:
            if name in without:
                continue
            rows = texts.str.contains(pattern).arg_true()
            before = texts.gather(rows)
            after = change(before)
            counts[name] = int((before != after).sum())
            if counts[name]:
                texts = texts.scatter(rows, after)
        return texts

    unusual = texts.str.contains(UNUSUAL).arg_true()
    texts = texts.clone().scatter(unusual, stepped(texts.gather(unusual), CHARACTER_STEPS))
    return stepped(texts, LAYOUT_STEPS), counts


def without_end_markers(texts: pl.Series) -> pl.Series:
    """The texts without END_MARKERS at their end.

    Nor the white space around these; inside a text they stay.
    """
    return texts.str.replace(rf"\s*(?:(?:{'|'.join(END_MARKERS)})\s*)+$", "")
