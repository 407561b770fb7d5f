"""What counts as a change of code."""

from pathlib import Path

import pytest

from stages.lib.fingerprint import closure, fingerprint, running_source


@pytest.mark.parametrize(
    "same",
    [
        "def f(x):\n    return x + 1  # more\n",
        'def f(x):\n    """Add one."""\n    return x + 1\n',
        '"""Module."""\n\n\ndef f(x):\n\n    # why\n    return x + 1\n',
    ],
)
def test_comments_docstrings_and_blank_lines_do_not_count(same: str) -> None:
    """Each rendering of the function runs the same."""
    assert running_source(same) == "def f(x):\n    return x + 1"


@pytest.mark.parametrize("other", ["def f(x):\n    return x + 2\n", 'def f(x):\n    return "# not a comment"\n'])
def test_what_runs_counts(other: str) -> None:
    """A changed number, or a # inside a string, is a change."""
    assert running_source(other) != "def f(x):\n    return x + 1"
    assert "return" in running_source(other)


def test_a_string_that_is_no_docstring_counts() -> None:
    """Prompts and messages are strings too."""
    assert running_source('TEXT = """a\n\nb"""\n') == 'TEXT = """a\nb"""'
    assert running_source('TEXT = """a"""\n') != running_source('TEXT = """b"""\n')


def make(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_imports_are_followed_through_modules_in_every_spelling(tmp_path: Path) -> None:
    """import a.b, from a import b, from a.b import c and relative imports, also inside functions; packages are named."""
    make(
        tmp_path,
        s__init_dot_py="",
        s__top_dot_py="from s.lib import one\nimport s.lib.two\ndef f():\n    from s.lib.three import x\n    import numpy.random\n",
        s__lib__one_dot_py="from .four import y\n",
        s__lib__two_dot_py="import json\n",
        s__lib__three_dot_py="x = 1\n",
        s__lib__four_dot_py="y = 1\n",
        s__lib__five_dot_py="z = 1\n",
    )
    files, packages = closure(tmp_path / "s/top.py", tmp_path)
    assert {Path(name).stem for name in files} >= {"top", "one", "two", "three", "four"}
    assert "five" not in {Path(name).stem for name in files}
    assert packages == {"numpy"}


def test_a_resource_file_that_a_module_names_is_code(tmp_path: Path) -> None:
    """A lexicon or template beside the module changes the fingerprint when it changes."""
    make(
        tmp_path, s__top_dot_py="from pathlib import Path\nWORDS = Path(__file__).with_name('words.txt').read_text()\n"
    )
    (tmp_path / "s/words.txt").write_text("a")
    before = fingerprint(tmp_path / "s/top.py", tmp_path, False)
    (tmp_path / "s/words.txt").write_text("b")
    assert fingerprint(tmp_path / "s/top.py", tmp_path, False) != before


def test_package_versions_are_public_ones(tmp_path: Path) -> None:
    """A CPU build and a CUDA build of one release are one version."""
    make(tmp_path, top_dot_py="import torch\nimport polars\n")
    text = fingerprint(tmp_path / "top.py", tmp_path, with_packages=True)
    assert "torch 2." in text
    assert "+" not in text
    assert "polars" not in fingerprint(tmp_path / "top.py", tmp_path, with_packages=False)
