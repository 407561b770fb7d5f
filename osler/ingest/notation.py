"""Superscripts, subscripts, formulas, citations and tables in plain text.

One rule for every format. Stylesheets (notation.xsl) and `without_markup` leave marks; `plain` reads them:

* A superscript after a letter, a digit or a bracket is behind "^" (10^9, m^2, cm^-1, KRAS^G12D, 12.3^a), in brackets where it is
  more than one word or number: x^(n-1). As they are: charges and signs (Na+, Ca2+, CD4+, ApoE-/-), ordinals (1st), marks (*, ®),
  the mass number before an element (99mTc, 18F-FDG). An "o" or 0 of degrees is °. Minus is "-" in all of them.
* A subscript is joined on (CO2, HbA1c, VO2max, t1/2, AUC0-24), but behind "_" where digits would fuse (χ^2_2) or words (P_trend).
* A numeric superscript that no tag calls a citation cannot be told from an exponent: it stays, behind "^", and no digits fuse.
* What a tag calls a citation goes if it is numbers alone, with the brackets, commas and dashes that are only its own. Words
  stay (Smith 2010, a year alone), and so do numbers that are the object of a sentence: "see ref. 12", "as shown in [12]".
* A formula is its MathML on one line (x^2, 1/2, √16), else its TeX between dollars, else the marker "[formula]".

A text without marks costs two searches for a character.
"""

import re
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise

from osler.ingest.tables import TableCell, cell, table_lines

OPEN, CLOSE = "\ufdd0", "\ufdd1"  # noncharacters: no text has them
CITED, END = "\ufdd2", "\ufdd3"  # around the numbers of a citation
FORMULA = "[formula]"
DEEPEST = 50  # what is nested deeper is read as if it had no marks
LONGEST_SCRIPT = 40  # characters; what is longer is a text that was set high or low

DASHES = str.maketrans(dict.fromkeys("‐‑‒–—−﹣－", "-"))
CLOSING = ("", *" \n\t\u2029.,;:/)]")  # what no blank stands before
SIGNS = re.compile(r"[-+/±]+")
SEPARATORS = re.compile(r"[\s,;:.()\[\]-]+")
ORDINAL = re.compile(r"st|nd|rd|th|er|[eè]re|[eè]me")
NUMBER = re.compile(r"[-+]?\d+(?:[.,]\d+)?")
CHARGE = re.compile(r"\d{1,2}[-+]")
ISOTOPE = re.compile(r"\d{1,3}m?\d?")
ELEMENT = re.compile(
    r"(?:A[cglmrstu]|B[aeikr]?|C[adeflmorsu]?|D[by]|E[rsu]|F[elmr]?|G[ade]|H[efgo]?|I[nr]?|K[r]?|L[airu]|M[dgnot]|N[abdeip]?|O[s]?"
    r"|P[abdmortu]?|R[abefhnu]|S[bcegimnr]?|T[abcehilm]|U|V|W|Xe|Yb?|Z[nr])(?![a-z])"
)
DEGREE = re.compile(r"([o0])\s?([CF]?)", re.IGNORECASE)
TOKEN = re.compile(r"\d{1,2}[-+]|[-+]?[\w.,*†‡§¶#°∗]+\)?|\d+(?:[-,]\d+)+")
GROUPED = re.compile(r"[\w.∞%\u0300-\u036f]+|.|\([^()]*\)|\[[^\[\]]*\]|\{[^{}]*\}")
LONG_WORD = re.compile(r"[^\W\d_]{4}")

