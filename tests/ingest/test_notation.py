"""Superscripts, subscripts, formulas, citations and tables as text."""

import io
import time
from collections import Counter
from html import escape

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from osler.ingest.markup import html_rows, xml_rows
from osler.ingest.normalization import normalized_texts
from osler.ingest.notation import CLOSE, DEEPEST, OPEN, plain

MATHML = 'xmlns:mml="http://www.w3.org/1998/Math/MathML"'
ABSTRACT = (
    "<PubmedArticle {mathml}><MedlineCitation><PMID>1</PMID><Article><Abstract><AbstractText>{text}</AbstractText></Abstract>"
    "</Article></MedlineCitation></PubmedArticle>"
)


def article(body: str, tables: str | None = None) -> tuple[str, dict[str, int]]:
    """The body of a JATS article, and its counts."""
    counts = Counter[str]()
    source = f"<article {MATHML}><body><p>{body}</p></body></article>"
    [(_, record)] = xml_rows(io.BytesIO(source.encode()), "jats", tables=tables, counts=counts)
    assert isinstance(record, dict)
    return record.get("body", ""), dict(counts)


def page(body: str, tables: str | None = None) -> str:
    """The text of a page in HTML."""
    [(_, record)] = html_rows(io.BytesIO(f"<html><body><p>{body}</p></body></html>".encode()), tables=tables)
    assert isinstance(record, dict)
    return str(record["text"])


def abstract(text: str) -> str:
    """An abstract of PubMed."""
    [(_, record)] = xml_rows(io.BytesIO(ABSTRACT.format(mathml=MATHML, text=text).encode()), "pubmed")
    assert isinstance(record, dict)
    return str(record["abstract"])


def cleaned(text: str) -> str:
    """A row of jsonl or csv."""
    return str(normalized_texts(pl.Series([text]))[0][0])


SCRIPTS = [
    ("50 × 10<sup>9</sup>/L", "50 × 10^9/L"),
    ("10<sup>6</sup> cells, 10<sup>12</sup>", "10^6 cells, 10^12"),
    ("10<sup> 7</sup>, 10<sup>‐7</sup>, 10<sup>− 7</sup>", "10^7, 10^-7, 10^-7"),
    ("10<sup>−3</sup> 10<sup>–3</sup> cm<sup>-1</sup>", "10^-3 10^-3 cm^-1"),
    ("10<sup>−</sup><sup>3</sup>, 10<sup>3–4</sup>", "10^-3, 10^3-4"),
    ("kg/m<sup>2</sup> and mmol<sup>2,5</sup>", "kg/m^2 and mmol^2,5"),
    ("Na<sup>+</sup>, Ca<sup>2+</sup>, Cl<sup>−</sup>", "Na+, Ca2+, Cl-"),
    ("SO<sub>4</sub><sup>2−</sup>, CD4<sup>+</sup>CD25<sup>high</sup>", "SO4^2-, CD4+CD25^high"),
    ("ApoE<sup>−/−</sup>, BRAF<sup>V600E</sup>, 2<sup>−ΔΔCt</sup>", "ApoE-/-, BRAF^V600E, 2^-ΔΔCt"),
    ("with <sup>99m</sup>Tc, <sup>18</sup>F-FDG, [<sup>11</sup>C]PIB", "with 99mTc, 18F-FDG, [11C]PIB"),
    ("(<sup>1</sup>H NMR), <sup>1</sup>Department", "(1H NMR), ^1 Department"),
    ("37<sup>o</sup>C, 37 <sup>0</sup>C, 45<sup>o</sup>", "37°C, 37 °C, 45°"),
    ("1<sup>st</sup>, 2<sup>nd </sup>line, 30<sup>th</sup>", "1st, 2nd line, 30th"),
    ("Advair<sup>®</sup>, Erelzi<sup>TM</sup>, 12<sup>*</sup>, 3<sup>†‡</sup>", "Advair®, Erelzi™, 12*, 3†‡"),
    ("12.3<sup>a</sup>, value<sup>a,b</sup>, mean<sup>c</sup>", "12.3^a, value^a,b, mean^c"),
    ("lower.<sup>1,2</sup> Next falls<sup>12–14</sup>", "lower.^1,2 Next falls^12-14"),
    ("x<sup>n-1</sup>, kg<sup>3/4</sup>, 2<sup>n + 1</sup>", "x^(n-1), kg^(3/4), 2^(n + 1)"),
    ("10<sup>10<sup>2</sup></sup>, x<sup><i>n</i></sup>, <b>10</b><sup>6</sup>", "10^(10^2), x^n, 10^6"),
    ("2<sup>1</sup>/<sub>2</sub> tablets, <sup>3</sup>⁄<sub>4</sub>", "2 1/2 tablets, 3⁄4"),
    ("CO<sub>2</sub>, H<sub>2</sub>O, HbA<sub>1c</sub>, VO<sub>2max</sub>", "CO2, H2O, HbA1c, VO2max"),
    ("t<sub>1/2</sub>, C<sub>max</sub>, AUC<sub>0–24 h</sub>, AUC<sub>(0,24)</sub>", "t1/2, Cmax, AUC0–24 h, AUC(0,24)"),
    ("P<sub>trend</sub>, P<sub>interaction</sub>, AUC<sub>last</sub>", "P_trend, P_interaction, AUC_last"),
    ("χ<sup>2</sup><sub>2</sub>=6.8, χ<sub>2</sub><sup>2</sup>=6.8, R<sup>2</sup><sub>adj</sub>", "χ^2_2=6.8, χ2^2=6.8, R^2_adj"),
    ("log<sub>2</sub>5, 10<sub>2</sub>, x<sub>−1</sub>, 10<sup>6</sup>5", "log2 5, 10_2, x_-1, 10^6 5"),
    ("FEV<sub>1 </sub>(A), x<sub>i + 1</sub>", "FEV1 (A), x_(i + 1)"),
    ("10⁹ and CO₂ and m² as they are", "10⁹ and CO₂ and m² as they are"),
    ("a<sup></sup>b, 5<sup> </sup>mg", "ab, 5 mg"),
]  # fmt: skip


