"""vLLM on a CPU loads each family and answers as transformers does (`make vllm DEVICE=cpu`).

One process loads all of them one after another: 50 s of imports and 10 s a family. Mixtures come first: the process makes their
expert groups with its first model, or not at all.
"""

import json
import os
import random
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from osler.build.pipeline import ROOT
from osler.inference import vllm_worker
from osler.inference.interface import Sampling
from osler.inference.prompt_tokens import Tree
from osler.inference.torch_backend import TorchBackend, frozen_model
from osler.inference.vllm_backend import DEFAULTS, OWN_SETTINGS, VllmBackend, environment
from tests.inference.test_vllm_backend import needs_vllm
from tests.support.families import EXPERTS, FAMILIES, SIZES, tiny
from tests.support.tiny import NUMERICS

TOLERANCE = 1e-4  # of a log-probability, in nats
POSITIONS = 64
WIDE = {"hidden_size": 128, "head_dim": 32, "max_position_embeddings": POSITIONS}  # vLLM's narrowest heads on a CPU
REFUSED: dict[str, str] = {}  # families that it does not load, and what it says
ROUNDED = {"apertus": "act_fn"}  # modules that it has in bfloat16 whatever the weights are: xIELU's two numbers a layer
ORDER = sorted(FAMILIES, key=lambda family: not set(EXPERTS) <= set(FAMILIES[family]))


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator["subprocess.Popen[str]"]:
    """The process, before a model is in it."""
    log = (tmp_path_factory.mktemp("vllm") / "vllm.log").open("w")
    with subprocess.Popen(
        [environment() / "bin/python", "-I", ROOT / "tests/support/vllm_families.py", vllm_worker.__file__],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
        env={**DEFAULTS, **os.environ, **OWN_SETTINGS, "OMP_NUM_THREADS": "1"},
    ) as process, log:  # fmt: skip
        yield process
        assert process.stdin
        process.stdin.close()


def loaded(worker: "subprocess.Popen[str]", folder: Path) -> str | None:
    """Why it could not be loaded, if so."""
    assert worker.stdin
    assert worker.stdout
    request = {"what": "load", "folder": str(folder), "dtype": "float32", "positions": POSITIONS, "seed": 0}
    print(json.dumps(request), file=worker.stdin, flush=True)
    answer: str | None = json.loads(worker.stdout.readline())
    return answer


def forest() -> list[Tree]:
    """Prompts that begin alike and alone, with options of one to three tokens."""
    source = random.Random(4)

    def ids(length: int) -> list[int]:
        return [source.randrange(3, SIZES["vocab_size"]) for _ in range(length)]

    first = ids(12)
    prompts = [*(ids(length) for length in (1, 9, 30)), [*first, *ids(5)], [*first, *ids(8)]]
    return [Tree([1, *row], [ids(1), ids(2), ids(3)], False) for row in prompts]


def furthest(left: Sequence[Sequence[float]], right: Sequence[Sequence[float]]) -> float:
    return max(abs(a - b) for one, other in zip(left, right, strict=True) for a, b in zip(one, other, strict=True))


@needs_vllm
@pytest.mark.builds
@pytest.mark.parametrize("family", ORDER)
def test_vllm_answers_as_transformers(family: str, worker: "subprocess.Popen[str]", tmp_path: Path) -> None:
    """Options, windows and greedy texts; a family that it cannot load fails here as soon as it can."""
    tiny(family, **WIDE).save_pretrained(tmp_path)
    why = loaded(worker, tmp_path)
    if family in REFUSED:
        assert why is not None, f"vLLM loads {family} now: take it out of REFUSED, and out of docs/bases.md"
        assert REFUSED[family] in why
        pytest.xfail(why)
    assert why is None
    ours: Any = VllmBackend(tmp_path, NUMERICS)
    ours.__dict__["_worker"] = worker
    model = frozen_model(tmp_path, NUMERICS)
    theirs, trees = TorchBackend(model, 1024), forest()
    if family in ROUNDED:
        apart = furthest(ours.option_scores(trees), theirs.option_scores(trees))
        assert TOLERANCE < apart < 100 * TOLERANCE, (
            f"{family}: {apart}; if it is small, take it out of ROUNDED and docs/bases.md"
        )
        for name, module in model.named_modules():
            if name.endswith(ROUNDED[family]):
                module.bfloat16()
    assert furthest(ours.option_scores(trees), theirs.option_scores(trees)) < TOLERANCE
    windows = [[*trees[2].prompt, *trees[3].prompt][:POSITIONS], trees[0].prompt]
    assert furthest(ours.window_scores(windows), theirs.window_scores(windows)) < TOLERANCE
    prompts, greedy = [tree.prompt for tree in trees], Sampling(8, 0.0)
    seeds, ends = [0] * len(prompts), [SIZES["eos_token_id"]]
    written = ours.generated(prompts, greedy, seeds, ends)
    assert written == theirs.generated(prompts, greedy, seeds, ends)
    assert len({tuple(row) for row in written}) > 1
