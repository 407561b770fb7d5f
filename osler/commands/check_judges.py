"""Judges of section `judge`, held against the tasks, models and files that are there."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from osler.build.section import BuildError
from osler.build.validation import PARAMS, validated
from osler.evaluation.asked_judges import refuse_leaving
from osler.evaluation.judges import Judge
from osler.evaluation.ratings import RATINGS, read_ratings
from osler.inference.judge_files import folder_digest
from osler.inference.vllm_backend import installed


def check_judges(params: Mapping[str, Any], root: Path) -> None:
    """Tasks, models and files that judges name must be there.

    An address is asked for when something is to be judged: who only checks need not have it.

    Raises:
        BuildError: names the key.
    """
    if not (path := root / params["ratings"]).is_file():
        raise BuildError(
            f"{PARAMS}: ratings: no file {path}; write the line {','.join(RATINGS)} into it, or name another"
        )
    read_ratings(path)
    evaluated = [*params["evaluated"], *(f"adapter-{name}" for name in params["adapter"])]
    screened = {
        name: source["path"]
        for name, source in params["source"].items()
        if (phi := source.get("phi")) and not phi.get("judged_elsewhere")
    }
    names = Counter(name.casefold() for name in params["judge"])
    if alike := sorted(name for name in params["judge"] if names[name.casefold()] > 1):
        raise BuildError(
            f"{PARAMS}: judge: {', '.join(alike)}: the same but for upper and lower case; give one another name"
        )
    for name, section in params["judge"].items():
        judge = validated(f"judge.{name}", section, Judge)
        named = [*(judge.models or ()), *(model for pair in judge.pairs or () for model in pair)]
        if unknown := [task for task in judge.tasks if task not in params["task"]]:
            known = ", ".join(params["task"]) or "none"
            raise BuildError(f"{PARAMS}: judge.{name}.tasks: {unknown[0]}: no section of `task`, which are {known}")
        if unknown := [model for model in named if model not in evaluated]:
            raise BuildError(
                f"{PARAMS}: judge.{name}: {unknown[0]}: no model that is evaluated, which are {', '.join(evaluated)}"
            )
        for task in judge.tasks:
            section = params["task"][task]
            if not (judge.pairs or section.get("criteria") or section.get("criteria_field")):
                raise BuildError(
                    f"{PARAMS}: judge.{name}.tasks: {task}: nothing to judge; give the task `criteria` or the judge `pairs`"
                )
        refuse_leaving(name, judge, {task: section["path"] for task, section in params["task"].items()}, screened)
        check_pin(name, judge, root)
    judged = {task for section in params["judge"].values() for task in section["tasks"]}
    for task, section in params["task"].items():
        if section["metric"] == "rubric" and task not in judged:
            raise BuildError(f"{PARAMS}: task.{task}.metric: rubric, and no `judge` names {task} among its tasks")


def check_pin(name: str, judge: Judge, root: Path) -> None:
    """The folder of a judge must have its digest.

    The vLLM that it asks for must be there, too.

    Raises:
        BuildError: names the key, and the digest that the folder has.
    """
    if judge.folder is not None:
        _, digest = folder_digest(root / judge.folder, f"judge.{name}")
        if judge.digest != digest:
            given = f"it is {judge.digest}" if judge.digest else "it is missing"
            raise BuildError(
                f"{PARAMS}: judge.{name}.digest: the files of {judge.folder} have {digest} ({given}); if that model is meant,"
                " write it"
            )
    if judge.vllm is not None:
        installed(judge.vllm, f"judge.{name}.vllm")
