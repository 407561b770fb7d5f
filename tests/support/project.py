"""A copy of the working tree as a project of its own, in which tests run DVC."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from osler.build.pipeline import ROOT

SHARED = Path(os.environ.get("OSLER_SHARED_DATA") or ROOT.parent / "shared" / "data")  # real text, in no repository

ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "GIT_"))},
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@t", "GIT_COMMITTER_NAME": "t", "GIT_COMMITTER_EMAIL": "t@t",
}  # fmt: skip


class Project:
    """A clone of the working tree with the micro profile in force."""

    def __init__(self, folder: Path, environment: Mapping[str, str] = ENVIRONMENT) -> None:
        self.folder = folder
        self.environment = environment

    def run(self, *command: str, fails: bool = False) -> str:
        """Run a command there; its output. It must succeed, or with `fails` must not."""
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=1200,
        )  # fmt: skip
        assert (done.returncode != 0) == fails, done.stdout[-4000:]
        return done.stdout

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.folder / name
        text = path.read_text()
        assert old in text, f"{name} has no {old!r}"
        path.write_text(text.replace(old, new, 1))

    def reset(self) -> None:
        """What the README says to do after an experiment."""
        self.run("git", "checkout", "--", ".")
        self.run("git", "clean", "-fdq")
        self.run("dvc", "checkout", "--quiet")


def ran(output: str) -> set[str]:
    """The stages that DVC ran, not those it took from the cache."""
    return set(re.findall(r"Running stage '(.+?)'", output))


def copied(folder: Path, profile: str | None, environment: Mapping[str, str] = ENVIRONMENT) -> Project:
    """The files of the working tree that Git knows or would take, with a profile in force, and no dvc.lock."""
    project = Project(folder, environment)
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    (folder / "dvc.lock").unlink(missing_ok=True)
    project.run("git", "init", "-q")
    if profile:
        project.run(sys.executable, "-m", "osler", "profile", profile)
    return project
