"""The part of a page that a source's `select` names, as a page of its own.

`select` is CSS, or XPath where it begins with `/`, `./` or `(`. Of elements inside of each other the outer one counts, and
what was chosen is read, also where a page's footer would not be.
"""

from functools import cache
from typing import Any

from lxml import etree

XPATH = ("/", "./", "(")
PARTS = {"html", "body", "nav", "aside", "header", "footer", "form"}  # which html.xsl has another use for


@cache
def selector(select: str) -> etree.XPath:
    """The compiled `select`.

    Raises:
        ValueError: it is neither CSS nor XPath, or gives something else than elements.
    """
    from cssselect import SelectorError
    from lxml.cssselect import CSSSelector

    try:
        compiled = etree.XPath(select) if select.startswith(XPATH) else CSSSelector(select, translator="html")
        if not isinstance(compiled(etree.Element("html")), list):
            raise ValueError("gives a value and no elements")
    except (etree.XPathError, SelectorError) as error:
        kind = "XPath" if select.startswith(XPATH) else "CSS selector"
        raise ValueError(f"no {kind}: {' '.join(str(error).split())}") from None
    return compiled


def selected(page: "etree._Element", select: str) -> "etree._Element | None":
    """A page with the title and the chosen elements of `page`.

    None where nothing is chosen. Its elements are taken out of `page`.
    """
    found: Any = selector(select)(page)
    chosen = {one: None for one in found if isinstance(one, etree._Element)}
    outer = [one for one in chosen if not any(above in chosen for above in one.iterancestors())]
    if not outer:
        return None
    title = page.xpath("normalize-space((//head/title)[1])") or page.xpath("normalize-space((//h1)[1])")
    made = etree.Element("html")
    etree.SubElement(etree.SubElement(made, "head"), "title").text = str(title)
    article = etree.SubElement(etree.SubElement(made, "body"), "article")
    for one in outer:
        one.tail = None
        one.tag = "div" if one.tag in PARTS else one.tag
        for name in ("hidden", "role"):
            one.attrib.pop(name, "")
        article.append(one)
    return made
