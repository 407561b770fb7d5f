"""A page as blocks of content, written as Markdown and as HTML.

Both say the same.

Markdown is what Git and a code host show; the HTML needs nothing beside it: style and pictures are inside, no script, and
its policy (Content-Security-Policy) forbids the browser to fetch anything. Text is escaped in both; nothing passes as markup.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True)
class Code:
    """A name as it is typed."""

    text: str


@dataclass(frozen=True)
class Strong:
    """What the eye should find; between spaces, as Markdown wants it."""

    text: str


Word = str | Code | Strong
Text = Word | tuple[Word, ...]


@dataclass(frozen=True)
class Heading:
    """Level 1 is the page's title, once; sections are level 2."""

    level: int
    text: str


@dataclass(frozen=True)
class Paragraph:
    """Running text."""

    text: Text


@dataclass(frozen=True)
class Items:
    """A list with a mark before each line."""

    lines: Sequence[Text]


@dataclass(frozen=True)
class Table:
    """Rows as wide as the header.

    The first `text_columns` are flush left, the others right.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[Text]]
    text_columns: int = 1


@dataclass(frozen=True)
class Picture:
    """The file figures/<name>.png beside the page; `text` says what it shows."""

    name: str
    text: str


Block = Heading | Paragraph | Items | Table | Picture


def words(text: Text) -> tuple[Word, ...]:
    """A text's words, also of a single one."""
    return text if isinstance(text, tuple) else (text,)


def one_line(text: str) -> str:
    """`text` with one space for all white space between words.

    There is none around them.
    """
    return " ".join(text.split())


def plain_markdown(text: str) -> str:
    """`text` so that Markdown reads it as text.

    This holds within a line of a paragraph and in a cell of a table.
    """
    marks = r"[\\`*|~]|<(?=[A-Za-z/!?])|&(?=#?\w+;)|(?<![^\W_])_|_(?![^\W_])|\](?=[(\[:])|!(?=\[)"
    return re.sub(marks, lambda found: "\\" + found.group(), one_line(text))


def code_markdown(text: str) -> str:
    """A code span of `text`.

    Its fence is longer than any run of backticks inside. No text gives nothing, since there is no code span of it.
    """
    line = one_line(text)
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    padding = " " if "`" in line else ""
    return f"{fence}{padding}{line}{padding}{fence}" if line else ""


def inline_markdown(text: Text, in_table: bool = False) -> str:
    """The words one after another, as Markdown.

    How they begin does not make them a list or a heading.
    """
    parts = []
    for word in words(text):
        if isinstance(word, Code):
            code = code_markdown(word.text)
            parts.append(code.replace("|", "\\|") if in_table else code)
        elif isinstance(word, Strong):
            parts.append(f"**{plain_markdown(word.text)}**" if word.text.strip() else "")
        else:
            lead, trail = " " * word[:1].isspace(), " " * (word[-1:].isspace() and bool(word.strip()))
            parts.append(f"{lead}{plain_markdown(word)}{trail}")
    return re.sub(r"^(\d*)([#>=]|[-+.)](?= |$)|-(?=-))", r"\1\\\2", "".join(parts).strip())


def _block_markdown(block: Block) -> str:
    if isinstance(block, Heading):
        return f"{'#' * block.level} {inline_markdown(block.text)}"
    if isinstance(block, Paragraph):
        return inline_markdown(block.text)
    if isinstance(block, Items):
        return "\n".join(f"* {inline_markdown(line)}" for line in block.lines)
    if isinstance(block, Picture):
        return f"![{plain_markdown(block.text)}](figures/{block.name}.png)"
    marks = ["---" if column < block.text_columns else "---:" for column in range(len(block.header))]
    rows = [[inline_markdown(cell, in_table=True) for cell in row] for row in [block.header, *block.rows]]
    return "\n".join("| " + " | ".join(row) + " |" for row in [rows[0], marks, *rows[1:]])


def markdown(blocks: Sequence[Block]) -> str:
    """The page as Markdown, with tables as GitHub has them."""
    return "\n\n".join(map(_block_markdown, blocks)) + "\n"


STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --faint: #59636e; --paper: #fff; --line: #d4d9df; --band: #f5f7f9; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e8ec; --faint: #9aa4af; --paper: #14171a; --line: #363c43; --band: #1d2125; }
  img { filter: invert(0.92) hue-rotate(180deg); }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 80rem; color: var(--ink); background: var(--paper);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", "DejaVu Sans", sans-serif; }
