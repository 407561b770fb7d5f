"""`osler plan`: what a build would run, and what training would cost.

Which stages would run and why (params, code, data), as `dvc repro` decides. Per training stage tokens, steps, FLOPs and memory
on each device as `launch` lays it out (osler/model/cost_estimates.py has the formulas and their sources). What of the data is
not there, and models that other package versions trained. Reads and hashes what changed, as `dvc status` does, and writes
nothing. 7 s of CPU time on the default.
"""

import math
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from osler.build.artifacts import Artifacts
from osler.build.dvc_state import FOLDER
from osler.build.fingerprint import edited, fingerprint
from osler.build.packages import installed
from osler.build.pipeline import ROOT, Declaration, artifact_name, declarations, read_params
from osler.build.profiles import profile
from osler.build.provenance import FILE, provenance
from osler.build.recorded import locked_stages
from osler.build.reruns import Rerun, StageCode, changes, producers, reruns
from osler.build.section import BuildError
from osler.build.stages import TRAINING, stage_modules
from osler.build.validation import PARAMS, suggestion
from osler.commands.base_sizes import base_sizes
from osler.commands.check import check_sections
from osler.commands.plan_costs import (
    cost_lines,
    exercise_tokens,
    hours_lines,
    instruction_tokens,
    own_lines,
    placement,
    training,
)
from osler.commands.profile import filled
from osler.commands.withdrawals import lines
from osler.corpus.withdrawn import listed_names
from osler.model.devices import DEVICES

NO_ROOT = "/no/root/given"
SHOWN_REASONS = 8  # of a stage


@dataclass(frozen=True)
class Asked:
    """How costs are to be counted: devices, prices, and what is assumed.

    Attributes:
        launch: `key=value` in place of what the section `launch` says.
        device: a name in DEVICES.
        mfu: share of the device's peak that is reached.
        price: of an hour of one device.
        conversation_tokens: of a conversation, where none are tokenized yet.
    """

    launch: tuple[str, ...] = ()
    device: str | None = None
    mfu: float = 0.4
    price: float | None = None
    conversation_tokens: int = 500

    def check(self) -> None:
        """Raises a BuildError for what is out of range."""
        if self.device is not None and self.device not in DEVICES:
            meant = suggestion(self.device, list(DEVICES))
            raise BuildError(f"--device {self.device}: not known{meant}; there are {', '.join(sorted(DEVICES))}")
        if not 0 < self.mfu <= 1:
            raise BuildError(f"--mfu {self.mfu:g}: must be above 0 and at most 1")
        if self.price is not None and not 0 <= self.price < math.inf:
            raise BuildError(f"--price {self.price:g}: must be at least 0")
        if self.conversation_tokens < 1:
            raise BuildError(f"--conversation-tokens {self.conversation_tokens}: must be at least 1")
        if self.price is not None and not self.device:
            raise BuildError("--price: needs --device")


def missing_data(stages: Mapping[str, Declaration], root: Path) -> list[tuple[str, str]]:
    """Files that stages read and nobody has put there.

    They are given as (path, stage), and no stage makes them.
    """
    return [
        (path, name)
        for name, made in producers(stages).items()
        for path, makers in made.items()
        if not makers and not (root / path).exists()
    ]


def drift(root: Path, stages: Mapping[str, Declaration]) -> dict[str, list[str]]:
    """Packages that changed since models were trained, and those models.

    A change is written `torch 2.12.0 -> 2.13.0`. With it come the models that the first version trained, where another
    one is installed.

    Raises:
        BuildError: a provenance.json is odd; see `osler.build.provenance`.
    """
    found: dict[str, list[str]] = {}
    for out in (out for stage in stages.values() for out in stage.outs if artifact_name(out, True) == "trained_model"):
        if not (root / out / FILE).is_file():
            continue
        recorded = provenance(root / out, root).get("packages", {})
        for package, then in recorded.items():
            now = installed(package) or "not installed"
            if now != then:
                found.setdefault(f"{package} {then} -> {now}", []).append(out)
    return found


def run_lines(found: Mapping[str, Rerun], stages: int) -> Iterator[str]:
    """Which stages would run.

    First come those with reasons of their own, instances with the same ones together. After them come those that
    follow.
    """
    yield f"{len(found)} of {stages} stages would run" + (":" if found else "")
    groups: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for name, rerun in found.items():
        if rerun.reasons:
            stage, _, instance = name.partition("@")
            groups.setdefault((stage, rerun.reasons), []).append(instance)
    for (stage, reasons), instances in groups.items():
        several = f" ({', '.join(instances)})" if len(instances) > 1 else f"@{instances[0]}" if instances[0] else ""
        more = f"; and {len(reasons) - SHOWN_REASONS} more" if len(reasons) > SHOWN_REASONS else ""
        yield f"  {stage}{several}: {'; '.join(reasons[:SHOWN_REASONS])}{more}"
    if follow := [name for name, rerun in found.items() if not rerun.reasons]:
        yield f"  and, unless what they read comes out as it was: {', '.join(follow)}"


def report(
    params: Mapping[str, Any],
    stages: Mapping[str, Declaration],
    found: Mapping[str, Rerun] | None,
    root: Path,
    asked: Asked,
) -> Iterator[str]:
    """All that is printed.

    `found` is None for a profile that is not in force.
    """
    if found is not None:
        yield from run_lines(found, len(stages))
        yield ""
        yield from withdrawal_lines(params, stages, root)
    missing = missing_data(stages, root)
    if missing:
        yield "not there, and no stage makes it:"
        for path, name in missing:
            yield f"  {path.replace(NO_ROOT, '<root>')}, for {name}"
        yield ""
    yield from training_lines(params, stages, found, root, asked)
    for change, models in drift(root, stages).items():
        yield f"package {change}, since it trained {', '.join(models)}"


