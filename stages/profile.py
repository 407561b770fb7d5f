"""Make a profile the params in force, or check the ones there are.

    python -m stages.profile real-small --root /data      # profiles/real-small.yaml over params.yaml, its root filled in
    python -m stages.profile --check                      # is params.yaml whole, known and in range? 3 s

DVC notices a changed value, but not a misspelled section that no stage declares; the check does, before anything is built.
"""

import argparse
import importlib
import json
import re
import sys
from collections.abc import Mapping
from os.path import normpath
from pathlib import Path, PurePosixPath
from typing import Any, get_type_hints

from stages.lib.files import write_bytes, write_text
from stages.lib.launching import Launch, command
from stages.lib.section import BuildError
from stages.lib.stage import PARAMS, ROOT, artifact_name, declarations, param_name, read_params, validated

# used by dvc.yaml's templates or by stages.launch, declared by no stage
NOT_BOUND = ("root", "corpus", "evaluated", "launch")
# a stage for each entry, and there may be none
EMPTY_ALLOWED = ("synthesize", "download", "pretrain", "architecture", "trunk", "anneal")


def check_sections(params: Mapping[str, Any], root: Path) -> None:
    """Validate every value that a stage declares, and refuse sections that none does.

    Raises:
        BuildError: names the keys.
    """
    templates = set(re.findall(r"\$\{(\w+)", (root / "dvc.yaml").read_text(encoding="utf-8"))) - {"key", "item"}
    if absent := sorted(templates - set(params)):
        raise BuildError(f"{PARAMS}: {', '.join(absent)}: missing; dvc.yaml makes stages from it")
    stages = declarations(root, params).values()
    declared_keys = {key.split(".")[0] for stage in stages for key in (*stage.params, *stage.missing_params)}
    unknown = ", ".join(sorted(set(params) - declared_keys - {*NOT_BOUND, *EMPTY_ALLOWED}))
    if missing := sorted({key for stage in stages for key in stage.missing_params}):
        instead = f"; in its place stands {unknown}, that no stage declares" if unknown else ""
        raise BuildError(f"{PARAMS}: {', '.join(missing)}: missing{instead}; see profiles/ for the keys there are")
    if unknown:
        raise BuildError(f"{PARAMS}: {unknown}: no stage declares it; see profiles/ for the sections there are")
    for stage in stages:
        module = importlib.import_module(f"stages.{stage.name.partition('@')[0]}")
        hints = get_type_hints(module.main, include_extras=True)
        for key, value in stage.params.items():
            validated(key, value, hints[param_name(key, value)])
    made = {path for stage in stages for path in stage.outs if artifact_name(path, True) == "trained_model"}
    for stage in stages:
        for path in stage.deps:
            if artifact_name(path, False) == "model" and path not in made:
                kind, _, name = stage.name.partition("@")
                key = "evaluated" if kind == "evaluate" else f"{kind}.{name}.from"
                models = ", ".join(sorted(PurePosixPath(one).name for one in made - {"models/tokenizer"}))
                raise BuildError(
                    f"{PARAMS}: {key}: {PurePosixPath(path).name}: no model of this build, which are {models}"
                )
    command(validated("launch", params.get("launch"), Launch), "stages.cpt", "localhost")


def check_references(params: Mapping[str, Any], root: Path) -> None:
    """Names and paths that sections give each other must exist.

    Raises:
        BuildError: names the key that points nowhere, or the two that disagree.
    """
    if not isinstance(params.get("root"), str):
        raise BuildError(
            f"{PARAMS}: root: must be a folder's path; `make profile NAME=... ROOT=/absolute/folder` fills it"
        )
    if not isinstance(params.get("corpus"), Mapping):
        raise BuildError(f"{PARAMS}: corpus: must be a mapping, source: collection")
    collections = {name: source["collection"] for name, source in params["source"].items()}
    texts = {name: collection for name, collection in collections.items() if collection != "instructions"}
    instructions = set(collections) - set(texts)
    _agree("corpus", params["corpus"], texts, "the text sources of `source` with their collections")
    for key, names, known in (
        ("tokenizer.sources", params["tokenizer"]["sources"].items(), texts.items()),
        ("mix.weights", params["mix"]["weights"], texts),
        ("mix.epochs", params["mix"]["epochs"], texts),
        ("instruct.weights", params["instruct"]["weights"], instructions),
        (
            "instruct.benchmark_training_splits",
            params["instruct"]["benchmark_training_splits"].items(),
            {(source, benchmark) for source in params["instruct"]["weights"] for benchmark in params["benchmark"]},
        ),
        *(
            (f"pretrain.{name}.weights", section["weights"], {source for source in texts if texts[source] == "general"})
            for name, section in params["pretrain"].items()
        ),
    ):
        if wrong := sorted(map(str, set(names) - set(known))):
            raise BuildError(f"{PARAMS}: {key}: {', '.join(wrong)}: not among {', '.join(sorted(map(str, known)))}")
    _agree(
        "select.priority", dict.fromkeys(params["select"]["priority"]), dict.fromkeys(collections), "every source once"
    )
    if not params["benchmark"]:
        raise BuildError(f"{PARAMS}: benchmark: empty; evaluation and decontamination need at least one")
    refuse_training_splits(params)
    width, positions = params["pack"]["sequence_length_tokens"], params["architecture"]["maximum_positions"]
    if params["pretrain"] and positions < width:
        raise BuildError(
            f"{PARAMS}: architecture.maximum_positions: {positions}, below pack.sequence_length_tokens {width}"
        )
    recipes = {f"pretrain.{name}": section for name, section in params["pretrain"].items()}
    for key, section in (recipes | {"cpt": params["cpt"], "sft": params["sft"]}).items():
        if section["batch_tokens"] % width:
            raise BuildError(
                f"{PARAMS}: {key}.batch_tokens: {section['batch_tokens']} is no multiple of"
                f" pack.sequence_length_tokens {width}"
            )
    folder = root / params["root"]
    made = [f"data/raw/{name}" for name in (*params["synthesize"], *params["download"])]
    if params["root"] not in made or folder.exists():  # else the build makes it first
        for kind in ("source", "benchmark"):
            for name, section in params[kind].items():
                if not (folder / section["path"]).exists():
                    raise BuildError(f"{PARAMS}: {kind}.{name}.path: {folder / section['path']} does not exist")


