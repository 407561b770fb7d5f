r"""How an answer is wrapped.

In boxes of TeX, tags, brackets, headings, full-width letters:
`\boxed{\text{(B)}}`, `<answer>B</answer>`, `$B$`, `[B]`, `（B）`, `## Final Answer` above `B. Thumb`.
"""

import re
from collections.abc import Iterator

EMPHASIS = re.compile(r"[*`\"“”]|(?<!\w)'|(?<=[\w.])'(?!\w)|(?<!\w)__(?=\S)|(?<=[^\s_])__(?!\w)")
WIDE = {**{wide: wide - 0xFEE0 for wide in (*range(0xFF21, 0xFF3B), 0xFF08, 0xFF09, 0xFF1A, 0xFF0E)}, 0x3002: ". "}
TEX_STYLE = re.compile(r"\\(?:text|math|operatorname|bf|it|rm|bm|boldsymbol|mbox)\w*\s*\{([^{}]*)\}")
TEX_SPACE = re.compile(r"\\(?:[,;:! ]|quad\b|qquad\b)|(?<=\w)~(?=\w)")
TEX_MATH = re.compile(
    r"\\[()\[\]]|\$+(?=\s*\(?[A-Z]\)?\s*\$)|(?<=[A-Z)])\s*\$+|\$+(?=\s*\\(?:boxed|fbox))|(?<=\})\s*\$+"
)
BRACES = re.compile(r"(?<=\{)\s*\{([^{}]*)\}\s*(?=\})")
FRAME = re.compile(
    r"\\(?:boxed|fbox|framebox)\s*\{(?P<box>(?:[^{}]|\{[^{}]*\})*)\}"
    r"|<(?P<name>answer|final_answer|choice)>(?P<tag>.*?)(?:</(?P=name)>|\Z)"
    r"|<\|begin_of_box\|>(?P<marked>.*?)(?:<\|end_of_box\|>|\Z)",
    re.IGNORECASE | re.DOTALL,
)
BRACKETS = re.compile(r"(?<!\w)\[+([A-Za-z])\]+(?!\w)")
HEADING = re.compile(r"^(?:#{1,6}|>) *", re.MULTILINE)
HEADED = re.compile(
    r"^(?:the |my )?(?:final |correct |best )?(?:answer|choice|option)(?: is)? ?:?\n", re.IGNORECASE | re.MULTILINE
)


def without_tex(text: str) -> str:
    """`text` without TeX around letters and words.

    Boxes stay, and so does what is no TeX.
    """
    text = text.translate(WIDE)
    if "\\" not in text and "$" not in text:
        return text
    before = ""
    while text != before:
        before, text = text, BRACES.sub(r"\1", TEX_STYLE.sub(r"\1", text))
    return TEX_MATH.sub("", TEX_SPACE.sub(" ", text))


def frames(text: str) -> Iterator[tuple[int, int, str, bool]]:
    """Every box and answer tag with words in it.

    Where it begins and ends, the words, and whether it is a tag.
    """
    for frame in FRAME.finditer(text):
        content = frame[frame.lastgroup or 0] if frame.lastgroup != "name" else frame["tag"]
        if content.strip():
            yield frame.start(), frame.end(), content, frame["box"] is None


def opened(text: str) -> str:
    """`text` with what boxes and tags hold in their place."""
    return FRAME.sub(lambda frame: frame["box"] or frame["tag"] or frame["marked"] or "", text)


def plain(text: str) -> str:
    """`text` with simple white space and without emphasis.

    Quotation marks go too, and the comma before a last "and" or "or". A heading is a line, and [B] is (B).
    """
    text = BRACKETS.sub(r"(\1)", HEADING.sub("", EMPHASIS.sub("", text)))
    bare = re.sub(r"\s*\n\s*", "\n", re.sub(r"[^\S\n]+", " ", text)).strip()
    return re.sub(r",(?= (?:and|or) )", "", bare)


def comparable(text: str) -> str:
    """`text` as options are compared.

    A lone letter keeps its case, since C is a letter and c may be an option.
    """
    bare = " ".join(plain(text).split()).strip(" .,;:")
    return bare if len(bare) == 1 else bare.casefold()
