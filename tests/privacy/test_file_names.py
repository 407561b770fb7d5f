"""Names of raw files, which may be patients' names: where a whole build writes them, and that nothing of it lies elsewhere."""

import gzip
import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import tarfile
import time
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from osler.build.pipeline import ROOT
from osler.privacy.screening import key_id
from tests.support.project import ENVIRONMENT, Project, copied

FOLDER, FILE, ROW, ARCHIVE, MEMBER, GZIPPED, ZIPPED, DAMAGED = NAMES = (
    *("Zebulon_Quackenbush_1931", "Ottoline_Quillfeather_1947", "Persephone_Drinkwatter_1944", "Ignatius_Thornycroftt_1929"),
    *("Marguerite_Thibodeauxx_1952", "Xanthippe_Oglethorppe_1926", "Anselm_Wolfeschlegell_1938", "Cordelia_Featherstonhaughh_1940"),
)  # fmt: skip
SEARCHED = [part.encode() for name in NAMES for part in [name.split("_")[1]]]
PLACES = {".dvc-state/": "DVC's index"}
"""Where the names may stand; docs/patients.md lists the same."""
WORDS = re.findall(
    r"\w+", "the patient was seen in clinic with mild pain after a long walk and felt better when resting at home"
)


def rows(first: int, count: int) -> bytes:
    """JSON lines of text without a name, under ids that are names."""
    texts = (" ".join(random.Random(number).choices(WORDS, k=40)) for number in range(first, first + count))
    return b"".join(
        json.dumps({"id": f"{ROW}-{number}", "text": f"Letter. {text}."}).encode() + b"\n"
        for number, text in enumerate(texts, first)
    )


def plant(raw: Path) -> None:
    """A source whose every name is one of a patient."""
    (raw / FOLDER).mkdir(parents=True)
    (raw / FOLDER / f"{FILE}.jsonl").write_bytes(rows(0, 6))
    with (
        (raw / f"{FILE}.jsonl.gz").open("wb") as stream,
        gzip.GzipFile(f"{GZIPPED}.jsonl", "wb", fileobj=stream) as packed,
    ):
        packed.write(rows(6, 6))
    with tarfile.open(raw / f"{ARCHIVE}.tar.gz", "w:gz") as archive:
        for name, content in ((f"{MEMBER}/{MEMBER}.jsonl", rows(12, 6)), (f"{MEMBER}.pdf", b"%PDF")):
            header = tarfile.TarInfo(name)
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
    with zipfile.ZipFile(raw / f"{ZIPPED}.zip", "w") as zipped:
        zipped.writestr(f"{ZIPPED}.jsonl", rows(18, 2))
    (raw / f"{DAMAGED}.jsonl.gz").write_bytes(gzip.compress(rows(20, 50))[:-40])


def written(file: Path) -> Iterator[bytes]:
    """What a file says: its name, its bytes, and what these are when unpacked."""
    yield os.fsencode(file)
    content = file.read_bytes()
    yield content
    if content[:4] == b"PAR1":
        for column in pl.read_parquet(content).iter_columns():
            yield json.dumps(column.to_list(), default=str).encode()
    elif content[:2] == b"\x1f\x8b":
        yield gzip.decompress(content)
    elif content[:1] == b"\x78":  # an object of Git
        yield zlib.decompressobj().decompress(content)


def naming(folder: Path) -> set[str]:
    """The files below a folder that say one of the names."""
    files = [file for file in folder.rglob("*") if file.is_file() and not file.is_symlink()]
    return {
        file.relative_to(folder).as_posix()
        for file in files
        if any(name in said for said in written(file) for name in SEARCHED)
    }


