"""Items of a benchmark with what models answered: a page with filters, and lines for a terminal.

The page is one file without network: its policy lets this script alone run. Items lie in it as JSON and are drawn some at a time,
so that thousands scroll without lag.
"""

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from osler.evaluation.questions import LETTERS
from osler.report.page import STYLE

SCRIPT = Path(__file__).with_name("item_page.js")
OWN_STYLE = """
form { display: flex; flex-wrap: wrap; gap: .5rem 1rem; position: sticky; top: 0; padding: .6rem 0; background: var(--paper); }
input, select { font: inherit; padding: .2rem .4rem; color: inherit; background: var(--band); border: 1px solid var(--line); }
details { border-bottom: 1px solid var(--line); }
summary { padding: .35rem 0; cursor: pointer; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; padding: .6rem; background: var(--band); font-size: .8125rem; }
.right { font-weight: 700; }
"""


@dataclass(frozen=True)
class ItemAnswer:
    """What one model answered to one item.

    `probabilities` are of the options in item order; `was` is what it answered in an earlier build, None where that is not
    asked or has none.
    """

    prediction: int | None
    correct: bool
    probabilities: tuple[float, ...]
    texts: tuple[str, ...]
    prompt_tokens: int
    generated_tokens: int
    truncated: bool
    was: int | None = None
    was_correct: bool | None = None


@dataclass(frozen=True)
class AskedItem:
    """An item with its answers by model.

    `prompt` is as the model read it, None where it is not known without the model.
    """

    item_id: str
    context: str
    question: str
    options: tuple[str, ...]
    gold: int
    prompt: str | None
    answers: Mapping[str, ItemAnswer]


def spelled(choice: int | None) -> str:
    """A choice as its letter; a dash where none could be read."""
    return "-" if choice is None else LETTERS[choice]


def terminal_lines(items: Sequence[AskedItem]) -> Iterator[str]:
    """A question with its options and what each model said of it."""
    for item in items:
        yield f"--- {item.item_id}"
        if item.context:
            yield item.context
        yield item.question
        shown = [(model, answer.probabilities) for model, answer in item.answers.items()]
        for place, option in enumerate(item.options):
            mark = "*" if place == item.gold else " "
            shares = "".join(f"  {100 * own[place]:5.1f}" for _, own in shown)
            yield f"{mark} {LETTERS[place]}{shares}  {option}"
        for model, answer in item.answers.items():
            right = "right" if answer.correct else "wrong"
            was = "" if answer.was_correct is None else f", before {spelled(answer.was)}"
            tokens = f"{answer.prompt_tokens} tokens read, {answer.generated_tokens} written"
            cut = ", its prompt was cut" if answer.truncated else ""
            yield f"{model}: {spelled(answer.prediction)}, {right}{was} ({tokens}{cut})"
            yield from (f"  | {line}" for text in answer.texts for line in text.splitlines())


def common_begin(first: str, last: str) -> str:
    """What two texts begin with.

    So do all that lie between them in order.
    """
    pairs = zip(first, last, strict=False)
    length = next((place for place, (one, other) in enumerate(pairs) if one != other), min(len(first), len(last)))
    return first[:length]


def _entry(item: AskedItem, shared: int) -> dict[str, Any]:
    """An item as the page's script reads it; its prompt without what all begin with."""
    return {
        "id": item.item_id,
        "context": item.context,
        "question": item.question,
        "options": item.options,
        "gold": item.gold,
        "prompt": None if item.prompt is None else item.prompt[shared:],
        "answers": {
            model: {
                "choice": answer.prediction,
                "right": answer.correct,
                "probabilities": [round(value, 4) for value in answer.probabilities],
                "texts": answer.texts,
                "read": answer.prompt_tokens,
                "written": answer.generated_tokens,
                "cut": answer.truncated,
                "was": None if answer.was_correct is None else [answer.was, answer.was_correct],
            }
            for model, answer in item.answers.items()
        },
    }


def item_page(title: str, about: Sequence[str], items: Sequence[AskedItem]) -> str:
    """The page as HTML.

    Args:
        title: of the page.
        about: sentences under it.
        items: with answers of the same models.
    """
    prompts = [item.prompt for item in items if item.prompt is not None]
    begin = common_begin(min(prompts), max(prompts)) if prompts else ""
    told = {"items": [_entry(item, len(begin)) for item in items], "begin": begin, "letters": LETTERS}
    data = json.dumps(told, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    script = SCRIPT.read_text(encoding="utf-8")
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{allowed}'"
    models = sorted({model for item in items for model in item.answers}, key=list(items[0].answers).index)
    choices = "".join(f'<option value="wrong {escape(model)}">{escape(model)} is wrong</option>' for model in models)
    choices += '<option value="differ">models differ</option>' if len(models) > 1 else ""
    if any(answer.was_correct is not None for item in items for answer in item.answers.values()):
        choices += '<option value="changed">changed</option>'
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>\n<style>{STYLE}{OWN_STYLE}</style>\n</head>\n<body>",
            f"<h1>{escape(title)}</h1>",
            *(f"<p>{escape(sentence)}</p>" for sentence in about),
            '<form role="search"><label>words <input id="words" type="search"></label>',
            f'<label>items <select id="which"><option value="">all</option>{choices}</select></label>',
            '<output id="count"></output></form>\n<main id="items"></main>',
            f'<script type="application/json" id="data">{data}</script>',
            f"<script>{script}</script>\n</body>\n</html>\n",
        ]
    )
