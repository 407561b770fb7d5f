"""`osler check`: is params.yaml whole, known and in range?

DVC notices a changed value, but not a misspelled section that no stage declares, and a pipe in a folder hangs it. The check
says so before anything is built. Of the data it lists the files, 1 s for 100,000, and reads only a benchmark until it has enough
solved questions. The chat template, a program, is run on a conversation.
"""

import copy
import importlib
import re
import sys
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, get_type_hints

from osler.build.cluster import check_ray
from osler.build.lock import check_dvc_lock
from osler.build.pipeline import ROOT, Declaration, declarations, read_params
from osler.build.profiles import NAMED
from osler.build.recorded import locked_stages
from osler.build.section import BuildError, Section
from osler.build.validation import PARAMS, shown_value, suggestion, validated
from osler.commands.base_sizes import base_sizes, check_base
from osler.commands.check_adapters import check_adapters
from osler.commands.check_instructions import check_instruction_tasks
from osler.commands.check_judges import check_judges
from osler.commands.check_prompts import check_system_prompt
from osler.commands.fetched import check_commits
from osler.commands.limits import check_amendments, check_memory, check_model, check_paths, check_shots
from osler.commands.patterns import check_patterns
from osler.commands.references import check_exercises, check_references, raw_paths
from osler.corpus.withdrawn import listed_names
from osler.evaluation.benchmarks import Benchmark
from osler.evaluation.exercises import Exercise
from osler.evaluation.judges import Judge
from osler.evaluation.published import check_published
from osler.evaluation.tasks import Task
from osler.inference.vllm_backend import check_vllm
from osler.ingest.archives import REFUSED, raw_files
from osler.ingest.records import SUFFIXES, files_of_format
from osler.ingest.source import Source
from osler.model.numerics import Numerics
from osler.privacy.keys import secret
from osler.privacy.screening import check_detector
from osler.tokens.chat_templates import check_chat_template
from osler.tokens.tokenizers import package_file
from osler.training.adapters import AdapterSection
from osler.training.arithmetic import ADVICE, is_as_committed
from osler.training.continued_pretraining import Branch, Segment
from osler.training.in_turn import ContinualSection
from osler.training.launch import Launch, check_stages
from osler.training.tracker import check_tracker

# used by dvc.yaml's templates or by osler.commands.launch, declared by no stage
NOT_BOUND = ("root", "ratings", "corpus", "evaluated", "launch")
NO_MODELS = {"models/tokenizer", "models/encoders", "models/judges"}
NAME = re.compile("[A-Za-z0-9_][A-Za-z0-9_-]*")
# sections of a stage for each entry, of which there may be none
EMPTY_ALLOWED = (
    "synthesize",
    "download",
    "download_model",
    "pretrain",
    "architecture",
    "trunk",
    "anneal",
    "adapter",
    "continual",
    "task",
    "exercise",
    "judge",
)


def check_shape(params: Mapping[str, Any], root: Path) -> None:
    """The sections that dvc.yaml makes stages from must be mappings.

    Raises:
        BuildError: names the key.
    """
    templates = set(re.findall(r"\$\{(\w+)", (root / "dvc.yaml").read_text(encoding="utf-8"))) - {"key", "item"}
    for key in sorted(templates | set(NAMED)):
        if key not in params:
            near = suggestion(key, set(map(str, params)) - templates).replace("did you mean", "but there is")
            empty = "dvc.yaml makes stages from it" if key in templates else f"write `{key}: {{}}` for none"
            raise BuildError(f"{PARAMS}: {key}: missing{near.rstrip('?')}; {empty}")
        if key == "evaluated" and (
            not isinstance(params[key], list)
            or not all(isinstance(model, str) and NAME.fullmatch(model) for model in params[key])
            or not 0 < len(set(params[key])) == len(params[key])
        ):
            raise BuildError(f"{PARAMS}: evaluated: must be a list of models, each once (it is {params[key]!r})")
        if key not in ("root", "ratings", "evaluated") and not isinstance(params[key], Mapping):
            raise BuildError(f"{PARAMS}: {key}: must be a mapping, {{}} where there is nothing (it is {params[key]!r})")
    if isinstance(params["root"], list | Mapping):
        raise BuildError(f"{PARAMS}: root: must be a folder's path (it is {shown_value(params['root'])})")
    for key, file in (("ratings", params["ratings"]), ("select.withdrawn", params["select"].get("withdrawn", ""))):
        if not isinstance(file, str):
            raise BuildError(f"{PARAMS}: {key}: must be a file's path (it is {shown_value(file)})")
    for name, collection in params["corpus"].items():
        if collection not in ("clinical", "general"):
            raise BuildError(f"{PARAMS}: corpus.{name}: must be clinical or general (it is {shown_value(collection)})")
    tokenizer = params.get("tokenizer")
    if not isinstance(tokenizer, Mapping) or not isinstance(tokenizer.get("sources"), Mapping):
        raise BuildError(f"{PARAMS}: tokenizer.sources: must be a mapping, source: collection")
    if "chat_template" in params["tokenizer"]:
        raise BuildError(f"{PARAMS}: tokenizer.chat_template: is a key of its own now, chat_template; move it there")
    for key in ("source", "benchmark"):
        if not params[key]:
            raise BuildError(f"{PARAMS}: {key}: empty; a build needs at least one")


