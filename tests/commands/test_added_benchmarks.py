"""`osler profile --add-benchmark`: from a name to a section that is checked, fetched and read."""

import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from osler.build.pipeline import ROOT
from osler.build.profiles import profile as composed
from osler.build.section import BuildError
from osler.commands import added_benchmarks
from osler.commands.check import check_sections
from osler.commands.fetched import brought, check_commits, reachable, way
from osler.commands.limits import check_paths
from osler.commands.profile import filled
from osler.commands.references import raw_paths
from osler.evaluation.catalogue import CATALOGUE, lookup
from osler.ingest.inspection import UNSTATED
from tests.evaluation.test_hub_benchmarks import LAYOUTS, content
from tests.support.command import osler
from tests.support.hub import served
from tests.support.params import PARAMS, changed
from tests.support.project import ENVIRONMENT, copied, ran

OWN = """# Ours.
extends: default # for now

seeds: # one
- 1
"""
TABLES = """download: {} # of the Hub
benchmark: # ours

  quiz: # of last year
    path: 'eval/quiz.jsonl'
    format: jsonl

# the rest
task: {}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with params.yaml and profiles, in force the profile `ours`."""
    (tmp_path / "profiles").mkdir()
    shutil.copy(ROOT / "profiles/default.yaml", tmp_path / "profiles")
    (tmp_path / "profiles/ours.yaml").write_text(OWN)
    (tmp_path / "params.yaml").write_text(composed(tmp_path, "ours"))
    monkeypatch.setattr(added_benchmarks, "ROOT", tmp_path)
    return tmp_path


def values(folder: Path, name: str = "params.yaml") -> Any:
    return yaml.safe_load((folder / name).read_text())


