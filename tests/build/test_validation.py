"""What is said of a value that is not what it should be."""

from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import Field, TypeAdapter, model_validator

from osler.build.pipeline import read_params
from osler.build.portability import is_asked
from osler.build.section import EACH_ONCE, BuildError, RelativePath, Section
from osler.build.validation import shown_value, suggestion, validated, wanted_list


class Example(Section):
    """Two keys."""

    alpha: float = Field(ge=0)
    name: str = "x"


class Shares(Example):
    """Types of osler/build/section.py."""

    betas: dict[str, float] = Field(default_factory=dict)
    names: Annotated[tuple[str, ...], EACH_ONCE] = ()
    path: RelativePath = "x"


class Inner(Section):
    """A section inside of another."""

    step: int = 1


class Optional(Example):
    """Keys that need not be there."""

    one: Inner | None = None
    several: tuple[Inner, ...] = ()
    time: str | None = Field(default=None, pattern=r"^(\d+-)?\d+(:\d+){0,2}$", description="a limit, as 2-00:00:00")
    arguments: tuple[Annotated[str, Field(pattern="^--a$")], ...] = Field(default=(), description="of sbatch, as --a")


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
        ({"alpha": 1, "nam": "y"}, Optional, r"x.nam: unknown key, did you mean name\?$"),
        ({"alpha": 1, "one": {"ster": 2}}, Optional, r"x.one.ster: unknown key, did you mean step\?$"),
        ({"alpha": 1, "several": [{"ster": 2}]}, Optional, r"x.several.0.ster: unknown key, did you mean step\?$"),
        ({"alpha": 1, "quite": 2}, Optional, r"x.quite: unknown key, take it out$"),
        (
            {"alpha": 1, "time": "noon"},
            Optional,
            r"x.time: not written as it should be: a limit, as 2-00:00:00 \(it is 'noon'\)$",
        ),
        (
            {"alpha": 1, "arguments": ["x"]},
            Optional,
            r"x.arguments.0: not written as it should be: of sbatch, as --a \(it is 'x'\)$",
        ),
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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: {b: 2024-02-29}", "a.b: a date; put it in quotes if it is a text"),
        ("a: 2024-02-29T01:02:03Z", "a: a datetime; put it in quotes"),
        ("? 2024-02-29\n: 1", "2024-02-29: a date; put it in quotes"),
        ("a: !!binary aGFsbG8=", "a: a bytes; put"),
        ("a: &x {b: [1, *x]}", "a.b.1: an anchor inside of itself; write out what it stands for"),
        ("a: &x [*x]", "a.0: an anchor inside of itself"),
        ("a: 9223372036854775808", "a: a number beyond 64 bits; write one that the key can mean"),
        ("a: [-0x8000000000000001]", "a.0: a number beyond 64 bits"),
        ('a: "x\\0"', r"a: has the character '\\x00', which no file can hold; take it out"),
        ('"x\\0": 1', r"'x\\x00': has the character"),
        ("a: " + "[" * 60 + "]" * 60, "a: more than 50 levels"),
        (
            "a0: &a0 [1, 1]\n" + "".join(f"a{n + 1}: &a{n + 1} [*a{n}, *a{n}]\n" for n in range(40)),
            "a1.: more than 1000",
        ),
        ("a: 2024-99-99", "month must be in 1..12; correct or take out that value"),
        ("a: !!int ''", "string index out of range; correct or take out"),
        ("a: !!bool x", "'x'; correct or take out that value"),
        ("a: " + "1" * 5000, "Exceeds the limit .*; correct or take out that value"),
    ],
)
def test_what_no_setting_can_be_is_refused_as_it_is_read(tmp_path: Path, text: str, message: str) -> None:
    """Before anything looks at it, in one line with the key; an anchor that is used twice is none of that."""
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(BuildError, match=f"^params.yaml: {message}") as caught:
        read_params(tmp_path / "params.yaml")
    assert "\n" not in str(caught.value)
    assert not is_asked(tmp_path / "params.yaml"), "which is read before all else"
    (tmp_path / "params.yaml").write_text(
        "a: &x [9223372036854775807, -9223372036854775808, 1.0e+30, é\u2028, null]\nb: *x"
    )
    assert read_params(tmp_path / "params.yaml")["b"][2] == 1e30


@pytest.mark.parametrize(
    ("value", "annotation", "message"),
    [
        *(
            ({"alpha": value}, Example, r"x.alpha: Input should be a finite number \(it is ")
            for value in (float("inf"), float("-inf"), float("nan"))
        ),
        ({"alpha": 1, "betas": {"a": float("inf")}}, Shares, "x.betas.a: Input should be a finite number"),
        ({"alpha": 1, "names": ["b", "a", "b"]}, Shares, "x.names: b is named twice; take one out"),
        ({"alpha": 1, "path": "/etc"}, Shares, "x.path: must be relative to `root` "),
        ({"alpha": 1, "path": "a\nb"}, Shares, "x.path: has blanks around it, or characters that cannot be seen"),
        ({"alpha": 1, "path": "a "}, Shares, "x.path: has blanks around it"),
        ({"alpha": 1, "path": ""}, Shares, "x.path: String should have at least 1 character"),
    ],
)
def test_types_that_sections_share(value: Any, annotation: Any, message: str) -> None:
    """Every number is finite, a list names nothing twice, a path is relative."""
    with pytest.raises(BuildError, match=f"^params.yaml: {message}"):
        validated("x", value, annotation)


def test_the_message_of_an_error_is_one_line() -> None:
    """Whatever lines a name has; of a very long one the middle is left out."""
    assert str(BuildError("a\nb\u2028c")) == "a b c"
    message = str(BuildError(f"key: {'x' * 9999}; take it out"))
    assert len(message) < 3000
    assert message.startswith("key: xxx")
    assert message.endswith("; take it out")


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
