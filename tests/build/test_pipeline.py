"""The contract between dvc.yaml, params.yaml, the profiles and the modules of stages/."""

import ast
import importlib
import inspect
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import yaml

from osler.build.fingerprint import Repository, closure, fingerprint
from osler.build.pipeline import ROOT, Declaration, declarations, read_params
from osler.build.plumbing import EXEMPT
from osler.build.profiles import profile, profile_names
from osler.build.reruns import producers
from osler.build.section import BuildError
from osler.build.stage import bound
from osler.build.stages import TRAINING, stage_modules
from osler.commands.check import check_sections
from osler.commands.profile import filled
from osler.commands.references import check_references


@pytest.fixture(params=["params.yaml", *profile_names(ROOT)])
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder that DVC reads as the project, with one of the params files in force and a root of empty files."""
    (tmp_path / ".dvc").mkdir()
    for name in ("dvc.yaml", ".dvc/config"):
        shutil.copy(ROOT / name, tmp_path / name)
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    text = (ROOT / "params.yaml").read_text() if request.param == "params.yaml" else profile(ROOT, request.param)
    needs_root = "root: null" in text
    (tmp_path / "params.yaml").write_text(filled(text, str(tmp_path / "raw") if needs_root else None))
    if needs_root:
        params = yaml.safe_load(text)
        for section in [each for kind in ("source", "benchmark", "task", "exercise") for each in params[kind].values()]:
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
    """Give the params of `project`, which have none, a trunk of two segments, and a branch as one more model to evaluate."""
    file = project / "params.yaml"
    text = re.sub(r"^(trunk|anneal): {}.*\n", "", file.read_text(), flags=re.M)
    file.write_text(re.sub(r"^evaluated:.*\n", TRUNK, text, flags=re.M))


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
        ("from: trunk-late", "from: base", "anneal.late.from: not written as it should be"),
        ("from: base", "from: cpt", "trunk.early.from: not written as it should be"),
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
    check_references(check_sections(params, project), project)


def test_every_module_is_a_stage() -> None:
    """A module in stages/ that DVC does not run does not exist, and every stage has a module."""
    declared = {name.partition("@")[0] for name in declared_stages(ROOT)}
    modules = set(stage_modules(ROOT)) | {"code"}
    templates = set(yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"])
    assert modules == templates
    assert declared <= templates


def test_every_stage_depends_on_its_own_fingerprint_and_on_no_other() -> None:
    """A stage's code dependency is fingerprints/<its name>.fp; `code` itself depends on all of stages/."""
    for name, declared in declared_stages(ROOT).items():
        base = name.partition("@")[0]
        fingerprints = [path for path in declared.deps if path.endswith(".fp")]
        assert fingerprints == ([] if base == "code" else [f"fingerprints/{base}.fp"])


FINE_TUNED = {f"{stage}@{model}" for stage in ("sft", "neftune") for model in ("base", "cpt")}


def readers(*names: str) -> set[str]:
    """The stages that read what these stages make, directly or through others."""
    made = producers(declared_stages(ROOT))
    found: set[str] = set()
    while (
        more := {stage for stage, deps in made.items() for makers in deps.values() if {*names, *found} & set(makers)}
        - found
    ):
        found |= more
    return found


def test_the_chat_template_is_no_part_of_pretraining() -> None:
    """One stage has it as a param; conversations, fine-tuning, prompts and the report depend on it, tokens and bases do not."""
    stages = declared_stages(ROOT)
    assert [name for name, stage in stages.items() if "chat_template" in stage.params] == ["template"]
    assert "chat_template" not in stages["tokenizer"].params["tokenizer"]
    evaluations = {name for name in stages if name.startswith("evaluate@")}
    assert readers("template") == {"instruct", *FINE_TUNED, *evaluations, "judge", "report"}
    assert {"pretrain@base", "cpt", "instruct", "tokenize@notes"} <= readers("tokenizer")