h1 { font-size: 1.9rem; margin: 0 0 1rem; }
h2 { font-size: 1.35rem; margin: 2.75rem 0 .75rem; padding-top: .75rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.75rem 0 .5rem; }
p, li { max-width: 48rem; overflow-wrap: anywhere; }
ul { padding-left: 1.25rem; }
nav ul { padding: 0; margin: 0; list-style: none; display: flex; flex-wrap: wrap; gap: .25rem 1.1rem; }
nav a { color: inherit; text-decoration-color: var(--faint); text-underline-offset: .2em; }
code { font: .92em ui-monospace, "DejaVu Sans Mono", monospace; }
.table { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .8125rem; line-height: 1.4; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .5rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th { border-bottom: 2px solid var(--line); vertical-align: bottom; }
td.text { max-width: 30rem; }
td code { white-space: nowrap; }
.number { text-align: right; white-space: nowrap; }
tbody tr:nth-child(even) { background: var(--band); }
figure { margin: 1rem 0; overflow-x: auto; }
img { display: block; max-width: 100%; min-width: 34rem; height: auto; }
@media print {
  @page { size: A4 landscape; margin: 12mm; }
  body { max-width: none; padding: 0; font-size: 9pt; color: #000; background: #fff; }
  nav { display: none; }
  .table { overflow: visible; }
  table { font-size: 7.5pt; }
  th, td { padding: .15rem .3rem; }
  figure { overflow: visible; }
  img { max-height: 150mm; width: auto; min-width: 0; filter: none; }
  h2, h3 { break-after: avoid; }
  tr, figure { break-inside: avoid; }
}
"""
DOTS, CSS_PIXELS = 150, 96  # an inch, in a picture and on a page
WIDTH = slice(16, 20)  # of a PNG, in its header
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def inline_html(text: Text) -> str:
    """The words one after another, escaped."""
    tags = {Code: "code", Strong: "strong"}
    return "".join(
        escape(word)
        if isinstance(word, str)
        else f"<{tags[type(word)]}>{escape(one_line(word.text))}</{tags[type(word)]}>"
        for word in words(text)
    )


def anchor(heading: str) -> str:
    """What a link to a heading is called."""
    return re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-")


def _block_html(block: Block, pictures: Mapping[str, bytes]) -> str:
    if isinstance(block, Heading):
        return f'<h{block.level} id="{anchor(block.text)}">{escape(block.text)}</h{block.level}>'
    if isinstance(block, Paragraph):
        return f"<p>{inline_html(block.text)}</p>"
    if isinstance(block, Items):
        return "<ul>\n" + "\n".join(f"<li>{inline_html(line)}</li>" for line in block.lines) + "\n</ul>"
    if isinstance(block, Picture):
        encoded = base64.b64encode(pictures[block.name]).decode()
        width = round(int.from_bytes(pictures[block.name][WIDTH]) * CSS_PIXELS / DOTS)  # letters of one size in all
        image = f'<img alt="{escape(block.text)}" width="{width}" src="data:image/png;base64,{encoded}">'
        return f'<figure tabindex="0">{image}</figure>'
    kinds = ["text" if column < block.text_columns else "number" for column in range(len(block.header))]
    head = "".join(f'<th class="{kind}">{escape(name)}</th>' for kind, name in zip(kinds, block.header, strict=True))
    rows = [
        "<tr>"
        + "".join(f'<td class="{kind}">{inline_html(cell)}</td>' for kind, cell in zip(kinds, row, strict=True))
        + "</tr>"
        for row in block.rows
    ]
    body = "\n".join(rows)
    # what scrolls can be reached by the keyboard
    return f'<div class="table" tabindex="0"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>'


def html(blocks: Sequence[Block], pictures: Mapping[str, bytes]) -> str:
    """The page as one HTML file with links to its sections.

    Args:
        blocks: the first is the title.
        pictures: PNG bytes by name, of every `Picture`.
    """
    headings = [block for block in blocks if isinstance(block, Heading)]
    links = [f'<li><a href="#{anchor(own.text)}">{escape(own.text)}</a></li>' for own in headings if own.level == 2]
    written = [_block_html(block, pictures) for block in blocks]
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(headings[0].text)}</title>\n<style>{STYLE}</style>\n</head>\n<body>",
            written[0],
            "<nav>\n<ul>\n" + "\n".join(links) + "\n</ul>\n</nav>",
            *written[1:],
            "</body>\n</html>\n",
        ]
    )
