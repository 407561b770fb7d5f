"""An invented clinic: drugs, diseases and towns.

They exist nowhere else, with facts that only our text can teach.

Since nothing here can be known from elsewhere, a score above chance shows that text was learned, which no real
benchmark can show of a small model. Names are syllables, values are harmless fancies ("moon itch"), so no sentence
can be mistaken for medical advice. Values are balanced within the entities that instructions ask about and within the
others, so a constant guess stays at chance on either side.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

ATTRIBUTES: Mapping[str, tuple[str, str, str]] = {
    "drug": ("class", "indication", "adverse_effect"),
    "disease": ("symptom", "test", "therapy"),
    "town": ("river", "trade", "festival"),
}
"""Kind of entity -> its attributes; an entity has one value of each."""

CLINICAL_KINDS = ("drug", "disease")

_VALUES: Mapping[str, str] = {
    "class": """
        amberoid, basaltine, coralide, dunecin, emberol, flintane, garnetil, hazelate, ivorane, jasperone, kelpine,
        lumeric, marlite, nimbusol, opalex, pearlide, quartzin, russetol, slatine, topazid, umberal, velloid,
        wickerin, zephane
    """,
    "indication": """
        glass knee, paper cough, moon itch, tin fever, drift sleep, chalk tongue, echo ache, frost palms, velvet
        throat, ribbon cramp, hollow hiccup, pebble stomach, candle eyes, salt sneeze, willow shivers, copper nose,
        silk rash, thunder yawn, mirror squint, button elbow, lantern ear, feather cold, gravel voice, anchor back
    """,
    "adverse_effect": """
        whistling, humming, yodeling, blinking, blushing, giggling, yawning, sneezing, nodding, mumbling, snoring,
        daydreaming, hopping, squinting, twirling, sighing, drooling, lisping, rhyming, winking, fidgeting,
        shrugging, tiptoeing, sleepwalking
    """,
    "symptom": """
        violet nails, silver freckles, striped palms, cold earlobes, double dimples, curled lashes, spotted elbows,
        stiff eyebrows, shiny knuckles, wavy toenails, ticking pulse, dusty lips, square pupils, crinkled shins,
        golden tears, warm shadow, creaking wrists, checkered tongue, glowing heels, ringing teeth, sandy cheeks,
        floating hair, marbled chin, upward sneer
    """,
    "test": """
        lamp scan, plume test, acorn swab, prism count, bell reading, thread probe, compass smear, vinegar strip,
        pollen culture, shadow film, tuning assay, ripple trace, ink panel, whistle index, clover stain, pendulum
        score, kettle sample, magnet sweep, domino check, snow biopsy, chess interview, flute spirogram, raisin
        screen, umbrella view
    """,
    "therapy": """
        fern tea, cedar steam, honey wrap, gravel bath, linen splint, barley broth, moss compress, violin hour, kite
        walking, beeswax balm, oat patch, tulip syrup, birch lozenge, wool corset, daisy drops, pine inhaler, goose
        cushion, mint vapor, rye poultice, harp course, apricot gel, cotton sling, sunflower seat, nettle rinse
    """,
    "river": """
        Heron, Otter, Swallow, Marten, Badger, Sparrow, Kestrel, Salmon, Curlew, Plover, Finch, Linnet, Siskin,
        Wren, Beaver, Falcon, Magpie, Osprey, Pike, Stoat, Thrush, Viper, Weasel, Buzzard
    """,
    "trade": """
        glassblowing, weaving, clockmaking, pottery, beekeeping, printing, tanning, brewing, baking, shipbuilding,
        carpentry, mining, cheesemaking, bookbinding, ropemaking, toymaking, gardening, fishing, masonry, saddlery,
        papermaking, locksmithing, embroidery, milling
    """,
    "festival": """
        Lantern Night, Apple Sunday, Kite Week, Snow Ball, Drum Parade, Goose Fair, Candle Walk, Harvest Supper,
        Boat Race, Mask Day, Flower Gala, Poem Evening, Bonfire Feast, Puppet Month, Cider Dance, Bell Morning, Pie
        Contest, Mud Run, Ribbon Tournament, Frost Picnic, Star Vigil, Wool Auction, Berry Carnival, Chess Jubilee
    """,
}

VALUES: Mapping[str, tuple[str, ...]] = {
    attribute: tuple(" ".join(value.split()) for value in listed.split(",")) for attribute, listed in _VALUES.items()
}
"""Attribute -> every value it can have; no value belongs to two attributes."""

MAXIMUM_VALUES = min(len(values) for values in VALUES.values())

_STARTS = "bdfghklmnprstvz"
_VOWELS = "aeiou"
_STOPS = "bdlmnrstvxz"
_ENDS: Mapping[str, tuple[str, ...]] = {
    "drug": ("olix", "anox", "edar", "avane", "itol", "uzim"),
    "disease": ("osis", "emia", "itis", "algy", "asma", "uria"),
    "town": ("ham", "ford", "wick", "stead", "mouth", "mere"),
}
_UNUSED_STEMS = """
    fat fax has her him his nan pub rat sad sex sin sod tit tot tub vet zit
