"""A newcomer's first hour: the commands of README and of two pages of docs/, one by one in a clone, print what is said there.

By `make first-hour`, after `make repro`: the clone takes the cache of this checkout, so that it need not train again.
"""

import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from osler.build.pipeline import ROOT
from osler.training.arithmetic import is_as_committed
from tests.support.project import Project, ran

PAGES = (
    "README.md",
    "docs/comparing.md",
    "docs/your-text.md",
)  # the first leaves the experiment that the second compares
CONSOLE = re.compile(r"^```\n(\$ .*?)^```", re.MULTILINE | re.DOTALL)


def sessions(text: str) -> Iterator[tuple[str, list[str]]]:
    """Each command of the console blocks in `text`, with the lines that it is said to print."""
    for block in CONSOLE.findall(text):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, *lines = part.splitlines()
            yield command.partition("  #")[0].strip(), [line for line in lines if line.strip()]


def missing(expected: list[str], printed: str) -> list[str]:
    """Lines that are not printed; `...` stands for anything, white space for white space. DVC sorts no files."""
    found = [" ".join(line.split()) for line in printed.splitlines()]
    patterns = {line: ".*".join(map(re.escape, " ".join(line.split()).split("..."))) for line in expected}
    return [line for line, pattern in patterns.items() if not any(re.fullmatch(pattern, one) for one in found)]


def test_a_line_that_is_not_printed_is_noticed() -> None:
    """`...` may be anything, alone or within a line; a number that differs is not."""
    printed = "one   1\ntwo 2 of 9\nthree 3\n"
    assert missing(["one 1", "...", "three 3"], printed) == []
    assert missing(["two ... 9"], printed) == []
    assert missing(["one 2", "one 1"], printed) == ["one 2"]
    assert missing(["one"], printed) == ["one"]


def test_commands_and_their_output_are_read_from_console_blocks() -> None:
    """Blocks of other kinds are none, and a comment after a command is not typed."""
    text = "```\n$ a b  # why\nx\n\ny\n$ c\n```\n```yaml\n$ no\n```\n```\nmake d\n```\n"
    assert list(sessions(text)) == [("a b", ["x", "y"]), ("c", [])]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A clone of HEAD with the build of this checkout in its cache, built."""
    if not is_as_committed(ROOT):
        pytest.skip("this CPU does not make what is committed, as `make repro` says")
    folder = tmp_path_factory.mktemp("hour") / "osler"
    subprocess.run(["git", "clone", "-q", ROOT, folder], check=True)
    project = Project(folder)
    if (ROOT / ".dvc/cache").is_dir():  # without the experiments that may have been run there
        shutil.copytree(ROOT / ".dvc/cache", folder / ".dvc/cache", ignore=shutil.ignore_patterns("runs"))
        project.run("dvc", "checkout", "--quiet")
    project.run("dvc", "repro")
    return project


@pytest.mark.first_hour
def test_the_build_is_the_committed_one(clone: Project) -> None:
    """Nothing that Git knows has changed, and nothing is left to run."""
    assert clone.run("git", "status", "--porcelain") == ""
    assert ran(clone.run("dvc", "repro")) == set()


@pytest.mark.first_hour
def test_the_commands_print_what_the_pages_say(clone: Project) -> None:
    """Every console block, page by page in its order; ablations, which take a quarter of an hour, are none."""
    typed = [one for page in PAGES for one in sessions((ROOT / page).read_text(encoding="utf-8"))]
    commands = {command for command, _ in typed}
    assert {"dvc metrics diff", "osler compare HEAD alpha-10", "osler trace notes/n00006"} <= commands
    for command, expected in typed:
        printed = clone.run("bash", "-c", command)
        assert missing(expected, printed) == [], f"$ {command}\n{printed}"


@pytest.mark.first_hour
def test_an_experiment_differs_by_its_effect_alone(clone: Project) -> None:
    """After another alpha every changed metric is about NEFTune or a mean over models that were tuned with it."""
    clone.reset()
    clone.run("dvc", "exp", "run", "-S", "neftune.alpha=10")
    rows = clone.run("dvc", "metrics", "diff").splitlines()[1:]
    assert rows
    strangers = [row for row in rows if not re.search("neftune|medprompt|credit", row)]
    assert strangers == []
