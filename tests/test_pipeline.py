"""The contract between dvc.yaml, params.yaml, the profiles and the modules of stages/."""

import importlib
import inspect
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.code import COMMANDS, TRAINING, stage_modules
from stages.lib.fingerprint import closure, fingerprint
from stages.lib.section import BuildError
from stages.lib.stage import ROOT, Declaration, bound, declarations, read_params
from stages.profile import check_references, check_sections, filled

PROFILES = sorted((ROOT / "profiles").glob("*.yaml"))
FILES = [ROOT / "params.yaml", *PROFILES]


def keys(value: Any) -> Any:
    """The nested keys of a section, without values."""
    return {name: keys(part) for name, part in value.items()} if isinstance(value, dict) else None


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder that DVC reads as the project, with one of the params files in force and a root of empty files."""
    (tmp_path / ".dvc").mkdir()
    for name in ("dvc.yaml", ".dvc/config"):
        shutil.copy(ROOT / name, tmp_path / name)
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    text = request.param.read_text()
    needs_root = "root: null" in text
    (tmp_path / "params.yaml").write_text(filled(text, str(tmp_path / "raw") if needs_root else None))
    if needs_root:
        params = yaml.safe_load(text)
        for section in [section for kind in ("source", "benchmark", "task") for section in params[kind].values()]:
            path = tmp_path / "raw" / section["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    return tmp_path


TRUNK = """trunk:
  early: {from: base, tokens: 1000, maximum_epochs: 9.0}
  late: {from: trunk-early, tokens: 1000, maximum_epochs: 9.0}
anneal:
  late: {from: trunk-late, tokens: 500, maximum_epochs: 9.0}
evaluated:
- anneal-late
"""


def with_trunk(project: Path) -> None:
    """Give the params of `project`, which have none, a trunk of two segments, and a branch as a seventh model to evaluate."""
    file = project / "params.yaml"
    text = re.sub(r"^(trunk|anneal): {}.*\n|^evaluated:.*\n", "", file.read_text(), flags=re.M)
    file.write_text(text.replace("- base\n- base-sft\n", f"{TRUNK}- base\n- base-sft\n"))


def declared_stages(project: Path) -> dict[str, Declaration]:
    return declarations(project, read_params(project / "params.yaml"))


def test_every_stage_binds_to_its_main(project: Path) -> None:
    """For every stage, main's arguments are exactly what dvc.yaml declares, and every param has the type it is given as."""
    with_trunk(project)
    for name, declared in declared_stages(project).items():
        main = importlib.import_module(f"stages.{name.partition('@')[0]}").main
        values = bound(main, declared, project, read_params(project / "params.yaml"))
        assert set(values) == set(inspect.signature(main).parameters)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "- anneal-late",
            "- anneal-lat",
            "evaluated: anneal-lat: no model of this build, which are anneal-late, base, ",
        ),
        ("from: trunk-late", "from: trunk-lat", "anneal.late.from: trunk-lat: no model of this build"),
        ("from: trunk-late", "from: base", "anneal.late.from: String should match"),
        ("from: base", "from: cpt", "trunk.early.from: String should match"),
    ],
)
def test_a_model_that_no_stage_makes_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    """DVC would say so after hours, and of a file."""
    (tmp_path / ".dvc").mkdir()
    for name in ("dvc.yaml", ".dvc/config", "params.yaml"):
        shutil.copy(ROOT / name, tmp_path / name)
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    with_trunk(tmp_path)
    check_sections(read_params(tmp_path / "params.yaml"), tmp_path)
    text = (tmp_path / "params.yaml").read_text()
    assert old in text
    (tmp_path / "params.yaml").write_text(text.replace(old, new))
    with pytest.raises(BuildError, match=message):
        check_sections(read_params(tmp_path / "params.yaml"), tmp_path)


def test_every_params_file_passes_the_check_that_make_repro_starts_with(project: Path) -> None:
    """No section is undeclared, no name points nowhere."""
    params = read_params(project / "params.yaml")
    check_sections(params, project)
    check_references(params, project)


