"""What sections of params.yaml say of each other: names, paths and numbers."""

import os
from collections.abc import Collection, Iterator, Mapping
from os.path import normpath
from pathlib import Path, PurePosixPath
from typing import Any

from osler.build.section import BuildError
from osler.build.slurm import of_stage
from osler.build.validation import PARAMS, shown_key
from osler.commands.base_sizes import base_sizes
from osler.commands.fetched import RAW, READING, brought
from osler.ingest.inspection import UNSTATED
from osler.privacy.screened_files import screened_by
from osler.training.in_turn import ONE_PROCESS

HOTTEST = 2.0  # temperature that vLLM 0.32 takes; above it stops
TO_FETCH = {
    "meds": "; put files of Henrychur/MedS-Ins or MedS-Bench there: the Hub's pages of them list commits under History, and"
    " `download` takes one of them"
}  # where files of a format come from, which no repository but their own has


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
    check_source_names(params)
    check_licenses(params)
    refuse_training_splits(params)
    refuse_learned_tasks(params)
    refuse_asked_exercises(params)
    refuse_errors_alone(params)
    check_rows(params, root)
    check_segments(params)
    check_tasks_in_turn(params)
    check_evaluation(params, root)
    check_asked(params)
    for kind, name, path in raw_paths(params, root):
        if not os.path.lexists(path):
            to_fetch = TO_FETCH.get(params[kind][name].get("format", ""), "")
            raise BuildError(f"{PARAMS}: {kind}.{name}.path: {path} does not exist{to_fetch}")


def names_of_others(
    params: Mapping[str, Any], texts: Mapping[str, str], instructions: Collection[str]
) -> Iterator[tuple[str, Any, Collection[Any]]]:
    """Each key that lists names of another section.

    Yields:
        The key, the names there, the names that may be there.

    Args:
        params: all of them.
        texts: the sources that are text to train on, with their collections.
        instructions: the other sources.
    """
    general = {source for source, collection in texts.items() if collection == "general"}
    splits = {(source, benchmark) for source in params["instruct"]["weights"] for benchmark in params["benchmark"]}
    yield "tokenizer.sources", params["tokenizer"]["sources"].items(), texts.items()
    yield "mix.weights", params["mix"]["weights"], texts
    yield "mix.epochs", params["mix"]["epochs"], texts
    yield "instruct.weights", params["instruct"]["weights"], instructions
    yield "instruct.benchmark_training_splits", params["instruct"]["benchmark_training_splits"].items(), splits
    for name, section in params["pretrain"].items():
        yield f"pretrain.{name}.weights", section["weights"], general
    evaluated = [*params["evaluated"], *(f"adapter-{name}" for name in params["adapter"])]
    for name, section in params["strategies"].items():
        if section and section.get("models") is not None:
            yield f"strategies.{name}.models", section["models"], evaluated


def check_source_names(params: Mapping[str, Any]) -> None:
    """Names of sources, benchmarks and models must be some.

    Lists of all sources must be whole.

    Raises:
        BuildError: names the key and the name.
    """
    collections = {name: source["collection"] for name, source in params["source"].items()}
    texts = {name: collection for name, collection in collections.items() if collection != "instructions"}
    _agree("corpus", params["corpus"], texts, "the text sources of `source` with their collections")
    for key, names, known in names_of_others(params, texts, set(collections) - set(texts)):
        if wrong := sorted(map(_shown, set(names) - set(known))):
            raise BuildError(f"{PARAMS}: {key}: {', '.join(wrong)}: not among {', '.join(sorted(map(_shown, known)))}")
        is_read_by_weight = key.endswith(".weights") and not (key == "mix.weights" and params["mix"]["epochs"])
        if is_read_by_weight and not any(names.values()):
            raise BuildError(f"{PARAMS}: {key}: no weight above 0; give a share to one of {', '.join(sorted(known))}")
    priority = params["select"]["priority"]
    if twice := sorted({name for name in priority if priority.count(name) > 1}):
        raise BuildError(f"{PARAMS}: select.priority: {', '.join(twice)}: named twice; take one out")
    _agree("select.priority", dict.fromkeys(priority), dict.fromkeys(collections), "every source once")


