"""Plant identifiers of every class in real notes.

So as to learn what a detector finds of them.

Half of the names and towns are American, the other half come from 16 other languages in Latin script; all, and the
streets, addresses and masks of numbers, from the package mimesis, which the detector must not use: a detector that knew
the planter's lists would look better than it is. An identifier arrives in a sentence of its own, on a line of its own, or
inside a sentence of the note. Of 51 phrases with names 17 are those of hasty
notes: no title or label, all capitals, no capitals, a surname alone. 1,800 notes with 9 carriers each take 4 s.
"""

import datetime
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from mimesis import Generic
from mimesis.enums import Gender
from mimesis.locales import Locale

from osler.privacy.spans import KINDS, Kind, Span

ABROAD = (
    Locale.ES, Locale.ES_MX, Locale.PT, Locale.PT_BR, Locale.FR, Locale.IT, Locale.DE, Locale.NL, Locale.SV,
    Locale.NO, Locale.DA, Locale.FI, Locale.PL, Locale.CS, Locale.HU, Locale.TR,
)  # fmt: skip

SENTENCE_ENDS = re.compile(r"(?<=[a-z)]{3}\. )(?=[A-Z])|(?<=[a-z)]{3}\.  )(?=[A-Z])")
LINE_STARTS = re.compile(r"(?<=\n)(?=\S)")
INSIDE = re.compile(r"(?<=[a-z]{2}) (?=[a-z]{2})")

MASKS: Mapping[Kind, tuple[str, ...]] = {
    "phone": (
        "(###) ###-####", "###-###-####", "###.###.####", "+1 ### ### ####", "1-800-###-####", "###-####",
        "(###) ###-#### ext. ###", "###-###-#### x####", "### ### ####", "(###)###-####",
    ),
    "fax": ("(###) ###-####", "###-###-####", "###.###.####", "+1-###-###-####", "### ### ####"),
    "ssn": ("###-##-####", "### ## ####", "#########", "XXX-XX-####"),
    "record": ("#######", "######", "##-##-##", "########", "@@#######", "###-##-##", "@######"),
    "plan": ("@@@#########", "#########@", "#@@#-@@#-@@##", "###-##-####-@", "@######## ##", "H####-###-##"),
    "account": ("##########", "####-######", "####-####-####-####", "@@-######", "#### #### #### ####", "########"),
    "license": ("@@#######", "##########", "@#####", "@-####-#####", "MD-######", "@@ ######"),
    "vehicle": ("#@@@@##@#@@######", "@@@ ####", "@@@-####", "#@@@###", "###-@@@", "#@@@@@##@#@######"),
    "device": (
        "@@@######@", "SN-########", "####-#####-##", "@#######", "(01)0088########(21)@####", "@@@ #####",
        "##-@@-####-@",
    ),
    "biometric": ("FP-#####", "VP#######", "@@-####-####", "########", "IR-@####"),
    "photo": ("IMG_####.jpg", "DSC0####.JPG", "P######.png", "photo_########.jpeg", "Image ####-##.tif"),
    "other": ("##-@-####", "@##-#####", "####-###-####", "######", "@@@-###-##", "C########"),
}  # fmt: skip

