"""XML and HTML."""

import io
from contextlib import suppress
from pathlib import Path

import pytest
from lxml.etree import XMLSyntaxError

from osler.ingest.faults import Fault, Record, Unreadable
from osler.ingest.markup import html_rows, license_name, xml_rows

ARTICLE = """<article xmlns:xlink="http://www.w3.org/1999/xlink"><front>
<journal-meta><journal-title-group><journal-title>J\n Med</journal-title></journal-title-group></journal-meta>
<article-meta><article-id pub-id-type="pmid">7</article-id><article-id pub-id-type="pmc">123</article-id>
<article-id pub-id-type="doi">10.1/x</article-id>
<title-group><article-title>A <italic>fine</italic>\n title</article-title></title-group>
<pub-date pub-type="ppub"><year>2011</year></pub-date><pub-date pub-type="epub"><year>2010</year></pub-date>
<permissions><license xlink:href="http://creativecommons.org/licenses/by-nc/3.0/us/"><license-p>Open.</license-p></license>
</permissions><abstract abstract-type="graphical"><p>Picture.</p></abstract>
<abstract><sec><title>Aim</title><p>We &lt;5 mg\ngave.</p></sec><sec><title>End</title><p>10<sup>6</sup>
cells<sup><xref ref-type="bibr">1</xref></sup>, CO<sub>2</sub>.</p></sec></abstract></article-meta></front>
<body><sec><title>Intro</title><p>One.</p><p>Two <xref ref-type="bibr">[3]</xref>.</p><table-wrap><caption><p>Cap.</p></caption>
<table><tr><td>cell</td></tr></table></table-wrap><list><list-item><label>1.</label><p>Item</p></list-item></list></sec></body>
<back><ref-list><ref>Not read</ref></ref-list></back></article>"""


def xml(text: str, kind: str = "jats") -> list[Record | Fault]:
    """The records of an XML file."""
    return [record for _, record in xml_rows(io.BytesIO(text.encode()), kind)]


def text_of(page: str) -> object:
    """The text of a page, or its fault."""
    [(_, record)] = html_rows(io.BytesIO(page.encode()))
    return record if isinstance(record, Fault) else record.get("text")


def test_an_article_has_these_fields() -> None:
    """Blocks are lines, and superscripts keep their meaning.

    Tables and the numbers of citations go, captions stay.
    """
    assert xml(ARTICLE) == [
        {
            "id": "PMC123",
            "doi": "10.1/x",
            "pmid": "7",
            "title": "A fine title",
            "abstract": "Aim\nWe <5 mg gave.\nEnd\n10^6 cells, CO2.",
            "body": "Intro\nOne.\nTwo.\nCap.\n1. Item",
            "license": "CC-BY-NC-3.0",
            "date": "2010",
            "journal": "J Med",
            "retracted": "false",
        }
    ]


def test_the_doi_is_the_id_of_an_article_without_pmcid_and_empty_fields_are_absent() -> None:
    """A record has no field with nothing in it.

    So a template says what is missing.
    """
    [record] = xml(
        ARTICLE.replace('"pmc">123', '"publisher-id">1')
        .replace("<body>", "<body/><other>")
        .replace("</body>", "</other>")
    )
    assert isinstance(record, dict)
    assert record["id"] == "10.1/x"
    assert "body" not in record


def test_many_articles_in_one_file_are_many_rows_and_a_break_keeps_those_before() -> None:
    """Both as a set of articles and with a broken third."""
    assert len(xml(f"<set>{ARTICLE * 3}</set>")) == 3
    rows = xml_rows(io.BytesIO(f"<set>{ARTICLE * 2}{ARTICLE[:400]}".encode()), "jats")
    assert [row for row, _ in (next(rows), next(rows))] == [1, 2]
    with pytest.raises(Exception, match="Premature end"):
        next(rows)
    with pytest.raises(Unreadable, match="holds no <article>"):
        xml("<html/>")


PUBMED = """<PubmedArticleSet><PubmedArticle><MedlineCitation><PMID>1</PMID><Article><Journal><JournalIssue>
<PubDate>{date}</PubDate></JournalIssue><Title>J Med</Title></Journal><ArticleTitle>A <i>fine</i> title.</ArticleTitle>
<Abstract>{abstract}</Abstract></Article></MedlineCitation><PubmedData><ArticleIdList><ArticleId IdType="doi">10.1/x</ArticleId>
</ArticleIdList></PubmedData></PubmedArticle><PubmedBookArticle/></PubmedArticleSet>"""


