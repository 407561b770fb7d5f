"""The encoding of a raw text file, and its bytes as UTF-8.

UTF-8 unless a byte order mark says UTF-16 or UTF-32. A few bad bytes are a fault of their rows; only a file whose sample
holds more bytes that are no UTF-8 than characters that are is taken for an older encoding. charset-normalizer then
ranks CANDIDATES, and the first of those with the least mess wins, since cp1252, cp1250 and cp1254 differ in a handful
of letters and most such text is cp1252: its own order took French notes for cp1250 ("fi\u010dvre"). With fewer than
LEGACY_BYTES bad bytes there is nothing to judge by. UTF-8 costs nothing past the sample; jsonl in UTF-16 is read as
fast as in UTF-8.
"""

import codecs
import io
import re
from typing import BinaryIO

from osler.ingest.faults import Unreadable

SAMPLE_BYTES = 1 << 20
LEGACY_BYTES = 4
CONTROL_FRACTION = 0.01  # NULs and other control characters above it: no text
CANDIDATES = ("cp1252", "cp1250", "cp1251", "cp932", "gb18030", "big5", "cp949", "cp1253", "cp1254", "koi8_r")

MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark begins the same
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
CONTROL = bytes(code for code in range(32) if code not in b"\t\n\v\f\r\x1b") + b"\x7f"
XML_DECLARED = re.compile(rb"<\?xml[^>]{0,100}encoding\s*=\s*[\"']([\w.:-]+)")
DECLARED = re.compile(rb"<meta[^>]{0,200}charset\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)


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
        declared: what an HTML page says of itself; believed where UTF-8 fails.
    Raises:
        Unreadable: it is no text.
    """
    for mark, encoding in MARKS:
        if sample.startswith(mark):
            return encoding, len(mark)
    controls = len(sample) - len(sample.translate(None, CONTROL))
    if controls > CONTROL_FRACTION * len(sample):
        raise Unreadable("binary_file", f"{controls} of the first {len(sample)} bytes are control characters")
    text = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode(sample)  # the last character may be cut
    bad = len(re.findall("[\udc80-\udcff]", text))
    if bad < LEGACY_BYTES or bad <= len(re.findall("[^\0-\x7f\udc80-\udcff]", text)):
        return "utf-8", 0
    try:
        if declared and codecs.lookup(declared).name != "utf-8":
            return codecs.lookup(declared).name, 0
    except LookupError:
        pass
    return _ranked_encoding(sample), 0


def _ranked_encoding(sample: bytes) -> str:
    from charset_normalizer import from_bytes

    telling = b"\n".join(line for line in sample.split(b"\n") if not line.isascii())[: 1 << 16]
    matches = from_bytes(telling, cp_isolation=list(CANDIDATES), preemptive_behaviour=False)
    mess = {encoding: match.chaos for match in matches for encoding in match.could_be_from_charset}
    least = [one for one in CANDIDATES if one in mess and mess[one] == min(mess.values())]
    return least[0] if least else "utf-8"


def declared_encoding(sample: bytes) -> str | None:
    """The charset in a <meta> of an HTML page."""
    found = DECLARED.search(sample[:4096])
    return found.group(1).decode("ascii", "replace") if found else None


def xml_encoding(sample: bytes) -> str:
    """What an XML file says of itself, which its parser goes by."""
    marked = [encoding for mark, encoding in MARKS if sample.startswith(mark)]
    found = XML_DECLARED.match(sample)
    return marked[0] if marked else found.group(1).decode().lower() if found else "utf-8"


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


def utf8_stream(stream: io.BufferedReader, is_html: bool) -> tuple[io.BufferedReader, str]:
    """The text in `stream` as UTF-8, and its encoding.

    Without the byte order mark.

    Raises:
        Unreadable: it is no text.
    """
    sample = stream.peek(SAMPLE_BYTES)[:SAMPLE_BYTES]
    encoding, mark = text_encoding(sample, declared_encoding(sample) if is_html else None)
    stream.read(mark)
    return (stream if encoding == "utf-8" else io.BufferedReader(_Recoded(stream, encoding), 1 << 16)), encoding
