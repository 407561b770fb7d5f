"""What a file is written in."""

import codecs
import io

import pytest

from osler.ingest.encodings import declared_encoding, known_encoding, text_encoding, utf8_stream
from osler.ingest.faults import Unreadable
from osler.ingest.lone_bytes import BAD, Repair

FRENCH = "Patient présente une fièvre élevée à 39 °C, traitée par paracétamol.\nÉvolution favorable.\n"
GERMAN = "Größe und Gewicht sind für das Alter üblich; Übelkeit, Schmerzen in der Brust.\n"
POLISH = "Pacjent zgłasza ból głowy, nudności i osłabienie; bez gorączki, ciśnienie w normie.\n"
JAPANESE = "患者は頭痛と吐き気を訴えて来院した。カルテを確認し、MRIを予約した。\n"
CHINESE = "患者主诉头痛三天，伴恶心、呕吐，体温正常。\n"
KOREAN = "환자는 사흘 동안 두통과 구토를 호소하였다.\n"
QUOTED = "The patient’s gait is “steady”; she didn’t fall – it’s her daughter’s account… 37.2 °C. "
RUSSIAN = "Пациент жалуется на сильную головную боль, тошноту и рвоту в течение трёх дней.\n"


def read(content: bytes, declares: bool = False) -> tuple[str, str]:
    """The text as UTF-8, faults of decoding as surrogates, and its encoding."""
    stream, encoding = utf8_stream(io.BufferedReader(io.BytesIO(content), 1 << 20), declares)
    return stream.read().decode("utf-8", "surrogateescape"), encoding


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (FRENCH, "cp1252"),
        (GERMAN, "cp1252"),
        (RUSSIAN, "cp1251"),
        (POLISH * 3, "cp1250"),
        (JAPANESE, "cp932"),
        (CHINESE, "gb18030"),
        (KOREAN, "cp949"),
        (FRENCH, "utf-8"),
        (RUSSIAN * 9, "utf-8"),
        ("", "utf-8"),
    ],
)
def test_text_is_what_was_written(text: str, encoding: str) -> None:
    """Text in the encodings of old Windows, East and West, and UTF-8."""
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


@pytest.mark.parametrize("sentences", [1, 2, 5, 50])
def test_lone_signs_are_no_japanese(sentences: int) -> None:
    """English with typographic signs is no text of the East, however many.

    `\x92s` would be a character of four of the encodings.
    """
    content = (QUOTED * sentences).encode("cp1252")
    assert text_encoding(content) == ("utf-8", 0)
    assert Repair().content(content) == (QUOTED * sentences).encode()


def test_signs_past_the_sample_do_not_spoil_what_is_utf8() -> None:
    """A file that begins with lone signs may go on in UTF-8."""
    assert read(b"It\x92s\n" * 9 + JAPANESE.encode())[1] == "utf-8"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"The patient\x92s gait", "The patient’s gait"),
        (b"caf\xe9, fa\xe7ade", "café, façade"),
        (b"\x93no\x94\x97\x93yes\x85\x94", "“no”—“yes…”"),
        (b"N\xc3O and \xe2ge", "NÃO and âge"),
        (b"5 \xb1 2", "5 ± 2"),
        ("37 °C".encode() + b" \x96 38", "37 °C – 38"),
        (b"cut \xc3", None),
        (b"cut \xe2, too", None),
        (b"cut \xe2\x80", None),
        (b"hole \x81 here", None),
        (b"damage \xff", None),
        (b"\xe9\xe8 run together", None),
        ("é".encode() + b"\x92s", None),
        (b"\x92s and \x81", None),
    ],
)
def test_a_lone_byte_is_what_windows_1252_has(content: bytes, text: str | None) -> None:
    """Between ASCII, and only if all of a row are.

    What a cut or damaged character leaves stays bad.
    """
    repair = Repair()
    assert repair.content(content) == (None if text is None else text.encode())
    assert repair.lone_bytes == (0 if text is None else len(BAD.findall(content.decode("utf-8", "surrogateescape"))))


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
    assert read(page.encode("koi8-r"), declares=True) == (page, "koi8-r")
    assert read(page.encode(), declares=True) == (page, "utf-8")