@pytest.mark.parametrize(
    ("date", "year"), [("<Year>1999</Year>", "1999"), ("<MedlineDate>2001 Jan-Feb</MedlineDate>", "2001")]
)
def test_a_pubmed_record_has_these_fields(date: str, year: str) -> None:
    """A labeled part of the abstract is a line with its label.

    The year also comes out of a date in words.
    """
    abstract = '<AbstractText Label="AIM">p&lt;0.05</AbstractText><AbstractText Label="END">yes</AbstractText>'
    assert xml(PUBMED.format(date=date, abstract=abstract), "pubmed") == [
        {
            "pmid": "1",
            "doi": "10.1/x",
            "title": "A fine title.",
            "abstract": "AIM: p<0.05\nEND: yes",
            "date": year,
            "journal": "J Med",
            "retracted": "false",
        },
        {"retracted": "false"},  # the book article, of which nothing is told
    ]


def citation(article: str = "", types: str = "Journal Article", more: str = "") -> Record:
    """The record of one PubmedArticle."""
    kinds = "".join(f"<PublicationType>{each}</PublicationType>" for each in types.split("|"))
    [record] = xml(
        f"<PubmedArticleSet><PubmedArticle><MedlineCitation><PMID>1</PMID><Article>{article}<PublicationTypeList>{kinds}"
        f"</PublicationTypeList></Article>{more}</MedlineCitation></PubmedArticle></PubmedArticleSet>",
        "pubmed",
    )
    assert not isinstance(record, Fault)
    return record


@pytest.mark.parametrize(
    ("article", "title"),
    [
        (
            "<ArticleTitle>[Gout].</ArticleTitle><Language>fre</Language><VernacularTitle>La goutte.</VernacularTitle>",
            "Gout.",
        ),
        ("<ArticleTitle>[Gout?]</ArticleTitle><Language>ger</Language>", "Gout?"),
        ("<ArticleTitle>[Not Available].</ArticleTitle><VernacularTitle>La goutte.</VernacularTitle>", "La goutte."),
        ("<ArticleTitle/><VernacularTitle>La goutte.</VernacularTitle>", "La goutte."),
        ("<ArticleTitle>[18F]FDG and [3H].</ArticleTitle><Language>eng</Language>", "[18F]FDG and [3H]."),
        ("<ArticleTitle>[Gout].</ArticleTitle>", "[Gout]."),
        ("<Language>eng</Language>", None),
    ],
)
def test_a_title_is_what_a_reader_would_call_it(article: str, title: str | None) -> None:
    """Brackets around a translated title are a mark of PubMed's; a chemical formula keeps its own."""
    assert citation(article).get("title") == title


@pytest.mark.parametrize(
    ("attributes", "line"),
    [
        ('Label="AIM" NlmCategory="OBJECTIVE"', "AIM: x"),
        ('NlmCategory="BACKGROUND"', "BACKGROUND: x"),
        ('Label="FUNDING" NlmCategory="UNASSIGNED"', "FUNDING: x"),
        ('NlmCategory="UNASSIGNED"', "x"),
        ('Label="UNLABELLED" NlmCategory="METHODS"', "x"),
        ("", "x"),
    ],
)
def test_a_part_of_an_abstract_keeps_its_label(attributes: str, line: str) -> None:
    """Its own, or else its category; another abstract, in another language, is not mixed in."""
    other = '<OtherAbstract Language="spa"><AbstractText>otro</AbstractText></OtherAbstract>'
    record = citation(f"<Abstract><AbstractText {attributes}>x</AbstractText></Abstract>", more=other)
    assert record["abstract"] == line


def test_fields_with_several_values_can_be_used_in_a_text() -> None:
    """Between the values stands a semicolon, since MeSH has commas in its terms."""
    heading = (
        "<MeshHeading><DescriptorName>{}</DescriptorName><QualifierName>drug therapy</QualifierName></MeshHeading>"
    )
    mesh = heading.format("Diabetes Mellitus, Type 2") + heading.format("Humans")
    record = citation(
        "<Language>eng</Language><Language>fre</Language>",
        "Review|Journal Article",
        f"<MeshHeadingList>{mesh}</MeshHeadingList>",
    )
    assert record["mesh"] == "Diabetes Mellitus, Type 2; Humans"
    assert record["publication_types"] == "Review; Journal Article"
    assert record["language"] == "eng; fre"


