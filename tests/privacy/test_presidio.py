"""Presidio beside the rules.

What it finds is added, under our classes, and only in the versions that the params tell.
"""

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest

from osler.build.fingerprint import closure
from osler.build.pipeline import ROOT
from osler.build.section import BuildError
from osler.build.shard_store import Store
from osler.ingest import audit
from osler.ingest.audit import Audit
from osler.privacy import presidio, screening
from osler.privacy.detector import identifiers
from osler.privacy.presidio import pieces, recognized
from osler.privacy.screening import Phi, check_detector, screened
from osler.privacy.spans import Span
from stages import ingest
from tests.ingest.test_ingest import phi
from tests.ingest.test_records import section

NOTE = "Dr. Okafor spoke to amora, of Ohio, then of Zelmont."
VERSION = "2.2.366 en_core_web_lg-3.8.0"
WITH_PRESIDIO = phi(detector="presidio", detector_version=VERSION)


@dataclass
class Result:
    """What Presidio calls a RecognizerResult."""

    start: int
    end: int
    entity_type: str


class Analyzer:
    """Finds three words wherever they stand, and "Okafor spoke" as one name."""

    def analyze(self, text: str, language: str, entities: list[str], score_threshold: float) -> list[Result]:
        assert (language, score_threshold) == ("en", presidio.THRESHOLD)
        found = {"amora": "PERSON", "Okafor spoke": "PERSON", "Ohio": "LOCATION", "Zelmont": "LOCATION"}
        assert {*found.values()} <= {*entities}
        return [
            Result(text.find(word), text.find(word) + len(word), kind) for word, kind in found.items() if word in text
        ]


class Greedy:
    """Takes every note for one name."""

    def analyze(self, text: str, *_: object, **__: object) -> list[Result]:
        return [Result(0, len(text), "PERSON")]


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presidio, "analyzer", Analyzer)


def found(text: str, spans: list[Span]) -> list[tuple[str, str]]:
    return [(span.kind, text[span.start : span.end]) for span in spans]


@pytest.mark.usefixtures("stub")
def test_what_presidio_finds_is_added_to_what_the_rules_find() -> None:
    """A name in lower case and a town.

    Of two spans that overlap one is left that covers both; a state stays.
    """
    assert found(NOTE, identifiers(NOTE)) == [("name", "Okafor")]
    both = identifiers(NOTE, "presidio")
    assert found(NOTE, both) == [("name", "Okafor spoke"), ("name", "amora"), ("place", "Zelmont")]
    text = screened(NOTE, Phi.model_validate(WITH_PRESIDIO), b"", "a")[0]
    assert text == "Dr. [NAME] to [NAME], of Ohio, then of [PLACE]."


