"""Compiled functions that are kept on disk."""

import os
import subprocess
import sys
from pathlib import Path

from osler.build.pipeline import ROOT
from tests.support.damage import flip

TWICE = """
import sys
from pathlib import Path
from numba import config
from osler.corpus import compiled as own
config.CACHE_DIR = sys.argv[1]
from thrice import thrice
print(thrice(14), thrice(0.5), sum(thrice.stats.cache_hits.values()))
"""


def test_a_damaged_file_is_compiled_again(tmp_path: Path) -> None:
    """One bit of the index or of the machine code: a line, the same numbers, and whole files afterwards."""
    source = "from osler.corpus.compiled import compiled\n\n\n@compiled\ndef thrice(x):\n    return 3 * x\n"
    (tmp_path / "thrice.py").write_text(source)

    def ran() -> tuple[str, str]:
        environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
        done = subprocess.run(
            [sys.executable, "-c", TWICE, str(tmp_path / "kept")],
            env=environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stdout.strip(), done.stderr

    assert ran() == ("42 1.5 0", "")
    assert ran() == ("42 1.5 2", ""), "they are loaded"
    files = sorted((tmp_path / "kept").rglob("*.nb?"))
    assert [path.suffix for path in files] == [".nbc", ".nbc", ".nbi"]
    for path in files:
        for place in (0, 100, path.stat().st_size - 1):
            flip(path, 8 * place)
            numbers, warning = ran()
            assert numbers.startswith("42 1.5 ")
            assert warning == f"warning: {path}: damaged; compiled again\n"
            assert ran() == ("42 1.5 2", "")
