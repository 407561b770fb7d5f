"""Bytes of windows-1252 that stand alone in a text of UTF-8 or ASCII, as the characters they are.

`The patient\\x92s gait` is what a word processor leaves in an export. One byte between ASCII, or two or three signs in a row
(`\\x85\\x94`), has one reading: UTF-8 has no character of one such byte, and older encodings of the East take two. Three
kinds stay bad: a byte that windows-1252 does not have, \\xff (damage more often than its letter), and the first byte of a
Latin letter or of a sign in UTF-8 (\\xc2, \\xc3, \\xe2) that no letter follows, which is what a cut character leaves.
A text without bad bytes never comes here. 60 MB/s.
"""

import re
from collections.abc import Sequence

_LETTER = "A-Za-z"
BAD = re.compile("[\udc80-\udcff]")
LONE = re.compile(
    "(?<![^\0-\x7f])(?:"
    "[\udc80\udc82-\udc8c\udc8e\udc91-\udc9c\udc9e-\udcc1\udcc4-\udce1\udce3-\udcfe]"  # as surrogateescape has the bytes
    f"|[\udcc2\udcc3\udce2](?=[{_LETTER}])"
    "|[\udc85\udc91-\udc97\udca0]{2,3}"
    ")(?![^\0-\x7f])"
)
LONE_SIGN = re.compile(  # no letter of a word: in quotes, dashes and degrees all encodings of old Windows agree
    f"(?<![^\0-\x7f])(?:[\udc85\udc91-\udc97\udca0]{{1,3}}|(?<![{_LETTER}])[\udc80\udc82-\udc89\udc8b\udc98\udc99\udc9b-\udcbf]"
    f"|[\udc80\udc82-\udc89\udc8b\udc98\udc99\udc9b-\udcbf](?![{_LETTER}]))(?![^\0-\x7f])"
)


def _characters(found: re.Match[str]) -> str:
    return found.group().encode("utf-8", "surrogateescape").decode("cp1252")


def are_signs(text: str) -> bool:
    """Whether all bad bytes are signs of windows-1252 alone between ASCII.

    Args:
        text: decoded as UTF-8 with surrogateescape, as below.
    """
    return not BAD.search(LONE_SIGN.sub("", text))


def mended(text: str) -> str | None:
    """`text` without bad bytes.

    None where one is not alone, or means nothing.
    """
    found = LONE.sub(_characters, text)
    return None if BAD.search(found) else found


class Repair:
    """Mends texts and counts the bytes.

    Attributes:
        lone_bytes: taken for windows-1252 so far.
    """

    def __init__(self) -> None:
        self.lone_bytes = 0

    def texts(self, texts: Sequence[str]) -> list[str] | None:
        """The texts of a row without bad bytes.

        None where one cannot be mended.
        """
        found = [text for one in texts if (text := mended(one)) is not None]
        if len(found) < len(texts):
            return None
        self.lone_bytes += sum(len(BAD.findall(text)) for text in texts)
        return found

    def content(self, content: bytes) -> bytes | None:
        """The same of bytes."""
        found = self.texts([content.decode("utf-8", "surrogateescape")])
        return found[0].encode() if found else None
