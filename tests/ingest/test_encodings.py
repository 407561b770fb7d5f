"""What a file is written in."""

import codecs
import io

import pytest

from osler.ingest.encodings import text_encoding, utf8_stream, xml_encoding
from osler.ingest.faults import Unreadable

FRENCH = "Patient présente une fièvre élevée à 39 °C, traitée par paracétamol.\nÉvolution favorable.\n"
GERMAN = "Größe und Gewicht sind für das Alter üblich; Übelkeit, Schmerzen in der Brust.\n"
RUSSIAN = "Пациент жалуется на сильную головную боль, тошноту и рвоту в течение трёх дней.\n"


def read(content: bytes, is_html: bool = False) -> tuple[str, str]:
    """The text as UTF-8, faults of decoding as surrogates, and its encoding."""
    stream, encoding = utf8_stream(io.BufferedReader(io.BytesIO(content), 1 << 20), is_html)
    return stream.read().decode("utf-8", "surrogateescape"), encoding


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (FRENCH, "cp1252"),
        (GERMAN, "cp1252"),
        (RUSSIAN, "cp1251"),
        (FRENCH, "utf-8"),
        (RUSSIAN * 9, "utf-8"),
        ("", "utf-8"),
    ],
)
def test_text_is_what_was_written(text: str, encoding: str) -> None:
    """Western and Russian text in the encodings of old Windows, and UTF-8."""
    assert read(text.encode(encoding)) == (text, encoding)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_a_byte_order_mark_decides_and_goes(encoding: str) -> None:
    """It is no part of the text.

    And UTF-32's is not taken for UTF-16's.
    """
    mark = codecs.encode("\ufeff", encoding)
    assert read(mark + FRENCH.encode(encoding)) == (FRENCH, encoding)


def test_a_few_bad_bytes_do_not_make_another_encoding() -> None:
    """One row of cp1252 in a file of UTF-8 is one fault.

    So are three bad bytes in an ASCII file.
    """
    content = (RUSSIAN * 9).encode() + FRENCH.encode("cp1252")
    assert read(content) == (content.decode("utf-8", "surrogateescape"), "utf-8")
    assert text_encoding(b"a\xffb\xffc\xff" + b"plain " * 99) == ("utf-8", 0)


def test_a_cut_character_at_the_end_of_the_sample_is_no_bad_byte() -> None:
    """The sample ends after a number of bytes, not of characters."""
    for cut in range(1, 12):
        assert text_encoding("°µéü€漢".encode()[:cut]) == ("utf-8", 0)


def test_bytes_that_a_mark_or_an_encoding_does_not_allow_are_bad_in_utf8_too() -> None:
    """Half a surrogate pair and cp1252's holes stay bytes that cannot decode.

    They stand at their place.
    """
    text, _ = read(codecs.BOM_UTF16_LE + "a".encode("utf-16-le") + b"\x00\xd8" + "b".encode("utf-16-le"))
    assert text == "a\udcffb"
    text, encoding = read(FRENCH.encode("cp1252") + b"hole \x81\n")
    assert (text, encoding) == (f"{FRENCH}hole \udcff\n", "cp1252") or encoding != "cp1252"


@pytest.mark.parametrize(
    "content", [b"%PDF-1.7\n\x00\x01\x02\x03", bytes(range(256)), b"\x00", "text".encode("utf-16-le")]
)
def test_binary_files_are_refused(content: bytes) -> None:
    """More than one control character in a hundred bytes is no text."""
    with pytest.raises(Unreadable) as error:
        text_encoding(content)
    assert error.value.fault.reason == "binary_file"


def test_a_stray_nul_is_no_binary_file() -> None:
    """What a text layer of a PDF leaves is for normalization."""
    assert text_encoding(b"a\x00" + b"text " * 99 + b"\f\x1b") == ("utf-8", 0)


def test_a_page_is_believed_where_utf8_fails() -> None:
    """A meta charset decides for bytes that are no UTF-8.

    And not against bytes that are.
    """
    page = f'<meta charset="koi8-r"><p>{RUSSIAN}'
    assert read(page.encode("koi8-r"), is_html=True) == (page, "koi8-r")
    assert read(page.encode(), is_html=True) == (page, "utf-8")


@pytest.mark.parametrize(
    ("sample", "encoding"),
    [
        (b"<a/>", "utf-8"),
        (b'<?xml version="1.0" encoding="ISO-8859-1"?><a/>', "iso-8859-1"),
        ("\ufeff<a/>".encode("utf-16-be"), "utf-16-be"),
    ],
)
def test_xml_says_itself(sample: bytes, encoding: str) -> None:
    """By its mark or its declaration."""
    assert xml_encoding(sample) == encoding