@pytest.mark.parametrize("profile", PROFILES, ids=lambda path: path.stem)
def test_profiles_have_the_sections_of_the_default(profile: Path) -> None:
    """A profile sets every key that params.yaml sets, and no other, except the names of sources and benchmarks."""
    free = (
        "source", "benchmark", "task", "download", "download_model", "synthesize", "pretrain", "trunk", "anneal", "corpus",
        "strategies",
    )  # fmt: skip
    ours, theirs = (yaml.safe_load(path.read_text()) for path in (ROOT / "params.yaml", profile))
    assert set(ours) == set(theirs)
    for section in set(ours) - set(free):
        for key in set(keys(ours)[section] or {}) ^ set(keys(theirs)[section] or {}):
            pytest.fail(f"{profile.name}: {section}.{key} is set in one of the two files only")


def test_every_module_is_a_stage_or_a_listed_command() -> None:
    """A module in stages/ that neither DVC nor a person runs does not exist, and every stage has a module."""
    declared = {name.partition("@")[0] for name in declared_stages(ROOT)}
    modules = set(stage_modules(ROOT)) | {"code"}
    templates = set(yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"])
    assert modules == templates
    assert declared <= templates
    assert all((ROOT / "stages" / f"{command}.py").is_file() for command in COMMANDS)


def test_every_stage_depends_on_its_own_fingerprint_and_on_no_other() -> None:
    """A stage's code dependency is build/<its name>.fp; `code` itself depends on all of stages/."""
    for name, declared in declared_stages(ROOT).items():
        base = name.partition("@")[0]
        fingerprints = [path for path in declared.deps if path.endswith(".fp")]
        assert fingerprints == ([] if base == "code" else [f"build/{base}.fp"])


def test_commands_carry_no_paths_and_no_numbers() -> None:
    """A stage's command names its module only; a training stage goes through stages.launch."""
    for name, stage in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].items():
        command = (stage.get("do") or stage)["cmd"]
        assert command == (f"python -m stages.launch {name}" if name in TRAINING else f"python -m stages.{name}")


def test_an_edit_changes_exactly_the_stages_that_import_the_module(tmp_path: Path) -> None:
    """Editing any one module below stages/ changes the fingerprint of a stage if and only if its imports reach it."""
    shutil.copytree(ROOT / "stages", tmp_path / "stages", ignore=shutil.ignore_patterns("__pycache__"))
    modules = stage_modules(tmp_path)
    before = {name: fingerprint(path, tmp_path, with_packages=False) for name, path in modules.items()}
    reached = {name: closure(path, tmp_path)[0] for name, path in modules.items()}
    for file in sorted((tmp_path / "stages").rglob("*.py")):
        relative = file.relative_to(tmp_path).as_posix()
        source = file.read_text()
        file.write_text(source + "\nadded = 1\n")
        changed = {name for name, path in modules.items() if fingerprint(path, tmp_path, False) != before[name]}
        file.write_text(source)
        assert changed == {name for name in modules if relative in reached[name]}, relative


def test_what_python_imports_is_what_the_fingerprint_lists() -> None:
    """Importing a stage's module, and what its functions import, loads no file of stages/ that its fingerprint lacks."""
    for name, path in stage_modules(ROOT).items():
        script = (
            f"import stages.{name}, sys; print(*[m.__file__ for n, m in sys.modules.items() if n.startswith('stages')])"
        )
        loaded = subprocess.run(
            [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.split()
        listed = closure(path, ROOT)[0]
        assert {Path(file).relative_to(ROOT).as_posix() for file in loaded} <= set(listed), name


def test_an_undeclared_argument_and_an_unused_declaration_are_refused() -> None:
    """Binding fails before any work when main and dvc.yaml differ in either direction."""

    def main(documents: Path, screens: Path) -> None: ...

    declared = Declaration("screen@x", ("data/documents/x",), ("data/screens/x.parquet",), {})
    assert bound(main, declared, Path("/r"), {})["documents"] == Path("/r/data/documents/x")
    with pytest.raises(BuildError, match="not declared \\['screens'\\]"):
        bound(main, Declaration("screen@x", ("data/documents/x",), (), {}), Path("/r"), {})
    with pytest.raises(BuildError, match="not an argument \\['items'\\]"):
        bound(main, Declaration("screen@x", ("data/documents/x", "data/items"), declared.outs, {}), Path("/r"), {})