def refuse_training_splits(params: Mapping[str, Any]) -> None:
    """Training splits of benchmarks are learned only if `instruct.benchmark_training_splits` names them.

    A source counts as one if its path lies in the benchmark's or holds it, or its name has the benchmark's among its parts
    (`medqa_train`); what else is one only its user can know. Test items are found by `overlap`, wherever they stand.

    Raises:
        BuildError: names the source and the benchmark.
    """
    for source in sorted(params["instruct"]["weights"]):
        for benchmark, section in params["benchmark"].items():
            own, other = (PurePosixPath(normpath(path)) for path in (params["source"][source]["path"], section["path"]))
            is_near = own == other or own in other.parents or other in own.parents or f"_{benchmark}_" in f"_{source}_"
            if is_near and params["instruct"]["benchmark_training_splits"].get(source) != benchmark:
                raise BuildError(
                    f"{PARAMS}: instruct.weights.{source}: by its name or path a split of the benchmark {benchmark}; if it is"
                    f" its training split and shall be learned, write {source}: {benchmark} under"
                    " instruct.benchmark_training_splits"
                )


def _agree(key: str, given: Mapping[str, Any], expected: Mapping[str, Any], meaning: str) -> None:
    if dict(given) != dict(expected):
        wrong = sorted({str(name) for name, _ in set(given.items()) ^ set(expected.items())})
        raise BuildError(f"{PARAMS}: {key}: must be {meaning}; check {', '.join(wrong)}")


def check(root: Path) -> None:
    """Check the params.yaml in `root`.

    Raises:
        BuildError: the first problem found.
    """
    params = read_params(root / PARAMS)
    check_sections(params, root)
    check_references(params, root)


def filled(text: str, root: str | None) -> str:
    """The profile `text` with its `root` set: only that line changes, comments stay.

    Raises:
        BuildError: the profile needs a root and got none, or a relative one.
    """
    lines = text.splitlines(keepends=True)
    index = next((number for number, line in enumerate(lines) if line.startswith("root:")), None)
    if index is None:
        raise BuildError("the profile has no key `root`")
    if root is not None:
        if not Path(root).is_absolute():
            raise BuildError(
                f"--root {root}: must be absolute, or `dvc exp run --temp` and `--queue` would not find it"
            )
        lines[index] = f"root: {json.dumps(root)}\n"
    elif lines[index].split(":", 1)[1].split("#")[0].strip() in ("", "null"):
        raise BuildError(
            "this profile needs --root, the absolute folder that its data lies in (make profile ... ROOT=...)"
        )
    return "".join(lines)


def put_in_force(text: str, root: str | None) -> None:
    """Make the profile `text` the params; where it does not pass the check, they are what they were.

    Raises:
        BuildError: the first problem found.
    """
    before = (ROOT / PARAMS).read_bytes() if (ROOT / PARAMS).is_file() else None
    write_text(ROOT / PARAMS, filled(text, root))
    try:
        check(ROOT)
    except BuildError as error:
        if before is not None:
            write_bytes(ROOT / PARAMS, before)
        raise BuildError(f"{error}; {PARAMS} is left as it was") from None


def main() -> None:
    """Copy a profile over params.yaml, or check params.yaml."""
    parser = argparse.ArgumentParser(prog="python -m stages.profile", description="Change or check params.yaml.")
    parser.add_argument("name", nargs="?", help="a file of profiles/, without .yaml")
    parser.add_argument("--root", help="absolute folder that the profile's paths are relative to")
    parser.add_argument("--check", action="store_true", help="only check the params.yaml there is")
    arguments = parser.parse_args()
    try:
        if arguments.name:
            source = ROOT / "profiles" / f"{arguments.name}.yaml"
            if not source.is_file():
                names = ", ".join(sorted(path.stem for path in source.parent.glob("*.yaml")))
                raise BuildError(f"profiles/{arguments.name}.yaml: no such profile; there are {names}")
            if arguments.root and not Path(arguments.root).is_dir():
                raise BuildError(f"--root {arguments.root}: no such folder; {PARAMS} is left as it was")
            put_in_force(source.read_text(encoding="utf-8"), arguments.root)
            print(f"{PARAMS} is now profiles/{arguments.name}.yaml; `git checkout {PARAMS}` brings the default back")
        elif arguments.check:
            check(ROOT)
        else:
            parser.error("name a profile, or --check")
    except BuildError as error:
        sys.exit(f"osler: {error}")


if __name__ == "__main__":
    main()