SENTENCES: Mapping[Kind, tuple[str, ...]] = {
    "name": (
        "Dictated by {}.", "The patient was referred by Dr. {surname}.", "Dr. {name} was present for the procedure.",
        "Mrs. {name} tolerated this well.", "Mr. {surname} agreed to the plan.", "Patient Name: {last_first}",
        "ATTENDING: {upper}, M.D.", "cc: {name}, MD", "pt. {first} was informed.", "Discussed with {name}, RN.",
        "Her daughter {first} will drive her home.", "Seen and examined with Drs. {surname} and Doe.", "{initials}/mt",
        "Dictated by: {initials}",
        "I spoke to Ms. {surname}'s husband, {first}.", "Assistant: {name}, PA-C", "Surgeon: {last_first}, MD",
        "Electronically signed by {name}, M.D.", "Primary care physician is {name}.", "PATIENT: {upper_last_first}",
        "A copy goes to doctor {surname}.", "His wife, {name}, was at bedside.", "{name} is a pleasant patient.",
        "Thank you, Dr. {surname}, for this referral.", "Dear Dr. {surname}:", "Mother's name is {name}.",
        "{upper_full} {years}M with cough.", "{upper_full} IS A {years} Y/O FEMALE.", "{upper_last_first} {years}F",
        "pt {lower_full} seen today, wife {lower_first} at bedside.", "{lower_full} {years}yo m here for follow up",
        "{last_first} was seen today.", "Spoke with {last_first} by telephone.", "Seen by {surname}.",
        "Per {surname}, continue antibiotics.", "{surname} will follow.", "Discussed with {surname} and agreed.",
        "{surname}'s films were reviewed.", "{first}'s mother called.",
    ),
    "place": (
        "The patient lives in {city}.", "She was born and raised in {city}, {state}.", "Address: {address}",
        "He was transferred from {hospital}.", "She lives at {address}, {city}, {region} {zip}.",
        "He moved here from {city}, {region}.", "Works as a teacher in {city}.", "LOCATION: {hospital}",
        "The patient was seen at {hospital} last week.", "Home: {city}, {region} {zip}", "He resides in {county} County.",
        "ZIP code {zip}.", "Follow up at {hospital} in two weeks.", "P.O. Box {box}, {city}, {region} {zip}",
        "Originally from {city}, he moved here years ago.", "She is a resident of {city} and retired.",
        "{address}\n{city}", "Address: {address}\n{city}\n",
    ),
    "date": (
        "Date of Service: {}", "DOB: {}", "The patient was admitted on {}.", "Last seen {}.", "Follow up on {}.",
        "The procedure was done on {} without complications.", "Discharge Date: {}", "She was diagnosed in {month_year}.",
        "An MRI dated {} was reviewed.", "Labs from {} were normal.", "Date: {}", "Prior surgery on {}.",
        "D: {}", "The last menstrual period was {}.", "He will return by {}.",
    ),
    "age": (
        "The patient is a {over}-year-old female.", "This {over} year old man fell.", "Age: {over}", "{over} y/o male.",
        "Her mother died at age {over}.", "Father is alive, aged {over}.", "She is {over} years old.", "Age: {over} years.",
        "{over_words}-year-old woman in no distress.", "He is {over}, and lives alone.", "Grandmother lived to be {over}.",
        "The {over}-yr-old was seen.", "{over} yo F with cough.",
    ),
    "phone": (
        "Phone: {}", "Call {} with questions.", "Telephone number is {}.", "The daughter can be reached at {}.",
        "Cell {}", "Tel. {}", "Pager {}.", "Contact number: {}", "She asked us to call back at {}.", "Home phone {}.",
        "Phone: {abroad}", "Mobile {abroad}.", "The brother can be reached at {abroad}.",
    ),
    "fax": ("Fax: {}", "FAX {}", "Please fax the records to {}.", "Fax number {}.", "Results faxed to {}.", "F: {}"),
    "email": (
        "E-mail: {}", "She can be reached at {}.", "Send the report to {}.", "Contact: {}", "Email address is {}.",
    ),
    "ssn": ("SSN: {}", "Social Security Number {}.", "SS# {}", "Social security no. {}", "SSN {} on file."),
    "record": (
        "MRN: {}", "Medical record number {}.", "MR# {}", "MRN {}", "Chart No. {}", "Hospital number: {}", "Med Rec No: {}",
        "Patient ID: {}", "Record #{}", "Patient {} was seen.", "Unit number {}.", "PATIENT: Doe ({long})",
    ),
    "plan": (
        "Medicare No. {}", "Member ID: {}", "Policy number {}.", "Insurance ID {}", "Health plan number: {}",
        "Medicaid ID {}", "Subscriber # {}", "Beneficiary number {}.", "Group no. {}", "Insurance: Blue Cross, ID {}",
    ),
    "account": (
        "Account number: {}", "Acct # {}", "Billing account {}.", "Account No. {}", "Paid with card {}.", "Acct: {}",
        "Bank account {} on file.", "Account #{}",
    ),
    "license": (
        "DEA {}", "NPI: {}", "Medical license #{}", "Driver's license {}.", "License number {}.", "Certificate No. {}",
        "DEA number: {}", "State license {}", "DL# {}", "Lic. no. {}",
    ),
    "vehicle": (
        "VIN {}", "License plate {}.", "The car, plate number {}, was totaled.", "VIN: {}", "Vehicle registration {}.",
        "Plate: {}", "Vehicle identification number {}.",
    ),
    "device": (
        "Serial number {}.", "Pacemaker serial no. {} was implanted.", "Device ID: {}", "S/N {}", "Lot number {}.",
        "Implant: lot {}", "UDI {}", "Generator model 1888, serial #{}.", "Lead serial {}.", "Serial: {}",
    ),
    "url": (
        "Website: {}", "See {} for her blog.", "The report is at {}.", "Patient portal: {}", "Profile {}",
    ),
    "ip": (
        "IP address {}.", "Logged in from {}.", "IP: {}", "Telehealth visit from {}.", "Uploaded from host {}.",
    ),
    "biometric": (
        "Fingerprint ID {}.", "Voiceprint {} enrolled.", "Iris scan ID: {}", "Retinal scan no. {}",
        "Biometric ID {}", "Fingerprint template {} on file.", "Palm vein scan ID {}.", "Face ID template {}.",
    ),
    "photo": (
        "Photograph {} was taken.", "Full-face photo: {}", "See picture {} in the chart.", "Photo file {}.",
        "Facial photograph {} archived.",
    ),
    "other": (
        "Accession number {}.", "Study ID: {}", "Case number {}.", "Specimen #{}", "Employee ID {}.", "Passport no. {}",
        "Encounter number {}.", "Job # {}", "Dictation ID: {}", "Claim number {}", "Visit ID {}", "Subject ID {}.",
        "Order number {}", "Confirmation no. {}", "Document ID {}",
        "Instagram: {handle}", "She posts as {handle}.",
    ),
}  # fmt: skip