def test_a_name_becomes_sections_of_params_and_profile(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing else changes, comments stay, and both stand for the same values; what a profile extends is kept."""
    before = (project / "params.yaml").read_text().splitlines()
    osler("profile", "--add-benchmark", "medmcqa", "mmlu_pro_health")
    said = capsys.readouterr().out.splitlines()
    params = values(project)
    for name in ("medmcqa", "mmlu_pro_health"):
        for kind, section in CATALOGUE[name].sections(name).items():
            assert params[kind][name] == section
    assert list(params["benchmark"]) == ["synthetic", "medmcqa", "mmlu_pro_health"]
    assert yaml.safe_load(composed(project, "ours")) == params
    assert (project / "profiles/ours.yaml").read_text().startswith(OWN)
    after = (project / "params.yaml").read_text().splitlines()
    assert {line for line in before if line not in after} == {
        line for line in before if line.startswith("download: {}")
    }
    assert said[0] == (
        "params.yaml: download.medmcqa, download.mmlu_pro_health, benchmark.medmcqa, benchmark.mmlu_pro_health written"
    )
    assert said[1] == said[0].replace("params.yaml", "profiles/ours.yaml")
    assert said[-1] == "next: osler check && dvc repro benchmarks@medmcqa benchmarks@mmlu_pro_health"


def test_twice_changes_nothing_and_says_so(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also where its user has set more of it, another commit or typing errors."""
    osler("profile", "--add-benchmark", "medmcqa")
    for file in (project / "params.yaml", project / "profiles/ours.yaml"):
        text = file.read_text().replace(CATALOGUE["medmcqa"].revision or "", "f" * 40)
        file.write_text(text.replace("    format: medmcqa\n", "    format: medmcqa\n    typing_errors: 0.1\n"))
    before = {file: file.read_bytes() for file in project.rglob("*.yaml")}
    capsys.readouterr()
    osler("profile", "--add-benchmark", "medmcqa", "medmcqa")
    assert capsys.readouterr().out.splitlines()[:2] == [
        "params.yaml: has them already; nothing changed",
        "profiles/ours.yaml: has them already; nothing changed",
    ]
    assert {file: file.read_bytes() for file in project.rglob("*.yaml")} == before


def test_a_named_profile_is_written_alone(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """params.yaml is as it was; its next command puts the profile in force."""
    before = (project / "params.yaml").read_bytes()
    (project / "profiles/other.yaml").write_text(f"extends: default\n\n{TABLES}")
    osler("profile", "--add-benchmark", "medqa", "--to", "profiles/other.yaml")
    assert (project / "params.yaml").read_bytes() == before
    assert list(values(project, "profiles/other.yaml")["benchmark"]) == ["quiz", "medqa"]
    assert "next: osler profile other --root FOLDER && osler check" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (TABLES, [line for line in TABLES.splitlines() if line and not line.startswith("download")]),
        (TABLES.removesuffix("\n"), ["# the rest", "  quiz: # of last year"]),
        ("benchmark: {quiz: {path: eval/quiz.jsonl, format: jsonl}} # ours\n", ["# ours"]),
        ("# only this\ntask: {}\n", ["# only this", "task: {}"]),
        ("benchmark:\n    quiz:\n        path: eval/quiz.jsonl\n        format: jsonl\n", []),
    ],
)
def test_tables_are_lengthened_however_they_are_written(text: str, kept: list[str]) -> None:
    """Entries stand behind those there are, in one line, in many, or in no table yet."""
    added = CATALOGUE["medqa"].sections("medqa")
    new = added_benchmarks.extended(text, {kind: {"medqa": own} for kind, own in added.items()}, {}, "ours")
    had, has = yaml.safe_load(text), yaml.safe_load(new)
    assert has.pop("download") == {"medqa": added["download"]}
    assert has.pop("benchmark") == (had.pop("benchmark", None) or {}) | {"medqa": added["benchmark"]}
    had.pop("download", None)
    assert has == had
    for line in kept:
        assert line in new


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["medmcq"], f"medmcq: no such benchmark, did you mean medmcqa?; there are {', '.join(CATALOGUE)}"),
        (["medqa", "ours"], "ours is a profile; `--to profiles/ours.yaml` adds to it"),
        (["medqa", "--to", "profiles/none.yaml"], "--to profiles/none.yaml: no file of profiles/; there are default, ours"),
        (["medqa", "--root", "/data"], "takes no --root, --diff or --new"),
        (["medqa", "headqa"], "benchmark.headqa: is there, and reads eval/head, not what the catalogue brings"),
        (["readings"], "readings: no such benchmark"),
    ],
)  # fmt: skip
def test_what_cannot_be_added_is_one_line_and_nothing_is_written(
    project: Path, arguments: list[str], message: str
) -> None:
    """Unknown names, names that are taken, and a profile in place of a benchmark."""
    params = values(project)
    params["benchmark"]["headqa"] = {"path": "eval/head", "format": "headqa"}
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    before = {file: file.read_bytes() for file in project.rglob("*.yaml")}
    with pytest.raises(SystemExit) as caught:
        osler("profile", "--add-benchmark", *arguments)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert {file: file.read_bytes() for file in project.rglob("*.yaml")} == before


def test_a_commit_that_is_to_be_stated_stops_the_check() -> None:
    """With the command that prints it, of the branch that has the files; any download may be written so."""
    section = CATALOGUE["headqa"].sections("headqa")["download"]
    with pytest.raises(
        BuildError, match=r"params.yaml: download.headqa.revision: TO BE STATED; write the 40"
    ) as caught:
        check_sections(changed(("download",), {"headqa": section}), ROOT)
    assert f"`{lookup('dvilares/head_qa', 'refs/convert/parquet')}`" in str(caught.value)
    with pytest.raises(BuildError, match="git ls-remote https://huggingface.co/datasets/our/own HEAD"):
        check_commits({"download": {"own": {"repository": "our/own", "revision": UNSTATED}}})


DOWNLOADS: Mapping[str, Any] = {"medqa": {}}


