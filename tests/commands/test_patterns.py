"""Regular expressions that never end."""

import re
import time
from typing import Any

import pytest

from osler.build.section import BuildError
from osler.commands.patterns import check_patterns, hard_texts
from tests.support.params import PARAMS, profile_params


def with_split(pattern: str) -> dict[str, Any]:
    """Params of one source, split at `pattern`."""
    return {"source": {"towns": PARAMS["source"]["towns"] | {"split": pattern}}}


@pytest.mark.parametrize(
    "pattern",
    [
        r"(?:a|a)*b",
        r"(?:x+x+)+y",
        r"(?m)^(?:=+ ?)+$",
        r"<doc>(?:a|aa)*</doc>",  # only after what stands before it
        r"(?:(?:Q\d+)+ ?)+!",  # only on what a set and a category mean
        r"(?:[^\W\d]+-?)*=",
        r"(?:foo|fo|o)*x",
        r"(?:日本|日|本)*x",
        r"(?i)(?:Note|note)*:",
        r"\s*\s*\s*\s*x",  # no power of two, but a fourth power
    ],
)
def test_a_pattern_that_goes_back_without_end_is_refused(pattern: str) -> None:
    """In seconds, by its source's name, and with what to do."""
    started = time.process_time()
    with pytest.raises(
        BuildError, match=r"^params.yaml: source.towns.split: takes more than 2 s on 1000 .*; write it so"
    ):
        check_patterns(with_split(pattern))
    assert time.process_time() - started < 1, "this process itself does not try it"


@pytest.mark.parametrize(
    "pattern",
    [
        r"\n\n", r"\n{2,}", r"\s*\n\s*\n\s*", r"(?m)^\s*-{3,}\s*$", r"(?m)^(?=[A-Z][A-Z ]+:)", r"\n(?=\d+\.\s)",
        r"(?s)<doc>.*?</doc>", r"(?>a+)+b", r"(?<=</doc>)\s*", r"(?x) \n  # a line\n", "",
        profile_params("real-small")["source"]["wikitext2"]["split"],
    ],
)  # fmt: skip
def test_what_people_split_at_passes(pattern: str) -> None:
    """Among it what needs time by the square of a text's length, and atomic groups, which do not go back."""
    check_patterns(with_split(pattern))


def test_a_split_of_the_hub_is_a_name() -> None:
    """And no pattern."""
    hub = PARAMS["source"]["towns"] | {"format": "hub", "split": "(?:a|a)*b"}
    check_patterns({"source": {"towns": hub, "notes": hub | {"format": "txt", "split": None}}})


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("ab(?:cd|ef)*", "abefefef"),
        ("[^a0 b]{2,}", "\n\n\n\n"),
        (r"(?:[b-d]\S)+", "babab"),
        ("(?:(?>xy))+?", "xyxyxy"),
        ("(?=ab*)", "abbbb"),
    ],
)
def test_the_texts_repeat_what_the_pattern_does(pattern: str, text: str) -> None:
    """Each with what stands before it, at full length, and with an end that does not fit."""
    runs = [one for one in hard_texts(pattern) if one.startswith(text)]
    assert runs
    assert all(len(one) >= 1000 for one in runs)
    assert {one[-1] == "\x01" for one in runs} == {True, False}
    assert re.match(pattern, runs[0])