FRAGMENTS: Mapping[Kind, tuple[str, ...]] = {
    "name": (
        "(per Dr. {surname})", "as discussed with {name},", "by Dr. {name}", "according to Mrs. {surname}",
        "with her son {first}", "(assisted by {name}, RN)", "under the care of Dr. {surname}", "by {initials_dotted}",
        "per {surname}", "in {surname}'s opinion", "with wife {lower_first}", "as {surname} advised",
    ),
    "place": (
        "at {hospital}", "in {city}, {state},", "(transferred from {hospital})", "while visiting {city}",
        "from {city}, {region},", "near {address}",
    ),
    "date": (
        "on {}", "since {}", "(last done {})", "until {}", "from {} onward", "as of {}", "in {month_year}", "between {} and {}",
    ),
    "age": ("at age {over}", "(age {over})", "in this {over}-year-old", "aged {over}"),
    "phone": ("(phone {})", "at {}", "via telephone {}", "(cell: {})", "by calling {}", "(tel. {abroad})", "at {abroad}"),
    "fax": ("(fax {})", "by fax at {}", "via fax: {}"),
    "email": ("({})", "via {}", "by e-mail to {}"),
    "ssn": ("(SSN {})", "with social security number {}", "(SS# {})"),
    "record": ("(MRN {})", "with medical record number {}", "(MR# {})", "({long})", "in chart #{}"),
    "plan": ("(member ID {})", "under policy number {}", "(Medicare # {})"),
    "account": ("(account {})", "under account number {}", "(acct. {})"),
    "license": ("(license no. {})", "with license number {}", "(DEA# {})", "(NPI {})"),
    "vehicle": ("(VIN {})", "in a car with plate {}", "(license plate {})"),
    "device": ("(serial number {})", "with serial no. {}", "(S/N {})", "(lot # {})"),
    "url": ("({})", "as shown at {}", "see {}"),
    "ip": ("(from {})", "from IP address {}", "via {}"),
    "biometric": ("(fingerprint ID {})", "matched to voiceprint {}", "(retina scan {})"),
    "photo": ("(photo {})", "as seen in {}", "(see {})"),
    "other": ("(accession # {})", "under study number {}", "(case no. {})", "(specimen {})", "({handle})"),
}  # fmt: skip

ABROAD_PHONES = (
    "+44 20 7### ####", "+44 (0)20 7### ####", "+44 7### ######", "0044 20 7### ####", "0049 89 #######", "+49 30 ########",
    "+33 1 ## ## ## ##", "0033 6 ## ## ## ##", "+39 06 #### ####", "+34 9## ### ###", "+52 55 #### ####", "+48 ### ### ###",
    "+31 6 ########", "+46 8 ### ### ##", "+90 532 ### ## ##", "+55 11 9####-####",
)  # fmt: skip

DATE_FORMATS = (
    "%m/%d/%Y", "%m/%d/%y", "%-m/%-d/%Y", "%-m/%-d", "%m-%d-%Y", "%m-%d-%y", "%Y-%m-%d", "%B %-d, %Y", "%b %-d, %Y",
    "%b. %-d, %Y", "%B %-d", "%-d %B %Y", "%d %b %Y", "%d-%b-%y", "%d-%b-%Y", "%B {nth}", "%B {nth}, %Y",
    "the {nth} of %B", "%A, %B %-d, %Y", "%m.%d.%Y", "%d%b%Y", "%m/%d/%Y at 14:30", "%-d %b", "%Y/%m/%d", "%B, %Y",
)  # fmt: skip


