"""Make a profile the params in force, or check the ones there are.

    python -m stages.profile real-small --root /data      # profiles/real-small.yaml over params.yaml, its root filled in
    python -m stages.profile --check                      # is params.yaml whole, known and in range? 3 s

DVC notices a changed value, but not a misspelled section that no stage declares, and a pipe in a folder hangs it; the check
says so before anything is built. It reads no file of the data but lists them: 1 s for 100,000.
"""

import argparse
import importlib
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Collection, Mapping
from os.path import normpath
from pathlib import Path, PurePosixPath
from typing import Any, get_type_hints

from stages.benchmarks import Benchmark
from stages.ingest import secret
from stages.lib.archives import REFUSED, raw_files
from stages.lib.continuation import Branch, Segment
from stages.lib.files import write_bytes, write_text
from stages.lib.launching import Launch, command
from stages.lib.privacy.screening import check_detector
from stages.lib.records import SUFFIXES, Source, files_of_format
from stages.lib.section import BuildError
from stages.lib.stage import (
    PARAMS,
    ROOT,
    Declaration,
    declarations,
    param_name,
    read_params,
    suggestion,
    validated,
)
from stages.lib.tasks import Task
from stages.lib.vllm_backend import check_vllm

# used by dvc.yaml's templates or by stages.launch, declared by no stage
NOT_BOUND = ("root", "corpus", "evaluated", "launch")
NO_MODELS = {"models/tokenizer", "models/encoders"}
NAME = re.compile("[A-Za-z0-9_][A-Za-z0-9_-]*")
# sections of a stage for each entry, of which there may be none
EMPTY_ALLOWED = ("synthesize", "download", "download_model", "pretrain", "architecture", "trunk", "anneal", "task")


def check_names(params: Mapping[str, Any], root: Path) -> None:
    """The sections that dvc.yaml makes stages from must be mappings, under names that can be part of a path and a key.

    Raises:
        BuildError: names the key.
    """
    templates = set(re.findall(r"\$\{(\w+)", (root / "dvc.yaml").read_text(encoding="utf-8"))) - {"key", "item"}
    for key in sorted(templates):
        if key not in params:
            near = suggestion(key, set(map(str, params)) - templates).replace("did you mean", "but there is")
            raise BuildError(f"{PARAMS}: {key}: missing{near.rstrip('?')}; dvc.yaml makes stages from it")
        if key == "evaluated" and (
            not isinstance(params[key], list)
            or not all(isinstance(model, str) for model in params[key])
            or not 0 < len(set(params[key])) == len(params[key])
        ):
            raise BuildError(f"{PARAMS}: evaluated: must be a list of models, each once (it is {params[key]!r})")
        if key not in ("root", "evaluated") and not isinstance(params[key], Mapping):
            raise BuildError(f"{PARAMS}: {key}: must be a mapping, {{}} where there is nothing (it is {params[key]!r})")
    if not isinstance(params["tokenizer"].get("sources"), Mapping):
        raise BuildError(f"{PARAMS}: tokenizer.sources: must be a mapping, source: collection")
    for key in ("source", "benchmark"):
        if not params[key]:
            raise BuildError(f"{PARAMS}: {key}: empty; a build needs at least one")
    for key in (
        "source",
        "benchmark",
        "task",
        "synthesize",
        "download",
        "download_model",
        "pretrain",
        "trunk",
        "anneal",
    ):
        for name in params[key]:
            if not isinstance(name, str) or not NAME.fullmatch(name):
                raise BuildError(
                    f"{PARAMS}: {key}: {name!r} cannot be a name; use letters, digits, `_` and `-`, and quotes around"
                    " digits alone"
                )
    for key, kind in (("trunk", Segment), ("anneal", Branch)):
        for name, section in params[key].items():
            validated(f"{key}.{name}", section, kind)
    for name in params["trunk"]:
        before, seen = name, {name}
        while (before := params["trunk"].get(before, {"from": ""})["from"].removeprefix("trunk-")) in params["trunk"]:
            if before in seen:
                raise BuildError(
                    f"{PARAMS}: trunk.{name}.from: a circle of segments; one of them has to start from base"
                )
            seen.add(before)
    for key, model in (("source", Source), ("benchmark", Benchmark), ("task", Task)):
        for name, section in params[key].items():
            if Path(validated(f"{key}.{name}", section, model).path).is_absolute():
                raise BuildError(f"{PARAMS}: {key}.{name}.path: must be relative to `root` (it is {section['path']!r})")


