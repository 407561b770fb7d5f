"""`osler clean` and what `osler doctor` says of it, on folders made inside the test."""

import os
from pathlib import Path

import pytest

from osler.build.files import write_json
from osler.build.lock import held_lock
from osler.build.section import BuildError
from osler.commands import clean, doctor

FOLDERS = {"cpt/aa": "step-00000200", "cpt/bb": ".step-00000400.tmp", "cpt/cc-finished-01234567": "step-00000100"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Checkpoints of the run that is asked for now, of one before, and a milestone; and what is none."""
    for folder, step in FOLDERS.items():
        (tmp_path / "scratch" / folder / step).mkdir(parents=True)
        (tmp_path / "scratch" / folder / step / "part-00000.safetensors").write_bytes(bytes(1000))
    write_json(tmp_path / "scratch/cpt/seed-1.json", {"folder": "aa"})
    (tmp_path / "scratch/models/some--model/step-1000").mkdir(parents=True)
    (tmp_path / "scratch/trained/cpt/0123").mkdir(parents=True)
    return tmp_path


def there(root: Path) -> set[str]:
    return {folder for folder in FOLDERS if (root / "scratch" / folder).exists()}


def test_a_list_removes_nothing(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each folder with what it is, its steps and its size."""
    clean.say(is_sure=False, is_all=False, root=root)
    assert there(root) == set(FOLDERS)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "scratch/cpt/aa: of the run begun last; to step 200, 0.00 GB, 0 hours old"
    assert lines[1].startswith("scratch/cpt/bb: other params or inputs; none whole, ")
    assert lines[2].startswith("scratch/cpt/cc-finished-01234567: milestones of a finished run; to step 100, ")
    assert lines[3:] == ["`osler clean --yes` removes 1 of 3: 0.00 GB"]


def test_what_a_run_goes_on_from_stays_unless_all_is_asked_for(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --yes the folder of other params goes, with --all the rest, and nothing else in scratch/."""
    clean.say(is_sure=True, is_all=False, root=root)
    assert there(root) == {"cpt/aa", "cpt/cc-finished-01234567"}
    assert "removed scratch/cpt/bb: " in capsys.readouterr().out
    lock = held_lock(root / "scratch/locks/cpt", "cpt")
    with pytest.raises(BuildError, match="cpt is being built"):
        clean.say(is_sure=True, is_all=True, root=root)
    assert there(root) == {"cpt/aa", "cpt/cc-finished-01234567"}
    os.close(lock)
    clean.say(is_sure=True, is_all=True, root=root)
    assert there(root) == set()
    assert (root / "scratch/models/some--model/step-1000").is_dir()
    assert (root / "scratch/trained/cpt/0123").is_dir()


def test_a_damaged_note_removes_nothing(root: Path) -> None:
    """Which run goes on is not known then."""
    (root / "scratch/cpt/seed-1.json").write_text("{")
    clean.say(is_sure=True, is_all=False, root=root)
    assert there(root) == set(FOLDERS)


def test_doctor_names_the_command(root: Path) -> None:
    """Where folders of other params lie, and not where none do."""
    found = doctor.checkpoint_finding(root)
    assert found.is_wrong
    assert found.state == "3 folders, 0.0 GB; 1 of other params or inputs, 0.0 GB: `osler clean` lists them"
    clean.say(is_sure=True, is_all=False, root=root)
    assert not doctor.checkpoint_finding(root).is_wrong