def _nth(day: int) -> str:
    return f"{day}{'th' if day in (11, 12, 13) else {1: 'st', 2: 'nd', 3: 'rd'}.get(day % 10, 'th')}"


@lru_cache
def _providers(locale: Locale) -> Generic:
    return Generic(locale)  # reading a locale's lists takes milliseconds, seeding it anew does not


def _generic(locale: Locale, seed: str | int) -> Generic:
    generic = _providers(locale)
    generic.reseed(seed)
    return generic


@dataclass(frozen=True)
class _Inventor:
    """Identifiers of one document, all drawn from mimesis with its seed."""

    seed: str

    @cached_property
    def home(self) -> Generic:
        return _generic(Locale.EN, self.seed)

    @property
    def anyone(self) -> Generic:
        """American in half of all draws."""
        random = self.home.random
        return self.home if random.random() < 0.5 else _generic(random.choice(ABROAD), random.getrandbits(32))

    def mask(self, kind: Kind) -> str:
        return self.home.random.generate_string_by_mask(self.home.random.choice(MASKS[kind]))

    def date(self) -> str:
        random = self.home.random
        day = datetime.date(1930, 1, 1) + datetime.timedelta(random.randrange(36000))
        return day.strftime(random.choice(DATE_FORMATS)).replace("{nth}", _nth(day.day))

    def hospital(self) -> str:
        random, person, address = self.home.random, self.anyone.person, self.anyone.address
        town, saint, founder = address.city(), person.first_name(), person.surname()
        forms = (
            f"{town} General Hospital", f"St. {saint}'s Hospital", f"{founder} Memorial Hospital",
            f"{town} Regional Medical Center", f"Mercy Hospital of {town}", f"{founder} Clinic", f"University of {town}",
            f"{town} VA Medical Center", f"{town} Nursing Home", f"St. {saint} Medical Center",
        )  # fmt: skip
        return str(random.choice(forms))

    def person(self, form: str) -> str:
        random, person = self.home.random, self.anyone.person
        first, surname = person.first_name(random.choice((Gender.FEMALE, Gender.MALE))), person.surname()
        middle = random.choice("ABCDEFGHJKLMNPRSTW")
        name = random.choice((f"{first} {surname}", f"{first} {middle}. {surname}", f"{first[0]}. {surname}"))
        return {
            "name": name,
            "upper": name.upper(),
            "upper_full": f"{first} {surname}".upper(),
            "lower_full": f"{first} {surname}".lower(),
            "lower_first": first.lower(),
            "surname": surname,
            "first": first,
            "last_first": f"{surname}, {first}",
            "upper_last_first": f"{surname}, {first} {middle}".upper(),
            "initials": f"{first[0]}{middle}{surname[0]}",
            "initials_dotted": f"{first[0]}.{surname[0]}.",
        }[form]

    def identifier(self, kind: Kind, slot: str) -> str:
        """What stands in a carrier for `{slot}`.

        An empty slot is for the class's own forms.
        """
        random, internet = self.home.random, self.home.internet
        match kind:
            case "name":
                return self.person(slot or random.choice(("name", "last_first", "upper")))
            case "place":
                address = self.home.address
                return {  # type: ignore[no-untyped-call]
                    "city": lambda: self.anyone.address.city(),
                    "county": lambda: address.city(),
                    "address": lambda: address.address(),
                    "hospital": self.hospital,
                    "zip": lambda: random.generate_string_by_mask(random.choice(("#####", "#####-####"))),
                    "box": lambda: str(random.randrange(10, 9999)),
                }[slot]()
            case "date":
                day = datetime.date(1990, 1, 1) + datetime.timedelta(random.randrange(12000))
                return day.strftime(random.choice(("%B %Y", "%m/%Y", "%b %Y"))) if slot else self.date()
            case "age":
                words = ("Ninety-one", "Ninety-two", "Ninety-five", "Ninety-seven")
                return random.choice(words) if slot == "over_words" else str(random.randrange(90, 108))
            case "phone" if slot == "abroad":
                if random.random() < 0.5:
                    return str(_generic(random.choice(ABROAD), random.getrandbits(32)).person.phone_number())
                return str(random.generate_string_by_mask(random.choice(ABROAD_PHONES)))
            case "other" if slot == "handle":
                name = f"{self.anyone.person.first_name()}{random.choice('_.')}{self.anyone.person.surname()}".lower()
                name = re.sub(r"[^\w.]", "", name)
                return f"@{random.choice((name, name + str(random.randrange(100)), self.home.person.username()))}"
            case "email":
                person = self.anyone.person
                local = f"{person.first_name()}.{person.surname()}".replace(" ", "").replace("'", "")
                mails = (self.home.person.email(), f"{local}@{internet.hostname()}", f"{local.lower()}@example.org")
                return str(random.choice(mails))
            case "url":
                path = self.home.person.username()
                return str(
                    random.choice((internet.url(), internet.uri(), f"www.{internet.hostname()}/{path}",
                                   f"facebook.com/{path}", f"https://{internet.hostname()}/u/{path}?id=1"))
                )  # fmt: skip
            case "ip":
                return str(random.choice((internet.ip_v4, internet.ip_v4, internet.ip_v6))())
            case "device" if random.random() < 0.1:
                return str(internet.mac_address())
            case "record" if slot == "long":
                return str(random.generate_string_by_mask("#########"))
            case _:
                return self.mask(kind)