def test_a_book_article_is_read() -> None:
    """Its title, or else the book's; the year is the book's."""
    book = """<PubmedArticleSet><PubmedBookArticle><BookDocument><PMID Version="1">2</PMID><ArticleIdList/><Book>
<BookTitle>StatPearls</BookTitle><PubDate><Year>2020</Year></PubDate></Book>{}<Language>eng</Language>
<PublicationType>Review</PublicationType><Abstract><AbstractText>x</AbstractText></Abstract></BookDocument></PubmedBookArticle>
</PubmedArticleSet>"""
    expected = {"pmid": "2", "journal": "StatPearls", "date": "2020", "abstract": "x", "language": "eng"}
    expected |= {"publication_types": "Review", "retracted": "false"}
    assert xml(book.format("<ArticleTitle>Gout</ArticleTitle>"), "pubmed") == [{**expected, "title": "Gout"}]
    assert xml(book.format(""), "pubmed") == [{**expected, "title": "StatPearls"}]


CORRECTION = (
    '<CommentsCorrectionsList><CommentsCorrections RefType="{}"><PMID>{}</PMID></CommentsCorrections>'
    "</CommentsCorrectionsList>"
)


@pytest.mark.parametrize(
    ("title", "types", "correction", "retracted", "retracts"),
    [
        ("A", "Journal Article", "", "false", None),
        ("A", "Journal Article|Retracted Publication", "", "true", None),
        ("A", "Journal Article", CORRECTION.format("RetractionIn", 9), "true", None),
        ("RETRACTED: A", "Journal Article", "", "true", None),
        ("Retracted Article: A", "Journal Article", "", "true", None),
        ("Retracted articles and who cites them.", "Journal Article", "", "false", None),
        ("A", "Journal Article", CORRECTION.format("PartialRetractionIn", 9), "false", None),
        ("Retracted: A", "Retraction of Publication", CORRECTION.format("RetractionOf", 7), "false", "PMID:7"),
    ],
)
def test_pubmed_says_what_is_retracted(
    title: str, types: str, correction: str, retracted: str, retracts: str | None
) -> None:
    """By type, by the notice, or by the title; a notice is not itself retracted, and names what is."""
    record = citation(f"<ArticleTitle>{title}</ArticleTitle>", types, correction)
    assert (record["retracted"], record.get("retracts")) == (retracted, retracts)


RELATED = '<related-article related-article-type="{}" ext-link-type="doi" xlink:href="10.1/Y"/>'


@pytest.mark.parametrize(
    ("old", "new", "retracted", "retracts"),
    [
        ("<permissions>", RELATED.format("retraction-forward") + "<permissions>", "true", None),
        ("<permissions>", RELATED.format("corrected-article") + "<permissions>", "false", None),
        ("A <italic>fine", "Retracted: a <italic>fine", "true", None),
        ("A <italic>fine", "[RETRACTED] A <italic>fine", "true", None),
        ("<article ", '<article article-type="retracted-article" ', "true", None),
        ("<title-group>", "<article-categories><subj-group><subject>RETRACTED ARTICLE</subject></subj-group>"
         "</article-categories><title-group>", "true", None),
        ("<title-group>", "<article-categories><subj-group><subject>Retraction</subject></subj-group>"
         "</article-categories><title-group>", "false", None),
    ],
)  # fmt: skip
def test_jats_says_what_is_retracted(old: str, new: str, retracted: str, retracts: str | None) -> None:
    """By a link to the notice, its type, its subject or its title."""
    [record] = xml(ARTICLE.replace(old, new, 1))
    assert isinstance(record, dict)
    assert (record["retracted"], record.get("retracts")) == (retracted, retracts)


