"""What the word lists say of a word: its flags.

So do the words that announce a name or a place.

The lists are read at the first call and take 0.05 s and 6 MB; lexicons/README.md says where they come from.
"""

from functools import cache
from pathlib import Path

from osler.privacy.spans import word_set

UPPER = "A-Z" + "".join(chr(code) for code in range(0xC0, 0x250) if chr(code).isupper())
LOWER = "a-z" + "".join(chr(code) for code in range(0xC0, 0x250) if chr(code).islower())

FIRST, SURNAME, TOWN, COMMON, EPONYM, CUE = 1, 2, 4, 8, 16, 32

TITLES = word_set("Dr Drs Mr Mrs Ms Miss Mme Prof Professor Doctor Doctors DR DRS MR MRS MS PROF")
LABELS = word_set(
    "Patient PATIENT Name NAME Attending ATTENDING Surgeon SURGEON Surgeons SURGEONS Assistant ASSISTANT Physician"
    " PHYSICIAN Dictated DICTATED Signed SIGNED Electronically Referring REFERRING Anesthesiologist ANESTHESIOLOGIST"
    " Provider PROVIDER Consultant CONSULTANT Primary PRIMARY Author AUTHOR Transcribed Dear"
)
NOUNS = word_set(
    "Hospital Hospitals Clinic Center Centre Institute University College Home Hospice Infirmary Sanatorium School"
    " Orthopedics Pediatrics Associates Rehab Manor Village Tower Pavilion HOSPITAL CLINIC"
)
STATES = {
    name.replace("_", " "): letters
    for name, _, letters in (
        state.partition(":")
        for state in sorted(
            word_set(
                "Alabama:AL Alaska:AK Arizona:AZ Arkansas:AR California:CA Colorado:CO Connecticut:CT Delaware:DE"
                " Florida:FL Georgia:GA Hawaii:HI Idaho:ID Illinois:IL Indiana:IN Iowa:IA Kansas:KS Kentucky:KY"
                " Louisiana:LA Maine:ME Maryland:MD Massachusetts:MA Michigan:MI Minnesota:MN Mississippi:MS"
                " Missouri:MO Montana:MT Nebraska:NE Nevada:NV New_Hampshire:NH New_Jersey:NJ New_Mexico:NM"
                " New_York:NY North_Carolina:NC North_Dakota:ND Ohio:OH Oklahoma:OK Oregon:OR Pennsylvania:PA"
                " Rhode_Island:RI South_Carolina:SC South_Dakota:SD Tennessee:TN Texas:TX Utah:UT Vermont:VT"
                " Virginia:VA Washington:WA West_Virginia:WV Wisconsin:WI Wyoming:WY District_of_Columbia:DC"
                " Puerto_Rico:PR"
            )
        )
    )
}


@cache
def word_list(name: str) -> frozenset[str]:
    """The entries of one list."""
    return frozenset((Path(__file__).parent / name).read_text(encoding="utf-8").split("\n")) - {""}


@cache
def lexicon() -> dict[str, int]:
    """Word -> its flags.

    The lists are read at the first call, not at import.
    """
    flags: dict[str, int] = {}
    for name, flag in (
        ("lexicons/first_names.txt", FIRST),
        ("lexicons/surnames.txt", SURNAME),
        ("lexicons/eponyms.txt", EPONYM),
    ):
        for word in word_list(name):
            flags[word] = flags.get(word, 0) | flag
    for town in word_list("lexicons/towns.txt"):
        first = town.split(" ")[0].rstrip(".")
        flags[first] = flags.get(first, 0) | TOWN
    for word in word_list("lexicons/words.txt"):
        capitalized = word[0].upper() + word[1:]
        flags[capitalized] = flags.get(capitalized, 0) | COMMON
    for word in (*TITLES, *LABELS, *NOUNS, "County"):
        flags[word] = flags.get(word, 0) | CUE
    for state, letters in STATES.items():
        flags[state.split(" ")[0]] = flags.get(state.split(" ")[0], 0) | CUE
        flags[letters] = flags.get(letters, 0) | CUE
    return flags


def bare(word: str) -> str:
    """The word without a possessive or apostrophes at its end."""
    return word[:-2] if word.endswith(("'s", "’s")) else word.rstrip("'’")