@pytest.mark.parametrize(("markup", "text"), SCRIPTS, ids=[text for _, text in SCRIPTS])
def test_what_is_set_high_or_low_reads_the_same_in_every_format(markup: str, text: str) -> None:
    """No digits fuse, and no number changes its value.

    In JATS, PubMed, HTML, and in rows with tags, also if these are escaped.
    """
    assert article("So " + markup)[0] == "So " + text
    assert abstract("So " + markup) == "So " + text
    assert page("So " + markup) == "So " + text
    assert cleaned("So " + markup) == "So " + text
    assert cleaned("So " + escape(markup)) == "So " + text
    assert cleaned("So " + escape(escape(markup))) == "So " + text


def test_code_keeps_its_superscripts_and_a_broken_one_fuses_nothing() -> None:
    """A tag that is not closed, or not opened, is none."""
    for text in ("```\n10<sup>6</sup>\n```", "<!DOCTYPE html><p>10<sup>6</sup></p>"):
        assert cleaned(text) == text
    assert cleaned("10<sup>6 and 3<sub>2") == "10^6 and 3_2"
    assert cleaned("10</sup> and 5</sub>") == "10 and 5"


BIBR = '<xref ref-type="bibr">'
CITATIONS = [
    (f"25{BIBR}<sup>2</sup></xref> patients", "25 patients", 1),
    (f"In 2030{BIBR}1</xref> falls dropped 20%{BIBR}3</xref>, stage 3{BIBR}23</xref>", "In 2030 falls dropped 20%, stage 3", 3),
    (f"x [{BIBR}1</xref>, {BIBR}2</xref>–{BIBR}4</xref>]. Y", "x. Y", 3),
    (f"x ({BIBR}1</xref>,{BIBR}2</xref>) y", "x y", 2),
    (f"x<sup>{BIBR}1</xref>,{BIBR}2</xref></sup> y", "x y", 1),
    (f"x<sup>{BIBR}1</xref>–3</sup> y<sup>2,{BIBR}3</xref></sup>", "x y^2", 2),
    (f"x{BIBR}<sup>1</sup></xref><sup>,</sup>{BIBR}<sup>2</sup></xref> y", "x y", 2),
    (f"x<sup>(</sup>{BIBR}<sup>1</sup></xref><sup>)</sup>, y", "x, y", 1),
    (f"x {BIBR}[3]</xref>. y{BIBR}(3)</xref> z ({BIBR}9)</xref>.", "x. y z.", 3),
    (f"x [{BIBR}1</xref>] and [{BIBR}2</xref>], y [{BIBR}1</xref>,2,5] z", "x, y z", 3),
    (f"falls.{BIBR}3</xref>We, 20{BIBR}3</xref>15", "falls. We, 20 15", 2),
    (f"(Table 2; {BIBR}3</xref>) and ({BIBR}3</xref>, unpublished)", "(Table 2) and (unpublished)", 2),
    (f"gravity,{BIBR}7</xref>, which {BIBR}8</xref> .", "gravity, which.", 2),
    (f"as Smith et al. ({BIBR}2010</xref>) showed", "as Smith et al. (2010) showed", 0),
    (f"({BIBR}Jones et al., 2011</xref>; {BIBR}Ng 2012a</xref>)", "(Jones et al., 2011; Ng 2012a)", 0),
    (f"see ref. {BIBR}12</xref>, refs {BIBR}1</xref> and {BIBR}2</xref>", "see ref. 12, refs 1 and 2", 0),
    (f"as shown in [{BIBR}12</xref>], found by {BIBR}3</xref>.", "as shown in [12], found by 3.", 0),
    ('A title<xref ref-type="fn">*</xref> (Fig. <xref ref-type="fig">2</xref>)', "A title (Fig. 2)", 0),
]  # fmt: skip


