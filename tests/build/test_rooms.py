"""The house: which room may import which, and how long things are. Each rule is tried on a tree that breaks it."""

import ast
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from osler.build.pipeline import ROOT

ORDER = (
    *("build", "privacy", "corpus", "ingest", "model", "tokens", "synthetic", "training", "inference", "evaluation"),
    *("statistics", "report", "commands"),
)
"""Rooms from the ground up: each may import those before it."""
MODULE_LINES, FUNCTION_LINES, TEST_LINES, FIRST_LINE_WORDS, ROOMS = 400, 60, 600, 12, 16
Rule = Callable[[Path], Iterator[str]]


def modules(root: Path, *folders: str) -> Iterator[tuple[str, ast.Module]]:
    """Files below folders of a tree, with what they say."""
    for folder in folders:
        for path in sorted((root / folder).rglob("*.py")):
            yield path.relative_to(root).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def imported(file: str, tree: ast.Module) -> Iterator[str]:
    """Dotted names of what a file imports, inside functions too, and by dots as well as by names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            folder = file.split("/")[: -node.level] if node.level else []
            path = [*folder, *([node.module] if node.module else [])]
            yield from (".".join((*path, alias.name)) for alias in node.names)


def room_of(name: str) -> str | None:
    """The room of a file or of a dotted name; None outside and at the door."""
    parts = name.removesuffix(".py").replace("/", ".").split(".")
    return parts[1] if parts[0] == "osler" and len(parts) > 1 and parts[1] in ORDER else None


def imports_of_stages(root: Path) -> Iterator[str]:
    """`osler` knows no stage."""
    for file, tree in modules(root, "osler"):
        yield from (f"{file}: {name}" for name in imported(file, tree) if name.partition(".")[0] == "stages")


def arrows_upward(root: Path) -> Iterator[str]:
    """A room imports only rooms below it, so that there is no circle; `inference` not even `training`."""
    for file, tree in modules(root, "osler"):
        own = room_of(file)
        for name in imported(file, tree):
            other = room_of(name)
            if own and other and own != other:
                is_below = ORDER.index(other) < ORDER.index(own)
                if not is_below or (own, other) == ("inference", "training"):
                    yield f"{file}: {name}"


def wrong_doors(root: Path) -> Iterator[str]:
    """A room's `__init__` is one docstring, and there are few rooms, all of them in ORDER."""
    rooms = sorted(path.parent for path in (root / "osler").glob("*/__init__.py"))
    if len(rooms) > ROOMS:
        yield f"{len(rooms)} rooms"
    for room in rooms:
        tree = ast.parse((room / "__init__.py").read_text(encoding="utf-8"))
        if len(tree.body) != 1 or not ast.get_docstring(tree):
            yield f"{room.name}: not one docstring"
        if room.name not in ORDER:
            yield f"{room.name}: has no place in ORDER"


def long_ones(root: Path) -> Iterator[str]:
    """Modules, functions and test files that nobody reads to the end; a function that only returns a table is a table."""
    for file, tree in modules(root, "osler", "stages", "tests"):
        lines = len((root / file).read_text(encoding="utf-8").splitlines())
        if lines > (TEST_LINES if file.startswith("tests/") else MODULE_LINES):
            yield f"{file}: {lines} lines"
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                statements = [one for one in node.body if not isinstance(one, ast.Expr)]
                if length > FUNCTION_LINES and not (len(statements) == 1 and isinstance(statements[0], ast.Return)):
                    yield f"{file}: {node.name}: {length} lines"


def long_first_lines(root: Path) -> Iterator[str]:
    """What a public definition is, is said in a few words."""
    for file, tree in modules(root, "osler", "stages"):
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                first = (ast.get_docstring(node) or "").partition("\n")[0]
                if len(first.split()) > FIRST_LINE_WORDS:
                    yield f"{file}: {node.name}: {first}"


def classes_of_one_name(root: Path) -> Iterator[str]:
    """A public class of the house has one meaning; what a function is called is its module's business."""
    where = defaultdict(list)
    for file, tree in modules(root, "osler"):
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                where[node.name].append(file)
    for name, files in where.items():
        if len(files) > 1:
            yield f"{name}: {', '.join(files)}"


LONG = "def f():\n" + "    x = 1\n" * FUNCTION_LINES
BROKEN: list[tuple[Rule, dict[str, str]]] = [
    (imports_of_stages, {"osler/build/a.py": "def f():\n    from stages.mix import main\n"}),
    (imports_of_stages, {"osler/build/a.py": "import stages\n"}),
    (arrows_upward, {"osler/build/a.py": "from osler.corpus.quality import Quality\n"}),
    (arrows_upward, {"osler/inference/a.py": "def f():\n    import osler.training.loop\n"}),
    (arrows_upward, {"osler/statistics/a.py": "from osler.report import page\n"}),
    (arrows_upward, {"osler/statistics/a.py": "from osler import report\n"}),
    (arrows_upward, {"osler/statistics/a.py": "from ..report import page\n"}),
    (arrows_upward, {"osler/statistics/a.py": "from .. import report\n"}),
    (wrong_doors, {"osler/build/__init__.py": '"""A room."""\nimport os\n'}),
    (wrong_doors, {"osler/build/__init__.py": ""}),
    (wrong_doors, {"osler/utils/__init__.py": '"""What has no room."""\n'}),
    (long_ones, {"osler/build/a.py": "x = 1\n" * (MODULE_LINES + 1)}),
    (long_ones, {"stages/a.py": LONG}),
    (long_ones, {"tests/a.py": "x = 1\n" * (TEST_LINES + 1)}),
    (long_first_lines, {"osler/build/a.py": 'def f():\n    """' + "word " * (FIRST_LINE_WORDS + 1) + '"""\n'}),
    (classes_of_one_name, {"osler/build/a.py": "class Item: pass\n", "osler/model/b.py": "class Item: pass\n"}),
]


@pytest.mark.parametrize(("rule", "files"), BROKEN)
def test_a_tree_that_breaks_a_rule_is_told(tmp_path: Path, rule: Rule, files: dict[str, str]) -> None:
    """Each rule finds its fault."""
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert len(list(rule(tmp_path))) == 1


@pytest.mark.parametrize(
    "rule",
    [imports_of_stages, arrows_upward, wrong_doors, long_ones, long_first_lines, classes_of_one_name],
    ids=lambda rule: rule.__name__,
)
def test_the_house_keeps_the_rule(rule: Rule) -> None:
    """Nothing in the repository breaks it."""
    assert list(rule(ROOT)) == []