def check_licenses(params: Mapping[str, Any]) -> None:
    """Each source has a license, allowed where another stops a build.

    Raises:
        BuildError: names the source and its license.
    """
    for name, source in params["source"].items():
        if source["license"] == UNSTATED:
            raise BuildError(
                f"{PARAMS}: source.{name}.license: {UNSTATED}; write what its owner calls it, and allow that"
            )
    if params["licenses"]["outside"] != "stop":
        return
    for name, source in params["source"].items():
        if source.get("license_field") is None and source["license"] not in params["licenses"]["allow"]:
            raise BuildError(
                f"{PARAMS}: source.{name}.license: {source['license']}: not in `licenses.allow`; add it there, or set"
                " `licenses.outside` to ledger"
            )


def check_exercises(params: Mapping[str, Any]) -> None:
    """The tasks and rows that exercises and adapters name must be there.

    Raises:
        BuildError: names the key.
    """
    rows = ["instructions", *(f"exercises/{name}" for name in params["exercise"])]
    for name, section in params["adapter"].items():
        if section["rows"] not in rows:
            raise BuildError(f"{PARAMS}: adapter.{name}.rows: {section['rows']}: not among {', '.join(rows)}")
    for name, section in params["exercise"].items():
        if section["task"] not in params["task"]:
            there = f"not among {', '.join(params['task'])}" if params["task"] else "there is no task"
            raise BuildError(f"{PARAMS}: exercise.{name}.task: {section['task']}: {there}")
        task = params["task"][section["task"]]
        if task.get("target", "") is None and task.get("part") is None:
            raise BuildError(f"{PARAMS}: exercise.{name}.task: {section['task']}: has no `target` to learn")


def refuse_asked_exercises(params: Mapping[str, Any]) -> None:
    """Rows of exercises must be some that nobody is asked.

    Their license must be allowed. They are learned unscreened, as those of `continual` are: no source with a section `phi` may
    read the same file.

    Raises:
        BuildError: names the key.
    """
    screened = {name: other["path"] for name, other in params["source"].items() if other.get("phi")}
    for name, section in params["exercise"].items():
        key, task = f"{PARAMS}: exercise.{name}", params["task"][section["task"]]
        own = normpath(section["path"]) == normpath(task["path"])
        if own and task.get("split_field") is None and task.get("training_fraction") is None:
            raise BuildError(
                f"{key}.path: all rows of {section['path']} are asked; set task.{section['task']}.training_fraction or"
                " split_field, or name the file of the training split"
            )
        allowed = params["licenses"]["allow"]
        if section["license"] not in allowed:
            raise BuildError(f"{key}.license: {section['license']}: not in `licenses.allow`; add it there")
        if source := screened_by(section["path"], screened):
            raise BuildError(
                f"{key}.path: source.{source} screens this file for identifiers, and an exercise would be learned as it is;"
                " name a file without them"
            )
    for name, section in params.get("continual", {}).items():
        for task in section["tasks"]:
            if task in params["task"] and (source := screened_by(params["task"][task]["path"], screened)):
                raise BuildError(
                    f"{PARAMS}: continual.{name}.tasks: {task}: source.{source} screens its file for identifiers, and its rows"
                    " would be learned as they are; name a task without them"
                )


