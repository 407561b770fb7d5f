"""What is generated in README.md and docs/ is what is so."""

import subprocess
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import pytest
import yaml
from pydantic import Field

from osler.build.pipeline import ROOT
from osler.build.section import BuildError, Section
from osler.commands import docs
from osler.commands.docs import (
    collapsed,
    commands_page,
    dag,
    described_sections,
    exceptions,
    filled,
    first_table,
    headline,
    keys,
    params_page,
    results,
    say,
    stale,
    table,
)
from osler.commands.main import app

REPORT = """# Report

## Accuracy

Percent. On fewer items: few_shot, 9 of quiz; cot, 8 of quiz. Over 3 training seeds, fewer for few_shot (1), cot (1); compare.

| model | zero_shot | few_shot | cot |
| --- | ---: | ---: | ---: |
| `base` | 1.0 † | 2.0 |  |
| `cpt` | 3.0 | 4.0 | 5.0 |

Guessing gives 25.0 %. At chance: base.

![accuracy](figures/accuracy.png)

### Seeds

## Claims

| claim | verdict | points | interval | p | items | seeds |
| --- | --- | ---: | ---: | ---: | ---: | ---: |
| A beats B. | **supported** | +1.0 | [+0.5, +1.5] | 0.1 | 9 | 3 |
| · A - B |  | +1.0 | [+0.5, +1.5] | 0.1 | 9 | 3 |

## Bits per byte

| model | clinical |
| --- | ---: |
| `base` | 2.0 |
| `cpt` | 1.0 |

## Privacy

## Contamination

None.
"""


def part(file: str, name: str) -> str:
    """What stands in a page between the markers of that name."""
    text = (ROOT / file).read_text(encoding="utf-8")
    return text.partition(f"<!-- {name} -->\n")[2].partition(f"\n<!-- /{name} -->")[0]


def test_the_picture_is_the_dag_that_dvc_sees() -> None:
    """`osler docs` would change nothing."""
    assert part("docs/architecture.md", "dag") == dag()


def test_the_results_are_those_of_the_committed_metrics() -> None:
    """Those in HEAD: a run on another machine makes no page wrong."""
    show = ["git", "show", "HEAD:metrics/report.md"]
    committed = subprocess.run(show, cwd=ROOT, capture_output=True, text=True, check=False)
    assert committed.returncode == 0, committed.stderr
    assert part("README.md", "results") == headline(committed.stdout)
    assert part("docs/evaluation.md", "results") == results(committed.stdout)


def test_the_pages_that_are_generated_whole_are_up_to_date() -> None:
    """The params of the field descriptions, the commands of their help."""
    assert (ROOT / "docs/params.md").read_text(encoding="utf-8") == params_page()
    if find_spec("osler.commands.main"):
        assert (ROOT / "docs/commands.md").read_text(encoding="utf-8") == commands_page(docs.helps(app))


def test_every_section_and_key_of_params_is_described() -> None:
    """Every section has a heading, and every row says what the key is."""
    page = params_page()
    for section in yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8")):
        assert f"\n## {section}\n" in page
    silent = [line for line in page.splitlines() if line.startswith("| `") and line.endswith("|  |")]
    assert silent == []


def test_instances_of_a_stage_are_one_node() -> None:
    """And arrows between instances of one stage disappear."""
    graph = 'flowchart TD\n\tnode1["a@x"]\n\tnode2["a@y"]\n\tnode3["b"]\n\tnode1-->node3\n\tnode2-->node3\n'
    assert collapsed(graph) == 'flowchart TD\n    a["a@..."]\n    b["b"]\n    a --> b'


def test_the_headline_has_what_every_model_answered() -> None:
    """Strategies of some models and contrasts of a claim are left out."""
    assert headline(REPORT).splitlines() == [
        "Accuracy in percent where every model answered, and bits per byte of held-out text, with 95 % intervals. Guessing gives"
        " 25.0 %. A † marks an interval that includes chance. Over 3 training seeds, but few_shot (1): compare these with zero_shot"
        " on the same seed, which the report has. On fewer items: few_shot, 9 of quiz.",
        "",
        "| model | zero_shot | few_shot | bits, clinical |",
        "| --- | --- | --- | --- |",
        "| `base` | 1.0 † | 2.0 | 2.0 |",
        "| `cpt` | 3.0 | 4.0 | 1.0 |",
        "",
        "| claim | verdict | points | interval | items | seeds |",
        "| --- | --- | --- | --- | --- | --- |",
        "| A beats B. | **supported** | +1.0 | [+0.5, +1.5] | 9 | 3 |",
    ]


