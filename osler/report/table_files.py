"""Tables of a page as files of their own: CSV for programs, LaTeX for papers."""

import csv
import io
import re
from collections.abc import Iterator, Sequence

from osler.report.page import Block, Code, Heading, Strong, Table, Text, anchor, markdown, words

NUMBER = r"[-+]?(?:[\d,]+(?:\.\d+)?|inf)"
INTERVAL = re.compile(rf"(?:({NUMBER}) )?\[({NUMBER}), ({NUMBER})\](.*)", re.DOTALL)
LATEX = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$"},
    **{"|": r"\textbar{}", "·": r"\textperiodcentered{}", "†": r"$\dagger$", "±": r"$\pm$"},
}
PREAMBLE = "% needs \\usepackage{booktabs} and \\usepackage[T1]{fontenc}\n"
LINE, PARAGRAPH = 60, r"p{0.3\textwidth}"  # characters of a cell in one line; a column of longer ones
FORMATS = (".csv", ".md", ".tex")


def tables_of(blocks: Sequence[Block]) -> Iterator[tuple[str, str, Table]]:
    """The tables of a page.

    Each has a name for a file and a title, both of the headings that it stands under. The second table there gets a number.
    """
    names: list[str] = []
    under = ["", ""]
    for block in blocks:
        if isinstance(block, Heading) and block.level > 1:
            under = [block.text, ""] if block.level == 2 else [under[0], block.text]
        elif isinstance(block, Table):
            title = ", ".join(filter(None, under))
            stem = anchor(title) or "table"
            names.append(stem)
            again = names.count(stem)
            yield stem if again == 1 else f"{stem}-{again}", title, block


def plain(text: Text) -> str:
    """A cell without marks."""
    return "".join(word if isinstance(word, str) else word.text for word in words(text)).strip()


def csv_text(table: Table) -> str:
    """The table as CSV.

    An estimate with its interval becomes three columns, and what stands behind it a fourth; numbers lose the commas between
    thousands.
    """
    written: list[list[str]] = []
    for number, name in enumerate(_told_apart(table.header)):
        cells = [plain(row[number]) for row in table.rows]
        found = [INTERVAL.fullmatch(cell) for cell in cells]
        if not any(found):
            written.append([name, *map(_number, cells)])
            continue
        parts = [one.groups("") if one else (cell, "", "", "") for one, cell in zip(found, cells, strict=True)]
        for place, ending in enumerate(("", " low", " high", " mark")):
            if place in (1, 2) or any(part[place] for part in parts):
                written.append([name + ending, *(_number(part[place].strip()) for part in parts)])
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(zip(*written, strict=True))
    return stream.getvalue()


def _told_apart(names: Sequence[str]) -> list[str]:
    """The second column of a name gets a number."""
    return [
        f"{name} {count}" if (count := names[: place + 1].count(name)) > 1 else name for place, name in enumerate(names)
    ]


def _number(cell: str) -> str:
    return cell.replace(",", "") if re.fullmatch(r"[-+]?\d{1,3}(,\d{3})+(\.\d+)?", cell) else cell


def latex_text(table: Table, title: str) -> str:
    """The table as LaTeX, by booktabs.

    Args:
        title: its caption.
    """
    longest = [
        max(len(plain(row[column])) for row in (table.header, *table.rows)) for column in range(table.text_columns)
    ]
    kinds = "".join("l" if length <= LINE else PARAGRAPH for length in longest)
    kinds += "r" * (len(table.header) - table.text_columns)
    rows = [" & ".join(map(_latex, row)) for row in (table.header, *table.rows)]
    lines = [
        rf"{'{}' * row.startswith(('[', '*'))}{row} \\" for row in rows
    ]  # behind \\ these would be read as its arguments
    head, body = lines[0], "\n".join(lines[1:])
    return (
        f"{PREAMBLE}\\begin{{table}}\n\\centering\n\\caption{{{_latex(title)}}}\n\\begin{{tabular}}{{{kinds}}}\n"
        f"\\toprule\n{head}\n\\midrule\n{body}\n\\bottomrule\n\\end{{tabular}}\n\\end{{table}}\n"
    )


def _latex(text: Text) -> str:
    shown = []
    for word in words(text):
        inner = "".join(LATEX.get(sign, sign) for sign in (word if isinstance(word, str) else word.text))
        command = {Code: "texttt", Strong: "textbf"}.get(type(word))
        shown.append(f"\\{command}{{{inner}}}" if command else inner)
    return "".join(shown).strip()


def table_text(table: Table, title: str, ending: str) -> str:
    """The table as a file of `ending`, one of FORMATS, has it."""
    match ending:
        case ".csv":
            return csv_text(table)
        case ".tex":
            return latex_text(table, title)
        case _:
            return markdown([table])