def test_commands_carry_no_paths_and_no_numbers() -> None:
    """A stage's command names its module only; a training stage goes through `osler launch`."""
    for name, stage in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].items():
        command = (stage.get("do") or stage)["cmd"]
        assert command == (f"python -m osler launch {name}" if name in TRAINING else f"python -m stages.{name}")


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A folder with a copy of stages/ and osler/."""
    for name in ("stages", "osler"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def fingerprints(root: Path) -> dict[str, str]:
    """Of every stage."""
    own = Repository(root)
    return {
        name: fingerprint(path, root, with_packages=False, repository=own) for name, path in stage_modules(root).items()
    }


@cache
def unedited() -> dict[str, str]:
    """Of a copy that nobody edited, too: paths count for nothing."""
    return fingerprints(ROOT)


def changed_by(root: Path, file: str, old: str, new: str) -> set[str]:
    """The stages whose fingerprints an edit changes; it is undone."""
    before, text = unedited(), (root / file).read_text()
    assert text.count(old) == 1, f"{file}: {old}"
    (root / file).write_text(text.replace(old, new))
    after = fingerprints(root)
    (root / file).write_text(text)
    return {name for name in before if before[name] != after[name]}


@pytest.mark.parametrize(
    ("file", "old", "new", "stages"),
    [
        (
            "osler/training/neftune_noise.py",
            "generator=generator) * 2 - 1",
            "generator=generator) * 3 - 1",
            set(TRAINING),
        ),
        ("osler/training/finetuning.py", "max(1, int(np.ceil(", "max(2, int(np.ceil(", {"adapter", "neftune", "sft"}),
        (
            "osler/corpus/text_counts.py",
            "TOP_WORDS = (2, 3, 4)",
            "TOP_WORDS = (2, 3)",
            {"exercises", "screen", "select", "task_rows"},
        ),
        ("osler/tokens/instruction_tasks.py", "NEARLY = 1e-9", "NEARLY = 1e-8", {"instruct"}),
        ("osler/statistics/shapley.py", 'REFERENCE_STRATEGY = "zero_shot"', 'REFERENCE_STRATEGY = "cot"', {"report"}),
        (
            "osler/inference/document_bits.py",
            "return pl.DataFrame(",
            "return pl.LazyFrame(",
            {"evaluate", "evaluate_adapter"},
        ),
        (
            "osler/corpus/scanning_errors.py",
            'with_name("trigrams.txt")',
            'with_name("other.txt")',
            {"screen", "select"},
        ),
        ("osler/ingest/markup.py", '"pubmed": "pubmed.xsl"', '"pubmed": "jats.xsl"', {"exercises", "ingest", "tasks"}),
        (
            "osler/training/finetuning.py",
            "import os\nfrom pathlib import Path\n",
            "from pathlib import Path\nimport os\n",
            set(),
        ),
        ("stages/mix.py", "from pathlib import Path\n", "from pathlib import Path\nprint('hello')\n", set()),
        ("osler/build/validation.py", 'f", did you mean {', 'f", or rather {', set()),
        ("osler/build/validation.py", "strict=True)", "strict=False)", set()),
        ("osler/build/progress.py", "LOG_INTERVAL_SECONDS = 30.0", "LOG_INTERVAL_SECONDS = 3.0", set()),
        ("osler/model/devices.py", "989e12, 80e9", "1000e12, 80e9", set()),
    ],
)
def test_an_edit_changes_the_stages_that_run_it(copied: Path, file: str, old: str, new: str, stages: set[str]) -> None:
    """One number, string or call in a computing function; where names come from, messages and plumbing change none."""
    assert changed_by(copied, file, old, new) == stages


@pytest.mark.parametrize(
    ("file", "stages"),
    [
        ("corpus/trigrams.txt", {"screen", "select"}),
        ("ingest/jats.xsl", {"exercises", "ingest", "tasks"}),
        ("ingest/html.xsl", {"exercises", "ingest", "tasks"}),
        ("ingest/notation.xsl", {"exercises", "ingest", "tasks"}),
    ],
)
def test_a_resource_changes_the_stages_that_read_it(copied: Path, file: str, stages: set[str]) -> None:
    """Frequencies of trigrams are those of quality signals, stylesheets those of sources and of tasks in their formats."""
    before = unedited()
    with (copied / "osler" / file).open("a") as stream:
        stream.write("\n")
    assert {name for name, text in fingerprints(copied).items() if text != before[name]} == stages


def test_every_resource_is_read_by_a_stage_or_command() -> None:
    """A file in stages/ or osler/ that is neither code nor explains itself is in the closure of some stage, or of `osler`."""
    run = [*stage_modules(ROOT).values(), ROOT / "osler/commands/main.py"]
    files = {file for path in run for file in closure(path, ROOT)[0]}
    there = {
        path.relative_to(ROOT).as_posix()
        for name in ("stages", "osler")
        for path in (ROOT / name).rglob("*")
        if path.is_file()
    }
    assert {path for path in there - files if not path.endswith((".py", ".pyc", "README.md"))} == set()


def test_modules_that_move_change_no_fingerprint(copied: Path) -> None:
    """One is renamed, one moves to a new package, and one there with its resources, that others use as `module.name`."""
    before = unedited()
    for old, new in (
        ("ingest.normalization", "ingest.wording"),
        ("training.neftune_noise", "noises.neftune"),
        ("ingest.markup", "sources.markup"),
    ):
        target = copied / f"osler/{new.replace('.', '/')}.py"
        target.parent.mkdir(exist_ok=True)
        (target.parent / "__init__.py").write_text('"""Another room."""\n')
        (copied / f"osler/{old.replace('.', '/')}.py").rename(target)
        for path in copied.rglob("*.py"):
            path.write_text(re.sub(rf"\bosler\.{old}\b", f"osler.{new}", path.read_text()))
    for sheet in (copied / "osler/ingest").glob("*.xsl"):
        sheet.rename(copied / "osler/sources" / sheet.name)
    records, together = (
        copied / "osler/ingest/records.py",
        "from osler.ingest import archives, health_records, hub_dataset, markup, office, rows\n",
    )
    assert together in records.read_text()
    apart = "from osler.sources import markup\nfrom osler.ingest import office, rows\n"
    apart += "from . import archives, health_records, hub_dataset\n"
    records.write_text(records.read_text().replace(together, apart))
    assert fingerprints(copied) == before


def test_messages_comments_and_docstrings_change_no_fingerprint(copied: Path) -> None:
    """In every file at once: a comment and a docstring more, and other words in all that BuildError says as a plain string."""
    before = unedited()
    messages = 0
    for path in copied.rglob("*.py"):
        text, count = re.subn(r'(raise BuildError\(f?")', r"\1other words: ", path.read_text())
        messages += count
        text = re.sub(r'(\n    """)(?=[A-Z])', r"\1More. ", text)
        path.write_text(f"# first\n{text}\n# last\n")
    assert messages > 50
    assert fingerprints(copied) == before