def check_sections(params: Mapping[str, Any], root: Path) -> None:
    """Validate every value that a stage declares, and refuse sections that none does.

    Raises:
        BuildError: names the keys.
    """
    check_names(params, root)
    stages = declarations(root, params).values()
    declared_keys = {key.split(".")[0] for stage in stages for key in (*stage.params, *stage.missing_params)}
    undeclared = sorted(map(str, set(params) - declared_keys - {*NOT_BOUND, *EMPTY_ALLOWED}))
    unknown = ", ".join(undeclared)
    if missing := sorted({key for stage in stages for key in stage.missing_params}):
        instead = f"; in its place stands {unknown}, that no stage declares" if unknown else ""
        raise BuildError(f"{PARAMS}: {', '.join(missing)}: missing{instead}; see profiles/ for the keys there are")
    if unknown:
        near = suggestion(undeclared[0], declared_keys | {*NOT_BOUND, *EMPTY_ALLOWED})
        raise BuildError(f"{PARAMS}: {unknown}: no stage declares it{near or ', take it out'}")
    if len(makers := [key for key in ("pretrain", "download_model") if "base" in params[key]]) != 1:
        raise BuildError(
            f"{PARAMS}: pretrain.base, download_model.base: {' and '.join(makers) or 'none'} set; one of them makes the base model"
        )
    check_outs(stages)
    for stage in stages:
        module = importlib.import_module(f"stages.{stage.name.partition('@')[0]}")
        hints = get_type_hints(module.main, include_extras=True)
        for key, value in stage.params.items():
            validated(key, value, hints[param_name(key, value)])
    command(validated("launch", params.get("launch"), Launch), "stages.cpt", "localhost")


def check_outs(stages: Collection[Declaration]) -> None:
    """No two stages make the same, and every model that one reads is made by another.

    Raises:
        BuildError: names the stages and the path.
    """
    made = Counter(out for stage in stages for out in stage.outs)
    if twice := sorted(out for out, times in made.items() if times > 1):
        names = ", ".join(stage.name for stage in stages if twice[0] in stage.outs)
        raise BuildError(f"{PARAMS}: {names}: all would make {twice[0]}; give one another name")
    models = ", ".join(sorted(PurePosixPath(out).name for out in set(made) - NO_MODELS if "models/" in out))
    for stage in stages:
        kind, _, name = stage.name.partition("@")
        for dep in stage.deps:
            if not dep.startswith("models/") or (
                dep in made and not (kind == "evaluate" and f"models/{name}" in NO_MODELS)
            ):
                continue
            if kind in ("evaluate", "trunk", "anneal"):
                key = "evaluated" if kind == "evaluate" else f"{kind}.{name}.from"
                raise BuildError(
                    f"{PARAMS}: {key}: {PurePosixPath(dep).name}: no model of this build, which are {models}"
                )
            raise BuildError(
                f"{PARAMS}: pretrain: no stage makes {dep}, which {stage.name} reads; give a model that name"
            )


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
        *(
            (f"strategies.{name}.models", section["models"], params["evaluated"])
            for name, section in params["strategies"].items()
            if section and section["models"] is not None
        ),
    ):
        if wrong := sorted(map(_shown, set(names) - set(known))):
            raise BuildError(f"{PARAMS}: {key}: {', '.join(wrong)}: not among {', '.join(sorted(map(_shown, known)))}")
        is_read_by_weight = key.endswith(".weights") and not (key == "mix.weights" and params["mix"]["epochs"])
        if is_read_by_weight and not any(names.values()):
            raise BuildError(f"{PARAMS}: {key}: no weight above 0; give a share to one of {', '.join(sorted(known))}")
    priority = params["select"]["priority"]
    if twice := sorted({name for name in priority if priority.count(name) > 1}):
        raise BuildError(f"{PARAMS}: select.priority: {', '.join(twice)}: named twice; take one out")
    _agree("select.priority", dict.fromkeys(priority), dict.fromkeys(collections), "every source once")
    if params["licenses"]["outside"] == "stop":
        for name, source in params["source"].items():
            if source["license_field"] is None and source["license"] not in params["licenses"]["allow"]:
                raise BuildError(
                    f"{PARAMS}: source.{name}.license: {source['license']}: not in `licenses.allow`; add it there, or set"
                    " `licenses.outside` to ledger"
                )
    refuse_training_splits(params)
    refuse_learned_tasks(params)
    width, positions = params["pack"]["sequence_length_tokens"], params["architecture"]["maximum_positions"]
    if positions < width:
        raise BuildError(
            f"{PARAMS}: architecture.maximum_positions: {positions}, below pack.sequence_length_tokens {width}"
        )
    if params["mix"]["clinical_documents"] == "subset" and params["pack"]["subset"] is None:
        raise BuildError(
            f"{PARAMS}: mix.clinical_documents: subset, but pack.subset is null; say there which documents"
        )
    recipes = {f"pretrain.{name}": section for name, section in params["pretrain"].items()}
    processes = Launch.model_validate(params["launch"]).world()
    for key, section in (recipes | {"cpt": params["cpt"], "sft": params["sft"]}).items():
        rows, rest = divmod(section["batch_tokens"], width)
        if rest:
            raise BuildError(
                f"{PARAMS}: {key}.batch_tokens: {section['batch_tokens']} is no multiple of"
                f" pack.sequence_length_tokens {width}"
            )
        if rows % processes:
            raise BuildError(
                f"{PARAMS}: launch: {processes} processes do not divide the {rows} rows of {key}.batch_tokens"
                f" {section['batch_tokens']}"
            )
    for key in ("trunk", "anneal"):
        for name, section in params[key].items():
            if section["tokens"] < params["cpt"]["batch_tokens"]:
                raise BuildError(
                    f"{PARAMS}: {key}.{name}.tokens: {section['tokens']}, less than a step of cpt.batch_tokens"
                )
    check_evaluation(params)
    for kind, name, path in raw_paths(params, root):
        if not os.path.lexists(path):
            raise BuildError(f"{PARAMS}: {kind}.{name}.path: {path} does not exist")