@pytest.mark.usefixtures("stub")
def test_a_long_text_is_analyzed_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces end with a line where they can, and lose nothing.

    What is found in one stands where it was.
    """
    monkeypatch.setattr(presidio, "PIECE_CHARACTERS", 12)
    text = "no cough.\nSaw amora.\nIn Zelmont without end"
    cut = list(pieces(text))
    assert "".join(piece for _, piece in cut) == text
    assert all(text[start : start + len(piece)] == piece and len(piece) <= 12 for start, piece in cut)
    assert [piece for _, piece in cut][:2] == ["no cough.\n", "Saw amora.\n"]
    assert list(pieces("")) == []
    assert found(text, list(recognized(text))) == [("name", "amora"), ("place", "Zelmont")]


def test_the_audit_measures_the_detector_of_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """An analyzer that takes all for a name misses nothing planted."""
    monkeypatch.setattr(presidio, "analyzer", Greedy)
    asked = Audit(documents=1, identifiers_per_document=6, characters=1000, seed=1)
    recall = {
        detector: audit.measured(["No cough."] * 40, Phi.model_validate(section), asked)[-1]["recall"]
        for detector, section in (("rules", phi()), ("presidio", WITH_PRESIDIO))
    }
    assert recall["rules"] < recall["presidio"] == 1


def test_no_fingerprint_depends_on_presidio() -> None:
    """Nor on spaCy.

    Who installs them rebuilds nothing but the sources that ask for them.
    """
    assert {"presidio_analyzer", "spacy"}.isdisjoint(closure(ROOT / "stages/ingest.py", ROOT)[1])


@pytest.mark.parametrize(
    ("here", "message"),
    [
        (None, r"params.yaml: source.notes.phi.detector: presidio is not installed; `pip install presidio-analyzer && python"),
        ("2.2.367 en_core_web_lg-3.8.0", r"phi.detector_version: '2.2.366 .*', but installed is '2.2.367 en_core_web_lg-3.8.0'"),
    ],
)  # fmt: skip
def test_another_presidio_or_none_is_an_error_before_a_row_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: str | None, message: str
) -> None:
    """One line has the key and what to do.

    From `ingest` and `audit` alike, though there is no row to read.
    """
    monkeypatch.setattr(screening, "installed", lambda: here)
    paths: dict[str, Any] = {name: tmp_path / name for name in ("audits", "documents", "ledger", "counts")}
    source = section(phi=WITH_PRESIDIO)
    asked = Audit(documents=1, identifiers_per_document=1, characters=100, seed=1)
    with pytest.raises(BuildError, match=message) as caught:
        ingest.main(
            raw=tmp_path / "none", audit=asked, source=source, name="notes", store=Store(tmp_path / "store", 1), **paths
        )
    assert "\n" not in str(caught.value)
    with pytest.raises(BuildError, match=message):
        audit.write_audit(
            documents=tmp_path / "none", source=source, audit=asked, name="notes", audits=tmp_path / "audits"
        )


def test_the_versions_are_those_of_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both count, and where one is missing there is none.

    The rules ask for neither.
    """
    here = {"presidio-analyzer": "2.2.366", "en_core_web_lg": "3.8.0"}

    def version(package: str) -> str:
        if package not in here:
            raise PackageNotFoundError(package)
        return here[package]

    monkeypatch.setattr(presidio, "version", version)
    check_detector(Phi.model_validate(WITH_PRESIDIO), "notes")
    for package in ("presidio-analyzer", "en_core_web_lg"):
        with monkeypatch.context() as without:
            without.delitem(here, package)
            assert presidio.installed() is None
            check_detector(Phi.model_validate(phi()), "notes")


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The real analyzer on a spaCy pipeline made for the test.

    It knows one person, one organization and a duration.
    """
    pytest.importorskip("presidio_analyzer", reason="Presidio is not installed: an option, in no lock")
    spacy = pytest.importorskip("spacy")
    nlp = spacy.blank("en")
    known = {"PERSON": "amora", "ORG": "Cardiology", "DATE": "two days", "GPE": "Zelmont"}
    nlp.add_pipe("entity_ruler").add_patterns([{"label": label, "pattern": word} for label, word in known.items()])
    nlp.to_disk(tmp_path / "pipeline")
    monkeypatch.setattr(presidio, "MODEL", str(tmp_path / "pipeline"))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("asks the network"))
    presidio.analyzer.cache_clear()
    yield
    presidio.analyzer.cache_clear()


@pytest.mark.usefixtures("pipeline")
def test_the_real_analyzer_gives_persons_places_and_its_patterns(caplog: pytest.LogCaptureFixture) -> None:
    """Of the model's labels names and places only are taken.

    Of its patterns those of the table; nothing is fetched, nothing warned of.
    """
    text = "For two days amora of Zelmont, seen in Cardiology, had pain: 10.0.0.1, card 4111 1111 1111 1111, jo@x.org."
    spans = sorted(recognized(text))
    expected = [("name", "amora"), ("place", "Zelmont"), ("ip", "10.0.0.1"), ("account", "4111 1111 1111 1111")]
    assert [span for span in found(text, spans) if span[0] != "url"] == expected
    assert not [record for record in caplog.records if record.name == "presidio-analyzer"]
    assert {*presidio.KIND} <= {*presidio.analyzer().get_supported_entities("en")}
