"""What models put around an answer, as plain words that can be read.

A box, tags, a heading, brackets: each is written as the statement that it stands for. `$\\boxed{B}$` and `<answer>B</answer>`
become "the answer is: B".
"""

import re

STATED = " the answer is: {}\n"
DELIMITER = r"(?:\$+|\\[()\[\]])?"
BRACES = r"\{((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*)\}"
BOX = rf"{DELIMITER}\s*\\f?box(?:ed)?\s*{BRACES}\s*{DELIMITER}"
BOXES = re.compile(rf"{BOX}(?:(\s*(?:,|/|&|or|and)+\s*){BOX})?")
STYLED = re.compile(r"\\(?:text|math|oper)\w*\s*\{([^{}]*)\}|\$\s*(\(?[A-Z]\)?)\s*\$")
TAGGED = re.compile(
    r"<((?:final_?)?(?:answer|choice))>(.*?)(?:</\1>|\Z)|<\|begin_of_box\|>(.*?)(?:<\|end_of_box\|>|\Z)",
    re.IGNORECASE | re.DOTALL,
)
GLUED = re.compile(r"\b(answer:)(?=\(?[A-Z]\b)", re.IGNORECASE)
HEADING = re.compile(
    r"^[#*_>\s]*(?:(?:the|my) )?(?:(?:final|correct|best) )?(?:answer|choice|option)[*_ \t]*:?[*_ \t]*\n\s*",
    re.IGNORECASE | re.MULTILINE,
)
HASHED = re.compile(r"^#{4}[ \t]*(.+)\s*\Z", re.MULTILINE)  # GSM8K's mark of an answer: the last line
LETTERED_HEADING = re.compile(r"^#{1,6}[ \t]*\W*(?:option )?([A-Z])\b", re.IGNORECASE | re.MULTILINE)
BRACKETED = re.compile(r"(?<![\w\]])\[{1,2}([A-Z])\]{1,2}(?![\w\[(])")
FULL_WIDTH = {0xFF08: "(", 0xFF09: ")", 0xFF1A: ": ", 0xFF0E: ". "} | {
    0xFF21 + place: chr(65 + place) for place in range(26)
}


def unwrapped(text: str) -> str:
    """`text` with boxes, tags, headings and brackets as statements."""
    text = STYLED.sub(r"\1\2", text.translate(FULL_WIDTH))
    text = BOXES.sub(lambda box: STATED.format("".join(part for part in box.groups() if part)), text)
    text = TAGGED.sub(lambda tagged: STATED.format((tagged[2] or tagged[3] or "").strip()), text)
    if len(set(LETTERED_HEADING.findall(text))) < 2:
        text = HASHED.sub(lambda hashed: STATED.format(hashed[1]), text)
    return HEADING.sub("the answer is: ", GLUED.sub(r"\1 ", BRACKETED.sub(r"(\1)", text)))
