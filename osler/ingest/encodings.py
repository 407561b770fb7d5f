"""The encoding of a raw text file, and its bytes as UTF-8.

UTF-8 unless a byte order mark says UTF-16 or UTF-32. Where a sample holds more bytes that are no UTF-8 than characters that
are, what the file declares is believed if the sample can be read so; declared Latin-1 means windows-1252, as for browsers.
Without a declaration a few bad bytes, or signs that stand alone between ASCII, make no other encoding: osler/ingest/lone_bytes.py
mends them row by row, so that what comes past the sample is still UTF-8. Else charset-normalizer ranks CANDIDATES. Of those with
the least mess the first with the fewest signs in words wins, since cp1252, cp1250 and cp1254 differ in a handful of letters and
most such text is cp1252: its own order took French notes for cp1250 ("fi\u010dvre"). An encoding of the East has characters
that run together; else `patient\\x92s` would be `patient\u75f4`. UTF-8 costs nothing past the sample; jsonl in UTF-16 is read
as fast as in UTF-8.
"""

import codecs
import io
import re
from functools import cache
from typing import BinaryIO

from osler.ingest.faults import Unreadable
from osler.ingest.lone_bytes import Repair, are_signs, mended

SAMPLE_BYTES = 1 << 20
LEGACY_BYTES = 4
CONTROL_FRACTION = 0.01  # NULs and other control characters above it: no text
EAST_ASIAN = ("cp932", "gb18030", "big5", "cp949")
CANDIDATES = ("cp1252", "cp1250", "cp1251", *EAST_ASIAN, "cp1253", "cp1254", "koi8_r")
DECLARED_BYTES = 1 << 14  # at a page's beginning, in which it may declare its encoding

MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark begins the same
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
CONTROL = bytes(code for code in range(32) if code not in b"\t\n\v\f\r\x1b") + b"\x7f"
XML_DECLARED = re.compile(rb"\s*<\?xml[^>]{0,100}encoding\s*=\s*[\"']([\w.:-]+)", re.IGNORECASE)
DECLARED = re.compile(rb"<meta[^>]{0,200}charset\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)
UNREAD = re.compile(rb"(?is)<!--.*?-->|<(script|style|title)\b.*?</\1")
MEANT = {  # as https://encoding.spec.whatwg.org reads labels
    "ascii": "cp1252", "iso8859-1": "cp1252", "iso8859-9": "cp1254", "iso8859-11": "cp874", "tis-620": "cp874",
    "shift_jis": "cp932", "gb2312": "gb18030", "gbk": "gb18030", "euc_kr": "cp949",
}  # fmt: skip
ASCII = bytes(range(128)) + b".xn--caf-dma.~{:~}"  # which some codecs read otherwise


SIGN_IN_WORD = re.compile("(?<=[a-z])[\xa1-\xa9\xab-\xb4\xb6-\xb9\xbb-\xbf](?=[a-z])", re.IGNORECASE)


def _undecodable(error: UnicodeError) -> tuple[str, int]:
    """One byte that is no UTF-8, for bytes outside the encoding.

    So the row that they stand in is a fault.
    """
    assert isinstance(error, UnicodeDecodeError)
    return "\udcff", error.end


codecs.register_error("osler.undecodable", _undecodable)


def text_encoding(sample: bytes, declared: str | None = None) -> tuple[str, int]:
    """The encoding of a text, and the length of its mark.

    That is, of its byte order mark.

    Args:
        sample: its beginning.
        declared: what it says of itself; believed where UTF-8 fails, and for what comes after a whole sample of ASCII.
    Raises:
        Unreadable: it is no text.
    """
    for mark, encoding in MARKS:
        if sample.startswith(mark):
            return encoding, len(mark)
    controls = len(sample) - len(sample.translate(None, CONTROL))
    if controls > CONTROL_FRACTION * len(sample):
        raise Unreadable("binary_file", f"{controls} of the first {len(sample)} bytes are control characters")
    believed = known_encoding(declared) if declared else None
    if sample.isascii():
        tells = len(sample) >= SAMPLE_BYTES or (believed or "").startswith("iso2022")  # which is all ASCII
        return believed if believed and tells else "utf-8", 0
    text = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode(sample)  # the last character may be cut
    bad = len(re.findall("[\udc80-\udcff]", text))
    if not bad or bad <= len(re.findall("[^\0-\x7f\udc80-\udcff]", text)):
        return "utf-8", 0
    if believed and _fits(sample, believed, bad) and (believed not in EAST_ASIAN or mended(text) is None):
        return believed, 0
    if bad < LEGACY_BYTES or are_signs(text):
        return "utf-8", 0
    return _ranked_encoding(sample), 0


def _fits(sample: bytes, encoding: str, bad: int) -> bool:
    """Whether fewer than one in ten of the `bad` bytes are bad here too."""
    text = codecs.getincrementaldecoder(encoding)("osler.undecodable").decode(sample)
    return 10 * text.count("\udcff") < bad


def _ranked_encoding(sample: bytes) -> str:
    from charset_normalizer import from_bytes

    telling = b"\n".join(line for line in sample.split(b"\n") if not line.isascii())[: 1 << 16]
    possible = [one for one in CANDIDATES if one not in EAST_ASIAN or _run_together(telling.decode(one, "ignore"))]
    matches = from_bytes(telling, cp_isolation=possible, preemptive_behaviour=False)
    mess = {encoding: match.chaos for match in matches for encoding in match.could_be_from_charset}
    least = [one for one in possible if one in mess and mess[one] == min(mess.values())]
    return min(least, key=lambda one: len(SIGN_IN_WORD.findall(telling.decode(one, "ignore"))), default="utf-8")


def _run_together(text: str) -> bool:
    """Whether most characters beyond ASCII have another beside them."""
    runs = re.findall("[^\0-\x7f]+", text)
    return 2 * sum(len(run) for run in runs if len(run) > 1) > sum(map(len, runs))


@cache
def known_encoding(label: str) -> str | None:
    """The encoding that a declaration means.

    None for UTF-8, for what has other bytes for ASCII (UTF-16: the declaration could not be read), and for nonsense.
    """
    plain = label.lower().removeprefix("x-").removesuffix("-i")
    for name in (label, plain, plain.replace("windows-", "cp")):
        try:
            found = codecs.lookup(name).name
            is_like_ascii = "escape" not in found and ASCII.decode(found) == ASCII.decode("latin-1")
        except (LookupError, ValueError, TypeError):  # TypeError: not from bytes to text
            continue
        return MEANT.get(found, found) if is_like_ascii and not found.startswith("utf") else None
    return None


def declared_encoding(sample: bytes) -> str | None:
    """What an XML declaration, or a page's <meta>, says.

    What stands in a comment or in a script declares nothing.
    """
    begun = UNREAD.sub(b"", sample[:DECLARED_BYTES])
    found = XML_DECLARED.match(begun) or DECLARED.search(begun)
    return found.group(1).decode("ascii", "replace") if found else None


class _Recoded(io.RawIOBase):
    def __init__(self, stream: BinaryIO, encoding: str) -> None:
        self._stream, self._pending, self._at_end = stream, b"", False
        self._decoder = codecs.getincrementaldecoder(encoding)("osler.undecodable")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]
        while not self._pending and not self._at_end:
            block = self._stream.read(1 << 16)
            self._at_end = not block
            self._pending = self._decoder.decode(block, final=self._at_end).encode("utf-8", "surrogateescape")
        size = min(len(buffer), len(self._pending))
        buffer[:size], self._pending = self._pending[:size], self._pending[size:]
        return size


class Mended:
    """UTF-8 without lone bytes of windows-1252.

    For a parser that ends at the first bad byte.
    """

    def __init__(self, stream: BinaryIO, repair: Repair) -> None:
        self._stream, self._repair = stream, repair

    def read(self, size: int) -> bytes:
        """About so many bytes, up to one of ASCII."""
        block = self._stream.read(size)
        if block.isascii():
            return block
        while block[-1] > 127 and (more := self._stream.read(1)):
            block += more
        try:
            block.decode()
        except UnicodeDecodeError:
            return self._repair.content(block) or block
        return block


def utf8_stream(stream: io.BufferedReader, declares: bool) -> tuple[io.BufferedReader, str]:
    """The text in `stream` as UTF-8, and its encoding.

    Without the byte order mark.

    Args:
        stream: at its beginning.
        declares: whether it is HTML or XML, which say what they are written in.
    Raises:
        Unreadable: it is no text.
    """
    sample = stream.peek(SAMPLE_BYTES)[:SAMPLE_BYTES]
    encoding, mark = text_encoding(sample, declared_encoding(sample) if declares else None)
    stream.read(mark)
    return (stream if encoding == "utf-8" else io.BufferedReader(_Recoded(stream, encoding), 1 << 16)), encoding