def _filled(carrier: str, kind: Kind, inventor: _Inventor) -> tuple[str, list[Span]]:
    """The carrier with identifiers in its slots.

    `{state}`, `{region}` (its letters) and `{years}` are none.
    """
    others: Mapping[str, Callable[[], str]] = {
        "state": lambda: inventor.home.address.state(),
        "region": lambda: inventor.home.address.state(abbr=True),
        "years": lambda: str(inventor.home.random.randrange(18, 90)),
    }
    text, spans = "", []
    for number, part in enumerate(re.split(r"\{(\w*)\}", carrier)):
        if number % 2 and part in others:
            text += others[part]()
        elif number % 2:
            start = len(text)
            text += inventor.identifier(kind, part)
            spans.append(Span(start, start + len(text[start:].removesuffix(" at 14:30")), kind))
        else:
            text += part
    return text, spans


def _planted(text: str, kinds: Sequence[Kind], inventor: _Inventor) -> tuple[str, list[Span]]:
    random = inventor.home.random
    ends, starts, gaps = ([m.start() for m in p.finditer(text)] for p in (SENTENCE_ENDS, LINE_STARTS, INSIDE))
    taken: set[int] = set()
    pieces: list[tuple[int, str, list[Span]]] = []
    for kind in kinds:
        choices = [(place, form) for place, form in ((ends, "{} "), (starts, "{}\n"), (gaps, " {}")) if place]
        places, form = random.choice(choices) if choices else ([len(text)], "\n{}")
        free = [place for place in places if place not in taken]
        at, form = (random.choice(free), form) if free else (len(text), "\n{}")
        taken.add(at)
        carrier = random.choice((FRAGMENTS if form == " {}" else SENTENCES)[kind])
        piece, spans = _filled(carrier, kind, inventor)
        shift = form.index("{}")
        moved = [Span(span.start + shift, span.end + shift, kind) for span in spans]
        pieces.append((at, form.format(piece), moved))
    whole, found, end = "", [], 0
    for at, piece, spans in sorted(pieces):
        whole += text[end:at]
        found += [Span(span.start + len(whole), span.end + len(whole), span.kind) for span in spans]
        whole, end = whole + piece, at
    return whole + text[end:], found


def planted(texts: Sequence[str], seed: int, per_document: int) -> tuple[list[str], list[list[Span]]]:
    """The texts with invented identifiers in them, and where those stand.

    The classes take turns over the documents, so that each is planted equally often (within one) as a carrier; a carrier
    may hold two or three identifiers of its class. What a document gets depends on the seed and its position only.

    Args:
        texts: notes; what identifiers they already hold is neither used nor reported.
        seed: any integer.
        per_document: carriers planted in a document, at least 1.
    Returns:
        As many texts; for each the planted spans, in order. A span is the identifier without its label or title: of
        "Dr. Okafor" the name, of "MRN: 12-34-56" the number, of "93-year-old" the 93.
    """
    notes, spans = [], []
    for number, text in enumerate(texts):
        turns = range(number * per_document, (number + 1) * per_document)
        kinds = [KINDS[turn % len(KINDS)] for turn in turns]
        note, found = _planted(text, kinds, _Inventor(f"{seed}/{number}"))
        notes.append(note)
        spans.append(found)
    return notes, spans