@pytest.mark.parametrize(("markup", "text", "count"), CITATIONS, ids=[text for _, text, _ in CITATIONS])
def test_numbers_of_citations_go_and_words_stay(markup: str, text: str, count: int) -> None:
    """With the brackets, commas and dashes that were only theirs.

    A year, and a number that the sentence is about, are words. What goes is counted, a superscript of several as one.
    """
    assert article(markup) == (text, {"citations": count} if count else {})


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ('fell<sup><a href="#r3">3</a></sup>, then', "fell, then"),
        ('fell<sup class="reference"><a href="#cite_note-3">[3]</a></sup> then', "fell then"),
        ('x<sup><a href="#r1">1</a>,<a href="#r2">2</a></sup> y', "x y"),
    ],
)
def test_a_superscript_link_within_a_page_is_a_citation(markup: str, text: str) -> None:
    """And a link elsewhere, or to a table, is not."""
    assert page(markup) == text
    assert page('x<sup><a href="/units">2</a></sup>, Table <a href="#t2">2</a>') == "x^2, Table 2"
    if "," not in markup.partition("</a>")[2].partition("</sup>")[0]:
        assert cleaned(markup) == text


FORMULAS = [
    ("<msup><mn>10</mn><mn>6</mn></msup>", "10^6"),
    ("<msup><mrow><mi>a</mi><mo>+</mo><mi>b</mi></mrow><mn>2</mn></msup>", "(a+b)^2"),
    ("<msup><mi>m</mi><mrow><mo>−</mo><mn>2</mn></mrow></msup>", "m^-2"),
    ("<mfrac><mn>1</mn><mn>2</mn></mfrac>", "1/2"),
    ("<mfrac><mrow><mi>a</mi><mo>+</mo><mi>b</mi></mrow><mi>c</mi></mfrac>", "(a+b)/c"),
    ("<mfrac><mn>1</mn><msup><mi>x</mi><mn>2</mn></msup></mfrac>", "1/(x^2)"),
    ("<msqrt><mn>16</mn></msqrt>", "√16"),
    ("<msqrt><mi>p</mi><mo>+</mo><mi>q</mi></msqrt>", "√(p+q)"),
    ("<mroot><mi>x</mi><mn>3</mn></mroot>", "x^(1/3)"),
    ("<msub><mi>x</mi><mi>i</mi></msub><msub><mi>CO</mi><mn>2</mn></msub>", "x_iCO2"),
    ("<msubsup><mi>χ</mi><mn>2</mn><mn>2</mn></msubsup><mo>=</mo><mn>6.8</mn>", "χ2^2=6.8"),
    ("<mover><mi>x</mi><mo>¯</mo></mover><mover><mi>p</mi><mo>^</mo></mover>", "x̄p̂"),
    ("<munder><mi>lim</mi><mrow><mi>n</mi><mo>→</mo><mo>∞</mo></mrow></munder><mi>x</mi>", "lim_(n→∞) x"),
    ("<munderover><mo>∑</mo><mrow><mi>i</mi><mo>=</mo><mn>1</mn></mrow><mi>n</mi></munderover><mi>x</mi>", "∑_(i=1)^n x"),
    ("<mfenced><mi>a</mi><mi>b</mi></mfenced>", "(a,b)"),
    ("<mfenced open='[' close=']' separators=';'><mi>a</mi><mi>b</mi></mfenced>", "[a;b]"),
    ("<mtable><mtr><mtd><mn>1</mn></mtd><mtd><mn>0</mn></mtd></mtr><mtr><mtd><mi>y</mi></mtd></mtr></mtable>", "1 0; y"),
    ("<mmultiscripts><mi>Tc</mi><none/><none/><mprescripts/><none/><mn>99</mn></mmultiscripts>", "99Tc"),
    ("<mi>log</mi><mo>\u2061</mo><mi>x</mi><mo>&lt;</mo><mn>3</mn><mo>\u2062</mo><mi>y</mi>", "log x<3 y"),
    ("<semantics><mrow> <mn>5</mn>\n <mi>x</mi> </mrow><annotation encoding='application/x-tex'>5x</annotation></semantics>", "5x"),
]  # fmt: skip