CITATION = re.compile(r"([\[(]?) ?(\d{1,3}[a-z]?(?:[ ,;–—‐−-]+\d{1,3}[a-z]?)*|[*†‡§¶#]*) ?([\])]?)(\.?)")
NOTE = re.compile(r"\d{0,3}|[A-Za-z]{1,2}|[*†‡§¶#∗]+")
MARK = f"{CITED}[^{CITED}{END}]*{END}"
BLANKS = " \t\n\xa0\u2009"
BLANK = rf"[{BLANKS}]{{0,9}}"
BETWEEN = rf"{BLANK}(?:[,;–—‐−-]{{1,2}}{BLANK})?(?:(?:and|&){BLANK})?"
SQUARE = rf"\[{BLANK}(?:\d{{1,3}}\b{BETWEEN})*{MARK}(?:{BETWEEN}(?:{MARK}|\d{{1,3}}\b))*{BLANK}\]"
ROUND = rf"\({BLANK}{MARK}(?:{BETWEEN}{MARK})*{BLANK}\)"
ITEM = rf"(?:{SQUARE}|{ROUND}|{MARK})"
CITATIONS = re.compile(rf"[{BLANKS}]{{0,3}}{ITEM}(?:{BETWEEN}{ITEM})*")
CITATION_LEAD = re.compile(rf"[{BLANKS}]{{0,3}}(?:\[{BLANK}(?:\d{{1,3}}\b{BETWEEN})*|\({BLANK})$")
LONE_STOP = re.compile(r"\s[.,;)](?!\d).?", re.DOTALL)
BEFORE_CITATION = 30  # characters
NO_MARKS = str.maketrans("", "", f"{CITED}{END}^")
REFERENCES = frozenset(("ref", "refs", "reference", "references", "citation", "citations"))
OBJECT_OF = frozenset(("see", "also", "in", "by", "from", "of", "per", "cf", "e.g", "eg"))
COMMAS, BEFORE_SPACE, AFTER_SPACE = frozenset(",;"), frozenset(".,;:!?)%"), frozenset("([-–=<>+/")

TEX_DELIMITERS = re.compile(r"^(?:\$\$?|\\\(|\\\[)\s*|\s*(?:\$\$?|\\\)|\\\])$")


@dataclass(slots=True)
class _Frame:
    """What stands between a mark and its end; `last` is the kind of the frame that it ends with."""

    kind: str
    pieces: list[str] = field(default_factory=list)
    cells: list[TableCell] = field(default_factory=list)
    rows: list[list[TableCell]] = field(default_factory=list)
    last: str = ""
    is_high: bool = False  # of a citation: in a superscript

    def add(self, text: str, kind: str) -> None:
        if text:
            self.pieces.append(text)
            self.last = kind

    def add_text(self, text: str) -> None:
        """Digits behind those of a superscript or subscript stand apart from them."""
        if text:
            digits = self.last in ("^", "_") and self.pieces[-1][-1:].isdigit() and text[0].isdigit()
            self.pieces.append(f" {text}" if digits else text)
            self.last = "text"

    def before(self) -> str:
        return "".join(piece[-40:] for piece in self.pieces[-2:])


def plain(text: str, counts: Counter[str]) -> str:
    """`text` with its marks read.

    Args:
        text: marks as in notation.xsl. One that is not closed is nothing.
        counts: of "citations" taken out, and of formulas as "formulas_text", "formulas_tex" and "formulas_marker"; added to.
    """
    if OPEN not in text and CLOSE not in text:
        return text
    stack, deeper = [_Frame("")], 0
    parts = text.replace(CITED, "").replace(END, "").split(OPEN)
    for number, part in enumerate(parts):
        if number and len(stack) > DEEPEST:
            deeper += 1
        elif number:
            stack.append(_Frame(part[:1]))
        first, *others = part.split(CLOSE)
        stack[-1].add_text(first[1:] if number else first)
        for left, other in zip(range(len(others) - 1, -1, -1), others, strict=True):
            if deeper:
                deeper -= 1
            elif len(stack) > 1:
                frame = stack.pop()
                is_fraction = (
                    not left and other in ("/", "⁄") and parts[number + 1 : number + 2] and parts[number + 1][:1] == "_"
                )
                _close(frame, stack[-1], "/_" if is_fraction else other[:8], counts)
            stack[-1].add_text(other)
    for above, frame in pairwise(stack):
        if frame.kind in ("^", "_") and above.before()[-1:].isalnum() and "".join(frame.pieces)[:1].isalnum():
            above.add(frame.kind, "text")
    whole = "".join(piece for frame in stack for piece in frame.pieces)
    return _without_citations(whole, counts).replace(CITED, "").replace(END, "")


