"""Items with answers: what the terminal and the page say, and the page's filters in a browser."""

import json
import re
from pathlib import Path

import pytest

from osler.evaluation.probabilities import option_probabilities
from osler.report.item_page import AskedItem, ItemAnswer, item_page, terminal_lines
from tests.support.browser import NAMES, PROGRAM, page


def answer(
    choice: int | None, gold: int, texts: tuple[str, ...] = (), was: int | None = None, known: bool = False
) -> ItemAnswer:
    """Three quarters on the choice; `known` in an earlier build."""
    shares = tuple(0.75 if place == choice else 0.25 for place in range(2))
    return ItemAnswer(choice, choice == gold, shares, texts, 9, 0, False, was, was == gold if known else None)


def item(number: int, tuned: ItemAnswer) -> AskedItem:
    """Base always says A, which is right for even numbers."""
    gold = number % 2
    answers = {"base": answer(0, gold), "tuned": tuned}
    prompt = f"Question: what treats itch {number}?\nAnswer:"
    return AskedItem(
        f"q/{number:04}", "", f"what treats itch {number}?", ("tea", "a <b>swab</b>"), gold, prompt, answers
    )


def items(count: int) -> list[AskedItem]:
    """The tuned model says B to every third, what it said before to all others; every fifth text is special."""
    found = []
    for number in range(count):
        choice = 1 if number % 3 == 0 else 0
        texts = ("</script><i>vinegar</i>",) if number % 5 == 0 else ()
        found.append(item(number, answer(choice, number % 2, texts, was=0, known=True)))
    return found


def test_probabilities_of_options() -> None:
    """Log-likelihoods are made into some; shares stand for themselves."""
    assert option_probabilities([-1.0, -1.0]) == pytest.approx((0.5, 0.5))
    assert option_probabilities([0.0, -800.0]) == pytest.approx((1.0, 0.0))
    assert option_probabilities([0.25, 0.75]) == (0.25, 0.75)


def test_lines_of_an_item() -> None:
    """Options with a star at the right one, what each model chose, and what it wrote."""
    asked = item(3, answer(None, 1, ("I\nwonder",), was=1, known=True))
    assert list(terminal_lines([asked])) == [
        "--- q/0003",
        "what treats itch 3?",
        "  A   75.0   25.0  tea",
        "* B   25.0   25.0  a <b>swab</b>",
        "base: A, wrong (9 tokens read, 0 written)",
        "tuned: -, wrong, before B (9 tokens read, 0 written)",
        "  | I",
        "  | wonder",
    ]


def test_the_page_holds_every_item_once_and_no_markup_of_theirs() -> None:
    """As JSON, whose prompts are what all begin with and the rest of each."""
    text = item_page("Items of <q>", ["some & more"], items(7))
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    assert found
    told = json.loads(found[1])
    assert told["begin"] == "Question: what treats itch "
    assert [told["begin"] + own["prompt"] for own in told["items"]] == [own.prompt for own in items(7)]
    assert told["items"][0]["answers"]["tuned"]["texts"] == ["</script><i>vinegar</i>"]
    assert text.count("</script>") == 2
    assert "<title>Items of &lt;q&gt;</title>" in text
    assert "some &amp; more" in text


@pytest.mark.skipif(PROGRAM is None, reason=f"no browser is installed: none of {', '.join(NAMES)}")
def test_five_thousand_items_in_a_browser(tmp_path: Path) -> None:
    """Filters count right, few items are drawn at a time, an opened one has it all, and nothing is fetched or complained of."""
    count = 5000
    file = tmp_path / "items.html"
    file.write_text(item_page("Items", ["all"], items(count)))
    look = "for (const [id, value] of Object.entries({0})) {{ const node = document.getElementById(id); node.value = value;"
    look += " node.dispatchEvent(new Event('input')); }}"
    with page() as tab:
        tab.open(file, 400, dark=True)
        assert tab.complaints() == []
        assert tab.requests() == [file.as_uri()]
        drawn = "document.querySelectorAll('details').length"
        assert tab.value(drawn) == 50
        tab.value("scrollTo(0, document.documentElement.scrollHeight)")
        tab.value("new Promise(done => setTimeout(done, 300))")
        tab.value("dispatchEvent(new Event('scroll'))")
        assert 50 < tab.value(drawn) < 1000
        choice = [1 if number % 3 == 0 else 0 for number in range(count)]
        wanted = {
            "wrong base": sum(number % 2 for number in range(count)),
            "wrong tuned": sum(own != number % 2 for number, own in enumerate(choice)),
            "differ": sum(choice),
            "changed": sum(choice),
            "": count,
        }
        for which, number in wanted.items():
            tab.value(look.format(json.dumps({"which": which})))
            assert tab.value("document.getElementById('count').textContent") == f"{number} of {count} items"
        tab.value(look.format(json.dumps({"words": "VINEGAR"})))
        assert tab.value("document.getElementById('count').textContent") == f"{count // 5} of {count} items"
        tab.value("document.querySelector('details').open = true")
        tab.value("document.querySelector('details').dispatchEvent(new Event('toggle'))")
        shown = tab.value("document.querySelector('details').innerText")
        for words in (
            "a <b>swab</b>",
            "75.0 ◂",
            "</script><i>vinegar</i>",
            "Question: what treats itch 0?",
            "before: A",
        ):
            assert words in shown
        assert tab.value("document.querySelectorAll('i, b').length") == 0
        assert tab.value("document.documentElement.scrollWidth") <= 400
        assert tab.complaints() == []
