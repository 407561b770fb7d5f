"""README.md says what is so."""

import re
import subprocess

import pytest

from stages.lib.stage import ROOT
from stages.readme import collapsed, dag, filled, results

README = (ROOT / "README.md").read_text()


def part(name: str) -> str:
    found = re.search(rf"<!-- {name} -->\n(.*?)\n<!-- /{name} -->", README, re.S)
    assert found, name
    return found.group(1)


def test_the_picture_is_the_dag_that_dvc_sees() -> None:
    """`python -m stages.readme` would change nothing."""
    assert part("dag") == dag()


def test_the_results_are_those_of_the_committed_metrics() -> None:
    """Compared with HEAD, so that a run on another machine does not make the README wrong."""
    show = ["git", "show", "HEAD:metrics/report.md"]
    committed = subprocess.run(show, cwd=ROOT, capture_output=True, text=True, check=False)
    assert committed.returncode == 0, committed.stderr
    assert part("results") == results(committed.stdout)


def test_instances_of_a_stage_are_one_node() -> None:
    """And arrows between instances of one stage disappear."""
    graph = 'flowchart TD\n\tnode1["a@x"]\n\tnode2["a@y"]\n\tnode3["b"]\n\tnode1-->node3\n\tnode2-->node3\n'
    assert collapsed(graph) == 'flowchart TD\n    a["a@..."]\n    b["b"]\n    a --> b'


def test_a_missing_marker_is_an_error() -> None:
    """A part is not dropped in silence."""
    with pytest.raises(ValueError, match="needs <!-- x -->"):
        filled("text", "x", "content")