def learned_tokens(
    params: Mapping[str, Any],
    stages: Mapping[str, Declaration],
    found: Mapping[str, Rerun] | None,
    root: Path,
    asked: Asked,
) -> dict[str, tuple[int, bool]]:
    """Tokens of an epoch of each adapter's exercise, and of conversations.

    Those are under the empty name. With each stands whether it is assumed. An exercise of rows that nobody has counted is taken
    to have as many as the conversations.
    """

    def folder(stage: str) -> Path | None:
        is_made = found is not None and stage not in found
        out = next(out for out in stages[stage].outs if artifact_name(out, True) == "instructions")
        return root / out if is_made else None

    conversations = instruction_tokens(params, folder("instruct"), asked.conversation_tokens)
    tokens = {"": conversations}
    for name, section in params["adapter"].items():
        if section["rows"] != "instructions":
            exercise = section["rows"].partition("/")[2]
            own = exercise_tokens(params, exercise, folder(f"exercises@{exercise}"), asked.conversation_tokens)
            tokens[f"adapter@{name}"] = own or (conversations[0], True)
    return tokens


def training_lines(
    params: Mapping[str, Any],
    stages: Mapping[str, Declaration],
    found: Mapping[str, Rerun] | None,
    root: Path,
    asked: Asked,
) -> Iterator[str]:
    """What training costs, or why that is not known yet."""
    sizes = base_sizes(params, root)
    if not sizes.counted:
        yield sizes.why_not
        return
    placed = placement(params["launch"], asked.launch)
    learned = learned_tokens(params, stages, found, root, asked)
    names = [name for name in stages if name.partition("@")[0] in TRAINING]
    own = {name: placement(params["launch"], asked.launch, name) for name in names}
    costs = {name: training(name, params, learned.get(name, learned[""]), own[name], root) for name in names}
    yield from cost_lines(costs, params, placed, DEVICES.get(asked.device or ""), root)
    yield from own_lines(placed, own)
    if asked.device:
        counted = {name: cost for name, cost in costs.items() if found is None or name in found}
        yield from hours_lines(counted, placed, asked.device, asked.mfu, asked.price, params["numerics"]["dtype"], own)


def withdrawal_lines(params: Mapping[str, Any], stages: Mapping[str, Declaration], root: Path) -> list[str]:
    """Which models have read what is withdrawn or retracted.

    They have to be trained again. None where there is nothing of that kind.
    """
    select = params["select"]
    try:
        told = list(lines(Artifacts(root, stages), root / select["withdrawn"], select["retracted"] == "drop"))
    except BuildError as error:
        told = [f"not known: {error}"] if listed_names(root / select["withdrawn"]) else []
    return [f"to leave out (select.withdrawn, select.retracted): {told[0]}", *told[1:], ""] if told else []


def in_force(root: Path) -> tuple[dict[str, Any], dict[str, Declaration], dict[str, Rerun]]:
    """Params and stages of a project, and which would run.

    The project is the one in `root`.
    """
    params = read_params(root / PARAMS)
    if not isinstance(params.get("root"), str):
        raise BuildError(f"{PARAMS}: root: must be a folder's path; name the profile instead, or fill it")
    check_sections(params, root)
    stages = declarations(root, params)
    codes = {}
    for name, module in stage_modules(root).items():
        path = f"fingerprints/{name}.fp"
        on_disk = (root / path).read_text(encoding="utf-8") if (root / path).is_file() else None
        now = fingerprint(module, root, with_packages=name not in TRAINING)
        new = edited(module, root, on_disk) if on_disk and on_disk != now else []
        codes[path] = StageCode(now, on_disk, tuple(new))
    return params, stages, reruns(stages, changes(root), codes)


def of_profile(name: str, folder: str | None) -> tuple[dict[str, Any], dict[str, Declaration]]:
    """Params and stages of a profile.

    They are as if it was in force with `folder` as its root.

    Raises:
        BuildError: there is no such profile, or it is not whole.
    """
    text = profile(ROOT, name)
    with TemporaryDirectory() as temporary:
        project = Path(temporary)
        (project / ".dvc").mkdir()
        (project / ".dvc/config").write_text(
            f"[core]\nno_scm = true\nanalytics = false\nsite_cache_dir = '{project / FOLDER}'\n", encoding="utf-8"
        )
        shutil.copy(ROOT / "dvc.yaml", project)
        given = folder or (NO_ROOT if "\nroot: null" in text else None)
        (project / PARAMS).write_text(filled(text, given), encoding="utf-8")
        params = read_params(project / PARAMS)
        check_sections(params, project)
        return params, declarations(project, params)


def say(asked: Asked, profile: str | None, root: str | None) -> None:
    """Print the plan of the params in force, or of a profile.

    Raises:
        BuildError: an argument out of range, or params that are not whole.
    """
    asked.check()
    locked_stages(ROOT)
    if root and not profile:
        raise BuildError("--root: needs a profile; the params in force have their own")
    found = None
    if profile:
        params, stages = of_profile(profile, root)
    else:
        params, stages, found = in_force(ROOT)
    print("\n".join(list(report(params, stages, found, ROOT, asked))))