@pytest.mark.parametrize(
    ("root", "path", "expected"),
    [
        ("/data/ours", "../medqa", "../../build/osler/data/raw/medqa"),
        ("/data/ours", "../medqa/test.jsonl", "../../build/osler/data/raw/medqa/test.jsonl"),
        ("/data/ours", "../mmlu", None),  # no download: a path out of root, which the check refuses
        ("/data/ours", "eval/medqa", None),
        ("/data/ours", "..", None),
        ("data/raw/default", "../medqa", None),  # reached as it stands
    ],
)
def test_a_download_is_reached_from_any_root(root: str, path: str, expected: str | None) -> None:
    """Way and place are the same: what is written is known again as what the download brings."""
    project = Path("/build/osler")
    found = way(root, path, DOWNLOADS, project)
    assert found == expected
    params = {"root": root, "synthesize": {}, "download": DOWNLOADS}
    inside = tuple(Path(path).parts[2:])
    own = brought(params, found or path, project)
    assert (own and (own[1], own[2].parts)) == (("medqa", inside) if expected or root.startswith("data") else None)


def test_a_profile_with_downloads_goes_to_any_root(tmp_path: Path) -> None:
    """`--root` writes the way; by hand it is told. Files not yet fetched are not missed, and others are."""
    text = "# ours\nroot: null\nsynthesize: {}\ndownload:\n  medqa: {}\nbenchmark:\n  medqa:\n    path: ../medqa # fetched\n"
    written = filled(text, str(tmp_path))
    path = yaml.safe_load(written)["benchmark"]["medqa"]["path"]
    assert (tmp_path / path).resolve() == ROOT / "data/raw/medqa"
    assert "# fetched" in written
    assert reachable(written) == written
    params = yaml.safe_load(written) | {"source": {}, "task": {}, "exercise": {}}
    check_paths(params)
    assert raw_paths(params, ROOT) == []
    params["benchmark"]["medqa"]["path"] = "../medqa"
    with pytest.raises(BuildError, match=f"is reached from this `root` by {path}; write that path"):
        check_paths(params)
    params["benchmark"]["quiz"] = {"path": "eval/quiz.jsonl"}
    assert ("benchmark", "quiz", tmp_path / "eval/quiz.jsonl") in raw_paths(params, ROOT)


def test_a_dataset_beside_the_default_is_not_missed_before_it_is_fetched() -> None:
    """Its root lies in data/raw, as that of a built default does."""
    params = PARAMS | {"root": "data/raw", "download": {"notes": {}}, "source": {"notes": {"path": "notes"}}}
    params |= {"benchmark": {}, "task": {}, "exercise": {}}
    assert not [path for path in raw_paths(params, ROOT) if path[1] == "notes"]


@pytest.mark.dag
@pytest.mark.builds
def test_from_a_name_to_items(tmp_path: Path) -> None:
    """Named, checked, fetched and read whole, under a root of its user's; then nothing runs again."""
    names = ["medmcqa", "mmlu_medical"]
    datasets = {
        (CATALOGUE[name].repository, CATALOGUE[name].revision or ""): {
            path: content(path, rows, tmp_path) for path, rows in LAYOUTS[name].items()
        }
        | {"README.md": b"# card"}
        for name in names
    }
    with served(datasets) as address:
        (tmp_path / "project").mkdir()
        environment = ENVIRONMENT | {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "home")}
        project = copied(tmp_path / "project", "micro", environment)
        project.run("dvc", "repro", "-q", "synthesize@default")
        shutil.move(project.folder / "data/raw/default", tmp_path / "ours")
        (project.folder / "profiles/ours.yaml").write_text("extends: micro\nsynthesize: {}\n")
        command = [sys.executable, "-m", "osler"]
        project.run(*command, "profile", "ours", "--root", str(tmp_path / "ours"))
        project.run(*command, "profile", "--add-benchmark", *names)
        assert "no problem found" in project.run(*command, "check")
        stages = [f"benchmarks@{name}" for name in names]
        assert ran(project.run("dvc", "repro", *stages)) >= {*stages, *(f"download@{name}" for name in names)}
        for name in names:
            assert pl.read_parquet(project.folder / f"data/items/{name}.parquet").height == sum(
                map(len, LAYOUTS[name].values())
            )
        assert not ran(project.run("dvc", "repro", *stages))
        assert "no problem found" in project.run(*command, "check")
        params = json.dumps(yaml.safe_load((project.folder / "params.yaml").read_text()))
        project.run(*command, "profile", "ours", "--root", str(tmp_path / "ours"))
        assert json.dumps(yaml.safe_load((project.folder / "params.yaml").read_text())) == params