def check_names(params: Mapping[str, Any], root: Path) -> None:
    """Names of entries, which become paths and keys.

    What they name must be a section, and segments of a trunk no circle.

    Raises:
        BuildError: names the key; see also `check_shape`.
    """
    check_shape(params, root)
    for key in NAMED:
        for name in params[key]:
            if not isinstance(name, str) or not NAME.fullmatch(name):
                raise BuildError(
                    f"{PARAMS}: {key}: {name!r} cannot be a name; use letters, digits, `_` and `-`, and quotes around"
                    " digits alone"
                )
    for key, kind in (("trunk", Segment), ("anneal", Branch)):
        for name, section in params[key].items():
            validated(f"{key}.{name}", section, kind)
    for name, section in params["adapter"].items():
        validated(f"adapter.{name}", section, AdapterSection)
    for key, model in (
        ("source", Source),
        ("benchmark", Benchmark),
        ("task", Task),
        ("exercise", Exercise),
        ("judge", Judge),
    ):
        for name, section in params[key].items():
            validated(f"{key}.{name}", section, model)
    check_exercises(params)
    for name, section in params["continual"].items():
        validated(f"continual.{name}", section, ContinualSection)
    for name in params["trunk"]:
        before, seen = name, {name}
        while (before := params["trunk"].get(before, {"from": ""})["from"].removeprefix("trunk-")) in params["trunk"]:
            if before in seen:
                raise BuildError(
                    f"{PARAMS}: trunk.{name}.from: a circle of segments; one of them has to start from base"
                )
            seen.add(before)
    for key in NAMED:
        for name, section in params[key].items():
            if not isinstance(section, Mapping):
                raise BuildError(
                    f"{PARAMS}: {key}.{name}: must be a mapping, with the keys of docs/params.md (it is"
                    f" {shown_value(section)}); to do without it, take its name out"
                )