def _close(frame: _Frame, parent: _Frame, after: str, counts: Counter[str]) -> None:
    inside = "".join(frame.pieces)
    match frame.kind:
        case "^" if parent.kind == "c":
            parent.is_high = True
            parent.add(inside, "text")
        case "^":
            if parent.last == "^" and parent.pieces[-1] in ("-", "+") and NUMBER.fullmatch(inside.strip()):
                inside = parent.pieces.pop() + inside.strip()
            high = _high(inside, parent.before(), after)
            parent.add(high + " " * (inside[-1:].isspace() and after[:1] not in CLOSING), "^")
        case "_" | "u":
            low = subscript(inside, parent.before(), parent.last == "^", frame.kind == "u")
            parent.add(low + " " * (inside[-1:].isspace() and after[:1] not in CLOSING), "_")
        case "(":
            content = " ".join(inside.split())
            parent.add(content if GROUPED.fullmatch(content) else f"({content})" if content else "", "text")
        case "m" | "t" | "i":
            formula = _formula(frame.kind, inside, counts)
            clear = formula[:1].isalnum() and parent.before()[-1:].isalnum()
            parent.add(" " * clear + formula + " " * (formula[-1:].isalnum() and after[:1].isalnum()), "text")
        case "c":
            parent.add(_citation(inside, frame.is_high), "text")
        case "n":
            parent.add("" if NOTE.fullmatch(inside.strip()) else inside, "text")
        case "H" | "D":
            parent.cells.append(cell(inside, frame.kind == "H"))
        case "R":
            parent.rows.append(frame.cells)
        case "T" | "U":
            parent.add("\u2029".join(table_lines(frame.rows, frame.kind == "T")), "text")
        case _:
            parent.add(inside, "text")


def _high(inside: str, before: str, after: str) -> str:
    """A superscript, of which citations may be a part or all."""
    if CITED not in inside:
        return superscript(inside, before, after)
    own, _, rest = inside.partition(CITED)
    rest = re.sub(MARK, "", CITED + rest)
    numbers = re.sub(r"\D+", ",", inside).strip(",")
    own = own.strip(" \n,;–-([")
    rest = rest.strip(" \n,;–-)]")
    if re.fullmatch(r"[\d\s,;–—‐−-]*", rest):
        rest = ""
    return superscript(own + rest, before, after) + f"{CITED}^{numbers}{END}"


def superscript(inside: str, before: str, after: str) -> str:
    """What is set high, as the module says.

    Args:
        inside: its text.
        before: the end of what stands before it on the line.
        after: the beginning of what follows; "/_" for a slash and a subscript.
    """
    text = " ".join(inside.split()).translate(DASHES).replace("∘", "°")
    close = text.replace(" ", "")
    base = before[-1:]
    if not text or SIGNS.fullmatch(close) or SEPARATORS.fullmatch(text):
        return close if text else " " * bool(inside)
    if not any(map(str.isalnum, text)):
        return text
    if close == "TM":
        return "™"
    if base.isdigit() and ORDINAL.fullmatch(close):
        return close
    degree = DEGREE.fullmatch(text)
    if (
        degree
        and before.rstrip()[-1:].isdigit()
        and (degree[2] or degree[1] != "0" or after.lstrip()[:1] in ("C", "F"))
    ):
        return f"°{degree[2]}"
    if after == "/_" and text.isdigit():
        return f" {text}" if base.isdigit() else text
    is_word = base.isalnum() or base in (")", "]", "}", "%", "°", "′", "'", "’") or "\u0300" <= base <= "\u036f"
    if not (base and is_word):
        if ISOTOPE.fullmatch(close) and ELEMENT.match(after) and (len(close) > 1 or after[0] in "HL"):
            return close
        is_first = before.rstrip(" \t\n")[-1:] in ("", "(", "[", "\u2029")
        if is_first or (base.isspace() and not NUMBER.fullmatch(close)):
            return text + " " * after[:1].isalnum()
        if base.isspace() and after[:1].isalpha():
            return f"^{close} "
    elif CHARGE.fullmatch(close) and not base.isdigit():
        return close
    if len(text) > LONGEST_SCRIPT:
        return f" {text}" + " " * after[:1].isalnum()
    if text[0] == "[" and text[-1] == "]":
        return text
    if TOKEN.fullmatch(close) or GROUPED.fullmatch(text):
        return f"^{close if TOKEN.fullmatch(close) else text}"
    return f"^({text})"


