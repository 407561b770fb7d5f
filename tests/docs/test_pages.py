"""README.md, CONTRIBUTING.md and docs/ say what is so, in short sentences."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token
from pydantic import TypeAdapter

from osler.build.pipeline import ROOT
from osler.commands.docs import BY_HAND, described_sections, keys, section_of
from tests.build.test_first_hour import missing

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
DATED = {"LOG.md", "CHANGELOG.md"}  # they name what there was
GENERATED = {"params.md", "commands.md"}
CURRENT = [page for page in PAGES if page.name not in DATED]
BY_PEOPLE = [page for page in CURRENT if page.name not in GENERATED | {"SECURITY.md"}]
TRACKED = ("osler", "stages", "tests", "bench", "profiles", "docs", ".ci", ".github")
MADE = ("data", "models", "results", "metrics", "fingerprints", "scratch")
HIDDEN = {"launch", "docs"}  # commands that `osler --help` does not list

each_page = pytest.mark.parametrize("page", CURRENT, ids=lambda page: page.name)


def parsed(text: str) -> list[Token]:
    """The blocks of a page."""
    return MarkdownIt("commonmark").enable("table").parse(text)


def text_of(token: Token) -> str:
    """What an inline token says; code is one word."""
    shown = {"code_inline": "code", "softbreak": " "}
    return "".join(
        shown.get(child.type, child.content) for child in token.children or () if child.type in {"text", *shown}
    )


def by_hand(page: Path) -> str:
    """The text of a page without its generated parts."""
    return re.sub(r"<!-- (\w+) -->.*?<!-- /\1 -->", "", page.read_text(encoding="utf-8"), flags=re.S)


def anchors(text: str) -> set[str]:
    """What a `#` link can point to, as GitHub names headings."""
    tokens, found = parsed(text), list[str]()
    for before, token in pairwise(tokens):
        if before.type == "heading_open":
            said = "".join(child.content for child in token.children or ())
            found.append(re.sub(r"[^\w\- ]", "", said.lower()).replace(" ", "-"))
    return {
        f"{name}-{found[:place].count(name)}" if name in found[:place] else name for place, name in enumerate(found)
    }


def links(text: str) -> list[str]:
    """The addresses of all links and pictures."""
    found = [
        str(child.attrs.get("href") or child.attrs.get("src") or "")
        for token in parsed(text)
        for child in token.children or ()
    ]
    return [address for address in found if address]


def codes(text: str) -> list[str]:
    """What stands in backticks within a text."""
    children = [child for token in parsed(text) for child in token.children or ()]
    return [child.content for child in children if child.type == "code_inline"]


def typed(text: str) -> Iterator[list[str]]:
    """Commands that a reader may type, as words.

    They stand in backticks and in blocks that are neither output nor another language.
    """
    lines = codes(text)
    for token in parsed(text):
        if token.type == "fence" and token.info in ("", "sh"):
            lines += [line.removeprefix("$ ") for line in token.content.splitlines()]
    for line in lines:
        for command in line.partition("  #")[0].split(" && "):
            yield command.split()


def artifacts() -> list[str]:
    """The paths of dvc.yaml as patterns, `${...}` standing for a name.

    The rows of an adapter are one of two other paths.
    """
    found = list[str]()

    def look(value: Any) -> None:
        for one in value if isinstance(value, list | dict) else ():
            if isinstance(one, str):
                found.append(one)
            look(value[one] if isinstance(value, dict) else one)

    look(yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"])
    own = [path for path in found if path.split("/")[0] in MADE and path != "data/${item.rows}"]
    return [re.sub(r"\\\$\\\{.*?\\\}", "[^/]+", re.escape(path)) for path in own]


def is_made(path: str) -> bool:
    """Whether a stage writes this path, or code names it.

    A folder that holds artifacts and a file within one count too.
    """
    folders = [str(folder) for folder in (Path(path), *Path(path).parents)]
    if any(re.match(rf"{re.escape(path)}(/|$)", pattern.replace("\\", "")) for pattern in artifacts()):
        return True
    if any(re.fullmatch(pattern, folder) for pattern in artifacts() for folder in folders):
        return True
    in_code = "/" in path or path == "scratch"
    return (
        in_code
        and subprocess.run(["git", "grep", "-qF", path, "--", "osler", "stages"], cwd=ROOT, check=False).returncode == 0
    )


def missing_paths(text: str) -> list[str]:
    """Files and folders in backticks that there are none of."""
    known = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    names = {Path(file).name for file in known}
    wrong = []
    for word in (word.strip(",;") for code in codes(text) for word in code.split()):
        top, *below = word.split("/")
        pattern = re.sub(r"<.*?>", "*", word.rstrip("/"))
        if below and top in TRACKED:
            wrong += [] if any(ROOT.glob(pattern)) else [word]
        elif below and top in MADE:
            wrong += [] if is_made(pattern.replace("*", "x")) else [word]
        elif re.fullmatch(r"[\w-]+\.(py|yaml|md|toml|lock)", word):
            wrong += [] if word in names else [word]
        elif re.fullmatch(r"(osler|stages)(\.\w+)+", word):
            wrong += [] if find_spec(word) else [word]
    return wrong


def merged(below: Any, above: Any) -> Any:
    """A section with some of its keys given."""
    if isinstance(below, Mapping) and isinstance(above, Mapping):
        return {key: merged(below.get(key), above.get(key, below.get(key))) for key in {**below, **above}}
    return above


def sentences(text: str) -> list[str]:
    """Every sentence of paragraphs, lists and tables."""
    said = [text_of(token) for token in parsed(text) if token.type == "inline"]
    return [one for block in said for one in re.split(r"(?<=[.!?])[\")]?\s+", block) if one.strip()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_within_the_project_leads_somewhere(page: Path) -> None:
    """Its file is there, and so is the heading it points to."""
    for address in links(page.read_text(encoding="utf-8")):
        file, _, anchor = address.partition("#")
        if re.match(r"[a-z]+:", address):
            continue
        target = page.parent / file if file else page
        assert target.exists(), address
        assert not anchor or anchor in anchors(target.read_text(encoding="utf-8")), address


@each_page
def test_every_path_in_backticks_exists(page: Path) -> None:
    """In the repository, or as something that a stage makes."""
    assert missing_paths(by_hand(page)) == []


def test_a_path_that_is_not_there_is_noticed() -> None:
    """Also an artifact, a module, and one with a name to fill in."""
    text = "`osler/nowhere.py` `tests/x/` `data/nothing/<name>` `nowhere.py` `osler.nowhere`"
    assert missing_paths(text) == ["osler/nowhere.py", "tests/x/", "data/nothing/<name>", "nowhere.py", "osler.nowhere"]
    assert missing_paths("`osler/build/` `results/predictions/<model>` `dvc.yaml` `osler.build.stage` `a/b`") == []


@each_page
def test_every_command_exists(page: Path) -> None:
    """Commands of osler with their options, targets of make, modules."""
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    listed = (ROOT / "docs/commands.md").read_text(encoding="utf-8")
    helps = dict(re.findall(r"^## osler (\w+)$(.*?)(?=^## |\Z)", listed, re.M | re.S))
    for words in typed(by_hand(page)):
        match words:
            case ["osler", name, *rest] if name.islower() and name.isalpha():
                assert name in {*helps, *HIDDEN}, words
                options = [word for word in rest if word.startswith("--")]
                assert name in HIDDEN or all(f"{option} " in helps[name] for option in options), words
            case ["make", target, *_] if target.islower():
                assert target in targets, words
            case ["python", "-m", module, *_] if module != "spacy":  # which Presidio brings
                assert find_spec(module), words


@each_page
def test_every_key_in_backticks_exists(page: Path) -> None:
    """A dotted name that begins with a section is one of its keys."""
    known = {name: about for name, about in described_sections().items() if section_of(about.annotation)}
    for code in codes(by_hand(page)):
        section, _, key = code.partition(":")[0].strip().partition(".")
        about = known.get(section)
        if about and not about.is_named and re.fullmatch(r"[a-z_.0-9]+", key):
            inner = section_of(about.annotation)
            assert inner
            assert f"`{key}`" in {row.key for row in keys(inner)}, code


@each_page
def test_every_example_of_params_validates(page: Path) -> None:
    """A named entry is whole; another section says what differs from params.yaml."""
    default = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    known = described_sections()
    for token in parsed(page.read_text(encoding="utf-8")):
        if token.type != "fence" or token.info != "yaml":
            continue
        for section, value in yaml.safe_load(token.content).items():
            if section in BY_HAND or section == "extends":
                continue
            about = known[section]
            for one in value.values() if about.is_named else [merged(default[section], value)]:
                TypeAdapter(about.annotation).validate_json(json.dumps(one), strict=True)


@pytest.mark.skipif(not find_spec("osler.__main__"), reason="there is no command line")
def test_what_a_build_would_cost_is_what_plan_prints() -> None:
    """The lines of the example, those shortened to `...` left out."""
    fences = [
        token for token in parsed((ROOT / "docs/planning.md").read_text(encoding="utf-8")) if token.type == "fence"
    ]
    place = next(place for place, token in enumerate(fences) if token.info == "sh")
    command = shlex.split(fences[place].content)
    expected = [line for line in fences[place + 1].content.splitlines() if line.strip()]
    printed = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert missing(expected, printed) == []


@pytest.mark.parametrize(("name", "lines"), [("README.md", 150), ("CONTRIBUTING.md", 60)])
def test_what_is_read_first_is_short(name: str, lines: int) -> None:
    """README at one sitting, CONTRIBUTING on two screens."""
    assert len((ROOT / name).read_text(encoding="utf-8").splitlines()) <= lines


@pytest.mark.parametrize("page", BY_PEOPLE, ids=lambda page: page.name)
def test_sentences_are_short(page: Path) -> None:
    """19 of 20 have at most 25 words, none more than 40."""
    long = [one for one in sentences(by_hand(page)) if len(one.split()) > 25]
    assert [one for one in long if len(one.split()) > 40] == []
    assert len(long) <= len(sentences(by_hand(page))) / 20, long