def check_rows(params: Mapping[str, Any], root: Path) -> None:
    """Rows must fit the model's positions and batches.

    Raises:
        BuildError: names the keys.
    """
    width, positions = params["pack"]["sequence_length_tokens"], base_sizes(params, root).positions
    if positions and positions < width:
        raise BuildError(
            f"{PARAMS}: architecture.maximum_positions: {positions}, below pack.sequence_length_tokens {width}"
        )
    if params["mix"]["clinical_documents"] == "subset" and params["pack"]["subset"] is None:
        raise BuildError(
            f"{PARAMS}: mix.clinical_documents: subset, but pack.subset is null; say there which documents"
        )
    recipes = {f"pretrain.{name}": section for name, section in params["pretrain"].items()}
    recipes |= {f"{kind}.{name}": each for kind in ("adapter", "continual") for name, each in params[kind].items()}
    for key, section in (recipes | {"cpt": params["cpt"], "sft": params["sft"]}).items():
        if section["batch_tokens"] % width:
            raise BuildError(
                f"{PARAMS}: {key}.batch_tokens: {section['batch_tokens']} is no multiple of"
                f" pack.sequence_length_tokens {width}"
            )


def check_segments(params: Mapping[str, Any]) -> None:
    """A segment of continued pretraining must be a step long.

    Raises:
        BuildError: names the segment.
    """
    for key in ("trunk", "anneal"):
        for name, section in params[key].items():
            if section["tokens"] < params["cpt"]["batch_tokens"]:
                raise BuildError(
                    f"{PARAMS}: {key}.{name}.tokens: {section['tokens']}, less than a step of cpt.batch_tokens"
                )


def check_tasks_in_turn(params: Mapping[str, Any]) -> None:
    """Tasks that are learned one after another must be of labels.

    Their texts must leave room for these.

    Raises:
        BuildError: names the key.
    """
    width, engine = params["pack"]["sequence_length_tokens"], of_stage(params.get("launch"), "continual")["engine"]
    if params["continual"] and engine != "python":
        raise BuildError(f"{PARAMS}: launch.engine: {engine}; {ONE_PROCESS}")
    for name, section in params["continual"].items():
        for task in section["tasks"]:
            where = f"{PARAMS}: continual.{name}.tasks: {task}"
            if task not in params["task"]:
                known = ", ".join(sorted(params["task"])) or "none"
                raise BuildError(f"{where}: no section of `task`, which are {known}")
            if (metric := params["task"][task]["metric"]) != "label":
                raise BuildError(f"{where}: of metric {metric}; only tasks of metric label are classified")
        if section["source_limit_tokens"] >= width:
            raise BuildError(
                f"{PARAMS}: continual.{name}.source_limit_tokens: {section['source_limit_tokens']}, which leaves no room for a"
                f" label in pack.sequence_length_tokens {width}"
            )


def check_evaluation(params: Mapping[str, Any], root: Path) -> None:
    """Strategies, protocols and tasks must fit each other and the model.

    Raises:
        BuildError: names the key.
    """
    strategies, evaluate, positions = params["strategies"], params["evaluate"], base_sizes(params, root).positions
    if strategies["zero_shot"] is None and evaluate["compared"]:
        raise BuildError(f"{PARAMS}: evaluate.compared: zero_shot answers in these, and strategies.zero_shot is null")
    near = [name for name in ("knn_few_shot", "medprompt") if strategies[name]]
    if evaluate["vllm"] and evaluate["vllm"]["scores"] and near and params["encoder"]["embeddings"] is None:
        raise BuildError(
            f"{PARAMS}: evaluate.vllm.scores: vLLM gives no hidden states, by which {' and '.join(near)} would find"
            " near questions; set encoder.embeddings, or these strategies to null"
        )
    for name, section in strategies.items():
        if section and section.get("read_chains") and evaluate["protocol"] == "generation":
            raise BuildError(
                f"{PARAMS}: strategies.{name}.read_chains: true, and under evaluate.protocol generation chains are read anyway;"
                " take it out"
            )
    drawn = {f"strategies.{name}": section or {} for name, section in strategies.items()}
    for key, section in (drawn | {f"task.{name}": section for name, section in params["task"].items()}).items():
        if evaluate["vllm"] and (section.get("temperature") or 0) > HOTTEST:
            raise BuildError(
                f"{PARAMS}: {key}.temperature: {section['temperature']:g}, and vLLM draws at {HOTTEST:g} at most; lower it, or set"
                " evaluate.vllm to null"
            )
    limits = {
        f"strategies.{name}.limit_tokens": section["limit_tokens"]
        for name, section in strategies.items()
        if section and "limit_tokens" in section
    }
    limits |= {"evaluate.generation_limit_tokens": evaluate["generation_limit_tokens"]}
    limits |= {f"task.{name}.limit_tokens": section["limit_tokens"] for name, section in params["task"].items()}
    for key, tokens in limits.items():
        if positions and tokens >= positions:
            raise BuildError(
                f"{PARAMS}: {key}: {tokens} leave no room for a prompt in architecture.maximum_positions {positions}"
            )
    if both := sorted(set(params["task"]) & set(params["benchmark"])):
        raise BuildError(f"{PARAMS}: task.{both[0]}: is a benchmark too; give one another name")


