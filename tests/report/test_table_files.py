"""Tables as CSV and LaTeX say what the page says."""

import csv
import io

from osler.report.page import Block, Code, Heading, Paragraph, Strong, Table, Text
from osler.report.table_files import csv_text, latex_text, table_text, tables_of

ROWS: list[list[Text]] = [
    [Code("cpt"), "24.2 [18.5, 31.0] †", "1,024", "[-0.5, +1.2]"],
    [Code("cpt-sft"), "", "31", ""],
    [(Strong("a_b"), " & 5 %"), "92.9 [-inf, inf]", "< 0.001", ""],
]
TABLE = Table(["model", "zero_shot", "tokens", "interval"], ROWS)


def test_csv_has_bounds_in_columns_of_their_own() -> None:
    """A mark beside them, numbers without commas, text as it is; without estimates there are bounds alone."""
    head, *rows = csv.reader(io.StringIO(csv_text(TABLE)))
    bounds = ["zero_shot", "zero_shot low", "zero_shot high", "zero_shot mark"]
    assert head == ["model", *bounds, "tokens", "interval low", "interval high"]
    assert rows == [
        ["cpt", "24.2", "18.5", "31.0", "†", "1024", "-0.5", "+1.2"],
        ["cpt-sft", "", "", "", "", "31", "", ""],
        ["a_b & 5 %", "92.9", "-inf", "inf", "", "< 0.001", "", ""],
    ]


def test_words_with_commas_stay_words() -> None:
    """`1,24` is no number with thousands, and a sentence with an interval in it no interval."""
    text = csv_text(Table(["a"], [["1,24"], ["gains 1.0 [0.5, 1.5] points"], ['say "x", y']]))
    assert list(csv.reader(io.StringIO(text))) == [["a"], ["1,24"], ["gains 1.0 [0.5, 1.5] points"], ['say "x", y']]


def test_latex_is_escaped() -> None:
    """Signs that LaTeX reads are written out, and a row never begins with what would be read as an argument."""
    text = latex_text(Table(["x"], [[r"50% of $a_b & {c} \ ~ ^ #"], ["[1, 2]"], [Code("a|b")]]), "1 < 2")
    assert r"50\% of \$a\_b \& \{c\} \textbackslash{} \textasciitilde{} \textasciicircum{} \# \\" in text
    assert "\n{}[1, 2] \\\\\n" in text
    assert r"\texttt{a\textbar{}b}" in text
    assert r"\caption{1 $<$ 2}" in text
    assert text.count("{tabular}") == 2


def test_columns_of_one_name_are_told_apart() -> None:
    """And a column of sentences breaks its lines."""
    table = Table(["claim", "items", "items"], [["A sentence of many words " * 4, "1", "2"]])
    assert csv_text(table).startswith("claim,items,items 2\n")
    assert r"\begin{tabular}{p{0.3\textwidth}rr}" in latex_text(table, "t")


def test_latex_has_a_column_for_each_of_the_page() -> None:
    """Text on the left, numbers on the right."""
    text = table_text(TABLE, "t", ".tex")
    assert r"\begin{tabular}{lrrr}" in text
    lines = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert [line.count(" & ") for line in lines] == [3] * 4  # the escaped one besides
    assert table_text(TABLE, "t", ".md").startswith("| model | zero")


def test_names_are_of_the_headings() -> None:
    """Two tables under one heading are told apart, and a subsection goes with its section."""
    one, other = Table(["a"], [["1"]]), Table(["a"], [["2"]])
    blocks: list[Block] = [
        Heading(1, "Report"),
        *(Heading(2, "Tokens per item"), one, Paragraph("and"), other),
        *(Heading(3, "By seed"), one, Heading(2, "Claims"), other),
    ]
    named = [(name, title) for name, title, _ in tables_of(blocks)]
    assert named == [
        *(("tokens-per-item", "Tokens per item"), ("tokens-per-item-2", "Tokens per item")),
        *(("tokens-per-item-by-seed", "Tokens per item, By seed"), ("claims", "Claims")),
    ]
