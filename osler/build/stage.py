"""Bind a stage's `main` to the paths and params that dvc.yaml declares for it. The only file that knows DVC's insides,
but for other revisions (revisions.py).

A stage's command is `python -m stages.<name>`, without paths and numbers. DVC sets DVC_STAGE to the running stage, for
example `screen@notes`; this module asks DVC for that stage's deps, outs and params and calls `main` by argument name:

* an artifact's name is the path component after data/, results/ or metrics/, without suffix
  (`data/documents/clinical/notes` is `documents`, `metrics/eval.json` is `eval`); several of one name arrive as a sorted
  tuple; a path outside those folders is `raw`
* `models/encoders` is `encoders`, `models/judges` is `judges`
* `models/tokenizer` is `tokenizer` and anything else under models/ `model` as a dep; as an
  out both are `trained_model`
* `data/exercises/<name>` is `instructions`, as the rows of stage `instruct` are
* a params section arrives as the model that its argument is annotated with, named after the first component of the key
  (`source.notes` is `source`); a single value is named after the last (`tokenizer.sample_limit_bytes`)
* `name` is the part after @, `jobs` is `launch.jobs`, which no stage declares, and `store` the stage's finished shards
  (osler/build/shard_store.py), which as many processes fill; for a `main` that asks for them

Fingerprints (`fingerprints/*.fp`) are not bound as deps; the stage that writes them gets their folder as `fingerprints`.
Importing dvc and resolving dvc.yaml takes half a second, once for each change of params.yaml or dvc.yaml: the result is
remembered in scratch/read/.
Written against dvc 3.67 (pinned): `ProjectFile.resolver`, after a failure `Repo.stage.load_one` and `Output.checkout`, and for
`osler.commands.plan` `Repo.index.stages` with the status of their deps and outs.
"""

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from traceback import clear_frames
from typing import Annotated, Any, get_type_hints

from pydantic import Field

from osler.build.cluster import Cluster
from osler.build.lock import HELD, HeldError, held_lock, locks
from osler.build.pipeline import ROOT, Declaration, artifact_name, declarations, param_name, read_params
from osler.build.provenance import check_provenance
from osler.build.recorded import check_deps, check_unchanged, stamps
from osler.build.section import BuildError, StoppedError
from osler.build.shard_store import Store
from osler.build.slurm import LEFT, as_job, of_stage
from osler.build.validation import PARAMS, validated

ALONE_BYTES = 1 << 24  # of a source: 16 MB are read in the time that other processes need to start
Jobs = Annotated[
    int, Field(ge=1, le=1024, description="processes of a stage that treats files, or training seeds, one by one")
]


