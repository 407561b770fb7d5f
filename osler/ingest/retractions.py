"""Whether a record of JATS or PubMed is retracted.

A journal marks a retracted article in many ways: by its type, a link to the notice, a subject, or the beginning of its
title. The notice itself may begin so too, and is not retracted.
"""

import re

MARKED = re.compile(r"\W*retracted(?: article)?\s*[:\]]", re.I)
NOTICE = "notice"


def note_retraction(fields: dict[str, str]) -> None:
    """Set `retracted` to "true" or "false".

    The stylesheets say "true" or NOTICE; where they say neither the title may.
    """
    found = fields.get("retracted", "false")
    is_marked = found == "true" or (found != NOTICE and MARKED.match(fields.get("title", "")))
    fields["retracted"] = "true" if is_marked else "false"