def check_evaluation(params: Mapping[str, Any]) -> None:
    """Strategies, protocols and tasks must fit each other and the model.

    Raises:
        BuildError: names the key.
    """
    strategies, evaluate, positions = (
        params["strategies"], params["evaluate"], params["architecture"]["maximum_positions"],
    )  # fmt: skip
    if strategies["zero_shot"] is None and evaluate["compared"]:
        raise BuildError(f"{PARAMS}: evaluate.compared: zero_shot answers in these, and strategies.zero_shot is null")
    near = [name for name in ("knn_few_shot", "medprompt") if strategies[name]]
    if evaluate["vllm"] and evaluate["vllm"]["scores"] and near and params["encoder"]["embeddings"] is None:
        raise BuildError(
            f"{PARAMS}: evaluate.vllm.scores: vLLM gives no hidden states, by which {' and '.join(near)} would find"
            " near questions; set encoder.embeddings, or these strategies to null"
        )
    limits = {
        f"strategies.{name}.limit_tokens": section["limit_tokens"]
        for name, section in strategies.items()
        if section and "limit_tokens" in section
    }
    limits |= {"evaluate.generation_limit_tokens": evaluate["generation_limit_tokens"]}
    limits |= {f"task.{name}.limit_tokens": section["limit_tokens"] for name, section in params["task"].items()}
    for key, tokens in limits.items():
        if tokens >= positions:
            raise BuildError(
                f"{PARAMS}: {key}: {tokens} leave no room for a prompt in architecture.maximum_positions {positions}"
            )
    if both := sorted(set(params["task"]) & set(params["benchmark"])):
        raise BuildError(f"{PARAMS}: task.{both[0]}: is a benchmark too; give one another name")


def raw_paths(params: Mapping[str, Any], root: Path) -> list[tuple[str, str, Path]]:
    """("source", "benchmark" or "task", its name, where it lies) of all that is not still to be made by the build."""
    folder = root / params["root"]
    made = [f"data/raw/{name}" for name in (*params["synthesize"], *params["download"])]
    if params["root"] in made and not folder.exists():
        return []
    return [
        (kind, name, folder / section["path"])
        for kind in ("source", "benchmark", "task")
        for name, section in params[kind].items()
    ]


def check_files(params: Mapping[str, Any], root: Path) -> None:
    """Keys and detectors of `phi` sections must be there, vLLM where it is asked, and files of the format at each path.

    Nothing there may hang or stop DVC.

    DVC reads every file of a folder, hidden ones too, to hash it: a pipe has no end, a link to nothing no bytes, and a
    name that is no UTF-8 cannot be listed. 1 s for 100,000 files.

    Raises:
        BuildError: names key and file.
    """
    for name, section in params["source"].items():
        source = validated(f"source.{name}", section, Source)
        if source.phi:
            secret(source.phi, name)
            check_detector(source.phi, name)
    if vllm := params["evaluate"]["vllm"]:
        check_vllm(vllm["version"], params["architecture"]["hidden_size"] // params["architecture"]["heads"])
    for kind, name, path in raw_paths(params, root):
        key = f"{PARAMS}: {kind}.{name}.path"
        form = params[kind][name]["format"]
        try:
            files = files_of_format(path, form) if form in SUFFIXES and kind != "benchmark" else raw_files(path, ("",))
        except BuildError as error:
            raise BuildError(f"{key}: {error}") from None
        for file in files:
            if file.fault and file.fault.reason in REFUSED:
                raise BuildError(f"{key}: {path / file.name}: {file.fault.detail}; take it out of the folder")
            if re.search("[\ud800-\udfff]", str(file.path)):
                raise BuildError(f"{key}: {str(file.path)!r}: a name that is no UTF-8; rename it")


def _shown(name: Any) -> str:
    return ": ".join(map(str, name)) if isinstance(name, tuple) else str(name)


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


def refuse_learned_tasks(params: Mapping[str, Any]) -> None:
    """No source may read a task's file: its targets would be learned, and what else is in the folder with them.

    Raises:
        BuildError: names the source and the task.
    """
    for source, section in sorted(params["source"].items()):
        for task, tested in params["task"].items():
            own, other = (PurePosixPath(normpath(each["path"])) for each in (section, tested))
            if own == other or own in other.parents or other in own.parents:
                raise BuildError(
                    f"{PARAMS}: source.{source}.path: {own} and task.{task}.path {other} lie in one another; name the file"
                    " of the training split in one and that of the test split in the other"
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
    check_files(params, root)


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
    if arguments.check and (arguments.name or arguments.root):
        parser.error("--check looks at the params.yaml there is; it takes neither a profile nor --root")
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