@pytest.mark.parametrize(
    ("declaration", "encoding"),
    [
        ('<meta charset="windows-1252">', "cp1252"),
        ("<META CHARSET=WINDOWS-1252>", "cp1252"),
        ('<meta http-equiv="Content-Type" content="text/html; charset=windows-1252">', "cp1252"),
        ("<META HTTP-EQUIV='content-type' CONTENT='text/html;CHARSET=CP1252'/>", "cp1252"),
        ('<meta charset="iso-8859-1">', "cp1252"),
        ("<meta charset=us-ascii>", "cp1252"),
        ('<?xml version="1.0" encoding="windows-1252"?>', "cp1252"),
        ('<!-- <meta charset="koi8-r"> --><meta charset="windows-1252">', "cp1252"),
        ("<script>s='<meta charset=koi8-r>'</script><meta charset=windows-1252>", "cp1252"),
        (f"<!-- {'x' * 5000} --><meta charset=windows-1252>", "cp1252"),
        ("<meta charset=windows-1250>", "cp1250"),
        ("<meta charset=x-cp1251>", "cp1251"),
        ('<meta charset="utf-8">', "utf-8"),
        ('<meta charset="utf-16">', "utf-8"),
        ('<meta charset="nonsense">', "utf-8"),
        ('<meta charset="rot13">', "utf-8"),
        ('<meta charset="zlib">', "utf-8"),
        ('<meta charset="shift_jis">', "utf-8"),  # whose one character would be beside ASCII
        ("", "utf-8"),
    ],
)
@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_one_byte_is_enough_where_a_page_says_what_it_is(declaration: str, encoding: str, count: int) -> None:
    """A declaration of sense is believed; else the byte is mended."""
    page = f"{declaration}<body>" + "<p>The patient\x92s history.</p>" * count
    text, found = read(page.encode("latin-1"), declares=True)
    assert found == encoding
    mended = Repair().content(text.encode("utf-8", "surrogateescape"))
    assert mended == page.replace("\x92", "’").encode()


def test_a_declaration_that_does_not_fit_is_not_believed() -> None:
    """French that says it is Japanese, and Japanese that says it is."""
    declaration = '<meta charset="euc-jp">'
    assert read((declaration + FRENCH).encode("cp1252"), declares=True) == (declaration + FRENCH, "cp1252")
    assert read((declaration + JAPANESE).encode("euc-jp"), declares=True) == (declaration + JAPANESE, "euc_jp")
    escaped = '<meta charset="iso-2022-jp">' + JAPANESE
    assert read(escaped.encode("iso-2022-jp"), declares=True) == (escaped, "iso2022_jp")


def test_what_is_declared_counts_past_a_sample_of_ascii() -> None:
    """Bytes beyond the first megabyte are read as declared."""
    page = '<?xml version="1.0" encoding="iso-8859-1"?>' + "a" * (1 << 20) + "éè"
    assert read(page.encode("cp1252"), declares=True) == (page, "cp1252")


@pytest.mark.parametrize(
    "label",
    ["utf-16", "utf-7", "utf-8", "hz", "idna", "punycode", "unicode_escape", "raw_unicode_escape", "hex", "cp037", "x"],
)
def test_labels_that_no_page_can_mean(label: str) -> None:
    """UTF-8 needs no declaration, and ASCII must be itself."""
    assert known_encoding(label) is None


@pytest.mark.parametrize(
    ("sample", "encoding"),
    [
        (b"<a/>", None),
        (b'<?xml version="1.0" encoding="ISO-8859-1"?><a/>', "ISO-8859-1"),
        (b"<a>charset=koi8-r</a>", None),
    ],
)
def test_xml_says_itself(sample: bytes, encoding: str | None) -> None:
    """By its declaration."""
    assert declared_encoding(sample) == encoding
