"""What is said of a value that is not what it should be."""

from typing import Annotated, Any

import pytest
from pydantic import Field, TypeAdapter, model_validator

from osler.build.section import BuildError, Section
from osler.build.validation import shown_value, suggestion, validated, wanted_list


class Example(Section):
    """Two keys."""

    alpha: float = Field(ge=0)
    name: str = "x"


Seeds = Annotated[tuple[int, ...], Field(min_length=1)]


@pytest.mark.parametrize(
    ("value", "annotation", "message"),
    [
        ([], Seeds, r"params.yaml: x: must be a list of at least one whole number \(it is \[\]\)$"),
        (
            [1],
            Annotated[tuple[int, ...], Field(min_length=2)],
            r"x: must be a list of at least two whole numbers \(it is \[1\]\)$",
        ),
        (1, Seeds, r"params.yaml: x: must be a list of at least one whole number \(it is 1\)$"),
        (None, Seeds, r"params.yaml: x: must be a list of at least one whole number \(it is null\)$"),
        ({"alpha": [5]}, Example, r"x.alpha: Input should be a valid number \(it is \[5\]\)"),
        ({"alpha": {"a": 5}}, Example, r'x.alpha: Input should be a valid number \(it is {"a": 5}\)$'),
        ({"alpha": [0] * 99}, Example, r"x.alpha: Input should be a valid number \(it is \[(0, ){26}0\.\.\.\)$"),
        ({"alpha": "y" * 99}, Example, r"x.alpha: Input should be a valid number \(it is 'y+\.\.\.\)"),
        ({"alpha": 1, "name": {"1": 2}}, Example, r'x.name: .*valid string \(it is {"1": 2}\); put it in quotes$'),
        ({"alpa": 1}, Example, r"x.alpa: unknown key, did you mean alpha\?"),
    ],
)
def test_a_wrong_value_is_one_line_with_what_it_is(value: Any, annotation: Any, message: str) -> None:
    """Also a list or a mapping; a long one is cut."""
    with pytest.raises(BuildError, match=message) as caught:
        validated("x", value, annotation)
    assert "\n" not in str(caught.value)


def test_a_name_that_is_like_no_other_suggests_nothing() -> None:
    """Rather than a wrong one."""
    assert suggestion("quality", ["seeds", "root"]) == ""
    assert suggestion("sedes", ["seeds", "root"]) == ", did you mean seeds?"


class Nested(Section):
    """Lists in all places in which a section can have one."""

    few: Annotated[tuple[float, ...], Field(max_length=2)] | None = None
    pair: tuple[float, float] = (0.0, 1.0)
    some: Annotated[tuple[str, ...], Field(min_length=2, max_length=3)] = ("a", "b")
    by_name: dict[str, tuple[int, ...]] | None = None
    below: "tuple[Nested, ...]" = ()


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (("few",), "a list of at most two numbers"),
        (("pair",), "a list of two numbers"),
        (("some",), "a list of at least two and at most three texts"),
        (("by_name", "x"), "a list of whole numbers"),
        (("below",), "a list of values"),
        (("below", 0, "by_name", "x"), "a list of whole numbers"),
        (("absent", 3), "a list of values"),
    ],
)
def test_what_a_list_should_be_is_told_wherever_it_stands(place: tuple[int | str, ...], words: str) -> None:
    """In a section, a mapping, a list of sections, or where it may be absent."""
    assert wanted_list(TypeAdapter(Nested).json_schema(), place) == words


def test_a_section_whose_values_do_not_agree_is_not_repeated() -> None:
    """The message names the keys; the whole section would hide it."""

    class Agreeing(Section):
        low: int
        high: int

        @model_validator(mode="after")
        def _ordered(self) -> "Agreeing":
            if self.low > self.high:
                raise ValueError("low: above high")
            return self

    with pytest.raises(BuildError, match="^params.yaml: x: low: above high$"):
        validated("x", {"low": 2, "high": 1}, Agreeing)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        ("é", "'é'"),
        (["é", None], '["é", null]'),
        ({"a": True}, '{"a": true}'),
        ("x" * 99, "'" + "x" * 79 + "..."),
    ],
)
def test_a_value_is_shown_as_the_file_has_it(value: Any, text: str) -> None:
    """In YAML's words, letters beyond ASCII as they are, and no longer than a line."""
    assert shown_value(value) == text
