"""What stands for a document's id, file and date.

It is about a patient, and none of these may say who that is.

Ids and file names hold record numbers and names, which are few enough to try: a hash hides them only under a key. The same
id gives the same 16 digits, so that a repeated one is noticed and who holds the key finds a document by its own id; two ids
of 50 million share their digits by chance once in 15,000 builds, and one of the two documents then goes to the ledger.

Source: 45 CFR 164.514(c), codes to re-identify: not derived from information about the individual without a secret.
"""

import hmac
import re

from osler.privacy.surrogates import Replacement, shifted

UNNAMED = "unnamed"
KNOWN_SUFFIXES = re.compile(
    r"(?:\.(?:jsonl|ndjson|json|csv|tsv|parquet|arrow|txt|nxml|xml|html?|xhtml|tar|tgz|gz|zst))+$"
)
YEAR = re.compile(r"(?<!\d)(?:19|20)\d\d(?=(?:0[1-9]|1[0-2])[0-3]\d(?!\d)|(?!\d))")
CLOCK = re.compile(r"[T ]\d?\d:\d\d.*")


def pseudonym(key: bytes, identifier: str) -> str:
    """16 hexadecimal digits that stand for an id.

    A function of key and id; without a key "unnamed".
    """
    return hmac.digest(key, b"identifier\0" + identifier.encode(), "sha256").hex()[:16] if key else UNNAMED


def private_origin(key: bytes, origin: str) -> str:
    """`<file>#<row>`, or `<archive>!<member>#<row>`, under pseudonyms.

    The suffixes of the names and the row stay.
    """
    names, mark, row = origin.rpartition("#")
    hidden = [_private_name(key, name) for name in names.split("!")] if mark else [pseudonym(key, origin)]
    return "!".join(hidden) + mark + row * bool(mark)


def _private_name(key: bytes, name: str) -> str:
    suffixes = KNOWN_SUFFIXES.search(name)
    return pseudonym(key, name) + (suffixes.group() if suffixes else "")


def private_date(date: str, action: Replacement, key: bytes, subject: str) -> str | None:
    """A document's date without its hour.

    With surrogates it is moved as the dates in its text are, else its year is left.

    Args:
        date: in any form; of a form that cannot be moved the year is left.
        action: what is done with the dates in its text.
        key: secret bytes; not used to redact.
        subject: whose dates move together.
    Returns:
        None where no year is found.
    """
    moved = shifted(CLOCK.sub("", date.strip()), key, subject) if action == "surrogate" else None
    year = YEAR.search(date)
    return moved or (year.group() if year else None)