class Apart:
    """A project in a folder of its own, beside its raw files and all that a program may take for its own places."""

    def __init__(self, folder: Path) -> None:
        self.outside = folder / "outside"
        places = {"HOME": "home", "TMPDIR": "tmp", "XDG_CACHE_HOME": "cache", "XDG_CONFIG_HOME": "config"}
        places |= {"XDG_DATA_HOME": "share", "XDG_STATE_HOME": "state", "XDG_RUNTIME_DIR": "run"}
        for name in places.values():
            (self.outside / name).mkdir(parents=True)
        where = {variable: str(self.outside / name) for variable, name in places.items()}
        self.raw, self.shared = folder / "raw", self._shared()
        (folder / "project").mkdir()
        self.project = copied(folder / "project", "micro", {**ENVIRONMENT, **where})
        (self.project.folder / ".dvc/config.local").unlink()  # as in a clone in which nothing but DVC has been called
        shutil.rmtree(self.project.folder / ".dvc-state")
        (self.project.folder / "data/raw/default").mkdir(parents=True)  # the path to the letters leads through it
        self.code = naming(self.project.folder)  # lists of names, and this test

    def _shared(self) -> set[Path]:
        """What lies where all users of the machine write."""
        return {path for top in ("/var/tmp/dvc/repo", "/dev/shm") if Path(top).is_dir() for path in Path(top).iterdir()}

    def outside_files(self) -> set[str]:
        """What lies outside the project now, without what says nothing but which fonts there are."""
        files = {path.relative_to(self.outside).as_posix() for path in self.outside.rglob("*") if path.is_file()}
        return {file for file in files if not file.startswith(("cache/matplotlib/", "config/matplotlib/"))}

    def new_shared(self) -> set[Path]:
        """What the project wrote where all users of the machine write."""
        mark = os.fsencode(self.project.folder)
        return {
            path
            for path in self._shared() - self.shared
            if any(mark in file.read_bytes() or naming(path) for file in path.rglob("*") if file.is_file())
        }

    def check(self) -> None:
        """Names stand in the places that are known alone, and nothing is left outside."""
        inside = naming(self.project.folder) - self.code
        assert {file for file in inside if not file.startswith(tuple(PLACES))} == set()
        assert any(file.startswith(".dvc-state/") for file in inside), "the search finds what is there"
        assert naming(self.outside) == set()
        assert self.outside_files() == set()
        assert self.new_shared() == set()


def with_letters(apart: Apart) -> None:
    """A source `letters` of documents about patients in the params."""
    project, key = apart.project, apart.raw.with_name("key")
    key.write_bytes(b"k" * 32)
    section = re.search(r"^  notes:\n(?:    .*\n)+", (project.folder / "params.yaml").read_text(), re.M)
    assert section
    letters = (
        section.group()
        .replace("notes:", "letters:")
        .replace("corpus/notes", os.path.relpath(apart.raw, project.folder / "data/raw/default"))
    )
    letters = letters.replace("    license_field: license\n", "") + (
        f"    phi: {{action: surrogate, required: false, minimum_recall: 0.5, detector: rules, key_file: {key},"
        f" key_id: {key_id(b'k' * 32)}}}\n"
    )
    project.edit("params.yaml", section.group(), section.group() + letters)
    project.edit("params.yaml", "  notes: clinical\n", "  notes: clinical\n  letters: clinical\n")
    project.edit("params.yaml", "  - notes\n", "  - notes\n  - letters\n")
    project.edit("params.yaml", "    notes: 0.3\n", "    notes: 0.3\n    letters: 0.05\n")


@pytest.mark.campaign  # it builds everything anew, three minutes
def test_names_of_raw_files_stand_in_known_places_alone(tmp_path: Path) -> None:
    """After a build, a stage that refuses its files and a kill: in DVC's index, which is the owner's alone, and nowhere else."""
    apart = Apart(tmp_path)
    project = apart.project
    plant(apart.raw)
    with_letters(apart)
    project.run("dvc", "repro")
    apart.check()
    assert (project.folder / ".dvc-state").stat().st_mode & 0o077 == 0

    whole = apart.raw.rename(tmp_path / "whole")
    apart.raw.mkdir()
    shutil.copy(whole / f"{DAMAGED}.jsonl.gz", apart.raw)
    (apart.raw / f"{DAMAGED}.jsonl.gz").write_bytes(b"\x1f\x8bdamaged")
    output = project.run("dvc", "repro", fails=True)
    assert "letters" in output
    assert not any(name.decode() in output for name in SEARCHED)
    apart.check()

    shutil.rmtree(apart.raw)
    whole.rename(apart.raw)
    killed_in_ingest(project)
    apart.check()
    project.run("dvc", "repro", "--force", "--single-item", "ingest@letters")
    apart.check()
    assert not list((project.folder / "scratch").rglob(".*"))


def killed_in_ingest(project: Project) -> None:
    """Stop a forced `ingest@letters` with kill -9 of all once it has started to write."""
    shards = project.folder / "scratch/shards/ingest@letters"
    shutil.rmtree(shards)
    with subprocess.Popen(
        ["dvc", "repro", "--force", "--single-item", "ingest@letters"], cwd=project.folder, env=project.environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    ) as running:  # fmt: skip
        deadline = time.monotonic() + 60
        while not list(shards.glob(".*")) and running.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        assert running.poll() is None, "it ended before it could be killed"
        os.killpg(running.pid, signal.SIGKILL)


def test_every_place_is_in_the_docs() -> None:
    """docs/patients.md lists the places that the test above allows, and no other."""
    section = (
        (ROOT / "docs/patients.md").read_text().partition("## Where names of raw files stand")[2].partition("\n## ")[0]
    )
    assert set(re.findall(r"^\| `([^`]+)`", section, re.M)) == set(PLACES)
