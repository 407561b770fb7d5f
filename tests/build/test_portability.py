"""The same bytes on every CPU: what is forced, and what is noticed where it cannot be."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from osler.build.files import read_json, write_json
from osler.build.pipeline import ROOT
from osler.build.portability import SETTINGS, is_asked, set_portable
from osler.training import arithmetic
from osler.training.arithmetic import EXPECTED, is_as_committed

FORCED = {
    "ATEN_CPU_CAPABILITY": "default",
    "MKL_CBWR": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "OPENBLAS_CORETYPE": "Prescott",
}
"""What another machine, or someone on it, would have."""

DIGEST = "from osler.training.arithmetic import step_digest; print(step_digest())"


def digest(script: str, environment: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_what_the_environment_says_before_is_overruled() -> None:
    """Every setting is in force, and what MKL would obey besides is gone."""
    environment = dict(FORCED) | {"PATH": "here"}
    set_portable(environment)
    assert environment == SETTINGS | {"PATH": "here"}


def test_a_step_of_training_has_the_bits_kept_in_the_repository_whatever_is_forced_from_outside() -> None:
    """The digest is of losses and weights; an environment of another CPU does not reach it."""
    assert digest(DIGEST, FORCED) == EXPECTED


@pytest.mark.parametrize("name", ["ATEN_CPU_CAPABILITY", "MKL_CBWR"])
def test_other_kernels_are_noticed(name: str) -> None:
    """With one setting of another machine put in force after all, the digest is another one."""
    forced = f"import os, stages; os.environ[{name!r}] = {FORCED[name]!r}; "
    assert digest(forced + DIGEST, {}) != EXPECTED


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("numerics: {portable: true}", True),
        ("numerics:\n  portable: false\n", False),
        ("numerics: {}", False),
        ("a: [", False),
    ],
)
def test_only_params_that_ask_for_it_get_it(tmp_path: Path, text: str, asked: bool) -> None:
    """A file that is broken asks for nothing: the check of the params says what is wrong with it."""
    (tmp_path / "params.yaml").write_text(text)
    assert is_asked(tmp_path / "params.yaml") is asked


def test_the_answer_is_remembered_for_this_machine_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A digest is computed once; one that another CPU left is not believed; and without `portable` nothing is claimed."""
    computed: list[int] = []

    def step_digest() -> str:
        computed.append(1)
        return "other"

    monkeypatch.setattr(arithmetic, "step_digest", step_digest)
    (tmp_path / "params.yaml").write_text("numerics: {portable: true}")
    assert not is_as_committed(tmp_path)
    assert not is_as_committed(tmp_path)
    assert len(computed) == 1
    write_json(tmp_path / arithmetic.REMEMBERED, {"cpu": "another", "torch": arithmetic.VERSION, "digest": EXPECTED})
    assert not is_as_committed(tmp_path)
    assert len(computed) == 2
    (tmp_path / "params.yaml").write_text("numerics: {portable: false}")
    assert is_as_committed(tmp_path)


def test_without_waiting_the_cpu_is_asked_and_another_process_takes_the_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One without AVX2 is told at once; the digest is there a little later."""
    (tmp_path / "params.yaml").write_text("numerics: {portable: true}")
    monkeypatch.setattr(arithmetic, "_cpu", lambda: {"flags": "sse2 avx", "model name": "old"})
    assert not is_as_committed(tmp_path, wait=False)
    deadline = time.monotonic() + 120
    while not (tmp_path / arithmetic.REMEMBERED).is_file() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert read_json(tmp_path / arithmetic.REMEMBERED)["digest"] == EXPECTED
    monkeypatch.setattr(arithmetic, "_cpu", lambda: {"flags": "sse2 avx2", "model name": "newer"})
    assert is_as_committed(tmp_path, wait=False)