@pytest.mark.parametrize(("formula", "text"), FORMULAS, ids=[text for _, text in FORMULAS])
def test_mathml_is_a_line_in_every_format(formula: str, text: str) -> None:
    """What is above, below or under a root stays so."""
    prefixed = formula.replace("</", "\0").replace("<", "<mml:").replace("\0", "</mml:")
    jats = f"n is <inline-formula><mml:math>{prefixed}</mml:math></inline-formula> here"
    assert article(jats) == (f"n is {text} here", {"formulas_text": 1})
    assert abstract(f"n is <mml:math>{prefixed}</mml:math> here") == f"n is {text} here"
    assert page(f"n is <math>{formula}</math> here") == f"n is {text} here"
    for tags in (f"<math>{formula}</math>", f"<mml:math>{prefixed}</mml:math>"):
        assert cleaned(f"n is {tags} here") == f"n is {text} here"
        assert cleaned(f"n is {escape(tags)} here") == f"n is {text} here"


TEX = r"\documentclass{a} \usepackage{b} \begin{document}$$\chi ^2_{ij}$$\end{document}"


@pytest.mark.parametrize(
    ("formula", "text", "kind"),
    [
        (f"<inline-formula><tex-math>{TEX}</tex-math></inline-formula>", "n $\\chi ^2_{ij}$ m", "tex"),
        (f"<tex-math>{TEX}</tex-math>", "n $\\chi ^2_{ij}$ m", "tex"),
        (
            f"<inline-formula><alternatives><tex-math>{TEX}</tex-math><inline-graphic/></alternatives></inline-formula>",
            "n $\\chi ^2_{ij}$ m",
            "tex",
        ),
        (
            f"<disp-formula><label>(1)</label><alternatives><tex-math>{TEX}</tex-math><mml:math><mml:mi>x</mml:mi></mml:math>"
            "<graphic/></alternatives></disp-formula>",
            "n\nx (1)\nm",
            "text",
        ),
        ("<inline-formula><inline-graphic/></inline-formula>", "n [formula] m", "marker"),
        ("<disp-formula><graphic/></disp-formula>", "n\n[formula]\nm", "marker"),
        ("<inline-graphic/>", "n [formula] m", "marker"),
        ("<inline-formula><mml:math/></inline-formula>", "n [formula] m", "marker"),
    ],
)
def test_a_formula_leaves_text_or_tex_or_a_marker(formula: str, text: str, kind: str) -> None:
    """In this order, once, and counted."""
    assert article(f"n {formula} m") == (text, {f"formulas_{kind}": 1})


def test_a_page_shows_each_formula_once() -> None:
    """KaTeX and Wikipedia write it twice, MathJax in a script."""
    katex = "<span class='katex'><math><mi>x</mi></math><span class='katex-html' aria-hidden='true'>x</span></span>"
    wiki = "<span><span><math alttext='y'><mi>y</mi></math></span><img class='mwe-math-fallback' alt='y'></span>"
    assert page(f"a {katex} b {wiki} c") == "a x b y c"
    assert (
        page("a <script type='math/tex'>x^2</script> b <img class='tex' alt='y_1'> c<img alt='z'>")
        == "a $x^2$ b $y_1$ c"
    )


TABLE = (
    '<table-wrap><label>Table 1</label><caption><p>Cap</p></caption><table><thead><tr><th rowspan="2">Group</th>'
    '<th colspan="2">Drug</th></tr><tr><th>n</th><th>%</th></tr></thead><tbody><tr><td>Age</td>'
    '<td>12<xref ref-type="table-fn">1</xref></td><td><p>3</p></td></tr><tr><td colspan="3">Sex</td></tr>'
    '<tr><td rowspan="2">Men</td><td>4</td><td/></tr><tr><td>5</td><td>6</td></tr></tbody></table><table-wrap-foot><fn>'
    "<label>1</label><p>Foot</p></fn></table-wrap-foot><permissions>Rights</permissions></table-wrap>"
)