def test_results_are_sections_of_the_report_without_figures() -> None:
    """In the report's order, one heading level down."""
    text = results(REPORT)
    assert [line for line in text.splitlines() if line.startswith("#")] == [
        "### Accuracy", "#### Seeds", "### Claims", "### Bits per byte", "### Contamination",
    ]  # fmt: skip
    assert "figures" not in text


def test_a_missing_section_of_the_report_is_an_error() -> None:
    """Results are not left out in silence."""
    with pytest.raises(BuildError, match="no section Claims"):
        results(REPORT.replace("## Claims", "## Verdicts"))


def test_nothing_is_said_where_all_seeds_and_items_were_asked() -> None:
    """A report of one seed has no such words."""
    assert exceptions("Percent. quiz: 9 items.", ["zero_shot"]) == []
    some = "Over 3 training seeds, fewer for cot (1), zero_shot of cpt, anneal-1 (2); compare"
    assert exceptions(some, ["zero_shot"])[0].startswith(
        "Over 3 training seeds, but zero_shot of cpt, anneal-1 (2): compare"
    )


def test_a_missing_marker_is_an_error() -> None:
    """A part is not dropped in silence."""
    with pytest.raises(BuildError, match=r"^README.md: needs <!-- x -->"):
        filled("text", "x", "content")
    assert filled("<!-- x -->\nold\n<!-- /x -->", "x", "new") == "<!-- x -->\nnew\n<!-- /x -->"


def test_a_table_is_read_as_it_is_written() -> None:
    """Empty cells are cells; a second table is not of the first."""
    rows = [["a", "b"], ["1", ""], ["", "2"]]
    assert first_table(f"words\n\n{table(rows)}\n\n| other |\n| --- |\n| 3 |\n") == rows


class Inner(Section):
    """A section in another one."""

    size_tokens: int = Field(gt=0, le=9, description="of it")


class Outer(Section):
    """What a row can say of a key."""

    kind: Literal["a", "b", "c"] = Field(description="one | of three")
    share_fraction: float = Field(ge=0, lt=1, description="share")
    start: str | None = Field(default=None, alias="from", pattern="^(x|y)$", description="off")
    inner: Inner | None = Field(description="maybe")
    weights: Mapping[str, Annotated[float, Field(ge=0)]] = Field(description="shares")
    pair: tuple[bool, bool] = Field(description="two")
    names: tuple[str, ...] = Field(min_length=1, description="some")


def test_a_key_is_told_by_its_type_range_unit_and_description() -> None:
    """In words; the keys of an inner section come after it."""
    assert [tuple(row) for row in keys(Outer)] == [
        ("`kind`", "`a`, `b` or `c`", "", "", "one | of three"),
        ("`share_fraction`", "number", "0 to below 1", "share of 1", "share"),
        ("`from`", "text, may be absent", "matches `^(x|y)$`", "", "off"),
        ("`inner`", "section or null", "", "", "maybe"),
        ("`inner.size_tokens`", "whole number", "above 0, at most 9", "tokens", "of it"),
        ("`weights`", "mapping of name to number", "at least 0", "", "shares"),
        ("`pair`", "2 of true or false", "", "", "two"),
        ("`names`", "list of text", "not empty", "", "some"),
    ]
    assert r"one \| of three" in table([["is"], [next(keys(Outer)).description]])


def test_sections_are_those_that_stages_declare() -> None:
    """With all their readers, named ones as such."""
    known = described_sections()
    assert known["neftune"].stages == ["neftune"]
    assert (known["source"].is_named, known["select"].is_named) == (True, False)
    assert {"screen", "select"} == set(known["screen"].stages)


def test_a_command_has_a_section_with_its_help() -> None:
    """White space at the ends of lines is left out."""
    page = commands_page([("osler plan", "Usage: osler plan  \n\n  What.\n")])
    assert page.endswith("## osler plan\n\n```text\nUsage: osler plan\n\n  What.\n```\n")


def test_a_page_that_is_not_as_generated_is_named_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `--check` it is only named, in one line."""
    (tmp_path / "good.md").write_text("good")
    (tmp_path / "old.md").write_text("old")
    made = {"good.md": "good", "old.md": "new", "none.md": "some"}
    assert stale(made, tmp_path) == ["none.md", "old.md"]
    monkeypatch.setattr(docs, "ROOT", tmp_path)
    monkeypatch.setattr(docs, "pages", lambda root, _: made if root == tmp_path else {})
    with pytest.raises(BuildError, match=r"^none.md, old.md: not as generated; run `osler docs`$"):
        say(app, check=True)
    assert (tmp_path / "old.md").read_text() == "old"
    say(app, check=False)
    assert stale(made, tmp_path) == []
    say(app, check=True)
