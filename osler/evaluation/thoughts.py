"""What a reasoning model thought, apart from what it said.

Between the marks of its chat template; special tokens may have been left out in decoding. A thought that was never closed
broke off at the limit of tokens: then nothing was said. One that is closed and never opened was opened by the template.
Only what was said is an answer, a solved example's text, an earlier turn or the text of a task.
"""

import re

_TAGS = ("think", "thinking", "thought", "thoughts", "reasoning", "reflection", "scratchpad", "analysis", "seed:think")
MARKS = (
    *((f"(?i:<{tag}>)", f"(?i:</{tag}>)") for tag in _TAGS),
    (r"\[THINK\]", r"\[/THINK\]"),  # Magistral
    ("◁think▷", "◁/think▷"),  # Kimi
    (r"<\|begin_of_thought\|>", r"<\|end_of_thought\|>"),
    (r"<\|START_THINKING\|>", r"<\|END_THINKING\|>"),  # Command A
    (r"<unused94>(?:thought\b)?", "<unused95>"),  # MedGemma
    (r"<\|channel\|>(?!final\b)\w+[^<]*<\|message\|>", r"<\|channel\|>final\b[^<]*<\|message\|>"),  # gpt-oss
    (r"\Aanalysis(?=[^\sa-z])", r"assistantfinal"),  # the same without special tokens
    (r"\A\s*## Thinking\s*\n", r"\n## Final Response\s*\n"),  # HuatuoGPT-o1
)
WORDED = (len(MARKS) - 2, len(MARKS) - 1)  # words that may stand in any text: they close only what they opened
MARK = re.compile(
    "|".join(f"(?P<open{kind}>{opening})|(?P<close{kind}>{closing})" for kind, (opening, closing) in enumerate(MARKS))
)
HINTS = ("<", "◁", "THINK]", "assistantfinal", "## Thinking")  # one of which is in any text with a mark
LEFT_OVER = re.compile(
    r"<\|(?:(?:begin|end)_of_solution|(?:start|end)_response|return|end|im_end|eot_id)\|>", re.IGNORECASE
)


def _parts(text: str) -> tuple[str, int]:
    """What stands outside of all thoughts, and where the last one ends.

    At 0 without one.
    """
    if not (text.startswith("analysis") or any(hint in text for hint in HINTS)):
        return text, 0
    outside, opened, at, end = "", list[str](), 0, 0
    for mark in MARK.finditer(text):
        which = str(mark.lastgroup)
        kind = which.removeprefix("open").removeprefix("close")
        closes = which.startswith("close")
        if closes and kind not in opened and int(kind) in WORDED:
            continue
        if not opened:
            outside += text[at : mark.start()]
        if not closes:
            opened.append(kind)
        elif kind in opened:
            del opened[opened.index(kind) :]
        else:
            outside, opened = "", []
        at = end = mark.end()
    return (outside, len(text)) if opened else (outside + text[at:], end)


def said(text: str) -> str:
    """What the model said, without what it thought."""
    return LEFT_OVER.sub("", _parts(text)[0]).strip()


def after_thought(text: str) -> tuple[str, str]:
    """`text` in two, after its last thought.

    The thought's mark is in the first part. So is all of a text that broke off in a thought.
    """
    end = _parts(text)[1]
    return text[:end], LEFT_OVER.sub("", text[end:])