IMPORT_ONLY = """
import sys, types
class Anything(types.ModuleType):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {"__init__": lambda self, *_, **__: None})
for name in NAMES:
    sys.modules[name] = Anything(name)
import stages.STAGE
own = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in ("stages", "osler")}
print(*[module.__file__ for name, module in own.items() if name not in NAMES])
"""


def test_what_python_imports_is_what_the_closure_lists() -> None:
    """Importing a stage's module, with nothing in place of plumbing, loads no file of the repository that its closure lacks."""
    plumbing = [file.removesuffix(".py").replace("/", ".") for file in EXEMPT]
    for name, path in stage_modules(ROOT).items():
        script = IMPORT_ONLY.replace("NAMES", repr(plumbing)).replace("STAGE", name)
        loaded = subprocess.run(
            [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.split()
        listed = closure(path, ROOT)[0]
        assert {Path(file).relative_to(ROOT).as_posix() for file in loaded} <= set(listed), name


TAKEN = {
    "agent": set(),
    "bounded": {"LimitReached", "bounded"},
    "cluster": {"Cluster", "Making", "Program", "made_on"},
    "devices": {"Recomputed", "known_device"},
    "dvc_state": {"keep_private"},
    "fingerprint": {"closure", "fingerprint"},
    "heartbeat": {"heartbeat"},
    "launch": {"Launch", "brings_weights", "die_with_parent", "started_launch"},
    "lock": set(),
    "progress": {"progress"},
    "recorded": set(),
    "shortages": {"NOTE", "is_damage", "say_in_one_line", "shortage"},
    "pipeline": {"ROOT"},
    "plumbing": set(),
    "slurm": set(),
    "stage": {"Jobs", "run"},
    "submission": set(),
    "stopping": {"Stopping", "listen", "listen_no_more"},
    "tracker": {"started_tracker", "track"},
    "throughput": {"packed_flops", "weights_per_token"},
}
"""What computing modules take from plumbing. For a new name, see that its value cannot end up in an artifact: `bounded`,
`made_on`, `run` and `progress` hand on what they get, ROOT is where the build lies, fingerprints are keys and a record of what ran,
`launch` says on which processes, the others what is shown."""
BELOW = {
    "circles",
    "definitions",
    "dvc_cache",
    "packages",
    "pieces",
    "portability",
    "provenance",
    "section",
    "shard_store",
    "validation",
    *TAKEN,
}  # what plumbing may import: it does not compute


def test_plumbing_is_reached_and_gives_no_result() -> None:
    """Computing modules take these names from plumbing and no others, and it imports no computing module."""
    taken: dict[str, set[str]] = {Path(file).stem: set() for file in EXEMPT}
    computing = {
        file for path in stage_modules(ROOT).values() for file in closure(path, ROOT)[0] if file.endswith(".py")
    }
    for file in computing | set(EXEMPT):
        for node in ast.walk(ast.parse((ROOT / file).read_text())):
            if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("osler"):
                continue
            imported = {alias.name for alias in node.names}
            named = {f"{node.module}.{name}".replace(".", "/") + ".py" for name in imported}
            assert not named & set(EXEMPT), "a name is taken, not the module"
            origin = str(node.module).rpartition(".")[2]
            if file in EXEMPT:
                assert origin in BELOW, file
            elif origin in taken:
                taken[origin] |= imported
    assert taken == TAKEN
    names = [name for found in TAKEN.values() for name in found]
    assert len(names) == len(set(names)), "which of two modules a name comes from would not count"
    assert all(EXEMPT.values())


def only_raises(handler: ast.ExceptHandler) -> bool:
    """Whether nothing goes on after an exception that is caught."""
    leaves = any(isinstance(node, ast.Return | ast.Break | ast.Continue) for node in ast.walk(handler))
    return isinstance(handler.body[-1], ast.Raise) and not leaves


def test_no_computing_module_reads_what_a_build_error_says() -> None:
    """None catches it but to raise one, so that its message, which no fingerprint holds, ends at a person."""
    for path in stage_modules(ROOT).values():
        for file in closure(path, ROOT)[0]:
            for node in ast.walk(ast.parse((ROOT / file).read_text())) if file.endswith(".py") else ():
                if isinstance(node, ast.ExceptHandler) and not only_raises(node):
                    caught = ast.unparse(node.type) if node.type else "BaseException"
                    assert not re.search(r"\b(BuildError|Exception|BaseException)\b", caught), (
                        f"{file}: except {caught}"
                    )


def test_an_undeclared_argument_and_an_unused_declaration_are_refused() -> None:
    """Binding fails before any work when main and dvc.yaml differ in either direction."""

    def main(documents: Path, screens: Path) -> None: ...

    declared = Declaration("screen@x", ("data/documents/x",), ("data/screens/x.parquet",), {})
    assert bound(main, declared, Path("/r"), {})["documents"] == Path("/r/data/documents/x")
    with pytest.raises(BuildError, match="not declared \\['screens'\\]"):
        bound(main, Declaration("screen@x", ("data/documents/x",), (), {}), Path("/r"), {})
    with pytest.raises(BuildError, match="not an argument \\['items'\\]"):
        bound(main, Declaration("screen@x", ("data/documents/x", "data/items"), declared.outs, {}), Path("/r"), {})
