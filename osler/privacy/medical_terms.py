"""Names of people and towns within medical terms, which stay.

Ann Arbor stage II, St. Louis encephalitis, Gilles de la Tourette, Charles Bonnet syndrome. Words that a name or an address
may have too are listed with what makes a term of them; after a title or a label they are a name all the same.
"""

import re

from osler.privacy.lexicon import NOUNS
from osler.privacy.spans import Span

_TESTED = (
    r" (?:diseases?|virus(?:es)?|infections?|titers?|antibod\w+|serolog\w+|arthritis|carditis|meningitis|test\w*|panel|PCR"
    r"|Ig[GM]|Western|hemorrhagic|spotted|fever|agent|outbreak|variant|exposure|encephalitis|[AB]\d{0,2})\b"
)
LISTED = re.compile(
    r"(?<!\w)(?:Gilles de la Tourette|In(?:dia|dian) Ink|China Ink|Bence Jones|Lou Gehrig|Jakob[ -]Creutzfeldt"
    r"|Creutzfeldt[ -]Jakob|Smith (?:and |& )?Nephew|West Nile|Ebola|Zika|Hanta|Lassa|Chikungunya"
    r"|Ann Arbor,? (?:[Ss]tag\w+|[Cc]lass\w*|[Ss]ystem|[Cc]riteria|I{1,3}[ABES]{0,2}\b|IV[ABES]{0,2}\b)"
    r"|Los Angeles (?:[Gg]rade|[Cc]lass\w*|[Ee]sophagitis)|Barcelona Clinic (?:Liver|[Ss]tag\w+)"
    r"|San Francisco Syncope|Kansas City Cardiomyopathy|St\.? (?:Anthony|Vitus|John)['’]?s? (?:[Ff]ire|[Dd]ance|[Ww]ort)\b"
    r"|(?:Austin Flint|Carey Coombs|Graham Steell) [Mm]urmurs?|(?:Marcus Gunn|Argyll Robertson) (?:[Pp]upils?|[Jj]aw)"
    r"|Lloyd[ -]Davies (?:[Pp]osition|[Ss]tirrups)"
    rf"|(?:St\.? Louis|Lyme|Marburg|Norwalk|Coxsackie|Rocky Mountain|Ross River|La Crosse){_TESTED}"
    r"|(?:(?<=exposed to )|(?<=exposure to )|(?<=died of )|(?<=history of )|(?<=infected with )|(?<=positive for )"
    r"|(?<=negative for )|(?<=hospitalized with ))(?:Lyme|Marburg|Norwalk|Coxsackie)\b)"
)
AFTER_A_PERSON = re.compile(
    r"[ -](?:syndromes?|diseases?|virus|classification|phenomenon|anomaly|man(?:o)?euvers?|stain)\b", re.I
)
AFTER_A_TOWN = re.compile(
    r" (?:classification|criteria|staging|scores?|scale|index|chromosome|collar|virus|(?:hemorrhagic|spotted) fever)\b",
    re.I,
)
ADDRESSED = re.compile(r"(?:\b(?:Drs?|Mrs?|Ms|Miss|Prof|Professor|Doctor|[Pp]atient|Name|PATIENT|NAME)[.:]? )$")
LEFT, RIGHT = 14, 40  # as far as a term reaches beyond what is found of it


def in_a_term(text: str, span: Span) -> bool:
    """Whether a name or place is a part of a medical term.

    It was found by lists alone.
    """
    start, end, kind = span
    if ADDRESSED.search(text, max(0, start - LEFT), start):
        return False
    for term in LISTED.finditer(text, max(0, start - LEFT), min(len(text), end + RIGHT)):
        if term.start() <= start and end <= term.end():
            return True
    after = AFTER_A_TOWN if kind == "place" else AFTER_A_PERSON
    return bool(after.match(text, end)) and text[start:end].rpartition(" ")[2] not in NOUNS
