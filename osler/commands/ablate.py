"""`osler ablate`: train and evaluate every combination of some params.

Each combination is a DVC experiment of HEAD named after its values (`alpha-5-seeds-1`), run one after another in the workspace.
`--temp` and `--queue` copy the project and all its data for each, do not see files that Git does not know, and lose the
checkpoints and finished predictions of `scratch/` with every failure; in the workspace a run that was killed in its third week
goes on. The price: the workspace is in use meanwhile, its params.yaml, dvc.lock and metrics must be committed before,
and are put back at the end, after Ctrl-C too. After `kill -9` DVC leaves HEAD detached: `git checkout -f <branch> && dvc checkout`.

What is done is not run again: an experiment of HEAD, however it was started, with the same params, and the code and data of now.
A failure is told, and the others still run. Results go to results/ablation.json, which is no out of DVC.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from osler.build.files import write_bytes, write_json
from osler.build.pipeline import ROOT, Declaration, declarations, read_params
from osler.build.reruns import changes, producers
from osler.build.revision import BuildRevision
from osler.build.section import BuildError
from osler.build.validation import PARAMS
from osler.commands.compare import columns
from osler.evaluation.strategies.order import strategies_in_order
from osler.statistics.accuracy import in_order
from osler.statistics.sweeps import (
    Cell,
    Combination,
    Mean,
    Scores,
    combinations,
    experiment_name,
    overridden,
    override,
    summary,
    sweeps,
    written,
)

LOCK = "dvc.lock"
WRITTEN = "results/ablation.json"


class Interrupted(BaseException):
    """SIGINT or SIGTERM came; `number` is which."""

    def __init__(self, number: int) -> None:
        self.number = number


def git(root: Path, *arguments: str) -> str:
    """What a Git command prints.

    Raises:
        BuildError: it fails.
    """
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"git {arguments[0]}: {' '.join(done.stderr.split())}")
    return done.stdout


def blob(root: Path, name: str) -> bytes | None:
    """The bytes of `<revision>:<path>`; None where Git has none."""
    done = subprocess.run(["git", "cat-file", "blob", name], cwd=root, capture_output=True, check=False)
    return None if done.returncode else done.stdout


def there(path: Path) -> bytes | None:
    """The bytes of a file, None where there is none."""
    return path.read_bytes() if path.is_file() else None


def current_branch(root: Path) -> str:
    """The ref that HEAD stands for; empty where it is detached."""
    done = subprocess.run(["git", "symbolic-ref", "-q", "HEAD"], cwd=root, capture_output=True, text=True, check=False)
    return done.stdout.strip()


class Workspace:
    """The project in `root`, in which experiments run.

    Afterwards it is what it was.

    Raises:
        BuildError: what a run changes is not committed, or stages read a file that Git does not know and does not ignore.
    """

    def __init__(self, root: Path, params: Mapping[str, Any], stages: Mapping[str, Declaration]) -> None:
        self.root, self.params = root, params
        self.head = git(root, "rev-parse", "HEAD").strip()
        self.branch = current_branch(root)
        self.outs = [out for stage in stages.values() for out in stage.outs]
        tracked = set(git(root, "ls-files", "-z", "--", PARAMS, LOCK, *self.outs).split("\0")) - {""}
        self.untracked = self.strangers()
        for name in (PARAMS, LOCK):
            if name not in tracked:
                raise BuildError(
                    f"{name}: not committed; build with `dvc repro` and commit, experiments start from there"
                )
        self.committed = {path: blob(root, f"HEAD:{path}") for path in sorted(tracked)}
        if dirty := [path for path, content in self.committed.items() if content != there(root / path)]:
            raise BuildError(
                f"{', '.join(dirty)}: not as in HEAD, where experiments start from; commit, or `git checkout -- . && dvc checkout`"
            )
        self.read = sorted({path for made in producers(stages).values() for path, makers in made.items() if not makers})
        inside = [path for path in self.read if not Path(path).is_absolute() and not path.startswith("..")]
        if unknown := git(root, "ls-files", "--others", "--exclude-standard", "--", *inside, "dvc.yaml").split("\n")[0]:
            raise BuildError(f"{unknown}: unknown to Git, so no experiment could be built again: `git add` it")
        self.code = [path for path in (*inside, "dvc.yaml") if git(root, "ls-files", "--", path)]

    def strangers(self) -> set[str]:
        """Files in outs that Git neither knows nor ignores.

        One is, for example, a figure that HEAD has not.
        """
        return set(git(self.root, "ls-files", "--others", "--exclude-standard", "-z", "--", *self.outs).split("\0")) - {
            ""
        }

    def experiments(self) -> dict[str, str]:
        """Name -> commit of each experiment of HEAD."""
        prefix = f"refs/exps/{self.head[:2]}/{self.head[2:]}/"
        listed = git(self.root, "for-each-ref", "--format=%(refname) %(objectname)", prefix)
        return dict(line.removeprefix(prefix).split(" ") for line in listed.splitlines())

    def done(self, asked: Sequence[Combination]) -> dict[Combination, str]:
        """The names of experiments that ran with those params.

        They ran on the code and data of now.
        """
        found = self.experiments()
        if not found:
            return {}
        outside = set(self.read) - set(self.code)
        if any(outside & set(change.deps) for change in changes(self.root).values()):
            return {}  # raw data changed since the last build: DVC decides what runs, most of it nothing
        ran = {}
        for name, commit in found.items():
            same = ["git", "diff", "--quiet", commit, "--", *self.code]
            if subprocess.run(same, cwd=self.root, check=False).returncode == 0:
                ran[name] = yaml.safe_load(git(self.root, "show", f"{commit}:{PARAMS}"))
        result = {}
        for combination in asked:
            expected = overridden(self.params, combination)
            names = sorted(name for name, params in ran.items() if params == expected)
            if names:
                own = experiment_name(combination)
                result[combination] = own if own in names else names[0]
        return result

    def run(self, combination: Combination) -> bool:
        """Run a combination as an experiment under its name.

        It returns whether the run succeeded. A stale experiment of that name is replaced.
        """
        name = experiment_name(combination)
        if name in self.experiments():
            self.dvc("exp", "remove", "--quiet", name)
        values = [part for key, value in combination for part in ("-S", override(key, value))]
        try:
            return self.dvc("exp", "run", "--name", name, *values) == 0
        finally:
            self.put_back(PARAMS)

    def dvc(self, *arguments: str) -> int:
        """Run DVC in a process group of its own.

        So one signal reaches it and its stages once. It returns DVC's exit code.
        """
        with subprocess.Popen([sys.executable, "-m", "dvc", *arguments], cwd=self.root, process_group=0) as child:
            try:
                return child.wait()
            except Interrupted:
                os.killpg(child.pid, signal.SIGINT)
                child.wait()
                raise

    def put_back(self, path: str) -> None:
        """Make a file that of HEAD.

        `git checkout` would pass over one that has the size and the second of before.
        """
        content = self.committed[path]
        if content is None:
            (self.root / path).unlink(missing_ok=True)
        elif content != there(self.root / path):
            write_bytes(self.root / path, content)

    def restore(self) -> None:
        """Make params.yaml, dvc.lock, metrics and artifacts those of HEAD.

        Other files are left as they are. DVC detaches HEAD and stages changes while an experiment runs, and if it is
        killed, that stays.
        """
        if self.branch and current_branch(self.root) != self.branch:
            git(self.root, "symbolic-ref", "HEAD", self.branch)
        git(self.root, "reset", "--quiet", "HEAD", "--", *self.committed)
        for path in self.committed:
            self.put_back(path)
        for path in self.strangers() - self.untracked:
            (self.root / path).unlink()
        if self.dvc("checkout", "--force", "--quiet"):
            print("osler: HEAD's artifacts are not all in DVC's cache; `dvc repro` builds them", file=sys.stderr)


def scores(root: Path, experiment: str) -> Scores:
    """Accuracy by strategy and model of an experiment, from its metrics.

    Raises:
        BuildError: they cannot be read.
    """
    revision = BuildRevision(root, experiment)
    found: Scores = json.loads(revision.content(revision.paths("eval")[0]))
    return found


def label(setting: Combination) -> str:
    """`neftune.alpha=5`, or what is the same in all runs."""
    return " ".join(f"{key}={written(value)}" for key, value in setting) or "all"


def _shown(mean: Mean | None, sign: str) -> tuple[str, str]:
    if mean is None:
        return "", ""
    if mean.low is None or mean.high is None:
        return f"{100 * mean.mean:{sign}.1f}", "-"
    return f"{100 * mean.mean:{sign}.1f}", f"[{100 * mean.low:{sign}.1f}, {100 * mean.high:{sign}.1f}]"


def lines(cells: Sequence[Cell], confidence: float) -> Iterator[str]:
    """The lines of the summary.

    Settings stand below each other for each strategy and model. Those that no setting moves are named only.
    """
    if not cells:
        yield "No combination has results."
        return
    grouped: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        grouped.setdefault((cell.strategy, cell.model), []).append(cell)
    several = len({cell.setting for cell in cells}) > 1
    strategies = strategies_in_order(list(dict.fromkeys(strategy for strategy, _ in grouped)))
    models = in_order(model for _, model in grouped)
    order = [(strategy, model) for strategy in strategies for model in models if (strategy, model) in grouped]
    moved = [
        arm
        for arm in order
        if not several
        or any(cell.effect and (cell.effect.mean, cell.effect.low) != (0, 0) for cell in grouped[arm][1:])
    ]
    percent = f"{100 * confidence:g} %"
    head = ["strategy", "model", "setting", "seeds", "accuracy", percent]
    if several:
        head += [f"over {label(cells[0].setting)}", percent]
    rows = []
    for arm in moved:
        for cell in grouped[arm]:
            row = [*arm, label(cell.setting), str(cell.accuracy.seeds), *_shown(cell.accuracy, "")]
            rows.append(row + list(_shown(cell.effect, "+")) if several else row)
    if rows:
        yield from columns([head, *rows], 3)
    if same := [f"{model} ({strategy})" for strategy, model in order if (strategy, model) not in moved]:
        yield f"The same under every setting: {', '.join(same)}."
    yield (
        "Means over training seeds with t intervals over them, differences within each seed; none for fewer than 3 seeds. They are"
        " about these items: `osler compare` tells of other items."
    )


def results(runs: Mapping[Combination, str], cells: Sequence[Cell], failed: Sequence[Combination]) -> dict[str, Any]:
    """All of it for JSON; accuracies in fractions, effects in percentage points."""

    def scaled(mean: Mean | None, factor: int) -> dict[str, Any] | None:
        if mean is None:
            return None
        bounds = {
            key: None if value is None else round(factor * value, 6)
            for key, value in asdict(mean).items()
            if key != "seeds"
        }
        return bounds | {"seeds": mean.seeds}

    return {
        "experiments": {name: dict(combination) for combination, name in runs.items()},
        "failed": {experiment_name(combination): dict(combination) for combination in failed},
        "cells": [
            {
                "setting": dict(cell.setting),
                "strategy": cell.strategy,
                "model": cell.model,
                "accuracy": scaled(cell.accuracy, 1),
                "effect_points": scaled(cell.effect, 100),
            }
            for cell in cells
        ],
    }


def interrupt(number: int, _: object) -> None:
    """The handler of SIGINT and SIGTERM."""
    raise Interrupted(number)


def run_all(workspace: Workspace, asked: Sequence[Combination]) -> tuple[dict[Combination, str], list[Combination]]:
    """Run the combinations that are not done.

    It returns the names of experiments by combination, and which failed. The workspace is what it was.
    """
    runs, failed = workspace.done(asked), []
    todo = [combination for combination in asked if combination not in runs]
    print(f"{len(asked)} combinations, {len(asked) - len(todo)} of them done", flush=True)
    try:
        for number, combination in enumerate(todo, 1):
            print(f"--- {number} of {len(todo)}: {experiment_name(combination)}", flush=True)
            if workspace.run(combination):
                runs[combination] = experiment_name(combination)
            else:
                failed.append(combination)
    finally:
        if todo:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)
            workspace.restore()
    return {combination: runs[combination] for combination in asked if combination in runs}, failed


def say(pairs: Sequence[str]) -> None:
    """Run the combinations of `pairs` (`key=value,value`), print their summary and write it.

    Raises:
        BuildError: a pair names no key, or a combination failed.
    """
    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        params = read_params(ROOT / PARAMS)
        wanted = combinations(sweeps(pairs, params))
        names = [experiment_name(combination) for combination in wanted]
        if len(set(names)) < len(names):
            raise BuildError("two combinations would have the same name; leave out characters that no name can have")
        plain = yaml.safe_load((ROOT / PARAMS).read_text(encoding="utf-8"))
        runs, failed = run_all(Workspace(ROOT, plain, declarations(ROOT, params)), wanted)
        confidence = params["statistics"]["confidence"]
        cells = summary({combination: scores(ROOT, name) for combination, name in runs.items()}, confidence)
        write_json(ROOT / WRITTEN, results(runs, cells, failed))
        print("\n".join(lines(cells, confidence)))
        print(f"{WRITTEN} has all of it; `dvc exp show` the runs")
        if failed:
            names = [experiment_name(combination) for combination in failed]
            raise BuildError(
                f"{len(failed)} of {len(wanted)} failed: {', '.join(names)}; the same command tries them again"
            )
    except Interrupted as stopped:
        print("osler: stopped; the workspace is as it was, and the same command goes on", file=sys.stderr)
        sys.exit(128 + stopped.number)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
