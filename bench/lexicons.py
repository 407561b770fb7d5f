"""Write osler/privacy/lexicons/ from Faker's providers and from the words of public medical and general text.

    python -m bench.lexicons ../shared/data

Run by hand when Faker changes; the lists are committed, so that no build needs Faker. Names: Faker (MIT license), provider
lists of the locales below; towns are those of its geo provider (of the world) and the larger towns of the United States,
typed in. words.txt: lower-case words of PMC articles, OpenStax and MedQuAD that occur at least 30 times there, or at least
twice and are also a name or town; a list of words, no text. No clinical note is read.
"""

import gzip
import importlib
import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from faker.providers.address.en_US import Provider as Address
from faker.providers.geo import Provider as Geo

from osler.build.files import write_text
from osler.privacy.spans import word_set

FOLDER = Path(__file__).parent.parent / "osler" / "privacy" / "lexicons"
LOCALES = word_set(
    "en_US en_GB en_IE en_IN en_NG es_ES es_MX es_AR es_CO pt_BR pt_PT fr_FR fr_CA de_DE it_IT nl_NL nl_BE sv_SE"
    " no_NO da_DK fi_FI pl_PL cs_CZ sk_SK hu_HU ro_RO hr_HR tr_TR vi_VN"
)
CORPORA = (
    "corpus/pmc_oa_rct/part-00000.jsonl.gz",
    "corpus/pmc_oa_rct/part-00001.jsonl.gz",
    "corpus/openstax_anatomy_physiology/modules.jsonl.gz",
    "corpus/im_handbook_md/pages.jsonl.gz",
    "instruct/medquad/medquad.jsonl.gz",
)
LARGER = (
    "New York City, Los Angeles, Chicago, Houston, Phoenix, Philadelphia, San Antonio, San Diego, Dallas, Austin, San Jose,"
    " Fort Worth, Jacksonville, Columbus, Charlotte, Indianapolis, San Francisco, Seattle, Denver, Oklahoma City, Nashville,"
    " El Paso, Boston, Portland, Las Vegas, Detroit, Memphis, Louisville, Baltimore, Milwaukee, Albuquerque, Tucson, Fresno,"
    " Sacramento, Kansas City, Mesa, Atlanta, Omaha, Colorado Springs, Raleigh, Long Beach, Virginia Beach, Miami, Oakland,"
    " Minneapolis, Tulsa, Bakersfield, Wichita, Arlington, Aurora, Tampa, New Orleans, Cleveland, Honolulu, Anaheim,"
    " Lexington, Stockton, Corpus Christi, Henderson, Riverside, Newark, Saint Paul, St. Paul, Santa Ana, Cincinnati, Irvine,"
    " Orlando, Pittsburgh, St. Louis, Greensboro, Jersey City, Anchorage, Lincoln, Plano, Durham, Buffalo, Chandler,"
    " Chula Vista, Toledo, Madison, Gilbert, Reno, Fort Wayne, North Las Vegas, St. Petersburg, Lubbock, Irving, Laredo,"
    " Winston-Salem, Chesapeake, Glendale, Garland, Scottsdale, Norfolk, Boise, Fremont, Spokane, Santa Clarita, Baton Rouge,"
    " Richmond, Hialeah, San Bernardino, Tacoma, Modesto, Huntsville, Des Moines, Yonkers, Rochester, Moreno Valley,"
    " Fayetteville, Fontana, Worcester, Port St. Lucie, Little Rock, Augusta, Oxnard, Birmingham, Montgomery, Frisco,"
    " Amarillo, Salt Lake City, Grand Rapids, Huntington Beach, Overland Park, Tallahassee, Brownsville, Newport News,"
    " Knoxville, Cape Coral, Providence, Peoria, Shreveport, Akron, Tempe, Mobile, Chattanooga, Fort Lauderdale, Sioux Falls,"
    " Santa Rosa, Vancouver, Eugene, Elk Grove, Ontario, Salem, Santa Cruz, Syracuse, Dayton, Savannah, Springfield, Bridgeport,"
    " Pasadena, Torrance, Hayward, Lakewood, Hollywood, Rockford, Joliet, Naperville, Paterson, Killeen, McAllen, Sunnyvale,"
    " Escondido, Pomona, Waco, Charleston, Cedar Rapids, Topeka, Hartford, New Haven, Stamford, Evansville, Ann Arbor, Lansing,"
    " Flint, Warren, Sterling Heights, Green Bay, Kenosha, Duluth, Fargo, Bismarck, Billings, Missoula, Cheyenne, Casper,"
    " Provo, Pocatello, Santa Fe, Las Cruces, Flagstaff, Yuma, Beaumont, Galveston, Tyler, Abilene, Odessa, Midland, Lafayette,"
    " Jackson, Gulfport, Biloxi, Pensacola, Gainesville, Clearwater, Sarasota, Macon, Asheville, Wilmington, Roanoke,"
    " Alexandria, Annapolis, Dover, Camden, Trenton, Atlantic City, Allentown, Erie, Scranton, Harrisburg, Albany, Utica,"
    " Burlington, Concord, Manchester, Nashua, Bangor, Lowell, Cambridge, Brooklyn, Queens, Bronx, Manhattan, Staten Island"
)
CAPITALIZED = re.compile(r"[A-ZÀ-ÞĀ-Ž][\w'’-]*[a-zà-žß][\w'’-]*")


def listed(kind: str, attributes: Iterable[str]) -> set[str]:
    """The single capitalized words of these attributes in the providers of all locales."""
    found: set[str] = set()
    for locale in sorted(LOCALES):
        try:
            provider = importlib.import_module(f"faker.providers.{kind}.{locale}").Provider
        except ModuleNotFoundError:
            continue
        for attribute in attributes:
            for name in getattr(provider, attribute, ()):
                parts = name if isinstance(name, tuple) else (name,)
                found.update(part for part in parts if CAPITALIZED.fullmatch(str(part)) or " " in str(part))
    return found


def strings(value: object) -> Iterator[str]:
    """Every text in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from strings(part)
    elif isinstance(value, list):
        for part in value:
            yield from strings(part)


def lower_case_words(data: Path) -> Counter[str]:
    """How often each lower-case word occurs in CORPORA."""
    counts: Counter[str] = Counter()
    for name in CORPORA:
        with gzip.open(data / name, "rt", encoding="utf-8") as lines:
            for line in lines:
                for text in strings(json.loads(line)):
                    counts.update(re.findall(r"\b[a-z][a-z'’-]+\b", text))
    return counts


def main(data: Path) -> None:
    """Write the five lists."""
    first = listed("person", ("first_names", "first_names_male", "first_names_female", "first_names_nonbinary"))
    last = listed("person", ("last_names", "last_names_male", "last_names_female"))
    places = {place for *_, place, _, _ in Geo.land_coords if re.fullmatch(r"[\w .'-]+", place)}
    towns = {place for place in places | set(LARGER.split(", ")) if place[0].isupper() and len(place) > 3}
    counts = lower_case_words(data)
    known = {name.lower() for name in first | last | towns}
    words = {word for word, count in counts.items() if count >= 30 or (count >= 2 and word in known)}
    lists = {
        "first_names": {name for name in first if len(name) > 2 and " " not in name},
        "surnames": {name for name in last if len(name) > 2 and " " not in name},
        "towns": towns,
        "street_suffixes": set(Address.street_suffixes),
        "words": words,
    }
    for name, entries in lists.items():
        write_text(FOLDER / f"{name}.txt", "\n".join(sorted(entries)) + "\n")
        print(name, len(entries))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
