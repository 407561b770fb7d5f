"""The tests themselves are the same wherever and whenever they are collected."""

import gzip
import os
import subprocess
import sys

from osler.build.pipeline import ROOT
from tests.conftest import pytest_make_parametrize_id


def names(hash_seed: str, *folders: str) -> list[str]:
    """What pytest collects, in its order, with another order of sets."""
    printed = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", *folders],
        cwd=ROOT,
        env=os.environ | {"PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return [line for line in printed.splitlines() if line.startswith("tests/")]


def test_compressed_bytes_have_the_same_name_a_second_later() -> None:
    """gzip writes down when it ran."""
    first = gzip.compress(b"x", mtime=1)
    assert first != gzip.compress(b"x", mtime=2)
    assert pytest_make_parametrize_id(first) == pytest_make_parametrize_id(gzip.compress(b"x", mtime=2)) == "21-bytes"
    assert pytest_make_parametrize_id("x") is None


def test_two_processes_collect_the_same_and_every_file() -> None:
    """At another second and with sets in another order, or several processes could not share the work.

    pytest leaves out folders of some names unless told otherwise, `build` among them, without a word.
    """
    first = names("1")
    folders = [f"tests/{room}/" for room in ("build", "corpus", "ingest", "privacy")]
    again = names("2", *folders)
    assert again == [name for name in first if name.startswith(tuple(folders))]
    assert len(again) > 500
    files = {name.partition("::")[0] for name in first}
    assert {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("test_*.py")} <= files