def test_a_notice_in_jats_names_what_it_retracts() -> None:
    """By DOI or PMID; it is not itself retracted, though its title may begin so."""
    notice = ARTICLE.replace("<article ", '<article article-type="retraction" ').replace(
        "A <italic>", "Retracted: a <italic>"
    )
    link = RELATED.format("retracted-article")
    links = link + link.replace('"doi"', '"pmid"').replace("10.1/Y", "8")
    [record] = xml(notice.replace("<permissions>", links + "<permissions>", 1))
    assert isinstance(record, dict)
    assert (record["retracted"], record["retracts"]) == ("false", "10.1/Y; PMID:8")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("<h1>One</h1><p>two\n three<br>four</p>five", "One\ntwo three\nfour\nfive"),
        ("<nav>menu</nav><script>a<b</script><style>p{}</style><p>text</p><footer>(c)</footer><form>go</form>", "text"),
        ("<article><header>Title</header><p>x</p></article>", "Title\nx"),
        ("p&lt;0.05 &amp; caf&eacute;&nbsp;5&#8201;mg", "p<0.05 & café 5 mg"),
        ("<table><tr><td>1<td>2<tr><td>3</table>", "1 2\n3"),
        ("<ul><li>a<li>b</ul>", "a\nb"),
        ("<pre>a\n  b</pre>", "a\nb"),
        ("10<sup>-6</sup> 5<sup>th</sup>", "10^-6 5th"),
        ("<p hidden>no</p><div role=navigation>no</div>yes<!-- no -->", "yes"),
    ],
)
def test_a_page_is_what_a_reader_would_read(body: str, text: str) -> None:
    """Blocks are lines, and cells stand apart.

    What is no prose of the page goes.
    """
    assert text_of(f"<html><head><title>T</title></head><body>{body}</body></html>") == text


ENTITIES = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
BOMB = f'<!DOCTYPE article [<!ENTITY e0 "lol">{ENTITIES}]>'


@pytest.mark.parametrize("place", ["<p>&e9;</p>", "<p id='&e9;'>x</p>", "<p>&e2;</p>", "<p>&undeclared;</p>"])
def test_entities_are_never_expanded_or_dropped(place: str) -> None:
    """A bomb, a small entity and an undeclared one are faults.

    In text and in attributes.
    """
    found: list[Record | Fault] = []
    with suppress(XMLSyntaxError):
        found = xml(f"{BOMB}<article><body>{place}</body></article>")
    assert all(
        record == Fault("malformed_row", f"refers to the entity {place[3:-4]}, which is not read") for record in found
    )


def test_external_entities_and_dtds_are_not_loaded(tmp_path: Path) -> None:
    """Neither XML nor HTML reads a file that a document names."""
    (tmp_path / "canary").write_text("canary")
    (tmp_path / "x.dtd").write_text('<!ENTITY e "canary">')
    for declaration in (
        f'<!DOCTYPE article [<!ENTITY e SYSTEM "file://{tmp_path}/canary">]>',
        f'<!DOCTYPE article SYSTEM "file://{tmp_path}/x.dtd">',
    ):
        [record] = xml(f"{declaration}<article><body><p>&e;</p></body></article>")
        assert isinstance(record, Fault)
        assert "canary" not in str(text_of(f"{declaration}<p>&e;</p>"))


def test_a_page_that_is_too_deep_is_no_shorter_page() -> None:
    """What the parser would cut off without a word is a fault."""
    with pytest.raises(Unreadable, match="depth"):
        text_of("<div>" * 3000 + "inside")


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("http://creativecommons.org/licenses/by/4.0/ Open access", "CC-BY-4.0"),
        ("(https://creativecommons.org/licenses/by-nc-nd/4.0)", "CC-BY-NC-ND-4.0"),
        (
            "http://creativecommons.org/publicdomain/zero/1.0/ data; http://creativecommons.org/licenses/by/2.0 text",
            "CC-BY-2.0",
        ),
        ("https://creativecommons.org/publicdomain/zero/1.0/", "CC0-1.0"),
        ("CC BY 4.0; CC CC0", "CC-BY-4.0"),
        ("under the CC BY-NC license", "CC-BY-NC"),
        ("CC0", "CC0-1.0"),
        ("the Creative Commons Attribution Non-Commercial License, version 3.0", "CC-BY-NC-3.0"),
        ("the Creative Commons Attribution License, which permits use. Version 2.0 was", "CC-BY"),
        ("Copyright  2010\n Elsevier", "Copyright 2010 Elsevier"),
        ("this article is in the public domain", "this article is in the public domain"),
        ("Account 0, ccbyte", "Account 0, ccbyte"),
        ("", ""),
    ],
)
def test_a_license_is_named_as_spdx_names_it(statement: str, name: str) -> None:
    """Where a Creative Commons license is recognized.

    A dedication of the data does not free the article.
    """
    assert license_name(statement) == name
