"""A full disk, too few file handles, no memory: one line, as the machine really says it."""

import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from osler.build.files import folder_hash
from osler.build.pipeline import ROOT
from osler.build.shortages import shortage
from tests.support.project import ENVIRONMENT, Project

SMALL = "from pathlib import Path; import osler, numpy, polars; path = Path('{}') / 'out'; "
FULL = {  # what writes more than a small disk has to `path`
    "Python": "path.write_bytes(bytes(1 << 20))",
    "an artifact": "from osler.build.files import write_bytes; write_bytes(path, bytes(1 << 20))",
    "polars": "from osler.build.files import write_parquet as w;"
    "w(path, polars.DataFrame({'a': numpy.random.default_rng(1).random(1 << 17)}))",
    "numpy": "numpy.save(path, numpy.ones(1 << 17))",
    "safetensors": "from safetensors.numpy import save_file; save_file({'a': numpy.ones(1 << 17)}, path)",
    "torch": "import torch; torch.save(torch.ones(1 << 18), path)",
    "packed rows": "from osler.tokens import shards; path.mkdir();"
    "layout = shards.Packing(*[numpy.arange(n, n + 1 << 10) for n in (0, 0, 1)], numpy.arange(1, 1025));"
    "shards.write_rows(path, 'tokens', layout, 1 << 10, numpy.dtype('<u2'), lambda *_: 1)",
}
MEMORY = {
    "Python": "bytes(1 << 60)",
    "numpy": "numpy.ones(1 << 55)",
    "torch": "import torch; torch.ones(1 << 55)",
    "a pool": "import os; from concurrent.futures import ProcessPoolExecutor as P; list(P(1).map(os._exit, [1]))",
}


def said(code: str, handles: int | None = None) -> str:
    """What a process of the project that runs `code` says at its end; it must fail with one line."""

    def limited() -> None:
        if handles:
            resource.setrlimit(resource.RLIMIT_NOFILE, (handles, handles))

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=ENVIRONMENT | {"DVC_STAGE": "ingest@notes"}, text=True,
        capture_output=True, preexec_fn=limited,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 128 KB."""
    with Mounted(tmp_path / "disk", "128k") as folder:
        yield folder


class Mounted:
    """A file system in memory over a folder, while a `with` lasts."""

    def __init__(self, folder: Path, size: str) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
        if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("only root may mount")

    def __enter__(self) -> Path:
        return self.folder

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", str(self.folder)], check=True)


@pytest.mark.parametrize("who", FULL)
def test_a_full_disk_is_one_line_whoever_writes(small_disk: Path, who: str) -> None:
    """It says so, and how much is free; an artifact leaves no temporary file."""
    line = said(SMALL.format(small_disk) + FULL[who])
    assert re.match(
        r"osler: ingest@notes: .*the disk is full, [\d,]+ bytes are free on it; free more, and run again", line
    ), line
    if who in ("an artifact", "polars"):
        assert f"ingest@notes: {small_disk}/out: the disk" in line
        assert list(small_disk.iterdir()) == []


def test_too_few_file_handles_are_one_line() -> None:
    """The number that there are, and the command that makes more."""
    line = said("import osler; kept = [open('/dev/null') for _ in range(99)]", handles=30)
    assert line.startswith(
        "osler: ingest@notes: /dev/null: needs more than the 30 file handles that there are; run `ulimit"
    )


@pytest.mark.parametrize("who", MEMORY)
def test_no_memory_is_one_line_whoever_asks(who: str) -> None:
    """A process of a pool that the system ended counts too."""
    assert re.match(
        r"osler: ingest@notes: needs more memory, [\d.]+ GB are free; lower ", said(SMALL.format(".") + MEMORY[who])
    )


def test_a_disk_that_is_read_only_is_one_line(tmp_path: Path) -> None:
    """Of a path that nobody may write, root neither."""
    with Mounted(tmp_path / "disk", "128k,ro") as folder:
        line = said(f"import osler; open('{folder}/out', 'w')")
    assert line.startswith(f"osler: ingest@notes: {folder}/out: lies on a file system that is mounted read-only; ")


@pytest.mark.parametrize("error", [KeyError("disk"), OSError("odd"), FileNotFoundError(2, "x"), ValueError("memory")])
def test_other_errors_keep_their_traceback(error: Exception) -> None:
    """A mistake in the code is no shortage."""
    assert shortage(error) is None


STAGES = {  # address -> what it makes
    "ingest@notes": ["data/documents", "data/ledger", "data/counts", "data/audits"],
    "screen@notes": ["data/screens", "data/overlaps"],
    "tokenize@notes": ["data/tokens"],
    "cpt": ["models/cpt", "results/training"],
    "evaluate@cpt": ["results/predictions"],
}
EVERY_DAY = ("ingest@notes", "cpt")


@pytest.mark.dag
@pytest.mark.builds
@pytest.mark.parametrize(
    "stage", [pytest.param(one, marks=() if one in EVERY_DAY else pytest.mark.campaign) for one in STAGES]
)
def test_a_stage_on_a_full_disk_leaves_what_was_there(project: Project, stage: str) -> None:
    """Where scratch/ is full: one line, the outs of the last run, and no temporary file."""
    folders = [project.folder / name for name in STAGES[stage]]
    before = [folder_hash(folder) for folder in folders]
    with Mounted(project.folder / "scratch", "24k") as scratch:
        output = project.run("dvc", "repro", "--force", "--single-item", "--no-run-cache", stage, fails=True)
        assert [path for path in scratch.rglob(".*") if path.is_file()] == []
    lines = [line for line in output.splitlines() if line.startswith("osler: ")]
    assert len(lines) == 1, output
    assert re.match(rf"osler: {stage}: .*: the disk is full, ", lines[0]), lines
    assert "Traceback" not in output
    assert [folder_hash(folder) for folder in folders] == before


@pytest.mark.dag
@pytest.mark.builds
@pytest.mark.parametrize("limit", ["-f 4", "-n 6", "-v 1000000"])
def test_a_limited_training_ends_with_a_line(project: Project, tmp_path: Path, limit: str) -> None:
    """File size, file handles and address space too small for `cpt`: no traceback, and its reason is the last line."""
    shutil.move(project.folder / "scratch/trained", tmp_path / "trained")
    command = f"ulimit {limit}; exec {sys.executable} -m osler launch cpt"
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=project.folder,
        env=ENVIRONMENT | {"DVC_STAGE": "cpt"},
        text=True,
        capture_output=True,
    )
    shutil.rmtree(project.folder / "scratch/trained", ignore_errors=True)
    shutil.move(tmp_path / "trained", project.folder / "scratch/trained")
    assert done.returncode not in (0, -6, -7)
    assert "Traceback" not in done.stderr
    assert re.search(r"osler: cpt: .*(larger than a file|file handles|more memory)", done.stderr), done.stderr
    assert not list((project.folder / "scratch/cpt").rglob(".*"))
