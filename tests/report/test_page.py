"""A page says the same in Markdown and in HTML, and nothing of its text is taken for markup."""

import re
from html.parser import HTMLParser

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from osler.report.page import Block, Code, Heading, Items, Paragraph, Picture, Strong, Table, anchor, html, markdown

READER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
PIXEL = bytes.fromhex("89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b55")
TEXTS = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Z"]) | st.sampled_from(" \n\t_*`<>&|[]()#+-.!~\\1")
)


class Parts(HTMLParser):
    """The text of a page outside its head, and the tags in it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text, self.tags, self._skipped = "", list[str](), 0
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._skipped += tag in ("head", "nav")
        self.text += " " if tag in ("td", "th", "li", "p", "h1", "h2") else ""
        self.text += dict(attrs).get("alt") or ""

    def handle_endtag(self, tag: str) -> None:
        self._skipped -= tag in ("head", "nav")

    def handle_data(self, data: str) -> None:
        self.text += "" if self._skipped else data

    @property
    def words(self) -> list[str]:
        return self.text.split()


def test_blocks_by_eye() -> None:
    """Markdown with numbers flush right, names as code and pictures beside the page."""
    blocks: list[Block] = [
        Heading(1, "T"),
        Paragraph(("see ", Code("a_b"), " and ", Strong("this"), ".")),
        Items(["one", Strong("two")]),
        Table(["a", "b"], [[Code("x"), "1"]]),
        Picture("dots", "some dots"),
    ]
    assert markdown(blocks) == (
        "# T\n\nsee `a_b` and **this**.\n\n* one\n* **two**\n\n| a | b |\n| --- | ---: |\n| `x` | 1 |\n\n"
        "![some dots](figures/dots.png)\n"
    )
    page = html(blocks, {"dots": PIXEL})
    assert '<td class="text"><code>x</code></td><td class="number">1</td>' in page
    assert '<img alt="some dots" width="1" src="data:image/png;base64,iVBORw0K' in page


@given(TEXTS, TEXTS, TEXTS)
@example("", "0 ", "0")  # a name that ends in a space, before a letter
@example("a", "b", "\nc")
@example("a", " b", "c")
def test_both_say_the_same_whatever_the_text(first: str, second: str, third: str) -> None:
    """A Markdown reader that knows nothing of ours finds the words that stand in the HTML, and no other markup."""
    blocks: list[Block] = [
        Heading(1, "T"),
        Paragraph((first, Code(second), third)),
        Items([second, (Strong(f"x{first}x"), third), ("a ", Strong(f"{second}x{third}"), " b")]),
        Table([f"c{third}", "d"], [[first, Code(f"n{second}")], [third, Strong(f"y{second}y")]]),
    ]
    ours, theirs = Parts(html(blocks, {})), Parts(READER.render(markdown(blocks)))
    assert theirs.words == ours.words
    allowed = {"h1", "p", "ul", "li", "table", "thead", "tbody", "tr", "th", "td", "code", "strong"}
    assert set(theirs.tags) <= allowed
    assert set(ours.tags) <= allowed | {"html", "head", "meta", "title", "style", "body", "nav", "div"}


@pytest.mark.parametrize(
    "line", ["1. one", "- a", "# b", "+ c", "> d", "12) e", "    code", "=== ", "* f", "---", "```"]
)
def test_a_line_stays_a_line(line: str) -> None:
    """A paragraph that begins as a list, a quotation, a rule or a heading would is a paragraph."""
    assert Parts(READER.render(markdown([Paragraph(line)]))).tags == ["p"]
    assert Parts(READER.render(markdown([Paragraph("x"), Paragraph(line)]))).tags == ["p", "p"]


def test_plain_text_stays_readable() -> None:
    """Only what would be markup is escaped: not intervals, comparisons, names with underscores or percent."""
    text = "< 0.001 in [1.2, 3.4] of zero_shot, 5 % & more"
    assert markdown([Paragraph(text)]) == text + "\n"
    assert markdown([Paragraph("<b> a|b _c_ &amp; [d](e)")]) == "\\<b> a\\|b \\_c\\_ \\&amp; [d\\](e)\n"


def test_the_browser_is_told_to_fetch_nothing() -> None:
    """A policy that allows pictures and style inside the page only; no address of another place, no script."""
    page = html([Heading(1, "<t>"), Heading(2, "Über & all"), Picture("dots", "d")], {"dots": PIXEL})
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in page
    assert "<title>&lt;t&gt;</title>" in page
    assert not re.search(r"https?:|<script|<link|url\(", page)
    assert '<a href="#ber-all">Über &amp; all</a>' in page
    assert f'<h2 id="{anchor("Über & all")}">' in page
