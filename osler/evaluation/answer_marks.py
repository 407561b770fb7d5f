"""What models put around an answer, as plain words that can be read.

Reasoning models think before they answer; others put the answer in a box, tags, a heading or brackets. `said` cuts off
what was thought, `unwrapped` writes each mark as the statement that it stands for: `$\\boxed{B}$` and `<answer>B</answer>`
become "the answer is: B". Marks: DeepSeek-R1, Qwen3 and most others `<think>`, whose opening tag may stand in the prompt;
Open-R1 `<|begin_of_thought|>`; Kimi `◁think▷`; Magistral `[THINK]`; gpt-oss channels, with or without their special tokens.
"""

import re

TAGS = r"think|thinking|thought|thoughts|reasoning|reflection|analysis|scratchpad"
OPENING = rf"<(?:{TAGS})>|<\|begin_of_thought\|>|◁think▷|\[THINK\]"
CLOSING = rf"</(?:{TAGS})>|<\|end_of_thought\|>|◁/think▷|\[/THINK\]"
THOUGHT = re.compile(rf"(?:{OPENING})(?:(?!{OPENING}).)*?(?:{CLOSING})", re.IGNORECASE | re.DOTALL)
THOUGHT_BEFORE = re.compile(rf"\A.*(?:{CLOSING})", re.IGNORECASE | re.DOTALL)
THOUGHT_AFTER = re.compile(rf"(?:{OPENING}).*\Z", re.IGNORECASE | re.DOTALL)
CHANNELS = re.compile(
    r"<\|channel\|>\s*(\w+)[^<]*<\|message\|>(.*?)(?=<\|(?:channel|end|return|start|call)\|>|\Z)", re.DOTALL
)
BARE_CHANNELS = re.compile(r"\A\s*analysis(?=[A-Z\s]).*assistantfinal", re.DOTALL)  # as decoded without special tokens

STATED = " the answer is: {}\n"
DELIMITER = r"(?:\$+|\\[()\[\]])?"
BRACES = r"\{((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*)\}"
BOX = rf"{DELIMITER}\s*\\f?box(?:ed)?\s*{BRACES}\s*{DELIMITER}"
BOXES = re.compile(rf"{BOX}(?:(\s*(?:,|/|&|or|and)+\s*){BOX})?")
STYLED = re.compile(r"\\(?:text|math|oper)\w*\s*\{([^{}]*)\}|\$\s*(\(?[A-Z]\)?)\s*\$")
TAGGED = re.compile(r"<((?:final_?)?(?:answer|choice))>(.*?)(?:</\1>|\Z)", re.IGNORECASE | re.DOTALL)
HEADING = re.compile(
    r"^[#*_>\s]*(?:(?:the|my) )?(?:(?:final|correct|best) )?(?:answer|choice|option)[*_ \t]*:?[*_ \t]*\n\s*",
    re.IGNORECASE | re.MULTILINE,
)
HASHED = re.compile(r"^#{4}[ \t]*(.+)\s*\Z", re.MULTILINE)  # GSM8K's mark of an answer: the last line
LETTERED_HEADING = re.compile(r"^#{1,6}[ \t]*\W*(?:option )?([A-Z])\b", re.IGNORECASE | re.MULTILINE)
BRACKETED = re.compile(r"(?<![\w\]])\[([A-Z])\](?![\w\[(])")
FULL_WIDTH = {0xFF08: "(", 0xFF09: ")", 0xFF1A: ": ", 0xFF0E: ". "} | {
    0xFF21 + place: chr(65 + place) for place in range(26)
}


def said(text: str) -> str:
    """What a model says after it has thought.

    Nothing where it was still thinking when it ended; all of it where it shows no thoughts.
    """
    channels = CHANNELS.findall(text)
    if channels:
        return "".join(message for channel, message in channels if channel == "final")
    text = BARE_CHANNELS.sub("", text)
    while (shorter := THOUGHT.sub("", text)) != text:
        text = shorter
    return THOUGHT_AFTER.sub("", THOUGHT_BEFORE.sub("", text))


def unwrapped(text: str) -> str:
    """`text` with boxes, tags, headings and brackets as statements."""
    text = STYLED.sub(r"\1\2", text.translate(FULL_WIDTH))
    text = BOXES.sub(lambda box: STATED.format("".join(part for part in box.groups() if part)), text)
    text = TAGGED.sub(lambda tagged: STATED.format(tagged[2].strip()), text)
    if len(set(LETTERED_HEADING.findall(text))) < 2:
        text = HASHED.sub(lambda hashed: STATED.format(hashed[1]), text)
    return HEADING.sub("the answer is: ", BRACKETED.sub(r"(\1)", text))
