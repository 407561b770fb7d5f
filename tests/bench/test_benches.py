"""The benchmark's own side on a few dozen documents, so that it runs whenever somebody wants to measure."""

import gzip
import json
import random
from pathlib import Path

import pytest

from bench import corpus
from bench.beside import PARTS
from bench.corpus import COUNTED, Arm, Step, every_nth, table, write_corpus

ENGLISH = """
the a of and in with after before patient nurse doctor river garden morning evening house window letter table
water walked looked found carried opened answered waited remembered small quiet long early late cold warm
because while
""".split()  # noqa: SIM905 - shorter to read than a list
QUESTION = "which of these plants is brewed against the moon itch of the river people in spring"


def words(number: int, count: int = 60) -> str:
    """A text of its own for each number."""
    return " ".join(random.Random(number).choices(ENGLISH, k=count))


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Arm, Path]:
    """33 documents: 30 different, one of two words, one copied from another, one with a benchmark's question."""
    folder = tmp_path_factory.mktemp("bench")
    item = {"id": "i", "question": QUESTION, "options": ["fern", "moss"], "answer": 0}
    (folder / "benchmark").mkdir()
    (folder / "benchmark" / "items.jsonl").write_text(json.dumps(item))
    texts = [*map(words, range(30)), "too short", words(3), f"{words(99)} {QUESTION}"]
    with gzip.open(folder / "text.jsonl.gz", "wt") as stream:
        stream.writelines(json.dumps({"text": text}) + "\n" for text in texts)
    source, out = folder / "text.jsonl.gz", folder / "out.json"
    arguments = {"profile": "default", "root": folder, "corpus": source, "out": out}
    (arm,) = corpus.main([word for name, value in arguments.items() for word in (f"--{name}", str(value))])
    return arm, out


def test_every_counted_stage_runs_and_is_measured(measured: tuple[Arm, Path]) -> None:
    """Bound as dvc.yaml says; each takes time and memory."""
    arm, _ = measured
    assert list(arm.steps) == [stage.partition("@")[0] for stage in COUNTED]
    assert all(step.cpu_seconds > 0 and step.peak_megabytes > 10 for step in arm.steps.values())
    assert set(arm.beside) == set(PARTS)
    assert min(arm.beside.values()) > 0


def test_documents_are_filtered_deduplicated_and_decontaminated(measured: tuple[Arm, Path]) -> None:
    """One document each, and what is left is in the rows; nothing is lost but held-out documents."""
    arm, _ = measured
    heldout = arm.dropped.pop("heldout", 0)
    assert arm.dropped == {"too_short": 1, "exact_duplicate": 1, "contaminated": 1}
    assert (arm.steps["ingest"].documents, arm.steps["select"].documents, arm.kept) == (33, 30 - heldout, 30 - heldout)
    assert arm.tokens > 60 * arm.kept


def test_results_hold_what_the_table_shows(measured: tuple[Arm, Path]) -> None:
    """The file has the rate that follows from its own megabytes and seconds."""
    arm, out = measured
    (found,) = json.loads(out.read_text())
    assert found["rate"] == pytest.approx(found["megabytes"] / sum(s["cpu_seconds"] for s in found["steps"].values()))
    assert found["kept"] == arm.kept


def test_only_arms_on_the_same_text_are_compared() -> None:
    """2 seconds against 8 on 4 MB is 4.0; an arm on other text gets no ratio."""
    ours, peer = (Arm(name, 4.0, 1, 1, {"all": Step(s, s, 100.0)}) for name, s in (("ours", 2.0), ("peer", 8.0)))
    other = Arm("other", 5.0, 1, 1, {"all": Step(1.0, 1.0, 100.0)})
    ratios = [line.split("|")[-2].strip() for line in table([ours, peer, other], ours).splitlines() if "**" in line]
    assert ratios == ["1.0", "4.0", ""]


def test_every_nth_text_is_taken_and_megabytes_are_bytes_of_text(tmp_path: Path) -> None:
    """Of five texts the first, third and fifth; "é" is two bytes."""
    assert write_corpus(["a", "é", "c", "d", "e"], tmp_path / "made") == 6 / 1e6
    assert list(every_nth(tmp_path / "made", 2)) == ["a", "c", "e"]