"""
_REAL_NAMES = """
    aspirin ibuprofen paracetamol codeine morphine heparin warfarin insulin metformin lisinopril losartan valsartan
    atenolol bisoprolol ramipril digoxin diazepam midazolam lorazepam naloxone doxazosin prazosin nadolol timolol
    sotalol pindolol tramadol fentanyl cefalexin penicillin amoxicillin nystatin lidocaine ketamine propofol lithium
    sarcoidosis tuberculosis fibrosis cirrhosis sepsis psoriasis silicosis anemia leukemia uremia ischemia toxemia
    arthritis hepatitis nephritis gastritis colitis cystitis neuritis bronchitis meningitis dermatitis sinusitis
    rhinitis neuralgia myalgia asthma plasma miasma melanoma lymphoma glioma sarcoma carcinoma myeloma adenoma
    glaucoma lipoma hematuria dysuria polyuria anuria durham bedford derby boston preston taunton plymouth
    nottingham birmingham evesham dereham selby denby rugby corby burton dalton bolton luton milton norton
    windermere grasmere
"""
REAL_NAMES = frozenset(_REAL_NAMES.split())
"""Common real drugs, diseases and towns that syllables could hit by chance; no invented name may be one."""


@dataclass(frozen=True)
class Entity:
    """One invented drug, disease or town and its facts."""

    kind: str
    name: str
    values: Mapping[str, str]
    """Attribute -> value; as documents know it, perhaps not all of them."""
    instructed: bool
    """Whether instructions ask about it; if not, the benchmark's test split does."""

    def fact(self, attribute: str) -> str:
        """The identifier of one of its facts, such as drug/Bradovnox/class."""
        return f"{self.kind}/{self.name}/{attribute}"


def invented_names(kind: str, count: int, taken: frozenset[str], stream: random.Random) -> list[str]:
    """Draw `count` pronounceable names, none of them real.

    6 to 8 letters that end as `kind` does.

    A name is a stem of three letters that no other name has, and an ending; a byte-pair encoding that has merged stems
    and endings needs at most two tokens for it, of which the first alone tells entities apart.

    Args:
        kind: of entity.
        count: of names; all kinds together have about 800 stems.
        taken: names drawn before.
        stream: source of randomness.
    """
    stems = {name[:3].lower() for name in taken} | set(_UNUSED_STEMS.split())
    names: list[str] = []
    while len(names) < count:
        stem = stream.choice(_STARTS) + stream.choice(_VOWELS) + stream.choice(_STOPS)
        word = stem + stream.choice(_ENDS[kind])
        if stem not in stems and word not in REAL_NAMES:
            stems.add(stem)
            names.append(word.capitalize())
    return names


def balanced_values(values: Sequence[str], count: int, stream: random.Random) -> list[str]:
    """`count` values in random order, balanced.

    Each occurs as often as any other to within one.
    """
    order = list(values)
    stream.shuffle(order)
    drawn = [order[index % len(order)] for index in range(count)]
    stream.shuffle(drawn)
    return drawn


def as_written(entities: Sequence[Entity], fraction: float, seed: int) -> list[Entity]:
    """The clinical entities as documents know them.

    Without some facts that only the benchmark asks about.

    A benchmark asks things that no corpus holds, and here that is what keeps a model that learned all of it below 100 %,
    so that there is room for other techniques to help or harm.

    Args:
        entities: of which those that instructions ask about stay whole.
        fraction: of the facts of the others, 0 to 1 / 3; an entity loses at most one.
        seed: the result is a function of the arguments alone.
    """
    stream = random.Random(f"{seed}/unwritten")
    asked = [place for place, entity in enumerate(entities) if not entity.instructed]
    count = round(fraction * sum(len(entities[place].values) for place in asked))
    written = list(entities)
    for place in stream.sample(asked, count):
        lost = stream.choice(ATTRIBUTES[entities[place].kind])
        values = {name: value for name, value in entities[place].values.items() if name != lost}
        written[place] = replace(entities[place], values=values)
    return written


def knowledge_base(
    counts: Mapping[str, int], values_per_attribute: int, instructed_fraction: float, seed: int
) -> list[Entity]:
    """Invent the entities and all their facts.

    Args:
        counts: entities of each kind in ATTRIBUTES.
        values_per_attribute: how many of VALUES are used, 4 to MAXIMUM_VALUES.
        instructed_fraction: share of the clinical entities that instructions ask about, 0 to 1; of towns, all.
        seed: the result is a function of the arguments alone.
    Returns:
        Entities by kind, in the order of ATTRIBUTES.
    """
    stream = random.Random(f"{seed}/knowledge")
    entities: list[Entity] = []
    taken: frozenset[str] = frozenset()
    for kind, attributes in ATTRIBUTES.items():
        count = counts[kind]
        names = invented_names(kind, count, taken, stream)
        taken |= frozenset(names)
        instructed = round(count * instructed_fraction) if kind in CLINICAL_KINDS else count
        columns: dict[str, list[str]] = {}
        for attribute in attributes:
            used = VALUES[attribute][:values_per_attribute]
            columns[attribute] = balanced_values(used, instructed, stream) + balanced_values(
                used, count - instructed, stream
            )
        entities += [
            Entity(kind, name, {attribute: columns[attribute][index] for attribute in attributes}, index < instructed)
            for index, name in enumerate(names)
        ]
    return entities