def check_sections(params: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """Validate what stages declare; refuse sections that none declares.

    Returns:
        The params with every key that may be absent.

    Raises:
        BuildError: names the keys.
    """
    check_names(params, root)
    check_commits(params)
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
    check_base(params)
    check_outs(stages)
    whole: dict[str, Any] = copy.deepcopy(dict(params))
    for stage in stages:
        module = importlib.import_module(f"stages.{stage.name.partition('@')[0]}")
        hints = get_type_hints(module.main, include_extras=True)
        for key, value in stage.params.items():
            *above, last = key.split(".")
            found = validated(key, value, hints.get(key.split(".")[0]) or hints[last])
            if isinstance(found, Section):
                place = whole
                for part in above:
                    place = place[part]
                place[last] = found.model_dump(mode="json", by_alias=True)
    launch = validated("launch", params.get("launch"), Launch)
    check_stages(launch)
    for name in ("", *(launch.stages or {})):
        check_tracker(launch.of(name).tracker, f"launch.stages.{name}" if name else "launch")
    return whole | {"launch": launch.model_dump(mode="json")}


def check_outs(stages: Collection[Declaration]) -> None:
    """Check that no two stages make the same.

    Names that differ in case are the same on some machines. Every model that is read must be made, too.

    Raises:
        BuildError: names the stages and the path.
    """
    made = Counter(out for stage in stages for out in stage.outs)
    folded = Counter(out.casefold() for out in made.elements())  # as a file system may that does not tell case
    if twice := sorted(out for out in made if folded[out.casefold()] > 1):
        makers = [stage.name for stage in stages for out in stage.outs if out.casefold() == twice[0].casefold()]
        case = "" if made[twice[0]] > 1 else ", but for upper and lower case"
        raise BuildError(f"{PARAMS}: {', '.join(makers)}: all would make {twice[0]}{case}; give one another name")
    models = ", ".join(sorted(PurePosixPath(out).name for out in set(made) - NO_MODELS if "models/" in out))
    for stage in stages:
        kind, _, name = stage.name.partition("@")
        for dep in stage.deps:
            if not dep.startswith("models/") or (
                dep in made and not (kind == "evaluate" and f"models/{name}" in NO_MODELS)
            ):
                continue
            if kind in ("evaluate", "trunk", "anneal", "adapter", "continual"):
                key = "evaluated" if kind == "evaluate" else f"{kind}.{name}.from"
                raise BuildError(
                    f"{PARAMS}: {key}: {PurePosixPath(dep).name}: no model of this build, which are {models}"
                )
            raise BuildError(
                f"{PARAMS}: pretrain: no stage makes {dep}, which {stage.name} reads; give a model that name"
            )


def check_files(params: Mapping[str, Any], root: Path) -> None:
    """Files, keys, detectors and programs that sections name must be there.

    At each path lie files of the format, and nothing that would hang or stop DVC.

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
    validated("numerics", params["numerics"], Numerics).check_machine(trains_elsewhere(params["launch"]))
    if params["launch"].get("cluster"):
        check_ray()
    if (vllm := params["evaluate"]["vllm"]) and (known := base_sizes(params, root).architecture):
        check_vllm(vllm["version"], known.head_size, bool(known.experts and params["adapter"]))
    for kind, name, path in raw_paths(params, root):
        key = f"{PARAMS}: {kind}.{name}.path"
        form = (params["task"][params[kind][name]["task"]] if kind == "exercise" else params[kind][name])["format"]
        try:
            files = files_of_format(path, form) if form in SUFFIXES and kind != "benchmark" else raw_files(path, ("",))
        except BuildError as error:
            raise BuildError(f"{key}: {error}") from None
        for file in files:
            if file.fault and file.fault.reason in REFUSED:
                raise BuildError(f"{key}: {path / file.name}: {file.fault.detail}; take it out of the folder")
            if re.search("[\ud800-\udfff]", str(file.path)):
                raise BuildError(f"{key}: {str(file.path)!r}: a name that is no UTF-8; rename it")


def trains_elsewhere(launch: Mapping[str, Any]) -> bool:
    """Whether a stage is trained on other machines.

    Their kernels cannot be looked at from here.
    """
    sections = [launch, *(launch.get("stages") or {}).values()]
    return any(section.get("submit") or section.get("nodes", 1) > 1 for section in sections)


def check(root: Path) -> None:
    """Check the params.yaml in `root`.

    Raises:
        BuildError: the first problem found.
    """
    params = check_sections(read_params(root / PARAMS), root)
    check_references(params, root)
    check_published(
        [params["evaluate"]["protocol"], *params["evaluate"]["compared"]],
        {name: section["format"] for name, section in params["benchmark"].items()},
        {name: section for name, section in params["strategies"].items() if section},
    )
    check_paths(params)
    check_system_prompt(params)
    check_model(params, root)
    check_amendments(params)
    if not trains_elsewhere(params["launch"]):
        check_memory(params, root)
    check_adapters(params, is_here=not trains_elsewhere(params["launch"]))
    check_files(params, root)
    check_withdrawn(params, root)
    check_judges(params, root)
    check_instruction_tasks(params, root)
    check_shots(params, root)
    check_patterns(params)
    if (tokenizer := params["tokenizer"])["kind"] == "package":
        package_file(tokenizer["package"], tokenizer["file"])
    if (
        tokenizer["kind"] != "base"
    ):  # a base's has marks that are known once it is there: stage `template` checks it then
        check_chat_template(params["chat_template"])


def check_withdrawn(params: Mapping[str, Any], root: Path) -> None:
    """The list of withdrawn documents can be read, before hours of work.

    Raises:
        BuildError: names the key and the file.
    """
    try:
        listed_names(root / params["select"]["withdrawn"])
    except BuildError as error:
        raise BuildError(f"{PARAMS}: select.withdrawn: {error}") from None


def say() -> None:
    """Check params.yaml, and say where this machine computes otherwise.

    Otherwise than the machine that the results were committed from; that is no error.
    """
    check_dvc_lock(ROOT)
    locked_stages(ROOT)
    check(ROOT)
    print(f"{PARAMS}: no problem found")
    if not is_as_committed(ROOT, wait=False):
        print(ADVICE, file=sys.stderr)
