"""What is an identifier in a note, and what looks like one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osler.privacy.detector import identifiers, identifiers_of
from osler.privacy.spans import disjoint


def found(text: str) -> list[tuple[str, str]]:
    """Class and text of each identifier."""
    return [(span.kind, text[span.start : span.end]) for span in identifiers(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("seen by Dr. Okafor today", [("name", "Okafor")]),
        ("seen by DR. OKAFOR today", [("name", "OKAFOR")]),
        ("Drs. Okafor and Lindqvist agree", [("name", "Okafor"), ("name", "Lindqvist")]),
        ("Mrs. Jane Q. Public was seen", [("name", "Jane Q. Public")]),
        ("Ms. van der Berg's scan", [("name", "van der Berg")]),
        ("PATIENT: SMITH, JOHN A", [("name", "SMITH, JOHN A")]),
        ("pt. Maria was informed", [("name", "Maria")]),
        ("Her daughter Anneliese drove", [("name", "Anneliese")]),
        ("Lorena Cook is a woman", [("name", "Lorena Cook")]),
        ("notes of Xylo Quarn, M.D.", [("name", "Xylo Quarn")]),
        ("JBS/mt", [("name", "JBS")]),
        ("Dr. Okafor came. Later Okafor left.", [("name", "Okafor"), ("name", "Okafor")]),
        ("Seen by Quarnack.", [("name", "Quarnack")]),
        ("Per Quarnack, stop it", [("name", "Quarnack")]),
        ("Quarnack will follow.", [("name", "Quarnack")]),
        ("in Quarnack's opinion", [("name", "Quarnack")]),
        ("met with Quarnack and", [("name", "Quarnack")]),
        ("Quarnack, Maria was seen", [("name", "Quarnack, Maria")]),
        ("Jones, Xylo was seen", [("name", "Jones, Xylo")]),
    ],
)
def test_names(text: str, expected: list[tuple[str, str]]) -> None:
    """A cue makes a name of a word in no list.

    A title, credential, label or kinship; the note repeats the name without.
    """
    assert found(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("JOHN SMITH 45M with cough", ["JOHN SMITH"]),
        ("Exam.\nSMITH, JOHN A 45F", ["SMITH, JOHN A"]),
        ("XYLO SMITH IS A 45 Y/O MAN", ["XYLO SMITH"]),
        ("john smith 45yo m here", ["john smith"]),
        ("seen: JOHN SMITH, who", ["JOHN SMITH"]),
        ("pt smith seen today, wife mary at bedside", ["smith", "mary"]),
        ("with husband john to clinic", ["john"]),
        ("CHEST PAIN 45M", []),
        ("obese woman 45yo with copd", []),
        ("pt denies pain, wife states he fell", []),
        ("pt will return, mother may call, son mark", []),
    ],
)
def test_names_in_hasty_notes(text: str, expected: list[str]) -> None:
    """Names are found in capitals, and in none.

    Capitals before an age, or two names of the lists, and no capitals after a kinship; headings and verbs are none.
    """
    assert found(text) == [("name", name) for name in expected]


@pytest.mark.parametrize(
    "text",
    [
        "A 16-French Foley catheter, a Kelly clamp, an Allis, the Bovie and Metzenbaum scissors.",
        "History of Crohn disease, Parkinson's disease and Graves disease.",
        "Will start May therapy. Grave prognosis. Bell palsy.",
        "Dr. X and Dr. XYZ saw Mr. ABC at ABCD General Hospital on MM/DD/YYYY.",
        "Sample Doctor, M.D.",
        "Follow up in Urology Clinic. Seen at the VA Hospital.",
        "Strength 5/5, BP 120/80, vision 20/40, murmur 2/6, reflexes 2+/2+, pain 4/10, 1/2 pack.",
        "Platelets 152000, WBC 12.4, glucose 110, 3-0 Vicryl, ABG 7.38/67/86/97.",
        "Diagnosed in 1996, the 1980's. Moved from Texas to Germany.",
        "An 89-year-old woman, 95 mg daily, 98% saturation, temperature 99.",
        "Seen on Monday at 10:30.",
        "Seen by Neurology and Urology, per Radiologists. The incision was covered with Xeroform, followed by Kerlix.",
        "Fournier's gangrene, Morrison's pouch, Kemp's maneuver. The saw examined was a Micro-Aire saw. I've called.",
        "Trends 121 122 123 and 135, 140, 150. Edema +2 150 ml. 00123.",
        "pain 5/10 @ rest, 5 mg @ 1400, @home.",
        "under Dr. X's care, to Dr. Z's office",
    ],
)
def test_what_only_looks_like_an_identifier(text: str) -> None:
    """Eponyms, placeholders, readings, states and years stay.

    So do ages under 90 and days of the week.
    """
    assert found(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "Ann Arbor stage II disease. Lymphoma, Ann Arbor Stage IIIB, in Ann Arbor IV.",
        "Esophagitis in Los Angeles grade B. Tumor in Barcelona Clinic Liver Cancer stage B.",
        "St. Louis encephalitis was excluded. She had St. Louis encephalitis virus.",
        "The virus of La Crosse encephalitis, from Marburg virus, in Norwalk virus, died of Ebola, exposed to Lyme.",
        "Moved from Rocky Mountain spotted fever to Lyme disease. Traveled to West Nile.",
        "Creutzfeldt-Jakob disease, concern for Creutzfeldt-Jakob. Jakob Creutzfeldt disease.",
        "Gilles de la Tourette syndrome. She has Gilles de la Tourette.",
        "Lou Gehrig's disease, Charles Bonnet syndrome, Graham Steell murmur, Austin Flint murmur, Marcus Gunn pupil.",
        "India Ink stain. CSF was sent for India Ink and culture. Bence Jones protein. St. John's wort.",
        "Duplex requested. Duplex will follow. Per Duplex, no clot. Seen by Duplex.",
        "Bronchoscopy recommended. Holter requested. Per Fluoroscopy, no leak. Cystogram suggested reflux.",
        "See images #12-14, series #3 images # 112-114, photos 12-14.",
        "Plates #12-14 and contacts #10-14.",
    ],
)
def test_names_within_medical_terms_stay(text: str) -> None:
    """Stages, viruses, signs, tests and enumerations that have a name or a place in them."""
    assert found(text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lives in Ann Arbor, MI.", ["Ann Arbor"]),
        ("moved to St. Louis.", ["St. Louis"]),
        ("lives in Lyme, CT.", ["Lyme"]),
        ("Dr. Louis ordered titers of St. Louis encephalitis.", ["Louis"]),
        ("Mr. Jakob has Creutzfeldt-Jakob disease.", ["Jakob"]),
        ("Patient: Tourette, Marie", ["Tourette, Marie"]),
        ("Dr. Marcus Gunn pupil exam", ["Marcus Gunn"]),
        ("Charles Bonnet is a woman", ["Charles Bonnet"]),
        ("Ingram requested records.", ["Ingram"]),
        ("seen at Norwalk Hospital virus clinic", ["Norwalk Hospital"]),
        ("image #12345678", ["12345678"]),
        ("chart #12-14-55", ["12-14-55"]),
        ("case #1234-12", ["1234-12"]),
    ],
)
def test_names_that_medical_terms_have_too_are_found(text: str, expected: list[str]) -> None:
    """A person, an address or a number that no term holds."""
    assert [words for _, words in found(text)] == expected


@pytest.mark.parametrize(
    "date",
    [
        "03/14/2021", "3/14/21", "3-14-2021", "2021-03-14", "03.14.2021", "14.03.2021", "March 14, 2021", "MARCH 14, 2021",
        "Mar. 14, 2021", "14 March 2021", "14-Mar-21", "14MAR2021", "the 14th of March", "March 14th",
        "Sunday, March 14, 2021", "March 2021", "March of 2021", "03/2021", "3/92", "October", "spring of 2007",
    ],
)  # fmt: skip
def test_dates(date: str) -> None:
    """Every form with a day or a month is a date.

    It is found whole, in the middle of a sentence.
    """
    assert found(f"She was seen in {date}, and left.") == [("date", date)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("on 3/14 she", [("date", "3/14")]),
        ("4/26:\nS: better", [("date", "4/26")]),
        ("a 93-year-old man", [("age", "93")]),
        ("died at age 101.", [("age", "101")]),
        ("Ninety-two-year-old woman", [("age", "Ninety-two")]),
        ("call (555) 123-4567 ext. 89", [("phone", "(555) 123-4567 ext. 89")]),
        ("call 555.123.4567.", [("phone", "555.123.4567")]),
        ("Fax: 555-123-4567", [("fax", "555-123-4567")]),
        ("at +44 20 7946 0958.", [("phone", "+44 20 7946 0958")]),
        ("at 0049 89 1234567,", [("phone", "0049 89 1234567")]),
        ("at +44 (0)20 7946 0958", [("phone", "+44 (0)20 7946 0958")]),
        ("at (0975) 795367994", [("phone", "(0975) 795367994")]),
        ("at 947 047 299", [("phone", "947 047 299")]),
        ("posts as @mary_smith.", [("other", "@mary_smith")]),
        ("SSN 123-45-6789", [("ssn", "123-45-6789")]),
        ("MRN: 03-14-21", [("record", "03-14-21")]),
        ("medical record number AB1234567.", [("record", "AB1234567")]),
        ("Patient 4471923 was seen", [("other", "4471923")]),
        ("Member ID: XYZ123456789", [("plan", "XYZ123456789")]),
        ("Acct # 1234-5678-9012-3456", [("account", "1234-5678-9012-3456")]),
        ("license #G45678", [("license", "G45678")]),
        ("plate KQW 5541,", [("vehicle", "KQW 5541")]),
        ("serial no. PJN123456H", [("device", "PJN123456H")]),
        ("jane.doe@example.org.", [("email", "jane.doe@example.org")]),
        ("see https://a.org/u?id=1.", [("url", "https://a.org/u?id=1")]),
        ("from 10.1.2.3 today", [("ip", "10.1.2.3")]),
        ("voiceprint VP1234567", [("biometric", "VP1234567")]),
        ("see IMG_2034.jpg", [("photo", "IMG_2034.jpg")]),
        ("accession # S21-12345", [("other", "S21-12345")]),
        ("at 12 Oak Hill Street, Austin, TX", [("place", "12 Oak Hill Street"), ("place", "Austin")]),
        ("12 Oak Hill Street\nZwolle\n", [("place", "12 Oak Hill Street"), ("place", "Zwolle")]),
        ("12 Oak Hill Street\nLipitor: 5 mg", [("place", "12 Oak Hill Street")]),
        ("TX 78701.", [("place", "78701")]),
        ("She was born in Zwolle.", [("place", "Zwolle")]),
        ("at Tolvanen Delta Hospital for", [("place", "Tolvanen Delta Hospital")]),
        ("at Mercy Hospital of Zwolle for", [("place", "Mercy Hospital of Zwolle")]),
    ],
)  # fmt: skip
def test_numbers_and_places(text: str, expected: list[tuple[str, str]]) -> None:
    """A number's form or label gives its class.

    The label itself is none of it.
    """
    assert found(text) == expected


ALPHABET = st.sampled_from(
    ["Dr. ", "Okafor", " ", ",", "\n", "3/14/2021", "Maria", "MRN 123456", "İ", "@", "a.b", "Hospital", "(", "9", "of "]
)


@given(st.lists(ALPHABET, max_size=12).map("".join))
def test_spans_are_in_order_and_apart_whatever_the_text(text: str) -> None:
    """Offsets are within the text, whatever it is.

    A text has the same spans alone as among others.
    """
    spans = identifiers(text)
    assert spans == disjoint(spans)
    assert all(0 <= span.start < span.end <= len(text) for span in spans)
    assert identifiers_of(["Dr. Okafor", text])[1] == spans