def bound(main: Callable[..., None], declared: Declaration, root: Path, params: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword arguments for `main`.

    `params` is whole, but only `launch.jobs` and `launch.cluster` are read from it, for `jobs` and a `store`.

    Raises:
        BuildError: a declared path or param is no argument of `main`, an argument is not declared, or a value is invalid.
    """
    hints = get_type_hints(main, include_extras=True)
    hints.pop("return", None)
    values: dict[str, Any] = {}
    paths: dict[str, list[Path]] = {}
    for declared_paths, is_out in ((declared.deps, False), (declared.outs, True)):
        for path in declared_paths:
            if name := artifact_name(path, is_out):
                paths.setdefault(name, []).append(root / path)
    for name, found in paths.items():
        values[name] = found[0] if len(found) == 1 else tuple(sorted(found))
    if declared.missing_params:
        raise BuildError(f"{PARAMS}: {', '.join(declared.missing_params)}: missing; profiles/ and git have examples")
    for key, value in declared.params.items():
        name = param_name(key, value)
        if name in values:
            raise BuildError(f"dvc.yaml: {declared.name}: two declarations bind to the argument '{name}'")
        values[name] = validated(key, value, hints.get(name, Any))
    if "name" in hints and "name" not in values:
        values["name"] = declared.name.partition("@")[2]
    if "store" in hints or "jobs" in hints:
        jobs = validated("launch.jobs", of_stage(params.get("launch", {}), declared.name).get("jobs"), Jobs)
        values |= {"jobs": jobs} if "jobs" in hints else {}
    if "store" in hints:
        cluster = validated("launch.cluster", params["launch"].get("cluster"), Cluster | None)
        values["store"] = Store(root / "scratch" / "shards" / declared.name, jobs, ALONE_BYTES, cluster)
    undeclared = sorted(set(hints) - set(values))
    unused = sorted(set(values) - set(hints))
    if undeclared or unused:
        raise BuildError(
            f"dvc.yaml: {declared.name}: main's arguments and the declaration differ:"
            f" not declared {undeclared or 'none'}, not an argument {unused or 'none'}"
        )
    return values


def orphans(folder: Path, declared_outs: Iterable[Path]) -> list[Path]:
    """Entries below `folder` that no stage makes, outermost first.

    They are left by a source since removed. A folder that lies inside a declared out, or that holds none, is nobody's
    mixture and has no orphans.
    """
    outs = set(declared_outs)
    if folder in outs or any(parent in outs for parent in folder.parents):
        return []
    if not any(folder in out.parents for out in outs):
        return []
    found: list[Path] = []
    for entry in sorted(folder.iterdir()):
        if entry in outs or entry.name in ("README.md", ".gitignore"):
            continue
        if entry.is_dir() and any(entry in out.parents for out in outs):
            found += orphans(entry, outs)
        else:
            found.append(entry)
    return found


def _restore(address: str) -> None:
    """Put back the outs of the last successful run: dvc removes them before it starts a stage, also one that then fails.

    Metrics and plots lie in Git, not in the cache: `git checkout metrics` brings those back.
    """
    try:
        from dvc.repo import Repo

        with Repo(str(ROOT)) as repo:
            for out in repo.stage.load_one(name=address).outs:
                _put_back(out)
    except Exception as error:  # noqa: BLE001 - as there: also memory or file handles for DVC itself may be missing
        print(f"osler: what {address} made before could not be put back: {_said(error)}", file=sys.stderr)


def _put_back(out: Any) -> None:
    if not (out.use_cache and out.hash_info) or out.changed_cache():  # never built, or no longer in the cache
        return
    path = Path(out.fs_path)
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    try:
        out.checkout(force=True)
    except Exception as error:  # noqa: BLE001 - the failure to report is the stage's own, this is a courtesy
        print(f"osler: {out.def_path} could not be put back: {_said(error)}", file=sys.stderr)


def _said(error: Exception) -> str:
    return f"{' '.join(str(error).split()) or type(error).__name__}; run `dvc checkout`"


def _prepare(declared: Declaration, everything: Iterable[Declaration]) -> None:
    """Remove orphans from the folders that the stage reads, and make the folders that its outs lie in."""
    outs = [ROOT / path for one in everything for path in one.outs]
    made = [
        ROOT / path for path in declared.deps if artifact_name(path, False) not in ("raw", None)
    ]  # never a user's files
    for folder in (folder for folder in made if folder.is_dir()):
        for orphan in orphans(folder, outs):
            print(f"removed {orphan.relative_to(ROOT)}: no stage makes it any more")
            shutil.rmtree(orphan) if orphan.is_dir() and not orphan.is_symlink() else orphan.unlink()
    for path in declared.outs:
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)


def _checked(declared: Declaration, everything: Mapping[str, Declaration]) -> tuple[str, ...]:
    """Refuse to start on deps that are not what was built; the deps that nothing built, raw files."""
    read = [path for path in declared.deps if artifact_name(path, False)]
    share = int(os.environ.get("LOCAL_RANK", "0")), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    check_deps(ROOT, read, everything.keys() - {declared.name}, share)
    for path in read:
        if artifact_name(path, False) == "model":
            check_provenance(ROOT / path, ROOT)
    return tuple(path for path in read if artifact_name(path, False) == "raw")


def _built(main: Callable[..., None], address: str, is_first: bool) -> None:
    """Call `main` for the stage.

    Raises:
        BuildError: see `run`.
    """
    params = read_params(ROOT / PARAMS)
    everything = declarations(ROOT, params)
    declared = everything[address]
    values = bound(main, declared, ROOT, params)
    raw = _checked(declared, everything)
    before = stamps(ROOT, raw) if is_first else {}
    if is_first:
        _prepare(declared, everything.values())
    try:
        main(**values)
    except Exception as error:
        error.add_note(f"while writing {', '.join(declared.outs)}")  # where nothing else says what for space is wanted
        raise
    if not is_first:
        return
    check_unchanged(before, stamps(ROOT, raw))
    if absent := [path for path in declared.outs if not (ROOT / path).exists()]:
        raise BuildError(f"finished without writing {', '.join(absent)}")
    if "store" in values:
        values["store"].prune()


def _job_code(address: str) -> int | None:
    """The exit code of the job that built the stage; None where this process is to build it."""
    command = [sys.executable, "-m", f"stages.{address.partition('@')[0]}"]
    code = as_job(ROOT, read_params(ROOT / PARAMS), address, 1, command)
    if code not in (None, 0, LEFT):
        _restore(address)
    return code


def run(main: Callable[..., None], may_be_job: bool = False) -> None:
    """Bind `main` to the running stage and call it.

    One that `may_be_job` is a SLURM job of its own where `launch.submit` asks for it.

    The lock of the stage is held meanwhile. A BuildError becomes one line and exit code 1: of a stage that another process
    builds, of deps that are damaged, of raw files that changed meanwhile, of `main`.
    """
    started = time.monotonic()
    address = os.environ.get("DVC_STAGE", "").rpartition(":")[2]  # DVC writes the file before it, seen from elsewhere
    if not address:
        module = Path(sys.argv[0]).stem
        sys.exit(f"osler: `{module}` is a stage of dvc.yaml; run it with `dvc repro {module}`")
    first_process = os.environ.get("RANK", "0") == "0"  # of a training stage on several
    lock, descriptor = locks(ROOT, address), None
    try:
        if may_be_job and (code := _job_code(address)) is not None:
            sys.exit(code)
        if os.environ.get(HELD) != str(lock):
            descriptor = held_lock(lock, address)
        _built(main, address, first_process)
    except Exception as error:
        clear_frames(error.__traceback__)  # memory and file handles that are wanted now
        if first_process and not isinstance(error, HeldError):  # who holds it writes there
            _restore(address)
        if isinstance(error, StoppedError):
            if first_process:
                print(f"osler: {address}: {error}", file=sys.stderr, flush=True)
            sys.exit(error.code)
        if not isinstance(error, BuildError):
            raise
        sys.exit(f"osler: {address}: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        if descriptor is not None:
            os.close(descriptor)
    seconds = time.monotonic() - started
    if seconds >= 10 and first_process:
        print(f"{address}: {seconds:.0f} s", file=sys.stderr)
