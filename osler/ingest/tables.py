"""Tables as lines that can be read without their layout."""

from itertools import takewhile
from typing import NamedTuple

SPAN_COLUMNS, SPAN_ROWS = 64, 512  # a cell's at most, whatever it says
GRID_CELLS = 100_000  # spans that claim more are not followed


class TableCell(NamedTuple):
    """A cell of a table; `columns` and `rows` are its spans."""

    text: str
    is_header: bool
    columns: int = 1
    rows: int = 1


def cell(content: str, is_header: bool) -> TableCell:
    """The cell of a mark: "<colspan>,<rowspan>;<text>"."""
    spans, _, text = content.partition(";")
    columns, _, rows = spans.partition(",")
    return TableCell(" ".join(text.split()), is_header, _span(columns, SPAN_COLUMNS), _span(rows, SPAN_ROWS))


def _span(said: str, limit: int) -> int:
    return min(limit, max(1, int(said))) if said.isdecimal() and len(said) < 10 else 1


def grid(rows: list[list[TableCell]]) -> list[list[TableCell]]:
    """The rows with a cell in each column that it spans."""
    full: list[list[TableCell]] = []
    below: dict[int, tuple[int, TableCell]] = {}  # column: rows that its cell still spans
    for row in rows:
        line: list[TableCell] = []
        waiting = row[::-1]
        while waiting or len(line) in below:
            if len(line) in below:
                left, spanning = below.pop(len(line))
                if left > 1:
                    below[len(line)] = (left - 1, spanning)
                line.append(spanning)
                continue
            found = waiting.pop()
            for _ in range(found.columns):
                if found.rows > 1:
                    below[len(line)] = (found.rows - 1, found)
                line.append(found)
        full.append(line)
    return full


def table_lines(rows: list[list[TableCell]], with_headers: bool) -> list[str]:
    """A line for each row, its cells divided by "|".

    With headers "Group: drug | Age: 54", of the rows on top that are headers only; a cell over several columns stands once.
    Without, and where a table has none, the cells alone.
    """
    claimed = sum(one.columns * one.rows for row in rows for one in row)
    full = grid(rows) if with_headers and claimed <= GRID_CELLS else []
    tops = list(takewhile(lambda row: all(one.is_header for one in row), full))
    if not tops or len(tops) == len(full):
        return [" | ".join(one.text or "-" for one in row) for row in rows if any(one.text for one in row)]
    width = max(map(len, full))
    names = [
        " ".join(dict.fromkeys(row[column].text for row in tops if column < len(row))).strip()
        for column in range(width)
    ]
    lines = []
    for row in full[len(tops) :]:
        seen: set[int] = set()
        said = []
        for name, one in zip(names, row, strict=False):
            if one.text and id(one) not in seen:
                said.append(f"{name}: {one.text}" if name and len({id(each) for each in row}) > 1 else one.text)
            seen.add(id(one))
        lines.append(" | ".join(said))
    return [line for line in lines if line]