@pytest.mark.parametrize(
    ("tables", "lines"),
    [
        (None, []),
        ("none", []),
        ("cells", ["Group | Drug", "n | %", "Age | 12^1 | 3", "Sex", "Men | 4 | -", "5 | 6"]),
        (
            "rows",
            [
                "Group: Age | Drug n: 12^1 | Drug %: 3",
                "Sex",
                "Group: Men | Drug n: 4",
                "Group: Men | Drug n: 5 | Drug %: 6",
            ],
        ),
    ],
)
def test_tables_are_rows_cells_or_nothing(tables: str | None, lines: list[str]) -> None:
    """A cell stands with its header, whatever it spans.

    Captions and footnotes stay, rights do not.
    """
    assert article(f"x{TABLE}y", tables)[0].split("\n") == ["x", "Table 1", "Cap", *lines, "1 Foot", "y"]


def test_a_table_of_a_page_is_cells_unless_said_otherwise() -> None:
    """What has no headers may be layout, and is read."""
    data = "<table><tr><th>Dose<th>n<tr><td>5 mg<td>7</table>"
    assert page(data) == page(data, "") == "Dose n\n5 mg 7"
    assert page(data, "rows") == "Dose: 5 mg | n: 7"
    assert page(data, "cells") == "Dose | n\n5 mg | 7"
    assert page(f"a{data}b", "none") == "a\nb"
    layout = f"<table><tr><td>left<td>{data}</table>"
    assert page(layout, "rows") == "left\nDose: 5 mg | n: 7"


def test_spans_that_no_table_has_cost_nothing() -> None:
    """A cell says how many columns and rows it spans, and may lie."""
    cells = '<td colspan="999999999" rowspan="999999999">x</td>' * 200
    started = time.process_time()
    text = article(f"<table-wrap><table><tr><th>h</th></tr>{f'<tr>{cells}</tr>' * 20}</table></table-wrap>", "rows")[0]
    assert time.process_time() - started < 5
    assert text.count("x") == 4000


def test_floats_and_appendices_are_read_and_blocks_stand_apart() -> None:
    """Captions at the article's end, and no rights line; a list does not stick to the line before it."""
    source = (
        "<article><body><p>One:<list><list-item><label>1.</label><p>Item</p></list-item></list>two</p></body><back>"
        "<app-group><app><title>App</title><p>Text</p></app></app-group><ref-list><ref>No</ref></ref-list></back>"
        "<floats-group><fig><label>Fig. 1</label><caption><p>Cap</p></caption><permissions>No</permissions></fig></floats-group>"
        "</article>"
    )
    [(_, record)] = xml_rows(io.BytesIO(source.encode()), "jats")
    assert isinstance(record, dict)
    assert record["body"] == "One:\n1. Item\ntwo\nApp\nText\nFig. 1\nCap"


KINDS = [OPEN + kind for kind in "^_u(mticnTURHDx"]
marks = st.lists(st.sampled_from([*KINDS, OPEN, CLOSE, CLOSE, "5", "a ", "[", ",", "(", "\ufdd2", "\ufdd3"]))


@given(marks.map("".join))
def test_no_mark_is_left(text: str) -> None:
    """Whatever marks a text has and however they nest."""
    said = plain(f"{OPEN}x{CLOSE}{text}", Counter())
    assert not set(said) & {OPEN, CLOSE, "\ufdd2", "\ufdd3"}
    assert said.count("5") <= text.count("5")


@pytest.mark.parametrize(
    "text",
    [
        f"{OPEN}^" * 60_000,
        f"{OPEN}^a" * 30_000 + CLOSE * 30_000,
        f"[{OPEN}c1{CLOSE}," * 20_000,
        f"{OPEN}c" + " " * 200_000 + f"x{CLOSE}",
        f"{OPEN}c1{CLOSE}" + " ," * 90_000,
        "[" + "1 " * 90_000 + f"{OPEN}c1{CLOSE}",
        f"{OPEN}t" + r"\begin{document}" * 12_000 + CLOSE,
    ],
)  # fmt: skip
def test_no_marks_take_long(text: str) -> None:
    """200,000 characters cost seconds at most."""
    started = time.process_time()
    plain(text, Counter())
    assert time.process_time() - started < 10
    assert DEEPEST < 256  # libxml2's own limit