def check_asked(params: Mapping[str, Any]) -> None:
    """Some strategy must ask every model, under each of its seeds.

    The evaluation would say so after all training.

    Raises:
        BuildError: names the model.
    """
    several = {name: len(params["seeds"]) > 1 for name in params["evaluated"]}
    for name, section in params["adapter"].items():
        several[f"adapter-{name}"] = len(section.get("seeds") or params["seeds"]) > 1
    on = [section for section in params["strategies"].values() if section]
    for model, has_others in several.items():
        asking = [one for one in on if one.get("models") is None or model in one["models"]]
        if asking and not (has_others and all(one.get("seeds") != "all" for one in asking)):
            continue
        under = " under other seeds than the first: set `seeds: all` of one" if asking else ": set one"
        raise BuildError(f"{PARAMS}: strategies: none asks {model}{under}, zero_shot for instance")


def raw_paths(params: Mapping[str, Any], root: Path) -> list[tuple[str, str, Path]]:
    """Where all that the build does not make itself lies.

    Returns:
        ("source", "benchmark", "task" or "exercise", its name, its path). What is not yet downloaded is not among them.
    """
    folder = root / params["root"]
    made = [f"data/raw/{name}" for name in (*params["synthesize"], *params["download"])]
    if params["root"] in made and not folder.exists():
        return []
    paths = [
        (kind, name, folder / section["path"], brought(params, section["path"], root))
        for kind in READING
        for name, section in params[kind].items()
    ]
    return [
        (kind, name, path)
        for kind, name, path, own in paths
        if not (own and own[0] == "download" and not (root / RAW / own[1]).exists())
    ]


def _shown(name: Any) -> str:
    return ": ".join(map(shown_key, name)) if isinstance(name, tuple) else shown_key(name)


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


def refuse_errors_alone(params: Mapping[str, Any]) -> None:
    """A benchmark with typing errors stands beside the same one without.

    Else nothing would be found of its questions in the corpus: they are looked for as they are asked.

    Raises:
        BuildError: names the benchmark.
    """
    whole = {normpath(section["path"]) for section in params["benchmark"].values() if not section.get("typing_errors")}
    for name, section in params["benchmark"].items():
        if section.get("typing_errors") and normpath(section["path"]) not in whole:
            raise BuildError(
                f"{PARAMS}: benchmark.{name}.typing_errors: its questions as they are would not be looked for in the corpus;"
                f" add a benchmark with the path {section['path']} and without typing_errors"
            )


def refuse_learned_tasks(params: Mapping[str, Any]) -> None:
    """No source may read a task's file.

    Its targets would be learned, and what else is in the folder with them. A corpus may be read whose notes have the `part` that a
    task is about: `select` drops the notes that are asked, as it drops every document with an item's words.

    Raises:
        BuildError: names the source and the task.
    """
    for source, section in sorted(params["source"].items()):
        for task, tested in params["task"].items():
            if tested.get("part") and section.get("collection") != "instructions":
                continue
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
