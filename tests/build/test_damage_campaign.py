"""Damage all over a whole build, part of `make campaign`: none of it changes a result, and none goes unseen."""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from osler.build.dvc_cache import cache_folder
from osler.build.files import folder_hash
from osler.build.pipeline import declarations, read_params
from osler.build.recorded import check_deps, is_sound
from osler.build.section import BuildError
from tests.support.damage import flip
from tests.support.project import ENVIRONMENT, Project, copied

pytestmark = pytest.mark.campaign
FLIPS = 500
CHECK = (sys.executable, "-m", "osler", "check")
STORES = ("shards/*/*/*", "predictions/*/*", "trained/*/*/*")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The micro profile, built and committed, and a checkpoint of `cpt`, as a killed run leaves it."""
    project = copied(tmp_path_factory.mktemp("osler"), "micro")
    project.run("dvc", "repro")
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "built")
    return project


def targets(folder: Path) -> Iterator[tuple[str, Path, Path]]:
    """Kind, file, and what is looked at when it is used: the out, the cache's file or the entry of a store."""
    for out in {
        path for stage in declarations(folder, read_params(folder / "params.yaml")).values() for path in stage.outs
    }:
        place = folder / out
        kind = "models" if out.startswith("models/") else "data and results"
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if path.is_file() and path.stat().st_size:
                yield kind, path, place
    for path in sorted(cache_folder(folder).glob("??/*")):
        yield "DVC's cache", path, path
    for pattern in STORES:
        for entry in sorted((folder / "scratch").glob(pattern)):
            if entry.is_dir():
                yield from (("stores", path, entry) for path in sorted(entry.rglob("*")) if path.is_file())


def seen(folder: Path, kind: str, used: Path) -> bool:
    """Whether what the build asks before it uses something says that it is damaged."""
    if kind == "DVC's cache":
        return not is_sound(used)
    if kind == "stores":
        return folder_hash(used) != used.name
    stages = declarations(folder, read_params(folder / "params.yaml"))
    try:
        check_deps(folder, [used.relative_to(folder).as_posix()], stages.keys())
    except BuildError:
        return True
    return False


def test_500_flipped_bits_are_all_seen(project: Project) -> None:
    """Of models, data, results, cache and stores, a seeded bit of a seeded file at a time; whole ones raise no alarm."""
    by_kind: dict[str, list[tuple[Path, Path]]] = {}
    for kind, path, used in targets(project.folder):
        by_kind.setdefault(kind, []).append((path, used))
    rng, counts = random.Random(500), Counter[str]()
    assert len(by_kind) == 4
    for number in range(FLIPS):
        kind = sorted(by_kind)[number % len(by_kind)]
        path, used = rng.choice(by_kind[kind])
        bit = rng.randrange(8 * path.stat().st_size)
        flip(path, bit)
        assert seen(project.folder, kind, used), f"bit {bit} of {path}"
        flip(path, bit)
        assert number % 20 or not seen(project.folder, kind, used), f"a false alarm about {path}"
        counts[kind] += 1
    print(f"{counts.total()} of {FLIPS} flips seen: {dict(counts)}")


def test_a_build_of_which_every_entry_is_damaged_ends_with_the_same_bytes(project: Project) -> None:
    """A bit of a file of each entry of each store: all stages forced to run make them again, and dvc.lock stays as it is."""
    rng = random.Random(1)
    entries = [entry for pattern in STORES for entry in (project.folder / "scratch").glob(pattern) if entry.is_dir()]
    for entry in entries:
        path = rng.choice(sorted(path for path in entry.rglob("*") if path.is_file()))
        # the out may be the same file: it stays what it was, since another part of this test is about outs
        whole = path.with_name(f"{path.name}.whole")
        shutil.copy2(path, whole)
        whole.replace(path)
        flip(path, rng.randrange(8 * path.stat().st_size))
    lock = (project.folder / "dvc.lock").read_bytes()
    said = project.run("dvc", "repro", "--force")
    told = {project.folder / path for path in re.findall(r"warning: (.+): damaged; made again", said)}
    print(f"{len(told)} of {len(entries)} damaged entries made again")
    assert told == set(entries)
    assert (project.folder / "dvc.lock").read_bytes() == lock
    project.run(sys.executable, "-m", "osler", "doctor", "--verify")


def killed_builds(folder: Path, rng: random.Random, kills: int) -> Counter[str]:
    """Build in a fresh copy, killed again and again until it ends or has been killed `kills` times, and then to its end.

    Every other kill is of dvc alone: its stage goes on, and the next build waits for it as the refusal says. DVC writes two
    files of its own in place: of what it left half written `osler check` says how to go on.
    """
    counts, log = Counter[str](), folder.parent / f"{folder.name}.log"
    while True:
        with log.open("w") as output, subprocess.Popen(
            ["dvc", "repro"], cwd=folder, env=ENVIRONMENT, start_new_session=True, stdout=output, stderr=output
        ) as running:  # fmt: skip
            try:
                running.wait(timeout=rng.uniform(2, 9) if counts["kills"] < kills else 1200)
            except subprocess.TimeoutExpired:
                counts["kills"] += 1
                if counts["kills"] % 2:
                    os.killpg(running.pid, signal.SIGKILL)
                else:
                    running.kill()
                continue
        if running.returncode == 0:
            return counts
        if "is still being built by process" in (said := log.read_text()):
            counts["refusals"] += 1
            time.sleep(1)
            continue
        checked = subprocess.run(CHECK, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True)
        assert "half of it, as a killed dvc leaves it" in checked.stderr, said[-3000:] + checked.stderr
        subprocess.run(re.findall("`(.+?)`", checked.stderr)[0].split(), cwd=folder, check=True)
        counts["halves"] += 1


def test_50_kills_of_whole_builds_end_with_the_same_bytes(
    project: Project, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """At seeded moments, of all processes or of dvc alone: dvc.lock is that of a build in one go, and nothing is damaged."""
    rng, counts, builds = random.Random(50), Counter[str](), 0
    while counts["kills"] < 50:
        killed = copied(tmp_path_factory.mktemp("killed"), "micro")
        counts += killed_builds(killed.folder, rng, 50 - counts["kills"])
        builds += 1
        assert (killed.folder / "dvc.lock").read_bytes() == (project.folder / "dvc.lock").read_bytes()
        killed.run(sys.executable, "-m", "osler", "doctor", "--verify")
        left = [path for path in killed.folder.rglob(".*.tmp") if ".git" not in path.parts]
        assert not [path for path in left if path.is_relative_to(killed.folder / "data")]
    print(
        f"{counts['kills']} kills of {builds} builds, {counts['refusals']} refusals to build beside a stage left over"
    )