def subscript(inside: str, before: str, after_high: bool, is_formula: bool = False) -> str:
    """What is set low, as the module says.

    Args:
        inside: its text.
        before: the end of what stands before it on the line.
        after_high: right behind a superscript.
        is_formula: of MathML, where letters are variables and never joined on.
    """
    text = " ".join(inside.split())
    base = before[-1:]
    if not text or not any(map(str.isalnum, text)):
        return text or " " * bool(inside)
    if is_formula and base.strip() and not text[0].isdigit():
        return f"_{text}" if GROUPED.fullmatch(text) else f"_({text})"
    if not (base.isalnum() or base in (")", "]")):
        return text
    if after_high and base.isalnum():
        return f"_{text}"
    if text[0].isdigit():
        return f"_{text}" if base.isdigit() else text
    if text[0] in "-+−–‐" and text[1:2].isdigit():
        return f"_{text.translate(DASHES)}"
    if text[0] in "([":
        return text
    if inside[0].isspace() or len(text) > LONGEST_SCRIPT:
        return f" {text}"
    if LONG_WORD.match(text):
        return f"_{text}" if " " not in text else f"_({text})"
    return text if " " not in text else f"_({text})"


def _formula(kind: str, inside: str, counts: Counter[str]) -> str:
    if kind == "m":
        counts["formulas_text"] += 1
        return " ".join(inside.split())
    document = inside.partition(r"\begin{document}")[2].partition(r"\end{document}")[0]
    tex = TEX_DELIMITERS.sub("", " ".join((document or inside).split()))
    if kind == "t" and tex:
        counts["formulas_tex"] += 1
        return f"${tex}$"
    counts["formulas_marker"] += 1
    return FORMULA


def _citation(inside: str, is_high: bool) -> str:
    """A citation of numbers between CITED and END, one of words as it is."""
    if inside.isdecimal() and len(inside) <= 3 and not is_high:
        return f"{CITED}{inside}{END}"
    found = CITATION.fullmatch(" ".join(inside.split()))
    if not found:
        return inside
    opening, numbers, closing, stop = found.groups()
    return f"{opening}{CITED}{'^' * is_high}{numbers}{END}{closing}{stop}"


def _without_citations(text: str, counts: Counter[str]) -> str:
    """`text` without the citations between CITED and END, but for those that a sentence needs.

    Goes from one to the next, since a pattern that may begin with blanks is slow to search for.
    """
    said, done, place = list[str](), 0, text.find(CITED)
    while place >= 0:
        run = _run(text, max(done, place - BEFORE_CITATION), place)
        if run is None:  # an end is missing
            break
        before, found = text[done : run.start()], run.group()
        said.append(before)
        if needed := _needed(before or "".join(said[-2:]), found):
            said.append(needed)
            done = run.end()
        else:
            counts["citations"] += found.count(CITED)
            said[-1], space, skipped = _closed_gap(before, found[0] in BLANKS, text[run.end() : run.end() + 3])
            said.append(space)
            done = run.end() + skipped
        place = text.find(CITED, done)
    return "".join(said) + text[done:]


def _run(text: str, start: int, place: int) -> re.Match[str] | None:
    """The citations from `place` on, with brackets and blanks before it, but not from before `start`."""
    before = text[start:place]
    lead = CITATION_LEAD.search(before) if "[" in before or "(" in before else None
    run = CITATIONS.match(text, start + lead.start()) if lead else None
    return run or CITATIONS.match(text, place - min(3, len(before) - len(before.rstrip(BLANKS))))


def _needed(before: str, run: str) -> str:
    """The numbers of a run of citations, as they stand, if they are the object of what is before; else nothing."""
    words = before[-20:].split()
    word = words[-1].lower().strip("([.,") if words else ""
    is_object = word in OBJECT_OF and f"{CITED}^" not in run and (run[0] in BLANKS or before[-1:] in BLANKS)
    if not is_object and word not in REFERENCES:
        return ""
    numbered = run.translate(NO_MARKS)
    return numbered if any(map(str.isdigit, numbered)) else ""


def _closed_gap(before: str, had_space: bool, rest: str) -> tuple[str, str, int]:
    """What stands before a gap, what goes into it, and how much of `rest` goes with it.

    No comma or blank stays that only the citation had, no bracket is empty, and what it held apart stays apart.
    """
    last, following = before[-1:], rest[:1]
    if last in ("(", "["):
        if following in (")", "]"):
            return before[:-1].rstrip(BLANKS), "", 1
        if following in COMMAS:
            return before, "", 1 + (rest[1:2] in (" ", "\n"))
    if following in (")", "]") and last in COMMAS:
        return before[:-1], "", 0
    if (last in COMMAS and following in COMMAS) or LONE_STOP.fullmatch(rest):
        return before, "", 1
    is_word = following.isalnum()
    if had_space:
        return before, " " * (is_word or following in AFTER_SPACE), 0
    return before, " " * (is_word and (last.isalnum() or last in BEFORE_SPACE)), 0
